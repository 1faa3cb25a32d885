"""DPG-Bench in the embedded worlds: dense prompts, a question graph each, answered from the exact detector's findings.

Pictures of any size are judged, as in embedded_geneval.
"""

from collections.abc import Sequence
from typing import ClassVar

from PIL import Image

from bench.benchmarks.base import PictureBenchmark
from bench.benchmarks.dpg_rule import SCALE, answer_score, crop_score, questions_of, zero_dependents
from bench.benchmarks.embedded_geneval import DETECTOR, found_in, resized, told
from bench.scorers.geneval.rule import relative_position
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt
from htgrpo.world.detector import Detection
from htgrpo.world.prompts import split_prompts
from htgrpo.world.world import TINY, find, shape_of


def answer(check: dict, found: Sequence[Detection]) -> str:
    """ "yes" or "no" to one machine-readable question about the objects found, best first.

    A shape, fill or colour is there when any object shows it; a relation is asked of the best object of each shape,
    under GenEval's position rule. Raises UserError for an unknown kind of question.
    """
    kind = check["kind"]
    if kind == "count":
        yes = len(found) == check["count"]
    elif kind == "relation":
        subject, target = (
            [item.box for item in found if shape_of(item.cls) == check[role]][:1] for role in ("subject", "target")
        )
        yes = any(check["relation"] in relative_position(one, other) for one in subject for other in target)
    elif kind in ("shape", "fill", "colour"):
        same = [item for item in found if shape_of(item.cls) == check["shape"]]
        yes = any(
            kind == "shape" or (item.cls.split()[0] if kind == "fill" else item.colour) == check[kind] for item in same
        )
    else:
        raise UserError(
            f"a question of kind {kind!r} cannot be answered: accepted count, relation, shape, fill, colour"
        )
    return "yes" if yes else "no"


class EmbeddedDPG(PictureBenchmark):
    """Dense prompts; an image scores the part of its questions that hold after zeroing; the headline is 100 x the
    mean."""

    name, title, world, version = "embedded_dpg", "DPG-Bench (embedded world)", "embedded", "1"
    noise = "dpg"
    categories, aggregate, scale = ("dense",), "item_mean", SCALE
    top = 1.0
    within: ClassVar[str] = TINY

    def prompts(self, split: str) -> list[Prompt]:
        return split_prompts(find(self.within), split, "dense")

    def judge(self, pictures: Sequence[Image.Image], prompts: Sequence[Prompt]) -> list[dict]:
        self.check_batch(pictures, prompts)
        records = []
        for picture, found, prompt in zip(pictures, found_in(find(self.within), pictures), prompts, strict=True):
            questions = questions_of(prompt.spec)
            raw = {q["id"]: answer_score(answer(q["check"], found)) for q in prompt.spec["questions"]}
            zeroed = zero_dependents(questions, raw)
            evidence = [
                {"id": q.id, "category": q.category, "text": q.text, "answer": int(raw[q.id]), "score": zeroed[q.id]}
                for q in questions
            ]
            seen = {"questions": evidence, "found": told(found), **resized(find(self.within), picture)}
            records.append({"score": crop_score(questions, raw), "evidence": seen})
        return records

    def scorer_identity(self) -> dict:
        return dict(DETECTOR)


class EmbeddedLargeDPG(EmbeddedDPG):
    """The same in the large world."""

    name, title, within = "embedded_large_dpg", "DPG-Bench (large embedded world)", "large"
