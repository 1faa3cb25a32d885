"""DPG-Bench (github TencentQQGYLab/ELLA @ 3c228f1dc6c4, dpg_bench/; arXiv 2403.05135): its prompts, its question graph
and its rules.

A vision-language model answers the questions (mPLUG in the published scores); here that is anything called as `Answer`.
The rules are dpg_rule.py. Two benchmarks: DPG reproduces the published loader, which loses the table's first row and so
one prompt; DPGFixed does not.
"""

import csv
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from PIL import Image

from bench.benchmarks.base import PictureBenchmark
from bench.benchmarks.dpg_rule import (
    SCALE,
    Question,
    answer_score,
    as_spec,
    crop_score,
    load_items,
    questions_of,
    zero_dependents,
)
from bench.benchmarks.geneval import only_split
from bench.sources import assets
from htgrpo.base.errors import UserError
from htgrpo.base.files import read_jsonl
from htgrpo.base.prompts import Prompt

if TYPE_CHECKING:
    from bench.scorers.base import Scorer

Answer = Callable[[Sequence[Image.Image], Sequence[str]], Sequence[str]]
"""answer(images, questions) -> one answer text for every pair of a picture and a question, in order."""
JUDGE = "mplug_vqa"


class ScorerAnswers:
    """The answers of a scorer whose prompts are questions and whose evidence holds an "answer" (mplug_vqa)."""

    def __init__(self, scorer: "Scorer"):
        self.scorer = scorer

    def __call__(self, images: Sequence[Image.Image], questions: Sequence[str]) -> list[str]:
        """See Answer. Raises RuntimeError with the scorer's sentence where a question stayed without an answer."""
        judged = self.scorer.score(images, questions)
        for one, question in zip(judged, questions, strict=True):
            if one.error:
                raise RuntimeError(f"no answer to {question!r}: {one.error}")
        return [one.evidence["answer"] for one in judged]


class DPG(PictureBenchmark):
    """Dense prompts; an image scores the part of its questions that hold after zeroing; the headline is 100 x the mean.

    answer, identity: what answers the questions, and its {"name", "version", "weights_revision"}; by default mPLUG,
    started when the first picture is judged.
    """

    name, title, world, version = "dpg", "DPG-Bench", "natural", "1"
    categories, aggregate, scale, published = ("dense",), "item_mean", SCALE, 1065
    top = 1.0
    published_samples = 4
    pictures = "dpg"
    mode: ClassVar[str] = "upstream"

    def __init__(self, answer: Answer | None = None, identity: dict[str, Any] | None = None, device: str | None = None):
        if (answer is None) != (identity is None):
            raise UserError(
                "DPG-Bench got only one of `answer` and `identity`: give what answers the questions and what it is, or "
                "neither"
            )
        self._answer, self._identity, self.device = answer, identity, device
        self._opened: Scorer | None = None

    @cached_property
    def _items(self) -> dict[str, list[Question]]:
        """The questions of every prompt, those left out excepted."""
        return {item: questions for item, questions in self._table.items() if item not in self.left_out}

    @cached_property
    def _table(self) -> dict[str, list[Question]]:
        return load_items(read_table(assets.asset("dpg_questions")), self.mode)

    @cached_property
    def left_out(self) -> frozenset[str]:
        """Prompts that the published loader cannot score, whatever the answers: after it lost a row, a question's first
        parent is missing, or no question is left. Empty in `fixed` mode."""
        if self.mode != "upstream":
            return frozenset()
        lost = {item for item, questions in self._table.items() if never_scored(questions)}
        return frozenset(lost | {line["id"] for line in _texts() if line["id"] not in self._table})

    def prompts(self, split: str) -> list[Prompt]:
        """The published prompts with their questions, in upstream's order of files. Raises UserError without the
        assets."""
        only_split(self.name, split)
        prompts = []
        for line in _texts():
            if line["id"] in self.left_out:
                continue
            if line["id"] not in self._items:
                raise UserError(
                    f"the DPG-Bench table has no question about {line['id']!r}: take upstream's whole dpg_bench.csv"
                )
            prompts.append(Prompt(line["id"], line["prompt"], "dense", {"questions": as_spec(self._items[line["id"]])}))
        return prompts

    def drawn(self, split: str) -> list[Prompt]:
        """All published prompts, without their questions: a picture is made for each, whatever the loader leaves
        out."""
        only_split(self.name, split)
        return [Prompt(line["id"], line["prompt"], "dense", {}) for line in _texts()]

    def judge(self, pictures: Sequence[Image.Image], prompts: Sequence[Prompt]) -> list[dict]:
        self.check_batch(pictures, prompts)
        questions = [questions_of(prompt.spec) for prompt in prompts]
        pairs = [(picture, question.text) for picture, asked in zip(pictures, questions) for question in asked]
        answers = self._ask()([picture for picture, _ in pairs], [text for _, text in pairs])
        if len(answers) != len(pairs):
            raise RuntimeError(f"{len(pairs)} questions got {len(answers)} answers")
        said = iter(answers)
        return [record(asked, [next(said) for _ in asked], self.mode) for asked in questions]

    def asks(self) -> tuple[str, ...]:
        return (JUDGE,)

    def _ask(self) -> Answer:
        if self._answer is None:
            from bench.scorers.opening import open_scorer

            self._opened = open_scorer(JUDGE, self.torch_device())
            self._answer = ScorerAnswers(self._opened)
        return self._answer

    def trust(self) -> None:
        self._ask()

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._answer = self._opened = None

    def scorer_identity(self) -> dict:
        """Beside the common keys "mode", "questions" (the table's digest) and "left_out". Raises UserError where
        weights are missing."""
        if self._identity is None:
            from bench.scorers.opening import identity_of

            self._identity = identity_of(JUDGE)
        return {
            **self._identity,
            "mode": self.mode,
            "questions": assets.named("dpg_questions").digest,
            "left_out": sorted(self.left_out),
        }


class DPGFixed(DPG):
    """DPG-Bench with every row of its table and every prompt."""

    name, title, mode = "dpg_fixed", "DPG-Bench (fixed loader)", "fixed"


def _texts() -> list[dict]:
    return read_jsonl(assets.asset("dpg_prompts"))


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a dpg_bench.csv. Raises UserError where it is no such table."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            return list(csv.DictReader(stream, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{str(path)!r} is not a CSV table ({error}): take upstream's dpg_bench.csv") from error


def never_scored(questions: Sequence[Question]) -> bool:
    """Whether the published evaluation fails for an item whatever the answers: some question's first parent is not in
    it."""
    known = {question.id for question in questions}
    return any(question.parents and question.parents[0] not in known for question in questions)


def record(questions: Sequence[Question], answers: Sequence[str], mode: str) -> dict:
    """One image's record: its score after zeroing, and for every question the answer's score before and after zeroing.
    Raises dpg_rule.MissingParent where the published evaluation fails."""
    raw = {question.id: answer_score(answer) for question, answer in zip(questions, answers, strict=True)}
    zeroed = zero_dependents(questions, raw)
    seen = [
        {
            "id": q.id,
            "category": q.category,
            "detailed": q.detailed,
            "text": answer,
            "answer": int(raw[q.id]),
            "score": zeroed[q.id],
        }
        for q, answer in zip(questions, answers)
    ]
    return {"score": crop_score(questions, raw), "evidence": {"mode": mode, "questions": seen}}


def item_of(path: Path) -> str:
    """The prompt that a picture file belongs to: its name up to the first dot."""
    return Path(path).name.split(".")[0]
