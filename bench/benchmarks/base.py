"""What a benchmark is: prompts, and a judgement of what a policy makes of each. Most judge pictures
(PictureBenchmark), some ask the policy itself for text (TextBenchmark)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from htgrpo.base.device import find_device
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt
from htgrpo.base.registry import BENCHMARKS

if TYPE_CHECKING:
    from PIL import Image

    from bench.ask.request import Request
    from bench.benchmarks.evaluation import Evaluation
    from htgrpo.parallel.ranks import Ranks
    from htgrpo.policies.policy import Policy


MAIN = "main"
"""The generation setting every preset has."""


class Benchmark(ABC):
    """What all benchmarks have. A subclass of PictureBenchmark or of TextBenchmark sets the class variables and
    registers itself under the entry-point group htgrpo.benchmarks. Those that are properties here are plain values too
    in most.
    """

    name: str
    version: ClassVar[str]  # changes whenever a verdict may change
    aggregate: ClassVar[Literal["category_mean", "item_mean"]]  # the headline
    scale: ClassVar[float] = 1.0  # the headline's factor: 1 or 100
    top: ClassVar[float | None] = None  # scores lie in 0..top by the rule; None where nothing bounds them
    of_policy: ClassVar[bool] = False  # asks the policy itself
    diagnostic: ClassVar[bool] = False  # a read-out beside a headline, of which no main claim is made
    noise: str = ""
    published: int = 0  # prompts, for plans made before they are on this machine
    published_samples: int = 0  # pictures per prompt in the published protocol; 0 where it says nothing
    device: str | None = None  # where its networks run; None: the GPU where there is one

    @property
    @abstractmethod
    def title(self) -> str:
        """How tables call it."""

    @property
    @abstractmethod
    def world(self) -> str:
        """ "embedded", or "natural" for the published benchmarks."""

    @property
    @abstractmethod
    def categories(self) -> tuple[str, ...]:
        """In the order of tables."""

    @property
    def higher_is_better(self) -> bool:
        """Whether a greater score is the better one."""
        return True

    @property
    def axes(self) -> dict[str, str]:
        """Keys of the evidence that tables show one by one in place of the score, with their titles."""
        return {}

    @property
    def note(self) -> str:
        """What tables must say beside it."""
        return ""

    @classmethod
    def check_on(cls, other: str) -> None:
        """Raises UserError where NAME@other cannot be. Loads nothing."""
        BENCHMARKS.check(other)

    @classmethod
    def on(cls, other: str) -> "Benchmark":
        """The benchmark NAME@other. Raises UserError where there is none."""
        raise UserError(
            f"benchmark '{cls.name}@{other}': {cls.name} has a rule of its own, which fits its own prompts only; "
            "scorers such as imagereward or hpsv3 can be put on the pictures of another benchmark"
        )

    def asks(self) -> tuple[str, ...]:
        """The scorers that judge for it, by name; each may be on a server."""
        return ()

    @property
    def picture_set(self) -> str:
        """The name of the prompts it takes its own from; benchmarks that share it are given the same selection."""
        return self.name

    @abstractmethod
    def prompts(self, split: str) -> list[Prompt]:
        """The prompts that it judges of a split, ordered. Raises UserError for an unknown split."""

    def drawn(self, split: str) -> list[Prompt]:
        """All prompts of its `picture_set`. `prompts` have their ids and texts."""
        return self.prompts(split)

    @abstractmethod
    def settings(self, request: "Request") -> dict[str, dict[str, Any]]:
        """What it is evaluated under in a run: values by the name of the setting. Raises UserError for what cannot
        be."""

    @abstractmethod
    def scorer_identity(self) -> dict[str, Any]:
        """{"name", "version", "weights_revision" (None without weights)} of what judges, found without loading it.
        Raises UserError with the command to run where weights are missing."""

    def close(self) -> None:  # noqa: B027 (what has loaded nothing lets go of nothing)
        """Lets go of what it has loaded."""


class PictureBenchmark(Benchmark):
    """A benchmark of pictures.

    pictures: the name of its picture set; benchmarks that name the same one judge the same pictures, which are then
    made once. Left empty it is the benchmark's own name. noise: what keys the noise that those pictures are made from,
    by default the same name.
    """

    pictures: str = ""
    samples: int | None = None  # pictures per prompt, whatever the generation setting says

    @property
    def picture_set(self) -> str:
        """The name of the pictures it judges."""
        return self.pictures or self.name

    def settings(self, request: "Request") -> dict[str, dict[str, Any]]:
        own = {} if self.samples is None else {"samples": self.samples}
        return {name: {**values, **own} for name, values in request.settings.items()}

    @abstractmethod
    def judge(self, pictures: "Sequence[Image.Image]", prompts: Sequence[Prompt]) -> list[dict]:
        """Judges pictures of any size and mode, one per prompt -> n records {"score": float, "evidence": dict}, or
        {"error": a sentence} where this one cannot be judged. A picture's record does not depend on the rest of the
        batch.
        """

    def trust(self) -> None:  # noqa: B027 (what needs no loading has nothing to do here)
        """Loads what looks at the pictures and lets it show that it works. Raises UserError where it does not."""

    def check_batch(self, pictures: Sequence[Any], prompts: Sequence[Prompt]) -> None:
        """Raises UserError unless there is one picture per prompt."""
        if len(pictures) != len(prompts):
            raise UserError(
                f"{self.name} got {len(pictures)} images for {len(prompts)} prompts: pass one prompt per image"
            )

    def torch_device(self) -> str:
        """`device`, or the GPU where there is one."""
        if self.device is None:
            self.device = find_device()
        return self.device


class TextBenchmark(Benchmark):
    """A benchmark that asks the policy itself: no pictures are made. It has one setting, under the name of
    `main_of`."""

    of_policy = True

    @staticmethod
    def main_of(request: "Request") -> str:
        """MAIN, or what a request without it (that of a held-out curve) has in its place."""
        return MAIN if MAIN in request.settings else next(iter(request.settings))

    @abstractmethod
    def examine(
        self,
        policy: "Policy",
        evaluation: "Evaluation",
        folder: Path,
        on_progress: Callable[[float], None],
        ranks: "Ranks",
    ) -> list[dict]:
        """Asks `policy` -> {"score": float, "evidence": dict} of every prompt of `evaluation`, in their order, on every
        rank.

        folder: where the first rank leaves what `kept` reads. on_progress gets the part done, 0..1. Raises UserError
        for what cannot be asked of this policy.
        """

    @abstractmethod
    def kept(self, folder: Path, prompts: Sequence[Prompt]) -> tuple[str, list[dict]]:
        """(sha256 of the weights, what `examine` gave for `prompts`) by what it has left in `folder`, without a policy.
        Raises UserError where that is damaged or of other prompts."""
