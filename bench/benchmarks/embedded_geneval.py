"""GenEval in the embedded world: its categories, wording and decision rule, on the findings of the exact detector."""

from torch import Tensor

from bench.benchmarks.base import Benchmark
from bench.benchmarks.geneval_rule import TASKS, judge
from htgrpo.prompts import Prompt
from htgrpo.world.detector import detect
from htgrpo.world.prompts import split_prompts

DETECTOR = {"name": "embedded detector", "version": "1", "weights_revision": None}


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
            evidence = {"reason": verdict.reason, **verdict.evidence, "found": colours}
            records.append({"score": float(verdict.correct), "evidence": evidence})
        return records

    def scorer_identity(self) -> dict:
        return dict(DETECTOR)
