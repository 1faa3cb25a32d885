"""Many methods beside each other: a row each, a panel for each measure, a dot with its interval."""

import textwrap
from dataclasses import dataclass

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.looks import GREY, INK, SOFT, colours, labels, markers
from reports.figures.style import style
from reports.run.load import Run

ACROSS, WIDE, ROW = 7, 1.75, 0.19
"""Panels beside each other; inches of a panel and of a row."""


@dataclass(frozen=True)
class Dot:
    """A value with its interval (NaN where there is none). filled: whether it counts as found."""

    value: float
    low: float
    high: float
    filled: bool = True


@dataclass(frozen=True)
class Measure:
    """One panel. start: the value of the starting policy, a dashed line; dots: by method."""

    title: str
    start: float | None
    dots: dict[str, Dot]


def dots(run: Run, measures: list[Measure], note: str) -> Figure:
    """The panels of `measures`, ACROSS in a row, with the methods that any of them has in the run's order."""
    names = [name for name in run.methods if any(name in measure.dots for measure in measures)]
    across = min(ACROSS, len(measures))
    down = -(-len(measures) // across)
    with style():
        size = (WIDE * across + 1.2, (ROW * len(names) + 0.75) * down + 0.35)
        figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
        for i, (ax, measure) in enumerate(zip(axes.flat, measures, strict=False)):
            _panel(ax, run, measure, names)
            ax.set_yticks(
                range(len(names))[::-1], list(map(labels(run).get, names)) if i % across == 0 else [""] * len(names)
            )
        for ax in axes.flat[len(measures) :]:
            ax.set_visible(False)
        figure.suptitle(textwrap.fill(note, int(14 * size[0])), fontsize=9, color=SOFT, x=0.01, ha="left")
    return figure


def _panel(ax: Axes, run: Run, measure: Measure, names: list[str]) -> None:
    palette, shapes = colours(run), markers(run)
    if measure.start is not None:
        ax.axvline(measure.start, color=GREY, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
    for y, name in zip(range(len(names))[::-1], names, strict=True):
        if dot := measure.dots.get(name):
            colour = palette.get(name, GREY)
            ax.hlines(y, dot.low, dot.high, color=colour, linewidth=1.4)
            face = colour if dot.filled else "white"
            ax.plot(dot.value, y, shapes.get(name, "o"), color=colour, markersize=5, markerfacecolor=face, zorder=3)
    ax.set_ylim(-0.7, len(names) - 0.3)
    ax.set_title(textwrap.fill(measure.title, 20, break_long_words=False), fontsize=8.8)
    ax.xaxis.set_major_locator(plt.MaxNLocator(4))
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0, labelsize=8.5, labelcolor=INK)
