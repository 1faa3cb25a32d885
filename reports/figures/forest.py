"""Bars per category, and the forest of paired differences."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.style import FAINT, GREY, INK, colours, markers, style
from reports.findings.analysis import Result
from reports.format import number, probability, short
from reports.statistics.stats import MIN_SEEDS

ACROSS = 3
"""Panels of the forest beside each other."""


def category_bars(result: Result, methods: list[str]) -> Figure | None:
    """Bars with 95 % intervals (these checkpoints) of the headline and every category; None without scores."""
    if not result.scores:
        return None
    palette, shapes = colours(methods), markers(methods)
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
            ax.bar(x, heights, width * 0.88, color=palette[name], alpha=0.82, linewidth=0, label=short(name), zorder=2)
            known = np.array([c.known for c in cells])
            low = np.array([c.low for c in cells])[known]
            high = np.array([c.high for c in cells])[known]
            ax.vlines(x[known], low, high, color=INK, linewidth=1.0, zorder=3)
            ax.plot(x, heights, shapes[name], color=INK, markersize=2.4, zorder=4)
        ax.axvspan(-0.5, 0.5, color=FAINT, alpha=0.45, zorder=0, linewidth=0)
        labels = [g.removeprefix("questions: ").replace("_", " ") for g in groups]
        ax.set_xticks(range(len(groups)), [label.replace(" ", "\n") for label in labels])
        ax.get_xticklabels()[0].set_fontweight("bold")
        ax.set_xlim(-0.5, len(groups) - 0.5)
        ax.grid(False, axis="x")
        ax.tick_params(axis="x", length=0)
        ax.set_ylim(0 if min(s.headline.estimate for s in result.scores.values()) >= 0 else None)
        ax.set_title(result.block.label, pad=24)
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


def forest(results: list[Result], methods: list[str]) -> Figure | None:
    """Paired differences of the headline at the training budget, one panel per benchmark; thin line: these checkpoints,
    thick: these methods.
    """
    mains = [r for r in results if r.block.is_main and r.pairs]
    if not mains:
        return None
    palette = colours(methods)
    rows = max(len(r.pairs) for r in mains)
    with style():
        across = min(len(mains), ACROSS)
        down = -(-len(mains) // across)
        size = (5.6 * across + 0.6, (0.33 * rows + 1.4) * down + 0.3)
        figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
        for ax, result in zip(axes.flat, mains, strict=False):
            _forest_panel(ax, result, palette)
        for ax in axes.flat[len(mains) :]:
            ax.set_visible(False)
        legend = [plt.Line2D([], [], color=INK, linewidth=1.2, label="these checkpoints (prompts vary)")]
        if any(p.seeds >= MIN_SEEDS for r in mains for p in r.pairs):
            legend.append(
                plt.Line2D([], [], color=INK, linewidth=6, alpha=0.28, label="these methods (seeds and prompts vary)")
            )
        legend.append(plt.Line2D([], [], color=INK, marker="o", linewidth=0, label="resolved"))
        legend.append(
            plt.Line2D([], [], color=INK, marker="o", markerfacecolor="white", linewidth=0, label="unresolved")
        )
        if any(p.verdict() == "equal" for r in mains for p in r.pairs):
            legend.append(plt.Line2D([], [], color=GREY, marker="s", linewidth=0, label="equal within the margin"))
        figure.legend(handles=legend, ncols=len(legend), frameon=False, loc="outside lower left", fontsize=8)
    return figure


def _forest_panel(ax: Axes, result: Result, palette: dict[str, str]) -> None:
    scale = result.block.scale
    ax.axvline(0, color="#555555", linewidth=1.0, zorder=1)
    for row, pair in enumerate(result.pairs):
        if pair.verdict() == "worse":
            pair = pair.flipped()
        y, interval = len(result.pairs) - 1 - row, pair.interval()
        resolved = pair.verdict() in ("better", "worse")
        colour = palette.get(pair.a, GREY) if resolved else GREY
        if pair.level == "methods" and pair.methods.known:
            ax.plot(
                [pair.methods.low, pair.methods.high],
                [y, y],
                color=colour,
                linewidth=6.5,
                alpha=0.28,
                solid_capstyle="butt",
            )
        if pair.checkpoints.known:
            ax.plot([pair.checkpoints.low, pair.checkpoints.high], [y, y], color=colour, linewidth=1.4)
        ax.plot(
            interval.estimate,
            y,
            "s" if pair.verdict() == "equal" else "o",
            color=colour,
            markersize=6,
            markerfacecolor="white" if pair.verdict() == "unresolved" else colour,
            zorder=5,
        )
        text = f"{number(interval.estimate, scale, True)}   p {probability(pair.holm())}"
        ax.annotate(
            text,
            (1.01, y),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
            color=INK if resolved else GREY,
        )
        ax.annotate(
            f"{short(pair.a, 16)} − {short(pair.b, 16)}",
            (-0.015, y),
            xycoords=("axes fraction", "data"),
            va="center",
            ha="right",
            fontsize=9,
            color=colour if resolved else "#666666",
            fontweight="bold" if resolved else "normal",
        )
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_ylim(-0.7, len(result.pairs) - 0.3)
    ax.set_title(f"{result.block.title}\n{result.block.when}", fontsize=9.5)
    ax.set_xlabel("difference of the headline, 95% interval")
    ax.grid(False, axis="y")
