"""Quality against cost: the score of every checkpoint that was scored, what it had cost by then, and an interval."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from htgrpo.base.records import BASE, CURVE
from reports.findings.analysis import Result
from reports.findings.costs import spent
from reports.findings.training import AXES, with_time
from reports.format import csv_text, exact
from reports.run.load import Run
from reports.statistics.stats import MIN_SEEDS, Interval, method_score, score_intervals

Spent = Callable[[str, str, tuple[int, ...]], tuple[float, float, float]]
"""(view, method, training seeds) -> iterations, forwards and seconds, means over those trainings; NaN where not known."""
FIELDS = "benchmark prompts method view iterations forwards seconds estimate low high interval seeds".split()


@dataclass(frozen=True)
class Point:
    """One method at one checkpoint: score and costs are means over the same `seeds` trainings. score: over seeds and
    prompts from 3 trainings on, else over prompts. view: "" for a checkpoint that no view looks at. Costs are NaN where
    the run does not record them."""

    method: str
    view: str
    seeds: int
    score: Interval
    iterations: float
    forwards: float
    seconds: float

    @property
    def same(self) -> tuple[str, ...]:
        """What the points of equal checkpoints share. The mean iteration alone may be that of others, too."""
        return tuple(map(exact, (self.iterations, self.forwards, self.seconds, self.score.estimate)))


@dataclass(frozen=True)
class Panel:
    """One benchmark: its points, and the starting policy's score on the same prompts (None where it has none). scale:
    displayed value of a perfect score; view: the only one that it shows, "" where it may show several."""

    name: str
    title: str
    prompts: int
    base: Interval | None
    points: list[Point]
    scale: float = 1.0
    view: str = ""

    def of(self, method: str, axis: str) -> list[Point]:
        """A method's points in the order of their cost, as far as that is known; none twice, as where two views look at
        the same checkpoints."""
        own = {point.same: point for point in self.points if point.method == method}
        known = [point for point in own.values() if np.isfinite(getattr(point, axis))]
        return sorted(known, key=lambda point: getattr(point, axis))

    @property
    def methods(self) -> list[str]:
        """The methods that it shows."""
        return list(dict.fromkeys(point.method for point in self.points))


def quality(run: Run, results: list[Result]) -> list[Panel]:
    """A panel for every benchmark of the main setting, whose points are the views of the run, and one for the saved
    checkpoints that were scored on fewer prompts; none without a training whose cost is known. Where views rest on
    different prompts, as they may with --allow-incomplete, each has a panel of its own."""
    logs = {view: (run.until(run.metrics, view), run.until(run.timing, view)) for view in run.views}

    @cache
    def cost(view: str, method: str, seeds: tuple[int, ...]) -> tuple[float, float, float]:
        return spent(*logs[view], method, seeds)

    groups: dict[str, list[Result]] = {}
    for result in results:
        if result.block.setting == "main":
            groups.setdefault(result.block.name, []).append(result)
    found = [*(panel for same in groups.values() for panel in _panels(same, cost)), saved(run)]
    return [panel for panel in found if panel and panel.points]


def _panels(same: list[Result], cost: Spent) -> list[Panel]:
    """The views of one benchmark."""
    shown = [result for result in same if set(result.scores) - {BASE}]
    if len({_start(result) for result in shown}) < 2:
        return [_panel(shown, cost)] if shown else []
    return [_panel([result], cost, alone=True) for result in shown]


def _start(result: Result) -> tuple[int, str]:
    """What views on the same prompts have in common: how many those are, and the starting policy's score."""
    base = result.scores.get(BASE)
    return result.prompts_used, exact(base.headline.estimate) if base else ""


