"""Small pieces of text shared by all outputs: numbers, intervals, Markdown tables, labels."""

import csv
import io
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from htgrpo.base.records import BASE

if TYPE_CHECKING:
    from reports.statistics.stats import Interval

NONE = "–"
WIDTH = 80
MANY = 8
"""Trained methods up to which every pair is shown one by one, and figures have room for names as papers write them."""
MARGIN = 0.02
"""Share of a benchmark's scale within which two policies count as equal, where a run names none."""
CHECKPOINTS_ONLY = "these checkpoints, not these methods"


def number(value: float, scale: float, signed: bool = False) -> str:
    """A score: 3 decimals on the unit scale, 1 on a scale of 100, with a true minus sign."""
    if not math.isfinite(value):
        return NONE
    text = f"{value:+.{decimals(scale)}f}" if signed else f"{value:.{decimals(scale)}f}"
    return text.replace("-", "−")


def decimals(scale: float) -> int:
    """Printed decimals for a benchmark of this scale."""
    return 3 if scale <= 1 else 1


def bounds(interval: "Interval", scale: float, signed: bool = False) -> str:
    """ "[low, high]", or a dash."""
    if not interval.known:
        return NONE
    return f"[{number(interval.low, scale, signed)}, {number(interval.high, scale, signed)}]"


def half_width(interval: "Interval", scale: float) -> str:
    """ "±0.031" (half the interval's length), or nothing."""
    return f"±{(interval.high - interval.low) / 2:.{decimals(scale)}f}" if interval.known else ""


def probability(p: float) -> str:
    """A p value to three decimals, four where three would hide on which side of 0.05 it lies."""
    if not math.isfinite(p):
        return NONE
    if 0.0495 <= p < 0.0505:
        return f"{p:.4f}"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def amount(value: float, digits: int = 0) -> str:
    """A cost with thousands separated by narrow commas."""
    return f"{value:,.{digits}f}".replace("-", "−") if math.isfinite(value) else NONE


def short(name: str, limit: int = 24) -> str:
    """`name`, cut in the middle when longer than `limit`."""
    return name if len(name) <= limit else f"{name[: limit - 9]}…{name[-8:]}"


def many(methods: Iterable[str]) -> bool:
    """Whether these are more than MANY, the starting policy not counted."""
    return sum(name != BASE for name in methods) > MANY


def whole(title: str) -> str:
    """A title that can stand in a list: "TraceGRPO, each row once" is "TraceGRPO (each row once)"."""
    first, comma, rest = title.partition(", ")
    return f"{first} ({rest})" if comma else title


def listed(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def table(header: list[str], rows: list[list[str]], left: int = 1) -> str:
    """A padded Markdown table; the first `left` columns are left-aligned, the others right-aligned."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in [header, *rows]]
    widths = [max(3, *(len(line[i]) for line in cells)) for i in range(len(header))]

    def line(values: list[str]) -> str:
        padded = [v.ljust(w) if i < left else v.rjust(w) for i, (v, w) in enumerate(zip(values, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 2) if i < left else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])


def split_columns(header: list[str], rows: list[list[str]], width: int = WIDTH) -> list[str]:
    """One table, or several that each repeat the first column and fit `width`."""
    groups: list[list[int]] = [[]]
    for column in range(1, len(header)):
        tried = [0, *groups[-1], column]
        fits = len(table([header[i] for i in tried], [[r[i] for i in tried] for r in rows]).split("\n", 1)[0]) <= width
        if groups[-1] and not fits:
            groups.append([])
        groups[-1].append(column)
    return [table([header[i] for i in [0, *g]], [[r[i] for i in [0, *g]] for r in rows]) for g in groups]


def wrap(text: str, width: int = WIDTH, hang: str = "") -> str:
    """`text` in lines of at most `width` characters, the later ones indented by `hang`."""
    return textwrap.fill(text, width, subsequent_indent=hang, break_long_words=False, break_on_hyphens=False)


def exact(value: float) -> str:
    """A number for machines, to ten digits; empty where there is none."""
    return f"{value:.10g}" if math.isfinite(value) else ""


def csv_text(fields: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """`rows` as CSV with a header; what a row does not have is empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
