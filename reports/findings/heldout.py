"""The held-out score along training: verdicts of saved checkpoints on a few prompts, which no table shows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from htgrpo.base.records import BASE, CURVE
from reports.findings.hacking import reward_weights
from reports.findings.pairs import ALPHA
from reports.findings.vouching import HELD, role
from reports.format import number
from reports.run.load import Run
from reports.statistics.shapes import moments, student
from reports.statistics.stats import headline_weights, too_few

ONSET = (
    "Onset: the first checkpoint of the held-out curve that lies below the best one before it (paired over prompts, one-sided at "
    f"{ALPHA:.0%} over all pairs of a training's checkpoints, by Bonferroni: one honest training in twenty may turn), while "
    "the trained reward was higher since that one than over as many iterations before. On few prompts only large falls are seen."
)


@dataclass(frozen=True)
class Curve:
    """points: one row per checkpoint (method, seed, iteration, score in displayed units); start: the starting policy's
    score, None where it was not scored; label: what is shown; benchmark: of which; prompts: (method, seed) -> iteration
    -> score of every prompt, those of the starting policy under (BASE, None); category: of every prompt."""

    points: pd.DataFrame
    start: float | None
    label: str
    benchmark: str = ""
    prompts: dict[tuple[str, int | None], dict[int, np.ndarray]] = field(default_factory=dict)
    category: np.ndarray = field(default_factory=lambda: np.zeros(0, int))


@dataclass(frozen=True)
class Onset:
    """Where the held-out score of one training turned. best, iteration: the checkpoints before and at it; fall: between
    them, in displayed units."""

    method: str
    seed: int
    best: int
    iteration: int
    fall: float
    title: str
    scale: float = 1.0

    @property
    def text(self) -> str:
        """The sentence."""
        return (
            f"{self.method}: with training seed {self.seed} {self.title} fell by {number(self.fall, self.scale)} from iteration "
            f"{self.best} to {self.iteration} while the trained reward still rose: stop at {self.best}, or look at the pictures."
        )


def held_out(run: Run) -> Curve | None:
    """The curve of the first benchmark that has one; None where none has."""
    metas = run.metas[run.metas["setting"] == CURVE]
    if not len(metas):
        return None
    benchmark, meta = metas["benchmark"].iloc[0], metas["meta"].iloc[0]
    metas = metas[metas["benchmark"] == benchmark]
    records = run.records
    records = records[(records["setting"] == CURVE) & (records["benchmark"] == benchmark)]
    table = records.drop_duplicates("prompt_id").set_index("prompt_id")["category"].sort_index()
    category = pd.factorize(table)[0]
    weights = headline_weights(category, meta["aggregate"])
    scores = {policy: _by_prompt(part, meta, table.index) for policy, part in records.groupby("policy")}
    metas = metas.assign(
        score=[float(scores[policy] @ weights) if policy in scores else np.nan for policy in metas["policy"]]
    )
    start = metas.loc[metas["method"] == BASE, "score"].dropna()
    points = metas[metas["method"] != BASE][["method", "seed", "iteration", "score"]].dropna()
    points = points.astype({"seed": int, "iteration": int})
    prompts: dict[tuple[str, int | None], dict[int, np.ndarray]] = {}
    for one in metas.dropna(subset=["score"]).itertuples():
        key = one.method, None if one.method == BASE else int(one.seed)
        prompts.setdefault(key, {})[int(one.iteration or 0)] = scores[one.policy]
    label = f"Held-out: {meta['title']}, {len(table)} prompts"
    return Curve(points, float(start.iloc[0]) if len(start) else None, label, benchmark, prompts, category)


def _by_prompt(records: pd.DataFrame, meta: Mapping, prompts: pd.Index) -> np.ndarray:
    """The scores of one policy's prompts in displayed units, float [P]; NaN unless all pictures were judged."""
    if len(records) < meta["expected_images"] or not (records["status"] == "ok").all():
        return np.full(len(prompts), np.nan)
    return records.groupby("prompt_id")["score"].mean().reindex(prompts).to_numpy() * meta["scale"]


def onsets(run: Run, curve: Curve | None) -> list[Onset]:
    """Where a curve that may vouch for the trained reward turned, one entry per training that did."""
    if curve is None or too_few(curve.category):
        return []
    meta = next(meta for name, meta in zip(run.metas["benchmark"], run.metas["meta"]) if name == curve.benchmark)
    weights = headline_weights(curve.category, meta["aggregate"])
    sign = 1 if meta["higher_is_better"] else -1
    start = curve.prompts.get((BASE, None), {})
    looked = {
        (method, seed): {at: sign * row for at, row in (start | scores).items()}
        for (method, seed), scores in curve.prompts.items()
        if method != BASE and seed is not None and _held(run, method, curve.benchmark)
    }
    out = []
    for (method, seed), scores in looked.items():
        rewards = _rewards(run, method, seed)
        found = onset(scores, curve.category, weights, rewards)
        if found:
            out.append(Onset(method, seed, *found, title=str(meta["title"]), scale=float(meta["scale"])))
    return out


def _held(run: Run, method: str, benchmark: str) -> bool:
    """Whether the benchmark may vouch for what `method` was trained on."""
    used = [name for name, weight in reward_weights(run, method).items() if weight]
    return role(benchmark.partition("@")[0], used) == HELD


def _rewards(run: Run, method: str, seed: int) -> pd.Series:
    """The trained reward of one training by iteration."""
    lines = run.metrics
    if not len(lines) or "reward_mean" not in lines:
        return pd.Series(dtype=float)
    own = lines[(lines["method"] == method) & (lines["seed"] == seed)]
    return own.set_index("iteration")["reward_mean"].dropna().sort_index()


def onset(
    scores: Mapping[int, np.ndarray], category: np.ndarray, weights: np.ndarray, rewards: pd.Series
) -> tuple[int, int, float] | None:
    """(best, iteration, fall) by ONSET; None where nothing turned. scores: iteration -> float [P], higher is better;
    category: int [P]; weights: of the headline; rewards: by iteration."""
    best: int | None = None
    pairs = math.comb(len(scores), 2)
    for now in sorted(scores):
        if best is None or scores[now] @ weights >= scores[best] @ weights:
            best = now
            continue
        lost = moments((scores[best] - scores[now])[None], category, weights)
        fall, error = float(lost.mean[0]), float(lost.variance[0]) ** 0.5
        if fall > float(student(ALPHA / pairs, lost.df[0])) * error and _rose(rewards, best, now):
            return best, now, fall
    return None


def _rose(rewards: pd.Series, best: int, now: int) -> bool:
    """Whether the reward was higher after `best` than over as many iterations before it; where there are none before,
    in the later half of those after than in the earlier one."""
    after = rewards[(rewards.index > best) & (rewards.index <= now)]
    before = rewards[(rewards.index > 2 * best - now) & (rewards.index <= best)]
    if not len(before):
        before, after = after[: len(after) // 2], after[len(after) // 2 :]
    return bool(len(before) and len(after) and after.mean() > before.mean())