def _panel(same: list[Result], cost: Spent, alone: bool = False) -> Panel:
    """Views that rest on the same prompts; `alone`, the only one that does."""
    first, points = same[0], []
    for result in same:
        for method in result.block.methods:
            score, view = result.scores.get(method.name), result.block.milestone
            if (
                score
                and method.name != BASE
                and np.isfinite((where := cost(view, method.name, tuple(method.seeds)))[0])
            ):
                level = score.method_level if score.method_level.known else score.headline
                points.append(Point(method.name, view, len(score.per_seed), level, *where))
    block, count = first.block, first.prompts_used
    base = first.scores[BASE].headline if BASE in first.scores else None
    title = f"{block.title}, {block.when}, {count} {block.noun}" if alone else block.title
    return Panel(block.name, title, count, base, points, block.scale, block.milestone if alone else "")


def saved(run: Run) -> Panel | None:
    """Saved checkpoints of the first benchmark that has verdicts of them; those iterations that all seeds of a method
    have."""
    metas = run.metas[run.metas["setting"] == CURVE]
    if not len(metas):
        return None
    metas = metas[metas["benchmark"] == metas["benchmark"].iloc[0]]
    meta = metas["meta"].iloc[0]
    records = run.records[(run.records["setting"] == CURVE) & (run.records["benchmark"] == meta["benchmark"])]
    ok = records[records["status"] == "ok"]
    means = ok.groupby(["policy", "prompt_id"])["score"].mean().unstack() * meta["scale"]
    judged = ok.groupby("policy").size()
    means = means[judged.reindex(means.index) == meta["expected_images"]]
    category = pd.factorize(records.drop_duplicates("prompt_id").set_index("prompt_id")["category"][means.columns])[0]
    top = meta.get("top")
    top = None if top is None else float(top) * float(meta["scale"])

    def interval(policies: pd.Series) -> Interval:
        matrix = means.loc[list(policies)].to_numpy(float)
        if len(matrix) >= MIN_SEEDS:
            return method_score(matrix, category, meta["aggregate"], top)
        return score_intervals(matrix.mean(0, keepdims=True), category, meta["aggregate"], top)[0]

    whole = metas[metas["policy"].isin(means.index)]
    points = []
    for method, rows in whole[whole["method"] != BASE].groupby("method", sort=False):
        seeds = metas.loc[metas["method"] == method, "seed"].nunique()
        for iteration, same in rows.groupby("iteration"):
            if same["seed"].nunique() == seeds:
                where = _spent(run, str(method), int(iteration), same["seed"])
                points.append(Point(str(method), "", int(seeds), interval(same["policy"]), *where))
    base = whole.loc[whole["method"] == BASE, "policy"]
    title = f"{meta['title']}: saved checkpoints on {len(means.columns)} prompts"
    start = interval(base) if len(base) else None
    return Panel(meta["benchmark"], title, len(means.columns), start, points, float(meta["scale"]))


def _spent(run: Run, method: str, iteration: int, seeds: pd.Series) -> tuple[float, float, float]:
    """Iterations, forwards and seconds of a method by an iteration, means over the trainings of `seeds`."""
    lines = with_time(run)
    lines = lines[(lines["method"] == method) & (lines["iteration"] == iteration) & lines["seed"].isin(seeds)]
    totals = [lines[key].mean() if key in lines else np.nan for key in ("forwards_total", "seconds_total")]
    return float(iteration), float(totals[0]), float(totals[1])


def to_csv(panels: list[Panel]) -> str:
    """Every point of the figure, the starting policy at no cost, with the view where that is the only one on its prompts."""
    rows: list[dict[str, object]] = []
    for panel in panels:
        start = [Point(BASE, panel.view, 0, panel.base, 0.0, 0.0, 0.0)] if panel.base else []
        for point in [*start, *panel.points]:
            numbers = {key: exact(getattr(point.score, key)) for key in ("estimate", "low", "high")}
            spent = {axis: exact(getattr(point, axis)) for axis in AXES}
            interval = "seeds and prompts" if point.seeds >= MIN_SEEDS else "prompts"
            about = {"benchmark": panel.name, "prompts": panel.prompts, "method": point.method, "view": point.view}
            rows.append({**about, **spent, **numbers, "interval": interval, "seeds": point.seeds or ""})
    return csv_text(FIELDS, rows)
