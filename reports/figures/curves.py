"""Learning curves: training measures along a cost, and entropy by the order of unmasking."""

from collections.abc import Iterable

import pandas as pd
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.looks import GREY, INK, SOFT, colours, labels
from reports.figures.order import COLOURS
from reports.figures.style import spread_labels, style, tall
from reports.findings.training import AXES, COLUMNS, LOGARITHMIC, PANELS, smoothed, with_rank_ends, with_time
from reports.run.load import Run

ACROSS, RANKS_ACROSS = 3, 6
"""Panels beside each other: of training measures, of entropy."""
End = tuple[float, float, str, str]
"""x, y, text and colour of the label at the end of a curve."""


def to_csv(run: Run) -> str:
    """What the curves are drawn from, a line per method, seed and iteration; entropy by eighth in columns of its own."""
    frame = with_time(run)
    keys = [key for key in ("method", "seed", "iteration", "forwards_total", "seconds_total", *PANELS) if key in frame]
    table = frame[keys]
    if "entropy_by_rank" in frame:
        bins = pd.DataFrame([value if isinstance(value, list) else [] for value in frame["entropy_by_rank"]])
        table = table.join(bins.set_axis([f"entropy_part_{i + 1}" for i in range(bins.shape[1])], axis=1))
    return table.to_csv(index=False, lineterminator="\n")


