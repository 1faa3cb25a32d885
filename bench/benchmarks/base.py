"""What a benchmark is: prompts, the pictures it wants of them, and a judgement of every picture."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from htgrpo.errors import UserError
from htgrpo.prompts import Prompt

if TYPE_CHECKING:
    from PIL import Image


class Benchmark(ABC):
    """One benchmark. A subclass sets the class variables and registers itself under the entry-point group
    htgrpo.benchmarks.

    pictures: the name of its picture set; benchmarks that name the same one judge the same pictures, which are then made once.
    Left empty it is the benchmark's own name. noise: what keys the noise that those pictures are made from, by default the same
    name. axes: keys of the evidence that tables show one by one in place of the score, with their titles.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # how tables call it
    world: ClassVar[str]  # "embedded", or "natural" for the published benchmarks
    version: ClassVar[str]  # changes whenever a verdict may change
    categories: ClassVar[tuple[str, ...]]  # in the order of tables
    aggregate: ClassVar[Literal["category_mean", "item_mean"]]  # the headline
    scale: ClassVar[float] = 1.0  # the headline's factor: 1 or 100
    higher_is_better: ClassVar[bool] = True
    pictures: str = ""
    noise: ClassVar[str] = ""
    samples: ClassVar[int | None] = None  # pictures per prompt, whatever the generation setting says
    published: ClassVar[int] = 0  # prompts, for plans made before they are on this machine
    axes: ClassVar[dict[str, str]] = {}
    note: ClassVar[str] = ""  # what tables must say beside it
    device: str | None = None  # where its networks run; None: the GPU where there is one

    @property
    def picture_set(self) -> str:
        """The name of the pictures it judges."""
        return self.pictures or self.name

    @abstractmethod
    def prompts(self, split: str) -> list[Prompt]:
        """The prompts that it judges of a split, ordered. Raises UserError for an unknown split."""

    def drawn(self, split: str) -> list[Prompt]:
        """The prompts of its picture set, equal for all benchmarks that share it. `prompts` have their ids and texts."""
        return self.prompts(split)

    @abstractmethod
    def judge(self, pictures: "Sequence[Image.Image]", prompts: Sequence[Prompt]) -> list[dict]:
        """Judges pictures of any size and mode, one per prompt -> n records {"score": float, "evidence": dict}, or {"error": a
        sentence} where this one cannot be judged. A picture's record does not depend on the rest of the batch.
        """

    @abstractmethod
    def scorer_identity(self) -> dict[str, Any]:
        """{"name", "version", "weights_revision" (None without weights)} of what looks at the pictures, found without loading it.
        Raises UserError with the command to run where weights are missing."""

    def trust(self) -> None:  # noqa: B027 (what needs no loading has nothing to do here)
        """Loads what looks at the pictures and lets it show that it works. Raises UserError where it does not."""

    def close(self) -> None:  # noqa: B027
        """Lets go of what `trust` has loaded."""

    def check_batch(self, pictures: Sequence[Any], prompts: Sequence[Prompt]) -> None:
        """Raises UserError unless there is one picture per prompt."""
        if len(pictures) != len(prompts):
            raise UserError(
                f"{self.name} got {len(pictures)} images for {len(prompts)} prompts: pass one prompt per image"
            )

    def torch_device(self) -> str:
        """`device`, or the GPU where there is one."""
        if self.device is None:
            import torch

            self.device = "cuda" if torch.cuda.is_available() else "cpu"
        return self.device
