"""Intervals and p values for two different claims; pure functions on arrays of per-prompt scores.

*These checkpoints*: the trained weights are taken as they are and only the prompts are a sample. Interval: bootstrap
over prompts, stratified by category, percentile method. `scipy.stats.bootstrap` has exactly this procedure (independent
samples = strata), so it is used. With few prompts its spread is too small, by sqrt((n - 1) / n), and its quantiles are a
normal's, not a t's: 40 prompts would be covered 92 to 94 % of the time. The quantiles are therefore taken further out (the
expanded percentile interval of Hesterberg, 2015); no bound leaves the range of the scores. The p value is the inversion of
the same interval, so that "p < 0.05" and "the interval excludes 0" agree.

*These methods*: training seeds are a sample as well, crossed with the prompts (every seed sees every prompt). For a
seeds x prompts matrix of paired differences the variance of the mean of a two-way crossed layout is

    Var = V_seed + V_prompt - V_both

where V_seed is the variance of the per-seed headline over the number of seeds, V_prompt the stratified variance of the
seed-averaged prompts, and V_both the seed x prompt residual, which both of the others contain once. Degrees of freedom
come from Satterthwaite's rule, and the quantile from Student's t: with 4 seeds that disagree the factor is 3.2, not 2.
The rule trusts a V_seed that came out small by chance; with 3 seeds whose part is nine tenths its interval would cover
92 %. V_seed therefore counts CAUTION times in the degrees of freedom (not in the variance), which keeps coverage between
93.9 and 95.6 % for every part that the seeds may have, from 3 seeds on; tests/reports/test_coverage.py integrates it.
From ten seeds on, seeds and prompts are resampled crossed instead (the pigeonhole bootstrap of Owen, 2007, which errs
on the wide side).
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

LEVEL = 0.95
RESAMPLES = 4999
MIN_PROMPTS = 20  # a category with fewer prompts prints no interval
MIN_SEEDS = 3  # fewer training seeds support no claim about a method
BOOTSTRAP_SEEDS = 10  # fewer training seeds use Student's t
CAUTION = 2.0  # how many times the seeds' part of the variance counts in the degrees of freedom
_BATCH_ELEMENTS = 2_000_000  # floats a resampling batch may hold (16 MB)


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval. `low`, `high` and `p` are NaN where none can be given; `note` then says why."""

    estimate: float
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")
    df: float = float("nan")
    note: str = ""

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    def negated(self) -> "Interval":
        """The interval of the opposite difference."""
        return replace(self, estimate=-self.estimate, low=-self.high, high=-self.low)


def headline_weights(categories: np.ndarray, aggregate: str) -> np.ndarray:
    """Weight of each prompt in the headline, float [P], sum 1.

    categories: int [P]. aggregate: "category_mean" (mean of category means) or "item_mean" (mean over prompts).
    Raises ValueError for another aggregate.
    """
    if aggregate not in ("category_mean", "item_mean"):
        raise ValueError(f"aggregate {aggregate!r}: accepted are category_mean and item_mean")
    if aggregate == "item_mean":
        return np.full(len(categories), 1.0 / len(categories))
    _, inverse, counts = np.unique(categories, return_inverse=True, return_counts=True)
    return 1.0 / (len(counts) * counts[inverse])


def too_few(categories: np.ndarray) -> str:
    """The reason why prompts of these categories (int [P]) carry no interval, or an empty string."""
    counts = np.unique(categories, return_counts=True)[1]
    if len(categories) < MIN_PROMPTS:
        return f"fewer than {MIN_PROMPTS} prompts"
    return "a category has a single prompt" if counts.min() < 2 else ""