def learning_curves(run: Run, axis: str) -> Figure | None:
    """Training measures against "iterations", "forwards" or "seconds": mean over seeds, band from lowest to highest
    seed.

    None when the run recorded nothing to draw.
    """
    column, label = COLUMNS[axis], AXES[axis]
    frame = with_rank_ends(with_time(run))
    panels = [key for key in PANELS if key in frame and frame[key].notna().any()]
    if column not in frame or not frame[column].notna().any() or not panels:
        return None
    names, palette = [m for m in run.methods if (frame["method"] == m).any()], colours(run)
    with style():
        across = min(ACROSS, len(panels))
        rows = -(-len(panels) // across)
        figure, axes = plt.subplots(
            rows,
            across,
            figsize=(4.25 * across, tall(2.75, len(names)) * rows + 0.6),
            squeeze=False,
            layout="constrained",
        )
        for ax in axes.flat[len(panels) :]:
            ax.set_visible(False)
        for ax, key in zip(axes.flat, panels, strict=False):
            ax.set_title(PANELS[key], fontsize=9.5)
            ax.margins(x=0.01)
            ends = _panel(ax, key, frame, run, names, column, palette)
            if key in LOGARITHMIC and (frame[key] > 0).any():
                ax.set_yscale("log", nonpositive="clip")
            ax.xaxis.set_major_locator(plt.MaxNLocator(5, integer=column != "seconds_total"))
            ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            spread_labels(ax, ends)
        for ax in axes.flat[max(0, len(panels) - across) : len(panels)]:
            ax.set_xlabel(label)
        figure.suptitle(f"Training against {label} ({_bands(run, frame)})", fontsize=9, color=SOFT, x=0.01, ha="left")
    return figure


def _bands(run: Run, frame: pd.DataFrame) -> str:
    counts = frame.groupby("method")["seed"].nunique()
    seeds = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    band = f"{seeds} seeds; line: mean, band: lowest to highest seed" if counts.max() > 1 else "one seed, so no band"
    return f"{run.title}; {band}" if run.title else band


def _panel(
    ax: Axes, key: str, frame: pd.DataFrame, run: Run, names: Iterable[str], column: str, palette: dict[str, str]
) -> list[End]:
    ends, called = [], labels(run, 16)
    for name in names:
        own = frame[frame["method"] == name]
        end = _curve(ax, own, column, key, palette[name], called[name])
        if key == "entropy_ends" and end:
            _curve(ax, own, column, "entropy_last", palette[name], "", dashed=True)
        ends.append(end)
    if key == "entropy_ends":
        lines = [plt.Line2D([], [], color=INK, linestyle=s, linewidth=1.4) for s in ("-", (0, (4, 2)))]
        ax.legend(lines, ["first eighth (structure)", "last eighth"], frameon=False, fontsize=7.5, loc="best")
    return [end for end in ends if end]


def _curve(
    ax: Axes, frame: pd.DataFrame, column: str, key: str, colour: str, name: str, dashed: bool = False
) -> End | None:
    """Draws one method's smoothed curve up to the last iteration that all its seeds reached; returns the label of its
    end."""
    table = frame.pivot(index="iteration", columns="seed", values=key).astype(float).dropna()
    if table.empty:
        return None
    x = frame.pivot(index="iteration", columns="seed", values=column).astype(float).loc[table.index].mean(axis=1)
    smooth = smoothed(table)
    if smooth.shape[1] > 1:
        ax.fill_between(x, smooth.min(axis=1), smooth.max(axis=1), color=colour, alpha=0.16, linewidth=0)
    ax.plot(x, smooth.mean(axis=1), color=colour, linestyle=(0, (4, 2)) if dashed else "-")
    ax.plot(x.iloc[-1:], smooth.mean(axis=1).iloc[-1:], "o", color=colour, markersize=4)
    return float(x.iloc[-1]), float(smooth.mean(axis=1).iloc[-1]), name, colour


def entropy_by_rank(run: Run) -> Figure | None:
    """Rollout entropy by the order of unmasking: a panel per method, a line per eighth, mean over seeds.

    None when the run recorded none.
    """
    frame = run.metrics
    if "entropy_by_rank" not in frame:
        return None
    frame = frame[frame["entropy_by_rank"].map(lambda value: isinstance(value, list) and len(value) > 1)]
    names = [m for m in run.methods if (frame["method"] == m).any()]
    if not names:
        return None
    with style():
        across, called = min(RANKS_ACROSS, len(names)), labels(run)
        down = -(-len(names) // across)
        size = (2.9 * across + 1.0, 2.25 * down + 0.35)
        figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, sharey=True, layout="constrained")
        for ax in axes.flat[len(names) :]:
            ax.set_visible(False)
        for ax, name in zip(axes.flat, names, strict=False):
            count = _rank_lines(ax, frame[frame["method"] == name])
            ax.xaxis.set_major_locator(plt.MaxNLocator(4, integer=True))
            ax.set_xlabel(AXES["iterations"], fontsize=8)
            ax.set_title(called[name], color=colours(run)[name])
        for ax in axes[:, 0]:
            ax.set_ylabel("entropy (nats)", fontsize=8)
        scale = plt.cm.ScalarMappable(plt.Normalize(1, count), COLOURS)
        bar = figure.colorbar(scale, ax=axes, shrink=0.7 / down, aspect=18, pad=0.01, ticks=[1, count])
        bar.ax.set_yticklabels(["first\nunmasked", "last"], fontsize=7.5)
        bar.outline.set_visible(False)
        title = f"Rollout entropy by the order of unmasking, {count} equal parts ({run.title}; mean over seeds)"
        figure.suptitle(title, fontsize=9, color=SOFT, x=0.01, ha="left")
    return figure


def _rank_lines(ax: Axes, frame: pd.DataFrame) -> int:
    """Draws one method's lines and returns how many there are."""
    bins = pd.DataFrame(frame["entropy_by_rank"].tolist(), index=frame["iteration"]).groupby(level=0).mean()
    x = bins.index
    smooth = smoothed(bins)
    for part in range(smooth.shape[1]):
        shade = colormaps[COLOURS](part / max(1, smooth.shape[1] - 1))
        ax.plot(x, smooth[part], color=GREY, alpha=0.3, linewidth=2.4)
        ax.plot(x, smooth[part], color=shade, linewidth=1.6)
    return smooth.shape[1]
