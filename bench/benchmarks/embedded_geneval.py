"""GenEval in the embedded world: its categories, wording and decision rule, on the findings of the exact detector.

Pictures of any size are judged: the detector resizes those of another size than the world's by area (htgrpo/world/detector.py), and
each verdict's evidence then says so. A policy that has never seen this world is judged like any other; its score says how well it
draws this world's shapes, and is no score of GenEval itself.
"""

from torch import Tensor

from bench.benchmarks.base import Benchmark
from bench.benchmarks.geneval_rule import TASKS, judge
from htgrpo.prompts import Prompt
from htgrpo.world.detector import detect
from htgrpo.world.prompts import split_prompts
from htgrpo.world.vocabulary import IMAGE

DETECTOR = {"name": "embedded detector", "version": "1", "weights_revision": None}


def resized(images: Tensor) -> dict:
    """What a verdict's evidence says about the size: {"resized_from": [H, W]} for pictures the detector had to resize."""
    size = list(images.shape[2:])
    return {} if size == [IMAGE, IMAGE] else {"resized_from": size}


class EmbeddedGenEval(Benchmark):
    """Six tasks; an image is right or wrong; the headline is the unweighted mean of the six task scores (0..1)."""

    name, title, world, version = "geneval", "GenEval (embedded world)", "embedded", "1"
    categories, aggregate, scale = TASKS, "category_mean", 1.0

    def prompts(self, split: str) -> list[Prompt]:
        return [prompt for prompt in split_prompts(split) if prompt.category in TASKS]

    def judge(self, images: Tensor, prompts: list[Prompt]) -> list[dict]:
        self.check_batch(images, prompts)
        records = []
        for found, prompt in zip(detect(images), prompts, strict=True):
            verdict = judge(found, prompt.spec, lambda item: item.colour)
            colours = [[item.cls, item.colour] for item in found]
            evidence = {"reason": verdict.reason, **verdict.evidence, "found": colours, **resized(images)}
            records.append({"score": float(verdict.correct), "evidence": evidence})
        return records

    def scorer_identity(self) -> dict:
        return dict(DETECTOR)
