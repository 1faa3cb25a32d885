"""The curves as data, for the page's own charts: hover, zoom, raw and smoothed, over any cost."""

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from reports.figures.looks import GREY, colours
from reports.findings.training import AXES, COLUMNS, LOGARITHMIC, PANELS, smoothed, with_rank_ends, with_time
from reports.pages.drawing import variable
from reports.run.load import Run

if TYPE_CHECKING:
    from reports.findings.quality import Panel

DIGITS = 5


def charts(run: Run, panels: "list[Panel]") -> dict[str, Any]:
    """{"axes": {axis: title}, "quality": [chart], "curves": [chart]}; a chart is {"title", "log", "base", "series"}, a
    series one method: x by axis, y, low, high and, of training, raw, the mean over seeds before it was smoothed."""
    return {**training(run), "quality": [_quality(run, panel) for panel in panels]}


def training(run: Run) -> dict[str, Any]:
    """The same without quality."""
    return {"axes": AXES, "curves": _curves(run)}


def _quality(run: Run, panel: "Panel") -> dict[str, Any]:
    palette, series = colours(run), []
    for name in panel.methods:
        points = panel.of(name, "iterations")
        scores = [*([panel.base] if panel.base else []), *(point.score for point in points)]
        start = [0.0] * bool(panel.base)
        series.append(
            {
                "name": run.called(name),
                "colour": variable(palette.get(name, GREY)),
                "x": {axis: _round(start + [getattr(point, axis) for point in points]) for axis in AXES},
                "y": _round([score.estimate for score in scores]),
                "low": _round([score.low for score in scores]),
                "high": _round([score.high for score in scores]),
            }
        )
    base = _round([panel.base.estimate])[0] if panel.base else None
    return {"title": panel.title, "log": False, "base": base, "series": series}


def _curves(run: Run) -> list[dict[str, Any]]:
    if not len(run.metrics):
        return []
    frame, palette, found = with_rank_ends(with_time(run)), colours(run), []
    keys = {
        "entropy_ends": "Entropy of the first eighth unmasked",
        "entropy_last": "Entropy of the last eighth unmasked",
    }
    for key, title in {**PANELS, **keys}.items():
        if key not in frame or frame[key].isna().all():
            continue
        series = []
        for name in run.methods:
            own = frame[frame["method"] == name]
            table = own.pivot(index="iteration", columns="seed", values=key).astype(float).dropna()
            if len(table):
                smooth, about = smoothed(table), {"name": run.called(name), "colour": variable(palette.get(name, GREY))}
                lines = {
                    "y": smooth.mean(axis=1),
                    "low": smooth.min(axis=1),
                    "high": smooth.max(axis=1),
                    "raw": table.mean(axis=1),
                }
                series.append({**about, "x": _costs(own, table), **{k: _round(v) for k, v in lines.items()}})
        found.append(
            {"title": title, "log": key in LOGARITHMIC and bool((frame[key] > 0).any()), "base": None, "series": series}
        )
    return found


def _costs(own: pd.DataFrame, table: pd.DataFrame) -> dict[str, list]:
    """The cost of each iteration of `table` by axis, mean over seeds; without what was not recorded."""
    known = {axis: column for axis, column in COLUMNS.items() if column in own and own[column].notna().all()}
    return {
        axis: _round(
            own.pivot(index="iteration", columns="seed", values=column).astype(float).loc[table.index].mean(axis=1)
        )
        for axis, column in known.items()
    }


def _round(values: Any) -> list[float | None]:
    return [float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None for value in values]
