"""Scores per category, and the forest of paired differences."""

import textwrap
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from htgrpo.base.records import BASE
from reports.figures.dots import Dot, Measure, dots
from reports.figures.looks import FAINT, GREY, INK, SOFT, colours, labels, markers
from reports.figures.style import style
from reports.findings.analysis import Result
from reports.findings.central import central, left_out
from reports.findings.pairs import Pair
from reports.format import many, number, probability
from reports.run.load import Run
from reports.statistics.stats import MIN_SEEDS

ACROSS = 3
"""Panels of the forest beside each other."""


def category_bars(run: Run, result: Result) -> Figure | None:
    """Bars with 95 % intervals (these checkpoints) of the headline and every category, dots where methods are many; None
    without scores."""
    if not result.scores:
        return None
    if many(result.scores):
        return _category_dots(run, result)
    palette, shapes, called = colours(run), markers(run), labels(run)
    names = list(result.scores)
    groups = ["overall", *result.columns]
    with style():
        figure, ax = plt.subplots(
            figsize=(max(7.0, 0.16 * len(groups) * (len(names) + 1.6) + 1.5), 3.9), layout="constrained"
        )
        width = 0.84 / len(names)
        for i, name in enumerate(names):
            score = result.scores[name]
            cells = [score.headline, *(score.columns[c] for c in result.columns)]
            x = np.arange(len(groups)) + (i - (len(names) - 1) / 2) * width
            heights = np.array([c.estimate for c in cells])
            ax.bar(x, heights, width * 0.88, color=palette[name], alpha=0.82, linewidth=0, label=called[name], zorder=2)
            known = np.array([c.known for c in cells])
            low = np.array([c.low for c in cells])[known]
            high = np.array([c.high for c in cells])[known]
            ax.vlines(x[known], low, high, color=INK, linewidth=1.0, zorder=3)
            ax.plot(x, heights, shapes[name], color=INK, markersize=2.4, zorder=4)
        ax.axvspan(-0.5, 0.5, color=FAINT, alpha=0.45, zorder=0, linewidth=0)
        ax.set_xticks(range(len(groups)), [_title(group).replace(" ", "\n") for group in groups])
        ax.get_xticklabels()[0].set_fontweight("bold")
        ax.set_xlim(-0.5, len(groups) - 0.5)
        ax.grid(False, axis="x")
        ax.tick_params(axis="x", length=0)
        ax.set_ylim(0 if min(s.headline.estimate for s in result.scores.values()) >= 0 else None)
        ax.set_title("\n".join(textwrap.wrap(result.block.label, 78)), pad=24)
        ax.legend(
            ncols=len(names),
            frameon=False,
            loc="lower left",
            bbox_to_anchor=(-0.01, 0.99),
            fontsize=8.5,
            handlelength=1.0,
            handleheight=1.0,
            columnspacing=1.4,
            borderaxespad=0.2,
        )
        ax.set_ylabel("score, 95% interval (these checkpoints)")
    return figure


def _title(column: str) -> str:
    return column.removeprefix("questions: ").replace("_", " ")


def _category_dots(run: Run, result: Result) -> Figure:
    cells = {name: {"overall": score.headline, **score.columns} for name, score in result.scores.items()}
    measures = []
    for column in ("overall", *result.columns):
        own = {name: Dot(cell[column].estimate, cell[column].low, cell[column].high) for name, cell in cells.items()}
        measures.append(Measure(_title(column), own[BASE].value if BASE in own else None, own))
    note = f"{result.block.label}: score, 95% interval (these checkpoints)"
    return dots(run, measures, f"{note}; dashed: the starting policy" if BASE in cells else note)


