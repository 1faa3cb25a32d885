"""The paper's tables as Markdown and CSV: a line of the paper's numbers and a line of ours for every row, reasons
below."""

import csv
import io
import math
from itertools import groupby
from string import ascii_lowercase

from reports.format import CHECKPOINTS_ONLY, half_width, number, table
from reports.paper.settings import CHOSEN, DIFFERS, SAME, SILENT, UNKNOWN, Setting
from reports.paper.tables import NO_ROW, Cell, Line, PaperTable
from reports.statistics.stats import LEVEL

OTHER = "†"
"""Marks a number of something else than what the paper measured: another benchmark, a part of it, random weights."""
GROUPS = {"mmada": "MMaDA-8B", "lumina-dimoo": "Lumina-DiMOO", "other models": "other models"}
FIELDS = [
    "table",
    "group",
    "row",
    "method",
    "column",
    "paper",
    "paper_note",
    "section",
    "estimate",
    "low",
    "high",
    "claim",
    "size",
    "note",
]


class Reasons:
    """Letters for the reasons of empty cells."""

    def __init__(self):
        self.letters: dict[str, str] = {}

    def mark(self, reason: str) -> str:
        """The letter of `reason`, in parentheses."""
        count = len(self.letters)
        new = ascii_lowercase[count] if count < 26 else f"z{count - 25}"
        return f"({self.letters.setdefault(reason, new)})"

    def notes(self) -> str:
        """Every letter with its reason."""
        return "\n".join(f"- ({letter}) {reason}" for reason, letter in self.letters.items())


def markdown(laid: PaperTable) -> str:
    """The table, what its letters mean, and what its numbers claim."""
    reasons, rows = Reasons(), []
    for group, lines in groupby(laid.lines, key=lambda line: line.group):
        rows += _group(group, list(lines), reasons)
    parts = [
        f"## {laid.title}",
        table(["", "", *laid.columns.values()], rows, left=2),
        reasons.notes(),
        claims(laid),
        laid.remark,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _group(group: str, lines: list[Line], reasons: Reasons) -> list[list[str]]:
    """The rows of one backbone. Where nothing is measured for one and the same reason, that is said once."""
    cells = [cell for line in lines for cell in line.cells.values()]
    empty = {cell.why for cell in cells} if all(cell.measured is None for cell in cells) else set()
    once = len(empty) == 1
    said = [reasons.mark(empty.pop())] * len(lines[0].cells) if once else [""] * len(lines[0].cells)
    rows = [[f"**{GROUPS.get(group, group)}**", "here" if once else "", *said]]
    for line in lines:
        values, name = list(line.cells.values()), line.name
        if any(cell.printed_why != NO_ROW for cell in values):
            rows.append([name, "paper", *(cell.printed or reasons.mark(cell.printed_why) for cell in values)])
            name = ""
        if not once:
            about = list(dict.fromkeys(text for cell in values for text in (cell.note, _size(cell)) if text))
            rows.append(
                [name, f"here: {'; '.join(about)}" if about else "here", *(_ours(cell, reasons) for cell in values)]
            )
    return rows


def _size(cell: Cell) -> str:
    """Prompts, pictures and coverage; coverage alone where the note has said the others."""
    said, _, judged = cell.size.rpartition(", ")
    return judged if said in cell.note else cell.size


def _ours(cell: Cell, reasons: Reasons) -> str:
    if cell.measured is None:
        return reasons.mark(cell.why)
    interval = cell.measured
    if not math.isfinite(interval.estimate):
        return reasons.mark(interval.note or "no value")
    text = number(interval.estimate, cell.scale) + OTHER * bool(cell.note)
    return f"{text} {half_width(interval, cell.scale)}" if interval.known else f"{text} {reasons.mark(interval.note)}"


def claims(laid: PaperTable) -> str:
    """What our numbers are about; empty without any."""
    cells = [cell for line in laid.lines for cell in line.cells.values() if cell.measured is not None]
    if not cells:
        return "Nothing of this table was measured here."
    kinds = {cell.claim for cell in cells}
    text = [f"± half of the {LEVEL:.0%} interval."]
    if "checkpoints" in kinds:
        text.append(f"Intervals over prompts speak about {CHECKPOINTS_ONLY}.")
    if "methods" in kinds:
        text.append("Overall intervals of three or more training seeds are over seeds and prompts.")
    other = list(dict.fromkeys(cell.note for cell in cells if cell.note))
    if other:
        which = ", ".join(other)
        text.append(
            f"{OTHER} These numbers are of {which}, which is not what the paper measured: none may be set against its "
            "numbers."
        )
    return " ".join(text)


def settings_markdown(name: str, found: list[Setting]) -> str:
    """The settings of one run beside the paper's, and beside our choice where the paper gives none."""
    unknown = [s.name for s in found if s.verdict == UNKNOWN]
    silent = [s for s in found if s.verdict == SILENT]
    same = [s.name for s in found if s.verdict == SAME]
    parts = [f"## Settings of {name} beside the paper's"]
    rows = [[s.name, s.paper, s.here] for s in found if s.verdict in (DIFFERS, CHOSEN)]
    none = "None of those recorded differs." if unknown else "None differs."
    parts.append(table(["differs", "paper", "here"], rows, left=3) if rows else none)
    if unknown:
        parts.append(f"Not recorded, so that nothing is known of them: {', '.join(unknown)}.")
    if silent:
        parts.append(
            "The paper does not give these, and the run has what `--preset paper` has: "
            + "; ".join(f"{s.name} (here {s.here})" for s in silent)
            + "."
        )
    if same:
        parts.append(f"As in the paper: {', '.join(same)}.")
    return "\n\n".join(parts) + "\n"


def to_csv(laid: PaperTable) -> str:
    """One row per cell; numbers at full precision."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
    writer.writeheader()
    for line in laid.lines:
        for name, cell in line.cells.items():
            ours = cell.measured
            row = {
                "table": laid.key,
                "group": line.group,
                "row": line.name,
                "method": line.method,
                "column": name,
                "paper": cell.printed,
                "paper_note": cell.printed_why,
                "section": cell.section,
                "claim": cell.claim,
                "size": cell.size,
                "note": cell.why or cell.note or (ours.note if ours else ""),
            }
            values = {"estimate": ours.estimate, "low": ours.low, "high": ours.high} if ours else {}
            writer.writerow({**row, **{key: f"{v:.10g}" for key, v in values.items() if math.isfinite(v)}})
    return stream.getvalue()
