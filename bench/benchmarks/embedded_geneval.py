"""GenEval in the embedded worlds: its categories, wording and decision rule, on the findings of the exact detector.

Pictures of any size are judged: the detector resizes those of another size than the world's by area
(htgrpo/world/detector.py), and each verdict's evidence then says so. A policy that has never seen this world is judged
like any other; its score says how well it draws this world's shapes, and is no score of GenEval itself.
"""

from collections.abc import Sequence
from typing import ClassVar

from PIL import Image

from bench.benchmarks.base import PictureBenchmark
from bench.scorers.geneval.rule import TASKS, judge
from bench.scorers.pixels import by_size
from htgrpo.base.prompts import Prompt
from htgrpo.world.detector import Detection, detect
from htgrpo.world.prompts import split_prompts
from htgrpo.world.world import TINY, World, find

DETECTOR = {"name": "embedded detector", "version": "1", "weights_revision": None}


def resized(world: World, picture: Image.Image) -> dict:
    """What a verdict's evidence says about the size: {"resized_from", "resized_to"} ([H, W] each) for pictures the
    detector had to resize; boxes are in pixels of the latter."""
    width, height = picture.size
    side = world.image
    return {} if (width, height) == (side, side) else {"resized_from": [height, width], "resized_to": [side, side]}


def told(found: Sequence[Detection]) -> list[list]:
    """Objects as a verdict's evidence lists them: [class, colour, x1, y1, x2, y2, score] each, best first."""
    return [[item.cls, item.colour, *item.box, item.score] for item in found]


def found_in(world: World, pictures: Sequence[Image.Image]) -> list[list[Detection]]:
    """The objects of every picture, best first."""
    found: dict[int, list[Detection]] = {}
    for places, images in by_size(pictures):
        found.update(zip(places, detect(world, images), strict=True))
    return [found[place] for place in range(len(pictures))]


class EmbeddedGenEval(PictureBenchmark):
    """Six tasks; an image is right or wrong; the headline is the unweighted mean of the six task scores (0..1)."""

    name, title, world, version = "embedded_geneval", "GenEval (embedded world)", "embedded", "1"
    noise = "geneval"
    categories, aggregate, scale = TASKS, "category_mean", 1.0
    top = 1.0
    within: ClassVar[str] = TINY

    def prompts(self, split: str) -> list[Prompt]:
        return [prompt for prompt in split_prompts(find(self.within), split) if prompt.category in TASKS]

    def judge(self, pictures: Sequence[Image.Image], prompts: Sequence[Prompt]) -> list[dict]:
        self.check_batch(pictures, prompts)
        records = []
        for picture, found, prompt in zip(pictures, found_in(find(self.within), pictures), prompts, strict=True):
            verdict = judge(found, prompt.spec, lambda item: item.colour)
            evidence = {
                "reason": verdict.reason,
                **verdict.evidence,
                "found": told(found),
                **resized(find(self.within), picture),
            }
            records.append({"score": float(verdict.correct), "evidence": evidence})
        return records

    def scorer_identity(self) -> dict:
        return dict(DETECTOR)


class EmbeddedLargeGenEval(EmbeddedGenEval):
    """The same in the large world."""

    name, title, within = "embedded_large_geneval", "GenEval (large embedded world)", "large"
