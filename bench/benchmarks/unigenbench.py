"""UniGenBench++ in English (github CodeGoat24/UniGenBench @ 49d0bcebb0b9; arXiv 2510.18701): 600 short prompts with 1,813
testpoints in 10 dimensions, or 600 long ones with more, judged by a model on a server. Data are CC BY 4.0 (Tencent)."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from bench.benchmarks.geneval import only_split
from bench.benchmarks.model_scores import OwnPrompts
from bench.sources.assets import asset
from htgrpo.base.prompts import Prompt

if TYPE_CHECKING:
    from PIL import Image

TORN, MENDED = '"Grammar - Negation" "', '"Grammar - Negation", "'
"""Of row 509 of the long table, which as published is no JSON."""

JUDGED = (
    "data CC BY 4.0 (Tencent); judged at temperature 0 by the model that the scorer's identity names: the published table's judge "
    "is Gemini 2.5 Pro ({}), and other judges' numbers are not on its scale"
)


def dimension(testpoint: str) -> str:
    """The dimension of a testpoint: its name up to the first dash."""
    return testpoint.partition("-")[0].strip()


def read_table(name: str) -> list[Prompt]:
    """The prompts of an asset in upstream's order, each with its testpoints. Raises UserError without it."""
    with open(asset(name), encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    prompts = []
    for row in rows:
        told = json.loads(row["sub_dims_en"].replace(TORN, MENDED))
        spec = {
            "prompt": row["prompt_en"],
            "testpoints": told["Testpoints"],
            "descriptions": told["Testpoint Description"],
        }
        prompts.append(Prompt(row["index"], row["prompt_en"], "", spec))
    return prompts


class UniGenBench(OwnPrompts):
    """The headline is upstream's: the unweighted mean of the ten dimensions' scores, each pooled over its testpoints.

    It is a mean over prompts as well, once every testpoint counts by the inverse of how many its dimension has; a
    picture's score is that sum, which is above 1 for a prompt of rare testpoints. Of a selection of the prompts it is
    an estimate of the whole.
    """

    name, title, world, scorer = "unigenbench", "UniGenBench++ (English, short)", "natural", "unigenbench"
    scale = 100.0
    table: ClassVar[str] = "unigenbench_en"
    axes: ClassVar[dict[str, str]] = {"overall": "mean of ten dimensions", "share": "testpoints that hold"}
    note = JUDGED.format("MMaDA 41.35, Lumina-DiMOO 71.12")
    picture_set, noise, published, published_samples = name, name, 600, 4

    @cached_property
    def _prompts(self) -> list[Prompt]:
        return read_table(self.table)

    @cached_property
    def weights(self) -> dict[str, float]:
        """What a testpoint that holds adds to a picture's score, by dimension."""
        counts = Counter(dimension(name) for prompt in self._prompts for name in prompt.spec["testpoints"])
        return {name: len(self._prompts) / len(counts) / count for name, count in counts.items()}

    def prompts(self, split: str) -> list[Prompt]:
        only_split(self.name, split)
        return self._prompts

    def judge(self, pictures: "Sequence[Image.Image]", prompts: Sequence[Prompt]) -> list[dict]:
        return [one if "error" in one else self._record(one) for one in super().judge(pictures, prompts)]

    def _record(self, judged: dict) -> dict:
        """The record of a judged picture. Evidence: "overall", "share", "testpoints", and "questions", one for the
        dimension of every testpoint and one for its part of it, where it has parts."""
        told = judged["evidence"]["testpoints"]
        holds = [(one["name"], float(one["holds"])) for one in told]
        overall = sum(self.weights[dimension(name)] * value for name, value in holds)
        kinds = [(kind, value) for name, value in holds for kind in dict.fromkeys((dimension(name), name))]
        questions = [{"category": kind, "score": value} for kind, value in kinds]
        seen = {"overall": overall, "share": judged["score"], "testpoints": told, "questions": questions}
        return {"score": overall, "evidence": seen}


class UniGenBenchLong(UniGenBench):
    """The same with long prompts, of which each has 4 to 10 testpoints."""

    name, title = "unigenbench_long", "UniGenBench++ (English, long)"
    picture_set, noise, table = name, name, "unigenbench_en_long"
    note = JUDGED.format("MMaDA 40.10, Lumina-DiMOO 71.81") + "; row 509 of the table is mended"
