"""The units of work a run is made of: plain records that a worker process can be given. Imports no torch."""

from dataclasses import dataclass, replace

from bench.ask.weights import Weights
from bench.benchmarks.base import MAIN
from bench.benchmarks.evaluation import Evaluation
from bench.record.rundir import RunDir
from htgrpo.base.prompts import Prompt
from htgrpo.base.records import BASE, MILESTONE
from htgrpo.training.train_config import TrainConfig

GENERATE, SCORE, TRAIN, REPORT = "generate", "score", "train", "report"


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
