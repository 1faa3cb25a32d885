"""What a benchmark is: prompts, a number of images for each, and a judgement of every image."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor

from htgrpo.errors import UserError
from htgrpo.prompts import Prompt


class Benchmark(ABC):
    """One benchmark. A subclass sets the class variables and registers itself under the entry-point group
    htgrpo.benchmarks.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # how tables call it
    world: ClassVar[str]  # "embedded", or "natural" for the published benchmarks
    version: ClassVar[str]  # changes whenever a verdict may change
    categories: ClassVar[tuple[str, ...]]  # in the order of tables
    aggregate: ClassVar[Literal["category_mean", "item_mean"]]  # the headline
    scale: ClassVar[float] = 1.0  # the headline's factor: 1 or 100
    samples: ClassVar[int] = 4  # images per prompt
    higher_is_better: ClassVar[bool] = True

    @abstractmethod
    def prompts(self, split: str) -> list[Prompt]:
        """The prompts of a split, ordered. Raises UserError for an unknown split."""

    @abstractmethod
    def judge(self, images: Tensor, prompts: list[Prompt]) -> list[dict]:
        """Judges images float [n, 3, H, W] in 0..1, one per prompt -> n records {"score": float in 0..1, "evidence":
        dict}.

        An image's record does not depend on the rest of the batch.
        """

    @abstractmethod
    def scorer_identity(self) -> dict:
        """{"name", "version", "weights_revision" (None without weights)} of what looks at the images."""

    def check_batch(self, images: Tensor, prompts: list[Prompt]) -> None:
        """Raises UserError unless there is one image per prompt."""
        if len(images) != len(prompts):
            raise UserError(
                f"{self.name} got {len(images)} images for {len(prompts)} prompts: pass one prompt per image"
            )
