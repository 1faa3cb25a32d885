"""What a scorer is: a model that judges pictures, each by itself, and that can show that it is the model it claims to
be."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from PIL import Image

from htgrpo.base.errors import UserError

if TYPE_CHECKING:
    from bench.scorers.weights import Repository


@dataclass(frozen=True)
class Judged:
    """The judgement of one picture. Exactly one of `score` (finite) and `error` (one sentence) is set: a picture that
    failed has no score, never a zero. evidence: JSON values beside the score."""

    score: float | None
    evidence: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    def __post_init__(self) -> None:
        if (self.score is None) == (self.error is None):
            raise ValueError(f"a judgement has either a score or an error, got {self.score!r} and {self.error!r}")
        if self.score is not None and not math.isfinite(self.score):
            raise ValueError(f"a score is a finite number, got {self.score!r}; report an error instead")

    @classmethod
    def of(cls, score: float, evidence: dict[str, Any] | None = None) -> Self:
        """The judgement with this score, or with an error where the model gave no finite number."""
        if math.isfinite(score):
            return cls(float(score), evidence or {})
        return cls.failed(f"the model's score is {score}, which is not a number")

    @classmethod
    def failed(cls, why: str) -> Self:
        """The judgement of a picture that could not be scored."""
        return cls(None, {}, why)


class Unscorable(Exception):
    """This one picture or prompt cannot be scored; the message is the sentence of its judgement. Others go on."""


@dataclass(frozen=True)
class Expectation:
    """What a scorer must find: `better` (picture, prompt) beats `worse`. claim: what that says, for the sentence of a
    failure."""

    claim: str
    better: tuple[Image.Image, str]
    worse: tuple[Image.Image, str]


def read_by(scorer: "Scorer | type[Scorer]", text: str, spec: dict) -> str:
    """What `scorer` takes as the prompt of this text and this specification."""
    return json.dumps(spec, ensure_ascii=False) if scorer.reads_spec else text


class Scorer(ABC):
    """One scorer. A subclass sets the class variables and registers itself under the entry-point group
    htgrpo.scorers."""

    name: str
    title: str  # how tables call it
    version: ClassVar[str]  # changes whenever a score may change
    needs_prompt: bool
    higher_is_better: bool = True
    published_range: str
    reward_scale: float = 1.0  # a training reward is the score times this
    axes: ClassVar[tuple[str, ...]] = ()  # names in the evidence that tables show instead of the score
    reads_spec: bool = False  # its prompts are specifications (Prompt.spec) as JSON, not texts
    repositories: "ClassVar[tuple[Repository, ...]]" = ()  # what `load` reads, the weights' own first
    assets: ClassVar[tuple[str, ...]] = ()  # of bench.fetch that it needs
    libraries: ClassVar[tuple[str, ...]] = ()  # distributions beside ours that decide a score, for its identity

    @classmethod
    def find(cls) -> None:
        """Raises UserError, with the command to run, where something that `load` needs is not here. Loads nothing."""
        from bench.sources.assets import asset

        cls.folders()
        for name in cls.assets:
            asset(name)

    @classmethod
    def folders(cls, weights: Path | None = None) -> list[Path]:
        """The folder of every one of `repositories`. Raises UserError with the command that brings what is missing."""
        from bench.scorers.weights import locate

        return locate(cls.name, cls.repositories, weights)

    @classmethod
    def check_prompt(cls, prompt: str) -> None:
        """Raises Unscorable where no picture can be judged under this prompt."""
        return

    @classmethod
    def about(cls, caption: str) -> str:
        """The prompt by which a picture with this caption is judged where nobody has written a specification."""
        return caption

    @classmethod
    @abstractmethod
    def load(cls, weights: Path | None = None, device: str = "cpu", dtype: Any = None) -> Self:
        """The scorer with the weights in the folder `weights`, by default those in the hub's cache; dtype None: the
        official one.

        Raises UserError where weights are not found, or are not this scorer's to the last key.
        """

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """{"name", "version", "weights_revision", "dtype", "libraries" (versions by name), ...}: equal identities,
        equal scores."""

    @classmethod
    def planned_identity(cls) -> dict[str, Any]:
        """What `identity` will say of the scorer that `load` gives by default, found without loading its weights.
        Raises UserError where they are not here."""
        return cls.load().identity()

    @abstractmethod
    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Judged]:
        """Judges pictures, one prompt each -> one judgement each, in order. One that fails leaves the others as they
        are; neither order nor batches change a score beyond the rounding of `dtype`. Raises UserError for unequal
        numbers."""

    def close(self) -> None:  # noqa: B027 (most have nothing to let go of)
        """Lets go of what `load` has started, such as a process."""

    def expectations(self) -> list[Expectation]:
        """Drawn pictures with a known order, for self_test."""
        return []

    def tested_on(self) -> int:
        """How many pictures `self_test` judges."""
        return 2 * len(self.expectations())

    def self_test(self) -> list[str]:
        """Judges the drawn pictures -> one sentence for every expectation that failed; [] means that the scorer can be
        trusted."""
        wanted = self.expectations()
        pairs = [pair for one in wanted for pair in (one.better, one.worse)]
        judged = iter(self.score([picture for picture, _ in pairs], [prompt for _, prompt in pairs]))
        failures = []
        for one, better, worse in zip(wanted, judged, judged):
            if better.score is None or worse.score is None:
                failures.append(f"{self.name} could not judge a drawn picture ({better.error or worse.error})")
            elif not (better.score > worse.score if self.higher_is_better else better.score < worse.score):
                failures.append(
                    f"{self.name} does not find that {one.claim}: it gives {better.score:.4g} and {worse.score:.4g}"
                )
        return failures

    def check_pairs(self, images: Sequence[Any], prompts: Sequence[Any]) -> None:
        """Raises UserError unless there is one prompt per picture."""
        if len(images) != len(prompts):
            raise UserError(
                f"{self.name} got {len(images)} pictures for {len(prompts)} prompts: pass one prompt per picture"
            )