def checkpoint_intervals(
    rows: np.ndarray, categories: np.ndarray, aggregate: str, generator: np.random.Generator, resamples: int = RESAMPLES
) -> list[Interval]:
    """Interval of the headline of each row, prompts resampled within their category.

    rows: float [R, P], per-prompt scores or paired differences; categories: int [P]. All rows see the same resamples,
    so rows stay comparable. p is two-sided against 0. Rows that do not vary within any category get no interval (the
    bootstrap would claim certainty). Returns R intervals.
    """
    weights = headline_weights(categories, aggregate)
    estimates = rows @ weights
    reason = too_few(categories)
    if reason or not len(rows):
        return [Interval(float(value), note=reason) for value in estimates]
    names = np.unique(categories)
    shares = [float(weights[categories == name].sum()) for name in names]

    def statistic(*samples: np.ndarray, axis: int) -> np.ndarray:
        return sum(share * sample.mean(axis=axis) for share, sample in zip(shares, samples, strict=True))

    strata = [rows[:, categories == name] for name in names]
    expansion = Expansion.of(shares, [part.shape[1] for part in strata])
    widest = max(part.shape[1] for part in strata)
    batch = max(1, _BATCH_ELEMENTS // (len(rows) * widest))
    result = stats.bootstrap(
        strata,
        statistic,
        n_resamples=resamples,
        batch=batch,
        axis=-1,
        vectorized=True,
        confidence_level=expansion.level,
        method="percentile",
        rng=generator,
    )
    varies = np.any([np.ptp(part, axis=1) > 1e-12 for part in strata], axis=0)
    interval, draws = result.confidence_interval, np.atleast_2d(result.bootstrap_distribution)
    return [
        Interval(float(estimates[r]), float(interval.low[r]), float(interval.high[r]), expansion.p(_two_sided(draws[r])))
        if varies[r]
        else Interval(float(estimates[r]), p=1.0, note="no variation between prompts")
        for r in range(len(rows))
    ]


@dataclass(frozen=True)
class Expansion:
    """How far a percentile interval of few prompts is to be widened. factor: true over bootstrapped standard error, for strata
    that vary alike; df: degrees of freedom."""

    factor: float
    df: float

    @staticmethod
    def of(shares: list[float], counts: list[int]) -> "Expansion":
        """For strata with these shares of the headline and these numbers of prompts, each at least 2."""
        share, n = np.array(shares), np.array(counts, float)
        return Expansion(float((share**2 / n).sum() / (share**2 * (n - 1) / n**2).sum()) ** 0.5, float((n - 1).sum()))

    @property
    def level(self) -> float:
        """The level at which the bootstrap covers LEVEL."""
        return float(1 - 2 * stats.norm.sf(self.factor * stats.t.ppf(0.5 + LEVEL / 2, self.df)))

    def p(self, bootstrapped: float) -> float:
        """The p value that belongs to the p value of the bootstrap."""
        return float(2 * stats.t.sf(stats.norm.isf(bootstrapped / 2) / self.factor, self.df))


def _two_sided(draws: np.ndarray) -> float:
    """p value against 0 by inverting the percentile interval of `draws` [B]; never below 2 / (B + 1)."""
    below, above = np.count_nonzero(draws <= 0), np.count_nonzero(draws >= 0)
    return float(min(1.0, 2.0 * (1 + min(below, above)) / (1 + len(draws))))


def ratio_intervals(
    numerators: np.ndarray, denominators: np.ndarray, generator: np.random.Generator, resamples: int = RESAMPLES
) -> list[Interval]:
    """Interval of sum(numerators) / sum(denominators) for each row, prompts resampled; for scores counted per question.

    numerators, denominators: float [R, P] (questions answered well, questions asked). Prompts without any question must
    be left out by the caller. Returns R intervals.
    """
    estimates = numerators.sum(1) / denominators.sum(1)
    prompts = numerators.shape[1]
    if prompts < MIN_PROMPTS:
        return [Interval(float(value), note=f"fewer than {MIN_PROMPTS} prompts") for value in estimates]
    batch = max(1, _BATCH_ELEMENTS // (2 * len(numerators) * prompts))
    result = stats.bootstrap(
        (numerators, denominators),
        lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis),
        n_resamples=resamples,
        batch=batch,
        axis=-1,
        vectorized=True,
        paired=True,
        confidence_level=Expansion.of([1.0], [prompts]).level,
        method="percentile",
        rng=generator,
    )
    low, high = np.atleast_1d(result.confidence_interval.low), np.atleast_1d(result.confidence_interval.high)
    return [
        Interval(float(value), float(a), float(b)) if b > a else Interval(float(value), note="no variation between prompts")
        for value, a, b in zip(estimates, low, high, strict=True)
    ]


def exact_interval(values: np.ndarray, top: float) -> Interval | None:
    """Clopper-Pearson interval, prompts as trials, for a cell whose prompts (float [P]) all score 0 or all score `top`;
    otherwise None.

    There the bootstrap can only repeat the one value it has seen.
    """
    if len(values) < MIN_PROMPTS or top <= 0 or np.ptp(values) > 1e-12 or not np.isclose(values[0], (0.0, top)).any():
        return None
    hits = len(values) if np.isclose(values[0], top) else 0
    low, high = proportion_confint(hits, len(values), alpha=1 - LEVEL, method="beta")
    return Interval(
        float(values[0]), float(low) * top, float(high) * top, note="exact binomial: every prompt has the same score"
    )


def method_interval(
    matrix: np.ndarray,
    categories: np.ndarray,
    aggregate: str,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Interval:
    """Interval of the headline of `matrix` (float [S, P], one row per training seed) over seeds and prompts; see the
    module text.

    With fewer than 3 seeds there is no interval. p is two-sided against 0.
    """
    weights = headline_weights(categories, aggregate)
    estimate = float((matrix @ weights).mean())
    if len(matrix) < MIN_SEEDS:
        return Interval(estimate, note=f"fewer than {MIN_SEEDS} training seeds: these checkpoints, not these methods")
    reason = too_few(categories)
    if reason:
        return Interval(estimate, note=reason)
    if np.ptp(matrix) < 1e-12:
        return Interval(estimate, p=1.0, note="no variation between prompts or seeds")
    if len(matrix) >= BOOTSTRAP_SEEDS:
        return _crossed_bootstrap(matrix, categories, weights, generator, resamples)
    variance, df = crossed_variance(matrix, categories, weights)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, df)) * variance**0.5
    p = float(2 * stats.t.sf(abs(estimate) / variance**0.5, df))
    return Interval(estimate, estimate - half, estimate + half, p, df)


