"""How training went: rewards that failed or did not differ, and signs of instability, from metrics.jsonl. Nothing is decided from
one iteration: what a single one shows is in the table, a warning needs at least two, and a trend an interval."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from reports.load import Run
from reports.stats import LEVEL, Interval
from reports.text import NONE, amount, bounds, table

KL_SPIKE, KL_FACTOR = 1.0, 10.0
RATIO_RANGE = (0.5, 2.0)
ENTROPY_SHARE = 0.5
TREND_ITERATIONS = 8
SEVERAL = 2
TITLE = "How training went"
NOTE = (
    "Dropped: pictures without a reward, of those put to the rewards. No spread: groups whose pictures all had one reward, which "
    "teach nothing. KL: median and highest iteration, in nats a token; a warning needs "
    f"{SEVERAL} iterations of a training above {KL_SPIKE:g} and {KL_FACTOR:g} times the median. Ratio: lowest and highest mean "
    f"importance ratio of an iteration; a warning needs {SEVERAL} outside {RATIO_RANGE[0]:g} to {RATIO_RANGE[1]:g}. Entropy of the "
    f"rollouts: medians of the first and last tenth (at least {SEVERAL} iterations); a warning below {ENTROPY_SHARE:.0%} of the "
    f"start. Reward: change over training by Theil and Sen's slope over iterations with its {LEVEL:.0%} interval, from "
    f"{TREND_ITERATIONS} iterations on."
)


@dataclass(frozen=True)
class Health:
    """One method's training over its seeds. Shares in 0..1; NaN or None where nothing was recorded. dropped: pictures without a
    reward; failure: why the last one has none; flat: groups without spread; spikes, strayed: most iterations of one training whose
    KL or mean ratio is out of bounds; entropy: (start, end) in nats; reward: change of the trained reward."""

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

    @property
    def untrained(self) -> bool:
        """Whether no group of any iteration had two different rewards: no weight has moved for a reward's sake."""
        return self.flat == 1.0

    @property
    def warnings(self) -> list[str]:
        """A sentence for each thing that a reader of the scores must know."""
        lines = []
        if self.untrained:
            lines.append("nothing was trained: no group had two different rewards in any iteration, so no weight has moved for "
                         "a reward's sake and its scores are those of the starting policy")
        elif self.flat >= 0.5:
            lines.append(f"{self.flat:.0%} of its groups had one reward for all pictures and taught nothing")
        if self.dropped > 0:
            why = f" (the last: {self.failure})" if self.failure else ""
            lines.append(f"{self.dropped:.2g} of its pictures had no reward and were left out of training{why}"
                         if self.dropped < 0.01 else
                         f"{self.dropped:.0%} of its pictures had no reward and were left out of training{why}")
        if self.spikes >= SEVERAL:
            lines.append(f"KL to the starting policy was above {KL_SPIKE:g} and {KL_FACTOR:g} times its median in {self.spikes} "
                         f"iterations (median {self.kl[0]:.2g}, highest {self.kl[1]:.2g} nats a token): training was unstable")
        if self.strayed >= SEVERAL:
            lines.append(f"the mean importance ratio left {RATIO_RANGE[0]:g} to {RATIO_RANGE[1]:g} in {self.strayed} iterations "
                         f"({self.ratio[0]:.2g} to {self.ratio[1]:.2g}): updates went further than clipping could hold")
        if self.reward.known and self.reward.high < 0:
            lines.append(f"the trained reward fell by {-self.reward.estimate:.3g} {bounds(self.reward, 1, True)} over training")
        if self.entropy[1] < ENTROPY_SHARE * self.entropy[0]:
            lines.append(f"the entropy of its rollouts fell from {self.entropy[0]:.2g} to {self.entropy[1]:.2g} nats: it samples "
                         "ever fewer pictures")
        return [f"{self.method}: {line}." for line in lines]

    @property
    def cells(self) -> list[str]:
        """The row of the table."""
        return [self.method, _share(self.dropped), _share(self.flat), _two(self.kl), _two(self.ratio), _two(self.entropy),
                f"{amount(self.reward.estimate, 3)} {bounds(self.reward, 1, True)}"]


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


def trend(values: pd.Series) -> Interval:
    """Change of a curve from its first to its last point, by Theil and Sen's slope; values by iteration. An interval only from
    TREND_ITERATIONS points on."""
    values = values.dropna()
    if len(values) < SEVERAL:
        return Interval(float("nan"), note="fewer than two iterations")
    slope, _, low, high = stats.theilslopes(values.to_numpy(float), values.index.to_numpy(float), LEVEL)
    length = float(values.index[-1] - values.index[0])
    if len(values) < TREND_ITERATIONS:
        return Interval(slope * length, note=f"fewer than {TREND_ITERATIONS} iterations")
    return Interval(slope * length, low * length, high * length)


def of_training(method: str, lines: pd.DataFrame) -> Health:
    """Of the metrics of one method: one row an iteration and seed."""
    lines = lines.sort_values(["seed", "iteration"])
    seeds = [part for _, part in lines.groupby("seed")]
    groups = _total(lines, "groups")
    unspread = _total(lines, "groups_without_spread") / groups if groups else 1.0  # no group at all: no picture had a reward
    failures = lines["failure"].dropna() if "failure" in lines else ()
    return Health(
        method,
        int(lines["iteration"].max()),
        _total(lines, "images_dropped") / asked if (asked := _total(lines, "reward_queries")) else float("nan"),
        str(failures.iloc[-1]) if len(failures) else "",
        float(unspread),
        (_by("median", lines, "kl"), _by("max", lines, "kl")),
        max(int((part["kl"] > max(KL_SPIKE, KL_FACTOR * part["kl"].median())).sum()) if "kl" in part else 0 for part in seeds),
        (_by("min", lines, "ratio_mean"), _by("max", lines, "ratio_mean")),
        max(int((~part["ratio_mean"].dropna().between(*RATIO_RANGE)).sum()) if "ratio_mean" in part else 0 for part in seeds),
        _ends(lines.groupby("iteration")["entropy"].mean()) if "entropy" in lines else (float("nan"), float("nan")),
        trend(lines.groupby("iteration")["reward_mean"].mean()) if "reward_mean" in lines else Interval(float("nan")),
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
