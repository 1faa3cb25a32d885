"""What each method cost and how its training ended, from metrics.jsonl and timing.jsonl."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.load import Run, labelled, titled, weights_note

TAIL = 0.1  # training ends are means over this last part of the iterations


@dataclass(frozen=True)
class Cost:
    """Means over training seeds; NaN where a run does not record it. seconds: training wall time; memory: peak MB;
    reward, kl, clip: means over the last tenth of the iterations (at least one); weights: see load.weights_note."""

    method: str
    seeds: int
    iterations: float
    forwards: float
    seconds: float
    memory: float
    reward: float
    kl: float
    clip: float
    weights: str = ""

    @property
    def label(self) -> str:
        """The method's name with the note on the weights it started from."""
        return labelled(self.method, self.weights)


def costs(run: Run) -> list[Cost]:
    """One entry per trained method, in the run's method order."""
    out = []
    for method in run.methods:
        ends = [_seed_cost(run, method, seed) for seed in _seeds(run.metrics, method)]
        if ends:
            means = [_mean([end[i] for end in ends]) for i in range(len(ends[0]))]
            scored = run.metas[run.metas["method"] == method]
            out.append(Cost(method, len(ends), *means, weights_note(bool(scored["random_weights"].any()), trained=True)))
    return out


def costs_title(costs: list[Cost]) -> str:
    """The heading of the tables of costs."""
    return titled("Cost and end of training", (bool(cost.weights) for cost in costs))


def _seeds(metrics: pd.DataFrame, method: str) -> list:
    return sorted(set(metrics.loc[metrics["method"] == method, "seed"]), key=str)


def _seed_cost(run: Run, method: str, seed: object) -> tuple[float, ...]:
    metrics = _of(run.metrics, method, seed)
    timing = _of(run.timing, method, seed)
    tail = metrics.tail(max(1, int(np.ceil(TAIL * len(metrics)))))
    return (
        float(metrics["iteration"].max()),
        _last(metrics, "forwards_total"),
        _last(timing, "seconds_total"),
        float(timing["peak_memory_mb"].max()) if "peak_memory_mb" in timing and len(timing) else float("nan"),
        *(_mean(list(tail[key])) if key in tail else float("nan") for key in ("reward_mean", "kl", "clip_fraction")),
    )


def _of(frame: pd.DataFrame, method: str, seed: object) -> pd.DataFrame:
    return frame[(frame["method"] == method) & (frame["seed"] == seed)].sort_values("iteration")


def _last(frame: pd.DataFrame, key: str) -> float:
    return float(frame[key].iloc[-1]) if key in frame and len(frame) else float("nan")


def _mean(values: list) -> float:
    finite = [float(v) for v in values if v is not None and np.isfinite(v)]
    return float(np.mean(finite)) if finite else float("nan")
