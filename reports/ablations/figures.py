"""Figures of the ablation studies: per variant a bar with its interval, the difference to the default, and the paper's
value."""

import math
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.ablations.studies import Study
from reports.figures.looks import COLOURS, FAINT, GREY, INK
from reports.figures.style import style
from reports.format import CHECKPOINTS_ONLY, number
from reports.paper import published as paper

ROW = 0.36
"""Inches per variant."""
WIDTHS = (1.15, 1.35, 0.9)
PAPER_COLOUR = "#7A3E9D"
WORDS = {"better": COLOURS[2], "worse": COLOURS[1]}


def figure(studies: list[Study], title: str) -> Figure:
    """One block of rows per study, all on one benchmark. Columns: score, difference to the default, the paper's value
    on its own scale."""
    counts = [len(study.rows) for study in studies]
    heads = sum(0.3 + 0.13 * len(study.findings) for study in studies)
    measured = any(row.score for study in studies for row in study.rows)
    about_methods = all(study.level == "methods" for study in studies if any(row.gap for row in study.rows))
    with style():
        drawn, axes = plt.subplots(
            len(studies),
            3,
            figsize=(11.0, ROW * sum(counts) + heads + 1.75),
            squeeze=False,
            height_ratios=[count + 0.6 for count in counts],
            width_ratios=WIDTHS,
        )
        drawn.set_layout_engine("constrained", w_pad=0.06, hspace=0.04)
        gaps, marks = _gap_limits(studies), _mark_limits()
        top = _top(studies)
        for i, (study, line) in enumerate(zip(studies, axes, strict=True)):
            last = i == len(studies) - 1
            for ax in line:
                ax.set_ylim(len(study.rows) - 0.4, -0.6)
                ax.grid(False, axis="y")
                ax.tick_params(axis="y", length=0)
                ax.set_yticks(range(len(study.rows)), ["" for _ in study.rows])
                ax.tick_params(labelbottom=last)
            _scores(line[0], study, top)
            _differences(line[1], study, gaps)
            _paper(line[2], study, marks)
            line[0].set_title(f"{study.key}  {study.title}", fontsize=9.5)
            said = "\n".join(f"{finding.status.upper()}: {finding.claim}" for finding in study.findings)
            line[1].set_title(said, fontsize=7.5, fontweight="normal")
        block = studies[0].block
        axes[-1, 0].set_xlabel(f"{block.title}, score" if measured else block.title)
        axes[-1, 1].set_xlabel("minus default (paired)" if measured else "")
        for ax in [] if measured else axes[:, :2].flat:
            ax.set_xticks([])
        axes[-1, 2].set_xlabel(
            "the paper: MMaDA-8B, GenEval ×100\n(another model and benchmark scale)", color=PAPER_COLOUR
        )
        scope = "" if about_methods or not measured else f"; findings are about {CHECKPOINTS_ONLY}"
        drawn.suptitle(f"{title}{scope}", fontsize=9, color="#555555", x=0.01, ha="left")
        entries = _legend(studies) if measured else [_paper_mark()]
        drawn.legend(handles=entries, ncols=3, frameon=False, loc="outside lower left", fontsize=7.5)
    return drawn


def _top(studies: list[Study]) -> float:
    """End of the axis of scores."""
    scores = [row.score for study in studies for row in study.rows if row.score]
    values = [
        value for s in scores for value in (s.headline.estimate, s.headline.high, *s.per_seed) if math.isfinite(value)
    ]
    return 1.08 * max(values, default=0.0) or 1.0


def _scores(ax: Axes, study: Study, top: float) -> None:
    """Bars from zero with intervals over prompts, and each training seed as a dot."""
    if study.base:
        ax.axvline(study.base.headline.estimate, color=GREY, linewidth=1.0, linestyle=(0, (3, 2)), zorder=1)
    for y, row in enumerate(study.rows):
        if row.score is None:
            ax.text(0, y, f" {row.why}", va="center", fontsize=7.5, color=GREY)
            continue
        cell = row.score.headline
        ax.barh(
            y,
            cell.estimate,
            0.68,
            color=COLOURS[0] if row.gap is None else "#9DBAD3",
            alpha=0.75,
            linewidth=0,
            zorder=2,
        )
        if cell.known:
            ax.hlines(y, cell.low, cell.high, color=INK, linewidth=1.1, zorder=3)
        if len(row.score.per_seed) > 1:
            spread = y + np.linspace(-0.14, 0.14, len(row.score.per_seed))
            ax.plot(row.score.per_seed, spread, "o", color="white", markeredgecolor=INK, markersize=3, zorder=4)
    ax.set_xlim(0, top)
    ax.set_yticks(range(len(study.rows)), [row.label for row in study.rows])
    for label, row in zip(ax.get_yticklabels(), study.rows, strict=True):
        label.set(fontsize=8.5, color=INK, fontweight="bold" if row.gap is None and row.score else "normal")


