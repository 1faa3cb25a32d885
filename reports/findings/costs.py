"""What each method cost up to every view and how its training stood there, from metrics.jsonl and timing.jsonl."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.format import listed
from reports.run.blocks import view_title
from reports.run.load import Run, titled, weights_note

BUSY = 0.15
"""From which part of the training time on that was spent waiting for the processor, seconds are not trusted."""
TAIL = 0.1  # training ends are means over this last part of the iterations
PHASES = ("rollout", "old", "ref", "train")


@dataclass(frozen=True)
class Cost:
    """What one method has spent where a view looks at it: means over training seeds, NaN where a run does not record
    it.

    steps: optimiser steps. rollouts: pictures sampled; queries: pictures put to the rewards. forwards:
    forward-equivalents, of which rollout, old, ref and train are the phases; undeduplicated: what they would be had no
    context been shared. seconds: of training; memory: peak MB; reward, kl, clip: means over the last tenth of the
    iterations (at least one). weights: see load.weights_note; when: the view in words; level: what shares a
    ratio, as the run recorded it.
    """

    view: str
    when: str
    method: str
    seeds: int
    iterations: float
    steps: float
    rollouts: float
    queries: float
    forwards: float
    rollout: float
    old: float
    ref: float
    train: float
    undeduplicated: float
    seconds: float
    memory: float
    reward: float
    kl: float
    clip: float
    weights: str = ""
    level: str = ""

    @property
    def updates(self) -> float:
        """K: optimiser steps an iteration."""
        return self.steps / self.iterations if self.iterations else float("nan")


NUMBERS = (
    "iterations", "steps", "rollouts", "queries", "forwards", *PHASES, "undeduplicated", "seconds", "memory", "reward",
    "kl", "clip",
)  # fmt: skip
"""The fields of Cost that are numbers, in order."""


def costs(run: Run) -> list[Cost]:
    """One entry per view and trained method, in the run's order."""
    out = []
    for view in run.views:
        metrics, timing = run.until(run.metrics, view), run.until(run.timing, view)
        for method in run.methods:
            ends = [_seed_cost(metrics, timing, method, seed) for seed in _seeds(metrics, method)]
            if ends:
                means = {
                    name: _mean(list(values)) for name, values in zip(NUMBERS, zip(*ends, strict=True), strict=True)
                }
                random = run.metas.loc[run.metas["method"] == method, "random_weights"]
                note = weights_note(bool(random.any()), trained=True)
                level = str(run.config.get("levels", {}).get(method, ""))
                when = view_title(view, run.seconds)
                out.append(Cost(view, when, method, len(ends), weights=note, level=level, **means))
    return out


def spent(metrics: pd.DataFrame, timing: pd.DataFrame, method: str, seeds: Iterable[int]) -> tuple[float, float, float]:
    """Iterations, forwards and seconds of a method, means over these trainings; NaN where one of them records none."""
    ends = np.array([_seed_cost(metrics, timing, method, seed) for seed in seeds])
    iterations, forwards, seconds = (
        float(ends[:, NUMBERS.index(name)].mean()) for name in ("iterations", "forwards", "seconds")
    )
    return iterations, forwards, seconds


def by_view(costs: list[Cost]) -> dict[str, list[Cost]]:
    """The costs of each view, by the view in words."""
    return {when: [cost for cost in costs if cost.when == when] for when in dict.fromkeys(cost.when for cost in costs)}


def costs_title(costs: list[Cost]) -> str:
    """The heading of the tables of costs."""
    return titled("Cost and end of training", (bool(cost.weights) for cost in costs))


def _seeds(metrics: pd.DataFrame, method: str) -> list:
    return sorted(set(metrics.loc[metrics["method"] == method, "seed"]), key=str)


def _seed_cost(metrics: pd.DataFrame, timing: pd.DataFrame, method: str, seed: object) -> tuple[float, ...]:
    """The numbers of one training, in the order of NUMBERS."""
    metrics, timing = _of(metrics, method, seed), _of(timing, method, seed)
    tail = metrics.tail(max(1, int(np.ceil(TAIL * len(metrics)))))
    phases = [f"forwards_{phase}" for phase in PHASES]
    counts = ("optimiser_steps", "rollouts", "reward_queries", "forwards", *phases, "forwards_undeduplicated")
    return (
        float(metrics["iteration"].max()),
        *(_sum(metrics, key) for key in counts),
        _last(timing, "seconds_total"),
        float(timing["peak_memory_mb"].max()) if "peak_memory_mb" in timing and len(timing) else float("nan"),
        *(_mean(list(tail[key])) if key in tail else float("nan") for key in ("reward_mean", "kl", "clip_fraction")),
    )


def _of(frame: pd.DataFrame, method: str, seed: object) -> pd.DataFrame:
    return frame[(frame["method"] == method) & (frame["seed"] == seed)].sort_values("iteration")


def _sum(frame: pd.DataFrame, key: str) -> float:
    """The total; NaN where it was never recorded. What only some iterations have is 0 in the others."""
    return float(frame[key].sum()) if key in frame and frame[key].notna().any() else float("nan")


def _last(frame: pd.DataFrame, key: str) -> float:
    return float(frame[key].iloc[-1]) if key in frame and len(frame) else float("nan")


def _mean(values: list) -> float:
    finite = [float(v) for v in values if v is not None and np.isfinite(v)]
    return float(np.mean(finite)) if finite else float("nan")


def waited(run: Run) -> list[str]:
    """A warning where trainings of one thread on a CPU waited for it, so that seconds tell of other work too; none where
    the run does not record it. The rewards do not count, whose judges may be elsewhere."""
    machine, timing = run.config.get("machine") or {}, run.timing
    alone = [machine.get(key) for key in ("device", "threads_per_job", "processes")] == ["cpu", 1, 1]
    if not alone or "cpu_seconds" not in timing:
        return []
    timing = timing.dropna(subset=["cpu_seconds"])  # a training may have begun before it was recorded
    own = timing["seconds"] - (timing["reward"].fillna(0.0) if "reward" in timing else 0.0)
    methods = timing["method"]
    waiting = (own - timing["cpu_seconds"]).clip(lower=0)
    shares = dict((waiting.groupby(methods).sum() / own.groupby(methods).sum()).items())
    if not shares or max(shares.values()) <= BUSY:
        return []
    told = listed([f"{name} {share:.0%}" for name, share in shares.items()])
    return [
        f"the machine was busy with other work: trainings waited for it in a part of their time ({told}), so equal training "
        "seconds and all costs in seconds are no fair comparison"
    ]
