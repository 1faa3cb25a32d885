"""The numbers of the HT-GRPO paper (arXiv 2605.16842) that our copy of it still has, from reports/paper/paper.csv.

The bodies of tables 1, 2, 3 and 5 did not survive in our copy; what is here was read from the running text, whose
section stands beside each number. A row without a value is one that the paper has and whose number is lost, or was
never printed.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

BACKBONE = "mmada"
"""The backbone of all ablations."""
STUDY_TABLE = {"A1": "4a", "A2": "4a", "A3": "5", "A4": "4b", "A5": "4c"}
"""Where the paper shows each ablation study."""
WORDS = ": "
"""Stands in a section before what the paper says of a variant in words, where it gives no number."""


@dataclass(frozen=True)
class Published:
    """One number of the paper, or the place of one.

    table: "1", "2", "3", "5", or a panel of figure 4 ("4a", "4b", "4c"). group: backbone, or "other models". row: the
    name in the table. method: ours for it, "" for other models. variants: of the ablations. bound: "lowest" or
    "highest" of a range, else "". value: as printed, "" where there is none. scale: what a perfect score is.
    """

    table: str
    group: str
    row: str
    method: str
    variants: tuple[str, ...]
    benchmark: str
    column: str
    bound: str
    value: str
    scale: str
    section: str

    @property
    def number(self) -> float:
        """The value; NaN where there is none."""
        return float(self.value or "nan")


@dataclass(frozen=True)
class Mark:
    """What the paper says about one variant: a number (low = high), a range it lies in, or only a word."""

    text: str
    low: float = float("nan")
    high: float = float("nan")


@cache
def published() -> tuple[Published, ...]:
    """All rows of reports/paper/paper.csv in the paper's order."""
    rows = csv.DictReader((files("reports.paper") / "paper.csv").read_text("utf-8").splitlines())
    return tuple(Published(variants=tuple(row.pop("variants").split()), **row) for row in rows)


def mark(study: str, variant: str) -> Mark | None:
    """What the paper says about `variant` where it shows `study`; None when it says nothing, as of variants of ours."""
    rows = [row for row in published() if row.table == STUDY_TABLE.get(study) and variant in row.variants]
    if not rows:
        return None
    if rows[0].bound:
        low, high = sorted(rows, key=lambda row: row.number)
        return Mark(f"{low.value}–{high.value}", low.number, high.number)
    if rows[0].value:
        return Mark(rows[0].value, rows[0].number, rows[0].number)
    return Mark(rows[0].section.partition(WORDS)[2] or "lost")
