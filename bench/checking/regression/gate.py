"""The quality gate: has a run fallen below a stored baseline, prompt by prompt, and how small a fall could it have
seen?

Test: one-sided paired permutation test (signs of the differences flipped, scipy.stats.permutation_test) of the
headline, which is exact where old and new pictures are exchangeable; Holm's adjustment over methods. Power: that of the
paired t test with the same standard deviation (statsmodels' TTestPower), at the level left when all methods are tested;
tests/bench/test_quality_gate.py confirms by simulation that the stated fall is found four times in five.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.power import TTestPower

from bench.ask.selection import select
from htgrpo.base.errors import EXIT_INCOMPLETE, UserError, suggest
from htgrpo.base.files import atomic_json, read_object, sha256_json
from htgrpo.base.prompts import Prompt
from htgrpo.base.records import FINAL, check
from reports.run.load import Run
from reports.statistics.stats import headline_weights, holm

KIND, AGAIN = "quality", "restore it, or make a new one with --update"
ALPHA, POWER, RESAMPLES = 0.05, 0.8, 9999
SAME = ("version", "aggregate", "scale", "higher_is_better", "scorer", "setting")
"""Entries of a verdict's meta file in which run and baseline must agree."""


@dataclass(frozen=True)
class Quality:
    """A baseline. subset: prompts asked for, None for all. rule: the entries SAME of the meta file. prompts,
    categories: of the chosen prompts; texts_sha256 also covers their texts. scores: [prompts] in displayed units by
    method, mean over training seeds and samples; noise: [prompts], the variance of such a mean over other pictures of
    the same policies."""

    benchmark: str
    setting: str
    subset: int | None
    rule: dict
    prompts: list[str]
    categories: list[str]
    texts_sha256: str
    scores: dict[str, list[float]]
    noise: dict[str, list[float]]


@dataclass(frozen=True)
class Outcome:
    """One method against the baseline. change: of the headline, below 0 for the worse; p: one-sided, adjusted; visible:
    the smallest fall that this comparison finds with a power of 80 %; changed: prompts whose score is another."""

    method: str
    now: float
    then: float
    change: float
    p: float
    visible: float
    changed: int

    @property
    def regressed(self) -> bool:
        """Whether it fell."""
        return self.p < ALPHA


def read(path: Path) -> Quality:
    """The baseline in `path`. Raises UserError when there is none or it is damaged."""
    if not path.is_file():
        raise UserError(
            f"there is no baseline {str(path)!r}: make one from a good run with --subset geneval:60 --update"
        )
    value = read_object(path, AGAIN)
    if value.pop("kind", None) != KIND:
        raise UserError(f"{str(path)!r} is no baseline of the quality gate: give another --baseline")
    check(path, value, Quality, AGAIN)
    return msgspec.convert(value, Quality)


def write(path: Path, quality: Quality) -> None:
    """Writes a baseline."""
    if path.exists():
        read(path)  # refuses to replace anything else
    atomic_json(path, {"kind": KIND, **asdict(quality)})


def measure(
    run: Run,
    benchmark: str,
    setting: str,
    subset: int | None,
    ids: list[str] | None = None,
    methods: list[str] | None = None,
) -> Quality:
    """What `run` says about the prompts `ids`, or about a subset drawn from the run's prompts by the hash of their ids,
    categories taking turns; methods: default all. Raises UserError, with the exit code for incomplete work where
    verdicts are missing."""
    metas = run.metas[(run.metas["benchmark"] == benchmark) & (run.metas["setting"] == setting)]
    metas = metas[metas["milestone"] == FINAL]
    where = f"{str(run.root)!r} holds no verdicts of {benchmark} under the setting {setting!r}"
    if metas.empty:
        raise UserError(f"{where}: score it first, or name another --subset or --setting", EXIT_INCOMPLETE)
    records = run.records[(run.records["benchmark"] == benchmark) & (run.records["setting"] == setting)]
    texts = records.drop_duplicates("prompt_id")
    prompts = [
        Prompt(str(one["prompt_id"]), str(one["prompt"]), str(one["category"]), {})
        for one in texts[["prompt_id", "prompt", "category"]].to_dict("records")
    ]
    by_id = {prompt.id: prompt for prompt in prompts}
    if ids is None:
        kept = select(benchmark, prompts, None, subset)
    else:
        gone = [one for one in ids if one not in by_id]
        if gone:
            raise UserError(
                f"{str(run.root)!r} lacks {len(gone)} of the baseline's {len(ids)} prompts of {benchmark} (first "
                f"{gone[0]!r}): score the run on them",
                EXIT_INCOMPLETE,
            )
        kept = [by_id[one] for one in ids]
    meta = metas["meta"].iloc[0]
    scores, noise = {}, {}
    for method in methods or dict.fromkeys(metas["method"]):
        part = metas[metas["method"] == method]
        if part.empty:
            raise suggest(method, set(metas["method"]), "method of this run")
        own = records[
            records["policy"].isin(part["policy"]) & records["prompt_id"].isin([prompt.id for prompt in kept])
        ]
        expected = len(kept) * sum(part["expected"]) // len(prompts)
        if int((own["status"] == "ok").sum()) != expected:
            judged = int((own["status"] == "ok").sum())
            raise UserError(
                f"{str(run.root)!r}: {method} has verdicts for {judged} of {expected} pictures of these prompts: run "
                "its command again",
                EXIT_INCOMPLETE,
            )
        mean, variance = _means(own, [prompt.id for prompt in kept], float(meta["scale"]))
        scores[method], noise[method] = mean, variance
    shown = [[prompt.id, prompt.text, prompt.category] for prompt in kept]
    return Quality(
        benchmark,
        setting,
        subset,
        {key: meta[key] for key in SAME},
        [p.id for p in kept],
        [p.category for p in kept],
        sha256_json(shown),
        scores,
        noise,
    )


