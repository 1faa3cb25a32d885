"""Scorers as benchmarks: the mean score of a policy's pictures for a named prompt set, by default DPG-Bench's, as in
table 3 of the HT-GRPO paper. `SCORER@SET` names another set, such as imagereward@geneval
(bench/benchmarks/registry.py).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bench.benchmarks.base import PictureBenchmark
from bench.scorers.registry import SCORERS
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt

if TYPE_CHECKING:
    from PIL import Image

    from bench.scorers.base import Judged, Scorer


class ModelScore(PictureBenchmark):
    """The mean of a scorer's scores, over pictures and then over prompts. A subclass names the scorer, and the
    benchmark whose prompts and pictures it takes by default. prompt_set: that benchmark.
    """

    version = "1"
    aggregate: ClassVar[Literal["category_mean", "item_mean"]] = "item_mean"
    categories: tuple[str, ...] = ()
    scorer: ClassVar[str]
    world = "natural"
    _scorer: "Scorer | None" = None
    _identity: dict[str, Any] | None = None

    def __init__(self, prompt_set: PictureBenchmark | None = None):
        from bench.benchmarks.dpg import DPG

        self.prompt_set: PictureBenchmark = DPG() if prompt_set is None else prompt_set
        if prompt_set is not None:
            self.name = f"{type(self).name}@{prompt_set.name}"
            self.samples = prompt_set.samples
        self.world, self.noise = self.prompt_set.world, self.prompt_set.noise
        self.published, self.published_samples = self.prompt_set.published, self.prompt_set.published_samples

    @classmethod
    def on(cls, other: str) -> "ModelScore":
        from bench.benchmarks.registry import make

        prompt_set = make(other)
        if not isinstance(prompt_set, PictureBenchmark):
            raise UserError(
                f"benchmark '{cls.name}@{other}': {other} has no pictures that {cls.name} could judge: leave it out"
            )
        return cls(prompt_set)

    @property
    def title(self) -> str:
        """The scorer's title and the set's."""
        return f"{self.kind.title} on {self.prompt_set.title} prompts"

    @property
    def kind(self) -> "type[Scorer]":
        """The scorer's class."""
        return SCORERS.get(self.scorer)

    @property
    def higher_is_better(self) -> bool:
        """As the scorer says."""
        return self.kind.higher_is_better

    @property
    def axes(self) -> dict[str, str]:
        """The scorer's axes, titled in capitals."""
        return {axis: axis.upper() for axis in self.kind.axes}

    @property
    def picture_set(self) -> str:
        return self.prompt_set.picture_set

    def asks(self) -> tuple[str, ...]:
        return (self.scorer,)

    def prompts(self, split: str) -> list[Prompt]:
        return self.prompt_set.drawn(split)

    def judge(self, pictures: "Sequence[Image.Image]", prompts: Sequence[Prompt]) -> list[dict]:
        self.check_batch(pictures, prompts)
        if not pictures:
            return []
        judged = self._judged(pictures, prompts)
        return [{"error": one.error} if one.error else {"score": one.score, "evidence": one.evidence} for one in judged]

    def _judged(self, pictures: "Sequence[Image.Image]", prompts: Sequence[Prompt]) -> "list[Judged]":
        from bench.scorers.base import read_by

        scorer = self._opened()
        return scorer.score(pictures, [read_by(scorer, prompt.text, prompt.spec) for prompt in prompts])

    def scorer_identity(self) -> dict[str, Any]:
        if self._identity is None:
            from bench.scorers.opening import identity_of

            self._identity = identity_of(self.scorer)
        return dict(self._identity)

    def trust(self) -> None:
        self._opened()

    def _opened(self) -> "Scorer":
        if self._scorer is None:
            try:
                from bench.scorers.opening import open_scorer

                self._scorer = open_scorer(self.scorer, self.torch_device())
            except (MemoryError, RuntimeError) as error:
                if "memory" not in str(error).lower():
                    raise
                raise UserError(
                    f"there is not enough memory for {self.scorer} beside what is loaded: give fewer --benchmarks at a "
                    "time, or put it on a server with bench.serve and --scorer-url"
                ) from error
        return self._scorer

    def close(self) -> None:
        if self._scorer is not None:
            self._scorer.close()
            self._scorer = None


class OwnPrompts(ModelScore):
    """A scorer on prompts of its own alone. elsewhere: what there is for other prompts, "" where nothing is."""

    elsewhere: ClassVar[str] = ""

    def __init__(self, prompt_set: PictureBenchmark | None = None):
        if prompt_set is not None:
            instead = f": for others write {self.elsewhere}@{prompt_set.name}" if self.elsewhere else ""
            raise UserError(f"benchmark {self.name!r} has prompts of its own{instead}")


class ImageRewardScore(ModelScore):
    """ImageReward."""

    name = scorer = "imagereward"
    note = "ImageReward reads the first 35 tokens of a prompt only, so that most of a dense prompt is invisible to it"


class DeQAScore(ModelScore):
    """DeQA-Score."""

    name = scorer = "deqa"


class HPSv3Score(ModelScore):
    """HPSv3."""

    name = scorer = "hpsv3"


class UniPerceptScore(ModelScore):
    """UniPercept's three axes."""

    name = scorer = "unipercept"


class ClipBenchmark(ModelScore):
    """CLIP score."""

    name = scorer = "clip"
    note = "CLIP reads the first 77 tokens of a prompt only"


class UnifiedRewardScore(ModelScore):
    """UnifiedReward."""

    name = scorer = "unifiedreward"
    note = (
        "the mean of UnifiedReward's alignment, coherence and style, which is ours: its authors name no single number"
    )


class PickScoreBenchmark(ModelScore):
    """PickScore."""

    name = scorer = "pickscore"
    note = "PickScore reads the first 77 tokens of a prompt only; papers print it as it is, or divided by 26"


class HPSv2Score(ModelScore):
    """HPSv2.1."""

    name = scorer = "hpsv2"
    note = (
        "HPSv2.1, not v2.0, which has another scale; papers print it times 100; it was made to compare pictures of one "
        "prompt, of which it reads the first 77 tokens; pictures are made smaller with antialias"
    )


class HPSv2AliasedScore(ModelScore):
    """HPSv2.1 without antialias."""

    name = scorer = "hpsv2_aliased"
    note = HPSv2Score.note.removesuffix("with antialias") + "without antialias, as torchvision did it before 0.17"


class VQAScoreBenchmark(ModelScore):
    """VQAScore of Qwen3-VL."""

    name = scorer = "vqascore_qwen3vl"
    note = "VQAScore's question in GenEval 2's words to GenEval 2's network: not on the scale of other VQAScores"
