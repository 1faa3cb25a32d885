"""The look of all figures: quiet axes, labels beside curves, and bytes that do not depend on the day."""

import io
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  (the backend is chosen first)
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from reports.figures.looks import FAINT, INK  # noqa: E402
from reports.format import MANY  # noqa: E402

DPI = 160
LINE = 0.14
"""Inches of a label's line beside a curve."""
WIDTH = 0.3
"""Of a label beside a curve, as a part of the axes."""
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.labelsize": 9, "axes.edgecolor": "#777777", "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.labelcolor": INK, "text.color": INK,
    "xtick.color": "#555555", "ytick.color": "#555555", "xtick.labelsize": 8, "ytick.labelsize": 8, "axes.grid": True,
    "grid.color": FAINT, "grid.linewidth": 0.7, "axes.axisbelow": True, "lines.linewidth": 1.8,
    "figure.facecolor": "white", "savefig.facecolor": "white", "pdf.fonttype": 42, "svg.hashsalt": "reports",
    "svg.fonttype": "none",
}  # fmt: skip


def style() -> AbstractContextManager[Any]:
    """Context manager with the look of the report."""
    return plt.rc_context(_STYLE)


def tall(height: float, ends: int) -> float:
    """Inches of a panel with the labels of `ends` curves beside it: `height`, more where they would not fit."""
    return max(height, LINE * ends + 0.8)


def bare(ax: Axes) -> None:
    """Takes ticks, grid and frame off an axis that holds pictures."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)


KINDS: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
}
"""Formats of a figure, with what must not stand in it."""


_PART = re.compile(rb'(?<=["#])[A-Za-z]?[0-9a-f]{10}(?=[")])')


def rendered(figure: Figure, kinds: Sequence[str] = ("png", "pdf")) -> dict[str, bytes]:
    """{kind: bytes} of `figure`, which is closed; no dates inside: equal figures give equal bytes."""
    out = {}
    with style():
        figure.set_dpi(DPI)
        figure.draw_without_rendering()
        figure.set_layout_engine(None)  # laid out by now; no format need do it again
        for kind in kinds:
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, dpi=DPI, metadata=KINDS[kind])
            out[kind] = _in_order(stream.getvalue()) if kind == "svg" else stream.getvalue()
    plt.close(figure)
    return out


def _in_order(svg: bytes) -> bytes:
    """`svg` with its parts named in order: matplotlib names them by hashes of numbers whose last bit a layout may
    change, though they are written with six digits."""
    names: dict[bytes, bytes] = {}
    return _PART.sub(lambda found: names.setdefault(found[0], b"part%d" % len(names)), svg)


def spread_labels(ax: Axes, ends: list[tuple[float, float, str, str]], gap: float = 0.06) -> None:
    """Writes labels beside the ends of curves: (x, y in data units, text, colour).

    Each stands at its own end; those that would overlap are moved apart in height. Where they are many, all stand in one
    column beside the axes, each with a thin line to its end.
    """
    ax.autoscale_view()
    to_axes = ax.transData + ax.transAxes.inverted()
    places = [to_axes.transform((x, y)) for x, y, _, _ in ends]
    points = sorted((float(x), float(y), *words[2:]) for (x, y), words in zip(places, ends, strict=True))
    if sum(bool(text) for _, _, text, _ in points) > MANY:
        _column(ax, sorted((point for point in points if point[2]), key=lambda point: point[1]), gap)
        return
    while points:
        near = [point for point in points if point[0] - points[0][0] < WIDTH]
        points = points[len(near) :]
        near.sort(key=lambda point: point[1])
        heights = _apart([point[1] for point in near], gap)
        for height, (x, _, text, colour) in zip(heights, near, strict=True):
            # on a ground of its own, since the line of another method may run on behind it
            ground = {"facecolor": "#ffffff", "alpha": 0.75, "linewidth": 0, "pad": 0.4}
            place: dict[str, Any] = {"xycoords": "axes fraction", "va": "center", "bbox": ground}
            ax.annotate(text, (x + 0.018, height), color=colour, fontsize=8.5, fontweight="bold", **place)


def _column(ax: Axes, points: list[tuple[float, float, Any, Any]], gap: float) -> None:
    for height, (x, y, text, colour) in zip(_apart([point[1] for point in points], gap), points, strict=True):
        line = {
            "arrowstyle": "-",
            "color": colour,
            "linewidth": 0.6,
            "alpha": 0.6,
            "shrinkA": 1,
            "shrinkB": 0,
            "relpos": (0, 0.5),
        }
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "axes fraction", "va": "center"}
        ax.annotate(
            text, (x, y), (1.05, height), color=colour, fontsize=8, fontweight="bold", arrowprops=line, **place
        )  # fmt: skip


def _apart(heights: list[float], gap: float) -> list[float]:
    """`heights` (ascending, parts of the axes) moved as little as needed to stand `gap` apart, less where the axes are
    full: clusters spread about their centre, within the axes."""
    gap = min(gap, 1 / max(1, len(heights) - 1))

    def within(centre: float, count: int) -> tuple[float, int]:
        half = gap * (count - 1) / 2
        return min(max(centre, half), 1 - half), count

    clusters = [within(h, 1) for h in heights]
    merged = True
    while merged:
        merged = False
        for i in range(len(clusters) - 1):
            (a, n), (b, m) = clusters[i], clusters[i + 1]
            if b - a < gap * (n + m) / 2 - 1e-9:
                clusters[i : i + 2] = [within((a * n + b * m) / (n + m), n + m)]
                merged = True
                break
    return [centre + (k - (count - 1) / 2) * gap for centre, count in clusters for k in range(count)]
