"""The colour and the mark of a verdict, the same in the gallery and on contact sheets."""

import math

import numpy as np

from reports.figures.looks import BAD, GOOD, GREY, HALF
from reports.format import number
from reports.run.blocks import Block


def span(block: Block, scores: np.ndarray) -> tuple[float, float]:
    """The worst and the best score on the scale of colours: 0 and 1 where all raw `scores` lie between, else the
    extremes seen."""
    known = scores[np.isfinite(scores)]
    low, high = (0.0, 1.0) if not len(known) or (known.min() >= 0 and known.max() <= 1) else (known.min(), known.max())
    return (float(low), float(high)) if block.meta["higher_is_better"] else (float(high), float(low))


def tone(score: float, ends: tuple[float, float]) -> str:
    """Red at the worst score, amber half way, green at the best; grey without a score."""
    if not math.isfinite(score):
        return GREY
    worst, best = ends
    share = 2 * min(max((score - worst) / (best - worst), 0.0), 1.0) if best != worst else 2.0
    low, high = (BAD, HALF) if share <= 1 else (HALF, GOOD)
    share -= share > 1
    mixed = [round(int(low[i : i + 2], 16) * (1 - share) + int(high[i : i + 2], 16) * share) for i in (1, 3, 5)]
    return "#" + "".join(f"{value:02x}" for value in mixed)


def ink_on(colour: str) -> str:
    """Black or white, whichever stands out more on a colour (WCAG's relative luminance)."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "#ffffff"


def mark(score: float, block: Block) -> str:
    """A tick or a cross where verdicts are right or wrong, else the score as tables show it; empty without one."""
    if not math.isfinite(score):
        return ""
    return ("✓" if score == 1 else "✗") if block.binary else number(score * block.scale, block.scale)


def legend(block: Block, ends: tuple[float, float]) -> str:
    """What marks and colours mean, in words."""
    if block.binary:
        return "green ✓: correct, red ✗: wrong"
    worst, best = (number(end * block.scale, block.scale) for end in ends)
    return f"number and frame: score, red at {worst}, amber half way, green at {best}"
