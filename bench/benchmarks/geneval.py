"""GenEval (github djghosh13/geneval @ af4902f24d3c; arXiv 2310.11513): its 553 prompts, detector and rule, without
MMDetection.

With GenEval's own detector the scores are the benchmark's; with the hub's weights of the same network they are near but
not comparable, and the title says so. The rule and what looks at pictures are in bench/scorers/geneval/.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from PIL import Image

from bench.benchmarks.base import PictureBenchmark
from bench.scorers.geneval.rule import TASKS, THRESHOLD, Verdict, judge
from bench.sources import assets
from htgrpo.base.errors import UserError
from htgrpo.base.files import read_jsonl
from htgrpo.base.prompts import Prompt

if TYPE_CHECKING:
    import numpy as np

    from bench.scorers.geneval.colours import Colours
    from bench.scorers.geneval.detector import Detection, Detector

CAUTION = (
    "GenEval's detector agreed with people on 83 % of the pictures of its time (arXiv 2310.11513) and is off by up to 17.7 points "
    "for models of today (arXiv 2512.16853): above 0.85, and between models of different years, a difference may be its own"
)
"""What is known of the judge. No score is corrected by it."""
SPLIT = "heldout"


def official_prompts() -> list[Prompt]:
    """The 553 prompts in upstream's order; an id is upstream's folder name, 00000 to 00552. Raises UserError without
    the asset."""
    lines = read_jsonl(assets.asset("geneval_metadata"))
    return [Prompt(f"{index:05d}", line["prompt"], line["tag"], line) for index, line in enumerate(lines)]


def only_split(name: str, split: str) -> None:
    """Raises UserError for any split but the published test prompts."""
    if split != SPLIT:
        raise UserError(
            f"{name} has no {split!r} prompts: its published prompts are all for testing, as the split {SPLIT!r}"
        )


class GenEval(PictureBenchmark):
    """Six tasks; an image is right or wrong; the headline is the unweighted mean of the six task scores (0..1).

    detector, colours: by default loaded when the first picture is judged, on the GPU where there is one.
    """

    name, world, version = "geneval", "natural", "1"
    categories, aggregate, scale, published = TASKS, "category_mean", 1.0, 553
    top = 1.0
    published_samples = 4
    called: ClassVar[str] = "GenEval"
    note = CAUTION
    floor: ClassVar[float] = THRESHOLD  # the score above which it looks at an object at all

    def __init__(self, detector: "Detector | None" = None, colours: "Colours | None" = None, device: str | None = None):
        self._detector, self._colours, self.device = detector, colours, device
        self._identity: dict[str, Any] | None = None

    @property
    def title(self) -> str:
        """How tables call it; the weights of another detector than GenEval's own are named."""
        try:
            official = self.scorer_identity()["official"]
        except UserError:  # prompts alone need no weights
            official = True
        return self.called if official else f"{self.called} (different detector)"

    def prompts(self, split: str) -> list[Prompt]:
        only_split(self.name, split)
        return official_prompts()

    def judge(self, pictures: Sequence[Image.Image], prompts: Sequence[Prompt]) -> list[dict]:
        self.check_batch(pictures, prompts)
        detector, colours = self._scorers()
        from bench.scorers.geneval.pixels import as_array

        arrays = [as_array(picture) for picture in pictures]
        found = detector.detect(arrays, self.floor)
        return [self._record(*one, colours) for one in zip(arrays, found, prompts, strict=True)]

    def trust(self) -> None:
        if self._detector and self._colours:
            return
        from bench.scorers.geneval.self_test import self_test

        if failures := self_test(*self._scorers()):
            raise UserError(
                f"GenEval's detector is not to be trusted: {'; '.join(failures)}; its weights or its configuration are "
                "not the published ones"
            )

    def close(self) -> None:
        self._detector = self._colours = None

    def _record(self, picture: "np.ndarray", found: "list[Detection]", prompt: Prompt, colours: "Colours") -> dict:
        asked: list[list[Any]] = []

        def colour_of(item: "Detection") -> str:
            asked.append([item.cls, [*item.box, item.score], colours.of(picture, item)])
            return asked[-1][-1]

        verdict = judge(found, prompt.spec, colour_of)
        return {"score": float(verdict.correct), "evidence": evidence(verdict, prompt.spec) | {"colours": asked}}

    def scorer_identity(self) -> dict:
        """Beside the common keys "detector", "detector_revision", "official", "colours", "colours_revision",
        "colours_dtype". Raises UserError where weights are missing."""
        from bench.scorers.geneval.scorer import identity_of, parts_at

        if self._identity is None:
            own = self._detector.identity | self._colours.identity if self._detector and self._colours else None
            self._identity = identity_of(self.version, own or parts_at(None, self.torch_device()))
        return dict(self._identity)

    def _scorers(self) -> "tuple[Detector, Colours]":
        from bench.scorers.geneval.colours import Colours
        from bench.scorers.geneval.detector import Detector

        if self._detector is None:
            self._detector = Detector.load(None, self.torch_device())
        if self._colours is None:
            self._colours = Colours.load(None, self.torch_device())
        return self._detector, self._colours


def evidence(verdict: Verdict, spec: dict) -> dict:
    """What a verdict saw, in the fields of upstream's result lines: "reason", "metadata" and "details" (both JSON
    texts)."""
    return {"reason": verdict.reason, "metadata": json.dumps(spec), "details": json.dumps(verdict.evidence["boxes"])}
