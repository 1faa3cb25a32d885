"""What trainings recorded on their way: the measures that are shown, along every axis of cost."""

import numpy as np
import pandas as pd

from reports.run.load import Run

AXES = {"iterations": "iteration", "forwards": "forward passes", "seconds": "training seconds"}
"""What a cost is counted in, with its title."""
PANELS = {
    "reward_mean": "Mean training reward",
    "kl": "KL to reference (nats)",
    "clip_fraction": "Clipped tokens (fraction)",
    "entropy": "Rollout entropy (nats)",
    "entropy_ends": "Entropy of the first and last eighth unmasked",
}
LOGARITHMIC = ("kl",)
"""Panels in which one bad iteration would flatten everything else."""
COLUMNS = {"iterations": "iteration", "forwards": "forwards_total", "seconds": "seconds_total"}
"""The column of each axis of cost."""


def with_time(run: Run) -> pd.DataFrame:
    """The metrics with the training seconds of their iteration, where those are known."""
    frame = run.metrics
    if len(run.timing) and "seconds_total" in run.timing:
        keys = ["method", "seed", "iteration"]
        frame = frame.merge(run.timing[[*keys, "seconds_total"]], on=keys, how="left")
    return frame


def with_rank_ends(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with the first and the last bin of entropy_by_rank as columns entropy_ends and entropy_last."""
    if "entropy_by_rank" not in frame:
        return frame
    bins = frame["entropy_by_rank"]
    known = [value if isinstance(value, list) and value else [np.nan] for value in bins]
    return frame.assign(entropy_ends=[value[0] for value in known], entropy_last=[value[-1] for value in known])


def smoothed(table: pd.DataFrame) -> pd.DataFrame:
    """Columns as moving means over a twelfth of the rows."""
    return table.rolling(max(1, len(table) // 12), center=True, min_periods=1).mean()