def forest(run: Run, shown: list[Result]) -> Figure | None:
    """Paired differences of the headline, a panel for each of `shown`, every pair one way round in all of them (of many
    methods: against the starting policy and against the best of the first panel, in its order); thin line: these checkpoints,
    thick: these methods. None without a pair."""
    shown = [result for result in shown if result.pairs]
    if not shown:
        return None
    palette, called, best = colours(run), labels(run), shown[0].best
    pairs = list(dict.fromkeys((pair.a, pair.b) for result in shown for pair in central(result, best)))
    left = left_out(shown[0], best, called)
    with style():
        across = min(len(shown), ACROSS)
        down = -(-len(shown) // across)
        size = (4.1 * across + 2.2, ((0.22 if left else 0.3) * len(pairs) + 1.15) * down + (0.6 if left else 0.35))
        figure, axes = plt.subplots(down, across, figsize=size, squeeze=False)
        figure.set_layout_engine("constrained", wspace=0.05, w_pad=0.08)
        for i, (ax, result) in enumerate(zip(axes.flat, shown, strict=False)):
            _panel(ax, result, pairs, palette, bool(left))
            names = [f"{called[a]} − {called[b]}" for a, b in pairs]
            ax.set_yticks(range(len(pairs))[::-1], names if i % across == 0 else [""] * len(pairs))
            ax.tick_params(axis="y", length=0, labelsize=8.8, labelcolor=INK)
        for ax in axes.flat[len(shown) :]:
            ax.set_visible(False)
        if left:
            figure.suptitle(left, fontsize=9, color=SOFT, x=0.01, ha="left")
        figure.legend(handles=_legend(shown), ncols=1 + across, frameon=False, loc="outside lower left", fontsize=8)
    return figure


def _legend(shown: list[Result]) -> list[plt.Line2D]:
    found = [pair for result in shown for pair in result.pairs]
    line = plt.Line2D
    entries = [line([], [], color=INK, linewidth=1.2, label="these checkpoints (prompts vary)")]
    if any(pair.seeds >= MIN_SEEDS for pair in found):
        entries.append(line([], [], color=INK, linewidth=6, alpha=0.28, label="these methods (seeds and prompts vary)"))
    entries.append(line([], [], color=INK, marker="o", linewidth=0, label="resolved, in the better one's colour"))
    entries.append(line([], [], color=INK, marker="o", markerfacecolor="white", linewidth=0, label="unresolved"))
    if any(pair.verdict() == "equal" for pair in found):
        entries.append(line([], [], color=GREY, marker="s", linewidth=0, label="equal within the margin"))
    return entries


def _panel(ax: Axes, result: Result, pairs: list[tuple[str, str]], palette: dict[str, str], grouped: bool) -> None:
    ax.axvline(0, color=SOFT, linewidth=1.0, zorder=1)
    for y in (len(pairs) - i - 0.5 for i in range(1, len(pairs)) if grouped and pairs[i][1] != pairs[i - 1][1]):
        ax.axhline(y, color=FAINT, linewidth=1.2, zorder=1)
    for y, (a, b) in zip(range(len(pairs))[::-1], pairs, strict=True):
        if pair := result.pair(a, b):
            _row(ax, y, pair, result.block.scale, palette)
    ax.set_ylim(-0.7, len(pairs) - 0.3)
    ax.set_title("\n".join([*textwrap.wrap(result.block.title, 40), result.block.when]), fontsize=9.5)
    ax.set_xlabel("difference, 95% interval")
    ax.xaxis.set_major_locator(plt.MaxNLocator(5))
    ax.spines["left"].set_visible(False)
    ax.grid(False, axis="y")


def _row(ax: Axes, y: int, pair: Pair, scale: float, palette: dict[str, str]) -> None:
    word, interval = pair.verdict(), pair.interval()
    resolved = word in ("better", "worse")
    colour = palette.get(pair.a if word == "better" else pair.b, GREY) if resolved else GREY
    if pair.level == "methods" and pair.methods.known:
        ends = [pair.methods.low, pair.methods.high]
        ax.plot(ends, [y, y], color=colour, linewidth=6.5, alpha=0.28, solid_capstyle="butt")
    if pair.checkpoints.known:
        ax.plot([pair.checkpoints.low, pair.checkpoints.high], [y, y], color=colour, linewidth=1.4)
    face = "white" if word == "unresolved" else colour
    shape = "s" if word == "equal" else "o"
    ax.plot(interval.estimate, y, shape, color=colour, markersize=6, markerfacecolor=face, zorder=5)
    text = f"{number(interval.estimate, scale, True)}\u2002 p {probability(pair.holm())}"
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 8}
    ax.annotate(text, (1.02, y), color=INK if resolved else SOFT, fontweight="bold" if resolved else "normal", **place)
