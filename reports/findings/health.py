"""How training went: rewards that failed or did not differ, and signs of instability, from metrics.jsonl. Nothing is
decided from one iteration: what a single one shows is in the table, a warning needs at least two, and a trend an
interval."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from reports.format import NONE, amount, bounds, table
from reports.run.load import Run
from reports.statistics.shapes import LEVEL, student
from reports.statistics.stats import MIN_SEEDS, Interval

KL_LIMIT = 1.0
RATIO_RANGE = (0.5, 2.0)
ENTROPY_SHARE = 0.5
SEVERAL = 2
TREND_ITERATIONS = 8
WINDOW = 0.25
TITLE = "How training went"
NOTE = (
    "Dropped: pictures without a reward, of those put to the rewards. No spread: groups whose pictures all had one reward, which "
    f"teach nothing. KL: median and highest iteration, in nats a token; a warning needs {SEVERAL} iterations above {KL_LIMIT:g}, "
    f"all trainings counted. Ratio: lowest and highest mean importance ratio of an iteration; a warning needs {SEVERAL} outside "
    f"{RATIO_RANGE[0]:g} to {RATIO_RANGE[1]:g}. Entropy of the rollouts: medians of the first and last tenth (at least {SEVERAL} "
    f"iterations); a warning where a training ends below {ENTROPY_SHARE:.0%} of its start. Reward: mean of the last quarter of the "
    f"iterations minus that of the first, with a {LEVEL:.0%} interval from {TREND_ITERATIONS} iterations on (over seeds from 3 on, "
    "else over iterations, which count for less where neighbours are alike); a warning where it fell or ends below its best."
)


@dataclass(frozen=True)
class Health:
    """One method's training over its seeds. Shares in 0..1; NaN where nothing was recorded. dropped: pictures without a
    reward; failure: why the last one has none; flat: groups without spread; spikes, strayed: iterations whose KL or
    mean ratio is out of bounds; entropy: (start, end) in nats, of the training that fell most; reward: change of the
    trained reward; lost: change from its best quarter, for the training that lost most; trainings: how many, and of
    them those that were not `untrained`, `collapsed`: whose entropy fell."""

    method: str
    iterations: int
    dropped: float
    failure: str
    flat: float
    kl: tuple[float, float]
    spikes: int
    ratio: tuple[float, float]
    strayed: int
    entropy: tuple[float, float]
    reward: Interval
    lost: Interval
    trainings: int
    untaught: int
    collapsed: int

    @property
    def untrained(self) -> bool:
        """Whether no group of any iteration had two different rewards: no weight has moved for a reward's sake."""
        return self.untaught == self.trainings

    @property
    def warnings(self) -> list[str]:
        """A sentence for each thing that a reader of the scores must know."""
        lines = []
        if self.untaught:
            which = "" if self.untrained else f" in {self.untaught} of {self.trainings} trainings"
            lines.append(
                f"nothing was trained{which}: no group had two different rewards in any iteration, so no weight has moved "
                "for a reward's sake and the scores are those of the starting policy"
            )
        elif self.flat >= 0.5:
            lines.append(
                f"{math.floor(1000 * self.flat) / 10:g}% of its groups had one reward for all pictures and taught nothing"
            )
        if self.dropped > 0:
            why = f" (the last: {self.failure})" if self.failure else ""
            lines.append(f"{100 * self.dropped:.2g}% of its pictures had no reward and were left out of training{why}")
        if self.spikes >= SEVERAL:
            lines.append(
                f"KL to the starting policy was above {KL_LIMIT:g} in {self.spikes} iterations (median {self.kl[0]:.2g}, "
                f"highest {self.kl[1]:.2g} nats a token): training was unstable"
            )
        if self.strayed >= SEVERAL:
            lines.append(
                f"the mean importance ratio left {RATIO_RANGE[0]:g} to {RATIO_RANGE[1]:g} in {self.strayed} iterations "
                f"({self.ratio[0]:.2g} to {self.ratio[1]:.2g}): updates went further than clipping could hold"
            )
        if self.reward.high < 0:
            lines.append(
                f"the trained reward fell by {-self.reward.estimate:.3g} {bounds(self.reward, 1, True)} over training"
            )
        elif self.lost.p < 1 - LEVEL:
            lines.append(f"the trained reward fell by {-self.lost.estimate:.3g} from its best quarter")
        if self.collapsed:
            which = f" in {self.collapsed} of {self.trainings} trainings" if self.trainings > 1 else ""
            lines.append(
                f"the entropy of its rollouts fell from {self.entropy[0]:.2g} to {self.entropy[1]:.2g} nats{which}: it "
                "samples ever fewer pictures"
            )
        return [f"{self.method}: {line}." for line in lines]

    @property
    def cells(self) -> list[str]:
        """The row of the table."""
        return [
            self.method,
            _share(self.dropped),
            _share(self.flat),
            _two(self.kl),
            _two(self.ratio),
            _two(self.entropy),
            f"{amount(self.reward.estimate, 3)} {bounds(self.reward, 1, True)}",
        ]


