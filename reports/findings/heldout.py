"""The held-out score along training: verdicts of saved checkpoints on a few prompts, which no table shows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from htgrpo.base.records import BASE, CURVE
from reports.run.load import Run
from reports.statistics.stats import headline_weights


@dataclass(frozen=True)
class Curve:
    """points: one row per checkpoint (method, seed, iteration, score in displayed units); start: the starting policy's
    score, None where it was not scored; label: what is shown."""

    points: pd.DataFrame
    start: float | None
    label: str


def held_out(run: Run) -> Curve | None:
    """The curve of the first benchmark that has one; None where none has."""
    metas = run.metas[run.metas["setting"] == CURVE]
    if not len(metas):
        return None
    metas = metas[metas["benchmark"] == metas["benchmark"].iloc[0]]
    records = run.records
    records = records[(records["setting"] == CURVE) & (records["benchmark"] == metas["benchmark"].iloc[0])]
    scores = {policy: _headline(part, metas["meta"].iloc[0]) for policy, part in records.groupby("policy")}
    metas = metas.assign(score=[scores.get(policy, np.nan) for policy in metas["policy"]])
    start = metas.loc[metas["method"] == BASE, "score"].dropna()
    points = metas[metas["method"] != BASE][["method", "seed", "iteration", "score"]].dropna()
    points = points.astype({"seed": int, "iteration": int})
    prompts = records["prompt_id"].nunique()
    label = f"Held-out: {metas['meta'].iloc[0]['title']}, {prompts} prompts"
    return Curve(points, float(start.iloc[0]) if len(start) else None, label)


def _headline(records: pd.DataFrame, meta: dict) -> float:
    """The headline over the prompts of one policy; NaN unless all pictures were judged."""
    if len(records) < meta["expected_images"] or not (records["status"] == "ok").all():
        return float("nan")
    by_prompt = records.groupby("prompt_id").agg(score=("score", "mean"), category=("category", "first"))
    categories = pd.factorize(by_prompt["category"])[0]
    return float(by_prompt["score"].to_numpy() @ headline_weights(categories, meta["aggregate"]) * meta["scale"])