def crossed_variance(matrix: np.ndarray, categories: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Variance of the weighted mean of a seeds x prompts matrix (float [S, P]) with both crossed, and its degrees of
    freedom; see the module text.

    What prompts add to the seed part cannot be negative. Headlines that are all equal say nothing about seeds: then the
    prompt part is all there is.
    """
    seeds = len(matrix)
    seed, prompt, both, spread = float(np.var(matrix @ weights, ddof=1)) / seeds, 0.0, 0.0, 0.0
    for name in np.unique(categories):
        cell, weight = matrix[:, categories == name], float(weights[categories == name].sum())
        prompts = cell.shape[1]
        means = cell.mean(0)
        residual = cell - cell.mean(1, keepdims=True) - means + cell.mean()
        free = (seeds - 1.0) * (prompts - 1.0)
        own = weight**2 * float(np.var(means, ddof=1)) / prompts
        shared = weight**2 * float((residual**2).sum()) / free / (seeds * prompts)
        prompt, both = prompt + own, both + shared
        spread += own**2 / (prompts - 1.0) + shared**2 / free
    added = max(0.0, prompt - both) if seed > 1e-9 * prompt else prompt
    counted = CAUTION * seed
    df = (counted + added) ** 2 / (counted**2 / (seeds - 1.0) + spread)
    return seed + added, max(seeds - 1.0, df)


def _crossed_bootstrap(
    matrix: np.ndarray, categories: np.ndarray, weights: np.ndarray, generator: np.random.Generator, resamples: int
) -> Interval:
    """Percentile interval with seeds and, within each category, prompts resampled independently, by their indices."""
    names = np.unique(categories)
    shares = [float(weights[categories == name].sum()) for name in names]

    def statistic(seeds: np.ndarray, *prompts: np.ndarray, axis: int) -> np.ndarray:
        picked = (matrix[seeds[..., :, None], chosen[..., None, :]].mean(axis=(-2, -1)) for chosen in prompts)
        return sum(share * mean for share, mean in zip(shares, picked, strict=True))

    data = [np.arange(len(matrix)), *(np.flatnonzero(categories == name) for name in names)]
    batch = max(1, _BATCH_ELEMENTS // matrix.size)
    result = stats.bootstrap(
        data,
        statistic,
        n_resamples=resamples,
        batch=batch,
        axis=-1,
        vectorized=True,
        confidence_level=LEVEL,
        method="percentile",
        rng=generator,
    )
    low, high = result.confidence_interval
    estimate = float((matrix @ weights).mean())
    return Interval(estimate, float(low), float(high), _two_sided(result.bootstrap_distribution))


def holm(p_values: list[float]) -> list[float]:
    """Holm-adjusted p values in the given order; NaN (no test) stays NaN and is not counted."""
    adjusted, tested = np.full(len(p_values), np.nan), np.isfinite(p_values)
    if tested.any():
        adjusted[tested] = multipletests(np.asarray(p_values)[tested], method="holm")[1]
    return [float(value) for value in adjusted]
