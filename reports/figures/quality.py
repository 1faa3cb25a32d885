"""Quality against cost: a curve per method with a band, the starting policy as a line, and where each view looks."""

import textwrap

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.looks import GREY, SOFT, colours, labels, markers
from reports.figures.style import spread_labels, style, tall
from reports.findings.quality import Panel
from reports.findings.training import AXES
from reports.format import many
from reports.run.load import Run
from reports.statistics.stats import MIN_SEEDS

ACROSS = 3


def figure(run: Run, panels: list[Panel], axis: str) -> Figure | None:
    """The panels over one axis of cost ("iterations", "forwards", "seconds"); None where nothing is known of it."""
    shown = [panel for panel in panels if any(panel.of(method, axis) for method in panel.methods)]
    if not shown:
        return None
    with style():
        across = min(ACROSS, len(shown))
        down = -(-len(shown) // across)
        most = max(len(panel.methods) for panel in shown)
        size = (4.1 * across + 0.3, tall(3.0, most) * down + 0.35)
        drawn, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
        for ax in axes.flat[len(shown) :]:
            ax.set_visible(False)
        for ax, panel in zip(axes.flat, shown, strict=False):
            _panel(ax, run, panel, axis)
        seeds = {point.seeds for panel in shown for point in panel.points}
        band = "training seeds and prompts" if min(seeds) >= MIN_SEEDS else "prompts (too few seeds for more)"
        where = f"dotted: where a view looks ({run.title})"
        drawn_as = "bars" if any(many(panel.methods) for panel in shown) else "band"
        note = f"Mean over {'/'.join(map(str, sorted(seeds)))} training seeds; {drawn_as}: 95% interval over {band}; {where}"
        drawn.suptitle(note, fontsize=8.5, color=SOFT, x=0.01, ha="left")
    return drawn


def _panel(ax: Axes, run: Run, panel: Panel, axis: str) -> None:
    palette, shapes, called, ends = colours(run), markers(run), labels(run, 16), []
    if panel.base:
        ax.axhline(panel.base.estimate, color=GREY, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
    for limit in _limits(run, axis) if any(point.view for point in panel.points) else []:
        ax.axvline(limit, color=GREY, linewidth=0.9, linestyle=":", zorder=1)
    for name in panel.methods:
        points = panel.of(name, axis)
        if not points:
            continue
        start = [(0.0, panel.base)] if panel.base else []
        line = [*start, *((getattr(point, axis), point.score) for point in points)]
        xs, ys = [x for x, _ in line], [score.estimate for _, score in line]
        known = [(x, score) for x, score in line if score.known]
        low, high = [score.low for _, score in known], [score.high for _, score in known]
        if not many(panel.methods):  # more bands cannot be told apart, and hide the curves
            ax.fill_between([x for x, _ in known], low, high, color=palette[name], alpha=0.13, linewidth=0)
        for x, score in line[len(start) :]:
            if score.known:
                ax.vlines(x, score.low, score.high, color=palette[name], linewidth=1.1)
        ax.plot(xs, ys, color=palette[name])
        ax.plot(xs[len(start) :], ys[len(start) :], shapes[name], color=palette[name], markersize=5)
        ends.append((xs[-1], ys[-1], called[name], palette[name]))
    ax.set_title(textwrap.fill(panel.title, 40), fontsize=9.5)
    ax.set_xlabel(AXES[axis])
    ax.margins(x=0.02)
    ax.xaxis.set_major_locator(plt.MaxNLocator(5, integer=axis != "seconds"))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if panel.base:
        ends.append((0.0, panel.base.estimate, "", GREY))
    spread_labels(ax, ends)


def _limits(run: Run, axis: str) -> list[float]:
    """Where on this axis views look: at a number of iterations, of forwards, of seconds."""
    found = [float(view.partition(":")[2]) for view in run.views if view.startswith(f"{axis}:")]
    return found + ([run.seconds] if axis == "seconds" and run.seconds == run.seconds else [])
