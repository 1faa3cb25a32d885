"""The units of work a run is made of: plain records that a worker process can be given. Imports no torch."""

from dataclasses import dataclass, replace

from bench.ask.selection import PictureSet
from bench.ask.weights import Weights
from bench.benchmarks.base import MAIN
from bench.record.rundir import RunDir
from htgrpo.base.files import sha256_json
from htgrpo.base.prompts import Prompt
from htgrpo.base.records import BASE, MILESTONE
from htgrpo.training.train_config import TrainConfig

GENERATE, SCORE, TRAIN, REPORT = "generate", "score", "train", "report"


@dataclass(frozen=True)
class Evaluation:
    """One benchmark under one generation setting. values: the fields of presets.Setting. prompts: those it judges.
    shared: the pictures it judges where that is not a set of its own. of_policy: the policy itself is asked, once for each
    prompt, and no pictures are made; then values are the benchmark's own. whole: how many prompts the benchmark has, 0
    where nobody needs to know."""

    benchmark: str
    setting: str
    values: dict
    prompts: tuple[Prompt, ...]
    prompts_sha256: str
    shared: PictureSet | None = None
    of_policy: bool = False
    whole: int = 0

    @property
    def drawn(self) -> PictureSet:
        """The pictures it judges."""
        return self.shared or PictureSet(self.benchmark, self.benchmark, self.prompts, self.prompts_sha256)

    @property
    def items(self) -> list[tuple[Prompt, int]]:
        """(prompt, sample) of everything that is judged, in order."""
        return self._of(self.prompts)

    @property
    def drawn_items(self) -> list[tuple[Prompt, int]]:
        """(prompt, sample) of every picture that is made, in order."""
        return self._of(self.drawn.prompts)

    def _of(self, prompts: tuple[Prompt, ...]) -> list[tuple[Prompt, int]]:
        samples = 1 if self.of_policy else self.values["samples"]
        return [(prompt, sample) for prompt in prompts for sample in range(samples)]

    @property
    def noun(self) -> str:
        """What is judged."""
        return "documents" if self.of_policy else "pictures"

    def generation_identity(self, policy_sha256: str) -> str:
        """Hex identity of what a policy makes here."""
        return sha256_json([policy_sha256, self.drawn.name, self.values, self.drawn.sha256])


@dataclass(frozen=True)
class Target:
    """A policy to score. name: in file names; milestone: one of the three above; source, revision: as in
    Request.policy; seed, iteration, forwards: of its training, None where there was none or it is not known."""

    name: str
    method: str
    seed: int | None
    milestone: str
    source: str
    sha256: str
    random_weights: bool
    iteration: int | None
    forwards: int | None
    revision: str = ""

    @staticmethod
    def of(weights: Weights, name: str, method: str, seed: int | None, milestone: str) -> "Target":
        """The policy of these weights."""
        return Target(
            name,
            method,
            seed,
            milestone,
            weights.source,
            weights.sha256,
            weights.random_weights,
            weights.iteration,
            weights.forwards,
            weights.revision,
        )

    @staticmethod
    def start(weights: Weights, milestone: str) -> "Target":
        """The policy that trainings start from."""
        return Target.of(replace(weights, iteration=0, forwards=0), BASE, BASE, None, milestone)

    def asked(self, evaluations: tuple[Evaluation, ...]) -> tuple[Evaluation, ...]:
        """Those of the evaluations that this policy is scored by: views beside the main one show the main setting
        alone."""
        return tuple(one for one in evaluations if self.milestone != MILESTONE or one.setting == MAIN)


@dataclass(frozen=True)
class Job:
    """What one worker process does: train (where config is given), then generate and score.

    backbone, policy, revision: as in Request. targets: policies that exist already; with a config the trained policy is
    the only one. stages: of train, generate, score. train_seconds, evaluate_seconds: expected. notes: the plan in
    words.
    """

    name: str
    run: RunDir
    backbone: str
    policy: str
    revision: str
    stages: tuple[str, ...]
    device: str
    threads: int
    config: TrainConfig | None = None
    targets: tuple[Target, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    prompts: tuple[Prompt, ...] = ()
    report_to: str | None = None
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Expected seconds of all of it."""
        return self.train_seconds + self.evaluate_seconds