HEADER = ["method", "dropped", "no spread", "KL median, peak", "ratio", "entropy", "reward change"]


def health(run: Run) -> list[Health]:
    """One entry per method that was trained on rewards here, in the run's order."""
    found = []
    for method in run.methods:
        lines = run.metrics[run.metrics["method"] == method] if len(run.metrics) else run.metrics
        if len(lines) and "groups" in lines and lines["groups"].notna().any():
            found.append(of_training(method, lines))
    return found


def warnings(found: list[Health]) -> list[str]:
    """All warnings, methods in order."""
    return [line for one in found for line in one.warnings]


def markdown(found: list[Health]) -> list[str]:
    """The section of table.md."""
    return [f"## {TITLE}", table(HEADER, [one.cells for one in found]), NOTE] if found else []


def trend(curves: list[pd.Series]) -> Interval:
    """How far a value went over training: mean of the last quarter minus mean of the first. curves: one per training,
    by iteration. With three trainings or more they are the sample, otherwise the iterations are."""
    found = [change(curve) for curve in map(_known, curves) if len(curve) >= SEVERAL]
    if not found:
        return Interval(float("nan"), note="fewer than two iterations")
    estimate = float(np.mean([one.estimate for one in found]))
    if len(found) >= MIN_SEEDS:
        error = float(np.std([one.estimate for one in found], ddof=1)) / len(found) ** 0.5
        half = float(student((1 - LEVEL) / 2, len(found) - 1.0)) * error
        return Interval(estimate, estimate - half, estimate + half, df=len(found) - 1.0)
    if not all(one.known for one in found):
        return Interval(estimate, note=f"fewer than {TREND_ITERATIONS} iterations")
    half = sum(((one.high - one.low) / 2) ** 2 for one in found) ** 0.5 / len(found)
    return Interval(estimate, estimate - half, estimate + half)


def change(curve: pd.Series) -> Interval:
    """Mean of the last quarter of a curve minus the mean of the first. An interval from TREND_ITERATIONS values on.
    Noise is what a straight line leaves; neighbours that are alike count for less: n values whose noise has the lag-1
    correlation r are worth n (1 - r) / (1 + r), and at least 2."""
    values, size = curve.to_numpy(float), max(1, math.ceil(WINDOW * len(curve)))
    estimate = float(values[-size:].mean() - values[:size].mean())
    if len(values) < TREND_ITERATIONS:
        return Interval(estimate, note=f"fewer than {TREND_ITERATIONS} iterations")
    place = np.arange(len(values), dtype=float)
    noise = values - np.polyval(np.polyfit(place, values, 1), place)
    variance = float(noise @ noise) / (len(noise) - 2)
    alike = float(noise[1:] @ noise[:-1]) / float(noise @ noise) if variance > 0 else 0.0
    # r is biased around a fitted line (Marriott and Pope, 1954)
    alike = min(0.95, max(0.0, alike + (2 + 4 * alike) / len(noise)))
    worth = max(2.0, size * (1 - alike) / (1 + alike))
    half = float(student((1 - LEVEL) / 2, 2 * worth - 1)) * (2 * variance / worth) ** 0.5
    return Interval(estimate, estimate - half, estimate + half, df=2 * worth - 1)