def _means(records: pd.DataFrame, ids: list[str], scale: float) -> tuple[list[float], list[float]]:
    """Per prompt: the mean of its pictures' scores, and the variance of that mean. With one picture a prompt, the
    spread within the category stands in for that of pictures, which it is not below on average."""
    scores = records.assign(score=records["score"] * scale)
    groups = scores.groupby("prompt_id")["score"]
    mean, count, variance = groups.mean().loc[ids], groups.count().loc[ids], groups.var(ddof=1).loc[ids]
    if count.min() < 2:
        variance = (
            scores.drop_duplicates("prompt_id")
            .set_index("prompt_id")["category"]
            .loc[ids]
            .map(scores.groupby("category")["score"].var(ddof=1))
            .fillna(0.0)
        )
    return [float(v) for v in mean], [float(v) for v in variance / count]


def compare(baseline: Quality, now: Quality, methods: list[str] | None) -> list[Outcome]:
    """One outcome a method (default: every one of the baseline). Raises UserError for what cannot be compared."""
    for key in SAME:
        if baseline.rule[key] != now.rule[key]:
            raise UserError(
                f"run and baseline differ in {key} ({now.rule[key]!r} and {baseline.rule[key]!r}) and cannot be "
                "compared: score the run with the baseline's settings, or make a new baseline with --update"
            )
    if baseline.texts_sha256 != now.texts_sha256:
        raise UserError(
            "the prompts of the run have other texts or categories than the baseline's: make a new one with --update"
        )
    names = methods or list(baseline.scores)
    for name in names:
        if name not in baseline.scores:
            raise UserError(f"the baseline knows no method {name!r}: accepted are {', '.join(baseline.scores)}")
        if name not in now.scores:
            raise UserError(
                f"the run has no verdicts of {name}, which the baseline has: score it, or name --methods",
                EXIT_INCOMPLETE,
            )
    sign = 1.0 if baseline.rule["higher_is_better"] else -1.0
    weights = headline_weights(np.unique(baseline.categories, return_inverse=True)[1], baseline.rule["aggregate"])
    gaps = [sign * (np.array(now.scores[name]) - np.array(baseline.scores[name])) for name in names]
    adjusted = holm([fall_p(gap, weights, name) for gap, name in zip(gaps, names, strict=True)])
    outcomes = []
    for name, gap, p in zip(names, gaps, adjusted, strict=True):
        new, old = (float(np.array(side.scores[name]) @ weights) for side in (now, baseline))
        noise = np.array(baseline.noise[name]) + np.array(now.noise[name])
        visible = visible_fall(gap, weights, noise, ALPHA / len(names))
        outcomes.append(Outcome(name, new, old, float(gap @ weights), p, visible, int((gap != 0).sum())))
    return outcomes


def fall_p(gap: np.ndarray, weights: np.ndarray, key: str = "", resamples: int = RESAMPLES) -> float:
    """One-sided p that the headline did not fall. gap: float [P], new minus old, signed so that more is better;
    weights: [P]."""
    if not gap.any():
        return 1.0
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    found = stats.permutation_test(
        (gap * weights,),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        alternative="less",
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def visible_fall(gap: np.ndarray, weights: np.ndarray, noise: np.ndarray, alpha: float = ALPHA) -> float:
    """The smallest fall of the headline that a test at level `alpha` finds with a power of POWER, in displayed units.

    The spread of differences is the larger of what was seen (gap [P]) and what other pictures of unchanged policies
    would show (noise [P], variances): equal pictures on both sides say nothing about how far others would spread.
    """
    count = len(weights)
    scaled = gap * weights * count
    seen = float(np.var(scaled, ddof=1)) if count > 1 else 0.0
    spread = max(seen, float(np.mean(noise * (weights * count) ** 2))) ** 0.5
    effect = TTestPower().solve_power(nobs=count, alpha=alpha, power=POWER, alternative="larger")
    return float(effect) * spread
