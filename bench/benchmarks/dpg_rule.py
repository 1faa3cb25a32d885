"""DPG-Bench's rules, apart from the model that answers the questions.

Restated from github TencentQQGYLab/ELLA @ 3c228f1dc6c4, dpg_bench/ (Apache-2.0; paper arXiv 2403.05135). Pure
functions; the embedded world and the real benchmark both score through them. Two modes:

upstream  as published: the loader loses the table's first row, and an item with a missing parent is left out.
fixed     every row counts.

Which answers the categories are means of, in either mode, is said by reports/run/questions.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from htgrpo.base.errors import UserError, suggest

MODES = ("upstream", "fixed")
SCALE = 100.0


@dataclass(frozen=True)
class Question:
    """One question. id: proposition id (from 1); parents: ids whose "no" makes this one "no"; label: the `tuple`
    column.
    """

    id: int
    text: str
    parents: tuple[int, ...]
    label: str

    @property
    def detailed(self) -> str:
        """The L2 category: the label up to its bracket, e.g. "attribute - color"."""
        return self.label.split("(")[0].strip()

    @property
    def category(self) -> str:
        """The L1 category: the detailed one up to its first dash, e.g. "attribute"."""
        return self.detailed.split("-")[0].strip()


class MissingParent(Exception):
    """A question names a parent that its item does not have (upstream's loader causes this for one item)."""


def as_spec(questions: Iterable[Question]) -> list[dict]:
    """JSON values of questions; questions_of reads them back."""
    return [{"id": q.id, "question": q.text, "parents": list(q.parents), "tuple": q.label} for q in questions]


def questions_of(spec: dict) -> list[Question]:
    """The question graph of a prompt's specification."""
    return [Question(q["id"], q["question"], tuple(q["parents"]), q["tuple"]) for q in spec["questions"]]


def load_items(rows: Iterable[Mapping[str, str]], mode: str) -> dict[str, list[Question]]:
    """Questions by item, in table order, from rows with the columns of dpg_bench.csv (item_id, proposition_id,
    dependency, tuple, question_natural_language).

    In `upstream` mode the first row is lost, as in the published loader. In `fixed` mode every parent must exist. Where
    an item repeats a proposition, the later row stands in the earlier one's place, as in the published loader. Raises
    UserError for a missing column, a malformed number, an unknown mode, or (fixed) a missing parent.
    """
    if mode not in MODES:
        raise suggest(mode, MODES, "DPG-Bench mode")
    items: dict[str, dict[int, Question]] = {}
    for number, row in enumerate(rows):
        if mode == "upstream" and number == 0:
            continue
        try:
            parents = tuple(int(part) for part in str(row["dependency"]).split(",") if int(part))
            question = Question(int(row["proposition_id"]), row["question_natural_language"], parents, row["tuple"])
            items.setdefault(str(row["item_id"]), {})[question.id] = question
        except (KeyError, ValueError) as error:
            raise UserError(
                f"row {number} of the DPG-Bench table cannot be read ({error}): it needs item_id, proposition_id "
                "(a number), dependency (numbers with commas, 0 = none), tuple and question_natural_language; "
                "take upstream's dpg_bench.csv"
            ) from error
    if mode == "fixed":
        for item, questions in items.items():
            missing = {parent for q in questions.values() for parent in q.parents} - questions.keys()
            if missing:
                raise UserError(
                    f"item {item!r} of the DPG-Bench table depends on questions it does not have ({sorted(missing)}): "
                    "take upstream's whole dpg_bench.csv"
                )
    return {item: list(questions.values()) for item, questions in items.items()}


def answer_score(answer: str) -> float:
    """1.0 for exactly "yes", else 0.0; case and blanks count."""
    return 1.0 if answer == "yes" else 0.0


def zero_dependents(questions: Sequence[Question], scores: Mapping[int, float]) -> dict[int, float]:
    """Scores by question id after zeroing: in table order, a question with a parent whose score is 0 *by then* becomes
    0.

    So a zero cascades down where parents precede their children, and does not where they follow. Raises MissingParent.
    """
    result = dict(scores)
    for question in questions:
        for parent in question.parents:
            if parent == 0:
                continue
            if parent not in result:
                raise MissingParent(f"question {question.id} depends on {parent}, which its item does not have")
            if result[parent] == 0:
                result[question.id] = 0.0
                break
    return result


def crop_score(questions: Sequence[Question], scores: Mapping[int, float]) -> float:
    """One image's score in 0..1: the mean over its questions after zeroing. Raises MissingParent; UserError without
    questions.
    """
    if not questions:
        raise UserError("a DPG-Bench item has no questions, so it has no score: take upstream's whole dpg_bench.csv")
    zeroed = zero_dependents(questions, scores)
    return sum(zeroed[question.id] for question in questions) / len(questions)


def crop_boxes(resolution: int, count: int = 4) -> list[tuple[int, int, int, int]]:
    """The first `count` of the four squares (x1, y1, x2, y2) of a 2 x 2 grid picture: row by row. Raises UserError
    outside 1..4.
    """
    if not 1 <= count <= 4 or resolution < 1:
        raise UserError(
            f"{count} crops of {resolution} px were asked for: "
            "a DPG-Bench grid has 1 to 4 square images of at least 1 px"
        )
    corners = [(0, 0), (resolution, 0), (0, resolution), (resolution, resolution)]
    return [(x, y, x + resolution, y + resolution) for x, y in corners[:count]]
