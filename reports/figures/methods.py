"""What methods hide and what they train, one row each: the idea of every method in one figure."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports.figures.looks import GREY, INK
from reports.figures.style import style
from reports.findings.explained import Explained
from reports.format import table

SHOWN, TRAINED = "Blues", "Oranges"
TILE, PAIR, GAP, ROW = 0.62, 1.3, 0.28, 0.86
"""Inches: a map, the pair of one update and what is between pairs, a row."""
LEFT = 2.75


def explain(methods: Sequence[Explained], steps: np.ndarray, title: str) -> Figure:
    """A row per method: name, and pairs of maps for up to four of its updates. steps: int [h, w], when each slot was
    revealed."""
    most = max(len(method.moments) for method in methods)
    size = (LEFT + most * (PAIR + GAP) + 0.1, ROW * len(methods) + 1.75)
    with style():
        figure = plt.figure(figsize=size)
        ax = figure.add_axes((0, 0, 1, 1))
        ax.set(xlim=(0, size[0]), ylim=(size[1], 0))
        ax.axis("off")
        ax.text(0.12, 0.2, title, fontsize=11, fontweight="bold", va="center")
        _map(ax, 0.12, 0.42, steps / max(1, int(steps.max())), "RdYlBu", size=0.9)
        words = (
            "Left, the picture: red slots were revealed first, blue ones last. Each row is a method.\nEach pair is the picture "
            "as it is judged at an update, under one context. Blue: what is shown of it (white: hidden).\nOrange: which "
            "tokens are trained under that, deeper where they count more (white: none).\nForwards: for the group of nine "
            "pictures, training three, old and reference one each."
        )
        ax.text(1.2, 0.42, words, fontsize=7.6, va="top", color="#444444", linespacing=1.5)
        for i, method in enumerate(methods):
            _row(ax, method, 1.62 + ROW * i)
    return figure


def _row(ax: Axes, method: Explained, y: float) -> None:
    ax.plot([0.12, ax.get_xlim()[1] - 0.1], [y - 0.1, y - 0.1], color="#E3E3E3", linewidth=0.8)
    ax.text(0.12, y + 0.1, method.title, fontsize=8.4, fontweight="bold", va="center", color=INK)
    ax.text(0.12, y + 0.29, f"{method.name}: {method.objective}, level {method.level}", fontsize=7, va="center")
    ax.text(0.12, y + 0.46, f"K {method.updates}, {method.forwards} forwards", fontsize=7, va="center", color="#555555")
    for j, moment in enumerate(method.moments):
        x = LEFT + j * (PAIR + GAP)
        _map(ax, x, y, moment.shown, SHOWN)
        _map(ax, x + TILE + 0.06, y, moment.trained, TRAINED)
        of = f", context {moment.number} of {moment.contexts}" if moment.contexts > 1 else ""
        ax.text(x, y + TILE + 0.075, f"update {moment.k + 1}{of}", fontsize=6.2, color=GREY, va="center")


def _map(ax: Axes, x: float, y: float, values: np.ndarray, colours: str, size: float = TILE) -> None:
    """A map in a square, white at 0."""
    low = 0.0 if colours == "RdYlBu" else 0.12
    pixels = colormaps[colours](low + (0.82 - low) * values)[..., :3]
    if colours != "RdYlBu":
        pixels[values <= 0] = 1.0
    ax.imshow(pixels, extent=(x, x + size, y + size, y), interpolation="nearest", aspect="auto")
    ax.add_patch(Rectangle((x, y), size, size, fill=False, edgecolor="#999999", linewidth=0.6))


def between(values: Sequence[float], unit: str = "") -> str:
    """The smallest and the largest, or the one there is."""
    low, high = (f"{round(edge, 2):g}" if not unit else f"{edge:.0f}" for edge in (min(values), max(values)))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def words(method: Explained) -> list[str]:
    """What a method hides and trains, as cells: contexts, shown, support, weight."""
    return [
        f"{method.contexts:.3g}",
        between([100 * share for share in method.shown], " %"),
        between([100 * share for share in method.trained], " %"),
        between(method.weights),
    ]


def markdown(methods: Sequence[Explained]) -> str:
    """The same as a table: contexts an update trains on, how much of the picture they show, the part of its tokens that
    is trained, and their weights."""
    heads = ["method", "contexts", "shown", "trained", "weight", "level", "objective", "K", "forwards"]
    rows = [
        [f"{m.title} (`{m.name}`)", *words(m), m.level, m.objective, str(m.updates), str(m.forwards)] for m in methods
    ]
    return table(heads, rows)