def _differences(ax: Axes, study: Study, limits: tuple[float, float]) -> None:
    """Differences with intervals; filled where resolved; grey: what the run could not have seen."""
    ax.axvline(0, color="#555555", linewidth=1.0, zorder=1)
    for y, row in enumerate(study.rows):
        gap = row.gap
        if gap is None:
            text = "default" if row.score else ""
            ax.text(0, y, f"  {text}", va="center", fontsize=7.5, color=GREY)
            continue
        if math.isfinite(gap.sees()):
            low, high = max(limits[0], -gap.sees()), min(limits[1], gap.sees())
            ax.barh(y, high - low, 0.68, left=low, color=FAINT, linewidth=0, zorder=0)
        colour = WORDS.get(gap.verdict(), GREY)
        if gap.interval().known:
            ax.hlines(y, gap.interval().low, gap.interval().high, color=colour, linewidth=1.6, zorder=3)
        face = colour if gap.verdict() in WORDS else "white"
        ax.plot(gap.interval().estimate, y, "o", color=colour, markerfacecolor=face, markersize=5.5, zorder=4)
        if len(gap.per_seed) > 1:
            ax.plot(gap.per_seed, np.full(len(gap.per_seed), y + 0.26), "|", color=colour, markersize=4, zorder=4)
        text = number(gap.interval().estimate, study.block.scale, True) + ("" if gap.verdict() in WORDS else " ≈")
        ax.annotate(
            text,
            (1.0, y),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK if gap.verdict() in WORDS else GREY,
        )
    ax.set_xlim(*limits)


def _paper(ax: Axes, study: Study, limits: tuple[float, float]) -> None:
    """The paper's values as open marks; a line where it gives only a range; words where it gives no number."""
    for y, row in enumerate(study.rows):
        mark = paper.mark(study.key, row.name)
        if mark is None or not math.isfinite(mark.low):
            text = "not in the paper (ours)" if mark is None else f"{mark.text}, no number"
            middle: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "ha": "center", "va": "center"}
            ax.text(0.5, y, text, fontsize=7.5, color=GREY, style="italic", **middle)
            continue
        if mark.high > mark.low:
            ax.hlines(y, mark.low, mark.high, color=PAPER_COLOUR, linewidth=1.0, linestyle=(0, (2, 1.5)))
            ax.plot([mark.low, mark.high], [y, y], "|", color=PAPER_COLOUR, markersize=7)
        else:
            ax.plot(mark.low, y, "D", color=PAPER_COLOUR, markerfacecolor="white", markersize=5)
        ax.annotate(
            mark.text,
            (1.0, y),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=PAPER_COLOUR,
        )
    ax.set_xlim(*limits)
    ax.spines["bottom"].set_color(PAPER_COLOUR)
    ax.tick_params(axis="x", colors=PAPER_COLOUR)


def _gap_limits(studies: list[Study]) -> tuple[float, float]:
    """Limits that show every interval and every seed."""
    gaps = [row.gap for study in studies for row in study.rows if row.gap]
    values = [
        v
        for g in gaps
        for v in (g.interval().estimate, g.interval().low, g.interval().high, *g.per_seed)
        if math.isfinite(v)
    ]
    values += [sign * g.sees() for g in gaps for sign in (-1, 1) if math.isfinite(g.sees())]
    low, high = min([0.0, *values]), max([0.0, *values])
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _mark_limits() -> tuple[float, float]:
    """The same for all studies: from a little below the paper's lowest variant to a little above its highest."""
    tables = set(paper.STUDY_TABLE.values())
    values = [row.number for row in paper.published() if row.table in tables and row.value]
    return min(values) - 0.8, max(values) + 0.8


def _paper_mark() -> plt.Line2D:
    """The legend's entry for the paper's values."""
    look: dict[str, Any] = {"color": PAPER_COLOUR, "marker": "D", "markerfacecolor": "white", "linewidth": 0}
    return plt.Line2D([], [], **look, label="the paper; dashed: range of a group")


def _legend(studies: list[Study]) -> list:
    level = "seeds and prompts vary" if studies[0].level == "methods" else "these checkpoints: prompts vary"
    line = plt.Line2D
    seeds = max((len(row.gap.per_seed) for study in studies for row in study.rows if row.gap), default=0)
    several = [line([], [], color="white", marker="o", markeredgecolor=INK, markersize=3.5, label="one training seed")]
    difference = f"difference, 95% interval ({level}); open, ≈: unresolved"
    return [
        line([], [], color=INK, linewidth=1.1, label="score, 95% interval (prompts vary)"),
        line([], [], color=GREY, marker="o", markerfacecolor="white", label=difference),
        _paper_mark(),
        line([], [], color=GREY, linewidth=1.0, linestyle=(0, (3, 2)), label="starting policy"),
        line([], [], color=WORDS["worse"], marker="o", label="resolved: worse (green: better) than the default"),
        *(several if seeds > 1 else []),
        line([], [], color=FAINT, linewidth=7, label="true differences missed more than 1 time in 5"),
    ]