def loss(curve: pd.Series) -> Interval:
    """How far the last tenth of a training (at least 4 iterations) lies below its best quarter, without bounds. p: of
    the ranks of their values (Mann and Whitney), times the number of quarters that could have been the best."""
    values = _known(curve).to_numpy(float)
    size = math.ceil(WINDOW * len(values))
    if len(values) < TREND_ITERATIONS:
        return Interval(float("nan"), note=f"fewer than {TREND_ITERATIONS} iterations")
    means = np.convolve(values, np.full(size, 1 / size), "valid")[: len(values) - 2 * size + 1]
    best, last = values[(start := int(means.argmax())) : start + size], values[-max(4, math.ceil(len(values) / 10)) :]
    p = float(stats.mannwhitneyu(best, last, alternative="greater").pvalue) * len(means)
    return Interval(float(last.mean() - best.mean()), p=min(1.0, p))


def _known(curve: pd.Series) -> pd.Series:
    return curve.dropna().sort_index()


def of_training(method: str, lines: pd.DataFrame) -> Health:
    """Of the metrics of one method: one row an iteration and seed."""
    lines = lines.sort_values(["seed", "iteration"])
    seeds = [part.set_index("iteration") for _, part in lines.groupby("seed")]
    groups = _total(lines, "groups")
    failures = list(lines["failure"].dropna()) if "failure" in lines else []
    rewards = [part["reward_mean"] for part in seeds] if "reward_mean" in lines else []
    ends = [_ends(part["entropy"]) for part in seeds] if "entropy" in lines else [(float("nan"), float("nan"))]
    losses = [loss(curve) for curve in rewards]
    return Health(
        method,
        int(lines["iteration"].max()),
        _total(lines, "images_dropped") / asked if (asked := _total(lines, "reward_queries")) else float("nan"),
        str(failures[-1]) if failures else "",
        _total(lines, "groups_without_spread") / groups if groups else 1.0,  # no group at all: no picture had a reward
        (_by("median", lines, "kl"), _by("max", lines, "kl")),
        int((lines["kl"] > KL_LIMIT).sum()) if "kl" in lines else 0,
        (_by("min", lines, "ratio_mean"), _by("max", lines, "ratio_mean")),
        int((~lines["ratio_mean"].dropna().between(*RATIO_RANGE)).sum()) if "ratio_mean" in lines else 0,
        min(ends, key=lambda pair: pair[1] / pair[0] if pair[0] > 0 else 1.0),
        trend(rewards),
        min((one for one in losses if one.p == one.p), key=lambda one: one.p, default=Interval(float("nan"))),
        len(seeds),
        sum(_total(part, "groups") == _total(part, "groups_without_spread") for part in seeds),
        sum(end < ENTROPY_SHARE * start for start, end in ends),
    )


def _ends(values: pd.Series) -> tuple[float, float]:
    """Medians of the first and the last tenth; NaN where they would share iterations."""
    values = values.dropna()
    count = max(SEVERAL, int(np.ceil(len(values) / 10)))
    if len(values) < 2 * count:
        return float("nan"), float("nan")
    return float(values.head(count).median()), float(values.tail(count).median())


def _total(lines: pd.DataFrame, key: str) -> float:
    return float(lines[key].sum()) if key in lines else 0.0


def _by(how: str, lines: pd.DataFrame, key: str) -> float:
    return float(getattr(lines[key], how)()) if key in lines else float("nan")


def _share(value: float) -> str:
    return NONE if value != value else "0" if value == 0 else f"{value:.1%}"


def _two(pair: tuple[float, float]) -> str:
    return NONE if pair[0] != pair[0] else f"{pair[0]:.3g}, {pair[1]:.3g}"
