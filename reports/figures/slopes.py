"""The picture of the panel of reward hacking: each measure from the starting policy to the end of training."""

import textwrap

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.dots import Dot, Measure, dots
from reports.figures.looks import GREY, colours, labels, markers
from reports.figures.style import spread_labels, style
from reports.findings.hacking import Move, Moves
from reports.format import csv_text, exact, many
from reports.run.load import Run

ACROSS = 4
FIELDS = ("method", "rewards", "measure", "trained_on", "start", "end", "change", "low", "high", "p", "verdict")


def to_csv(moves: list[Moves]) -> str:
    """What the picture is drawn from, a line per method and measure, in displayed units."""
    lines = []
    for one in moves:
        for move in one.moves:
            change = move.change
            values = (move.start, move.end, change.estimate, change.low, change.high, change.p)
            cells = (one.method, one.rewards, move.measure, int(move.trained), *map(exact, values), move.word)
            lines.append(dict(zip(FIELDS, cells, strict=True)))
    return csv_text(FIELDS, lines)


def slopes(run: Run, moves: list[Moves]) -> Figure | None:
    """One panel per measure, one line per method (a row each where they are many), the interval of the difference at its
    end. None without a measure to compare."""
    measures = list(dict.fromkeys(move.measure for one in moves for move in one.moves))
    if len(measures) < 2:
        return None
    found = {
        name: {one.method: move for one in moves for move in one.moves if move.measure == name} for name in measures
    }
    title = f"From the starting policy to the end of training ({run.title})"
    note = f"{title}; filled: resolved, or no test; bars: 95% interval of the difference"
    if many(one.method for one in moves):
        return dots(run, [_measure(name, own) for name, own in found.items()], f"{note}; dashed: the starting policy")
    palette, shapes = colours(run), markers(run)
    with style():
        across = min(ACROSS, len(measures))
        down = -(-len(measures) // across)
        figure, axes = plt.subplots(
            down, across, figsize=(3.0 * across, 2.7 * down + 0.35), squeeze=False, layout="constrained"
        )
        for ax in axes.flat[len(measures) :]:
            ax.set_visible(False)
        for ax, measure in zip(axes.flat, measures, strict=False):
            _panel(ax, run, measure, found[measure], palette, shapes)
        figure.suptitle(note, fontsize=9, color="#555555", x=0.01, ha="left")
    return figure


def _measure(title: str, found: dict[str, Move]) -> Measure:
    ends = {name: Dot(move.end, *_bar(move), _told(move)) for name, move in found.items()}
    return Measure(title, next(iter(found.values())).start, ends)


def _bar(move: Move) -> tuple[float, float]:
    """The interval of the change around the end; the trained reward's change is not from its start."""
    before = move.end - move.change.estimate
    return before + move.change.low, before + move.change.high


def _told(move: Move) -> bool:
    return "resolved" in move.word and move.word != "unresolved" or not move.change.known


def _panel(
    ax: Axes, run: Run, measure: str, found: dict[str, Move], palette: dict[str, str], shapes: dict[str, str]
) -> None:
    ends, names = [], labels(run, 14)
    for i, (name, move) in enumerate(found.items()):
        colour, x = palette.get(name, GREY), 1 + 0.035 * (i - (len(found) - 1) / 2)
        ax.plot([0, x], [move.start, move.end], color=colour, linewidth=1.6, alpha=0.9)
        if move.change.known:
            ax.vlines(x, *_bar(move), color=colour, linewidth=1.4)
        ax.plot(
            x,
            move.end,
            shapes.get(name, "o"),
            color=colour,
            markersize=5,
            markerfacecolor=colour if _told(move) else "white",
        )
        ends.append((1.09, float(move.end), names[name], colour))
    ax.set_xlim(-0.08, 1.12)
    ax.set_xticks([0, 1], ["start", "end"])
    ax.margins(y=0.12)
    ax.grid(False, axis="x")
    ax.set_title(textwrap.fill(measure, 27, break_long_words=False), fontsize=8.8)
    spread_labels(ax, ends, gap=0.075)
