"""Intervals and p values for two different claims; pure functions on arrays of per-prompt scores.

*These checkpoints*: the trained weights are taken as they are and only the prompts are a sample, drawn within their
categories. The variance of the headline is the stratified one, its degrees of freedom are Satterthwaite's over the
categories.

*These methods*: training seeds are a sample as well, crossed with the prompts (every seed sees every prompt). For a
seeds x prompts matrix of paired differences the variance of the mean of a two-way crossed layout is

    Var = V_seed + V_prompt - V_both

where V_seed is the variance of the per-seed headline over the number of seeds, V_prompt the stratified variance of the
seed-averaged prompts, and V_both the seed x prompt residual, which both of the others contain once. Satterthwaite's
rule trusts a V_seed that came out small by chance, the more the fewer the seeds and the smaller the level that is
tested: with 3 seeds a test at 0.5 % (ten pairs after Holm) would reject a true null 3.5 times as often as it says.
V_seed therefore counts `caution` times in the degrees of freedom (not in the variance), a number that grows with
Student's quantile at that level.

With few prompts a t interval of skewed scores misses on one side. Hall's (1992) cubic transformation takes the skewness of the
mean out of t, but where few prompts differ that skewness is mostly noise. Hence:
- scores of 0..top (shares of right pictures or questions): Wilson's score interval with the number of independent prompts that the
  seen variance stands for; where a share rests on few hits, its long side reaches as far as Hall's, at most to where it
  would were the pictures of every prompt all right or all wrong;
- all others and differences: both sides of t's interval reach at least as far as Hall's.

A difference is tested three times and the largest p counts: by t, by Hall's t (so that "p < 0.05" and "the interval
excludes 0" agree), and by flipping the signs of the prompts' differences (exact where two policies are equally good on
each prompt, however few prompts differ; it alone decides where every prompt shows the same difference and no variance
is left). `python -m bench.campaign statistics` simulates all of it with these functions; docs/statistics.md has the
figures.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import brentq

from reports.statistics.crossed import Crossed
from reports.statistics.shapes import LEVEL, Moments, bounds, moments, reaching, student, transformed

FLIPS = 9999
MIN_PROMPTS = 20  # a category with fewer prompts prints no interval
MIN_STRATUM = 5  # nor does a headline over a category with fewer: its variance is not known
MIN_SEEDS = 3  # fewer training seeds support no claim about a method


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval. `low`, `high` and `p` are NaN where none can be given; `note` then says why.
    df: degrees of freedom of the interval; df_at: those of a test at another level, where they depend on it; error, skew:
    standard error of a difference, and skewness of the mean."""

    estimate: float
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")
    df: float = float("nan")
    note: str = ""
    df_at: Callable[[float], float] | None = field(default=None, compare=False, repr=False)
    error: float = field(default=float("nan"), compare=False, repr=False)
    skew: float = field(default=0.0, compare=False, repr=False)

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    def negated(self) -> "Interval":
        """The interval of the opposite difference."""
        # 0.0 - x: of 0 it is 0, not -0
        return replace(self, estimate=0.0 - self.estimate, low=-self.high, high=-self.low, skew=-self.skew)


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
    return f"a category has fewer than {MIN_STRATUM} prompts" if counts.min() < MIN_STRATUM else ""


def score_intervals(rows: np.ndarray, categories: np.ndarray, aggregate: str, top: float | None) -> list[Interval]:
    """Interval of the headline of each row, prompts sampled within their category.

    rows: float [R, P], per-prompt scores; categories: int [P]. top: scores lie in 0..top; None where they have no such
    range. Without a range, rows that do not vary get no interval. Returns R intervals without p.
    """
    weights = headline_weights(categories, aggregate)
    if reason := too_few(categories):
        return [Interval(float(value), note=reason) for value in rows @ weights]
    return _scores(moments(rows, categories, weights), top)


def difference_intervals(
    rows: np.ndarray,
    categories: np.ndarray,
    aggregate: str,
    span: float | None,
    generator: np.random.Generator,
    flips: int = FLIPS,
) -> list[Interval]:
    """Interval and two-sided p against 0 of the headline of each row of paired differences (float [R, P]), prompts
    sampled within their category. span: no difference lies further from 0, None where there is no such bound. All rows
    see the same flips. Returns R intervals."""
    weights = headline_weights(categories, aggregate)
    if (reason := too_few(categories)) or not len(rows):
        return [Interval(float(value), note=reason) for value in rows @ weights]
    found = moments(rows, categories, weights)
    by_signs = flip_p(rows * weights, generator, flips)
    return [_difference(found.row(r), _always(found.df[r]), by_signs[r], rows[r], span) for r in range(len(rows))]


def ratio_intervals(numerators: np.ndarray, denominators: np.ndarray, top: float | None) -> list[Interval]:
    """Interval of sum(numerators) / sum(denominators) for each row, prompts sampled; for scores counted per question.

    numerators, denominators: float [R, P] (questions answered well, questions asked); the ratio lies in 0..top. Prompts
    without any question must be left out by the caller. The ratio's variance is that of its linearisation. Returns R
    intervals.
    """
    estimates, prompts = numerators.sum(1) / denominators.sum(1), numerators.shape[1]
    if prompts < MIN_PROMPTS:
        return [Interval(float(value), note=f"fewer than {MIN_PROMPTS} prompts") for value in estimates]
    linear = linearised(numerators, denominators) - estimates[:, None]
    found = moments(linear, np.zeros(prompts, int), np.full(prompts, 1.0 / prompts))
    return _scores(replace(found, mean=estimates), top)


def linearised(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """float [R, P]: what each prompt says of sum(numerators) / sum(denominators), their mean being that ratio; of two
    rows the difference is the paired difference of two ratios."""
    estimates = (numerators.sum(1) / denominators.sum(1))[:, None]
    return estimates + (numerators - estimates * denominators) / denominators.mean(1, keepdims=True)


def method_score(matrix: np.ndarray, categories: np.ndarray, aggregate: str, top: float | None) -> Interval:
    """Interval of the headline of `matrix` (float [S, P] of scores, one row per training seed) over seeds and prompts;
    see the module text. With fewer than 3 seeds there is none."""
    weights = headline_weights(categories, aggregate)
    if reason := _no_method_claim(matrix, categories):
        return Interval(float((matrix @ weights).mean()), note=reason)
    crossed = Crossed.of(matrix, categories, weights)
    return _scores(_whole(crossed.moments(crossed.df(1 - LEVEL))), top)[0]


def method_difference(
    matrix: np.ndarray,
    categories: np.ndarray,
    aggregate: str,
    span: float | None,
    generator: np.random.Generator,
    flips: int = FLIPS,
) -> Interval:
    """As method_score, for paired differences (float [S, P]), with the two-sided p against 0."""
    weights = headline_weights(categories, aggregate)
    if reason := _no_method_claim(matrix, categories):
        return Interval(float((matrix @ weights).mean()), note=reason)
    crossed = Crossed.of(matrix, categories, weights)
    by_signs = flip_p((matrix.mean(0) * weights)[None], generator, flips)[0]
    return _difference(crossed.moments(crossed.df(1 - LEVEL)), crossed.df, by_signs, matrix.ravel(), span)


def _no_method_claim(matrix: np.ndarray, categories: np.ndarray) -> str:
    few = f"fewer than {MIN_SEEDS} training seeds: these checkpoints, not these methods"
    return few if len(matrix) < MIN_SEEDS else too_few(categories)


def _whole(one: Moments) -> Moments:
    mean, variance, df, skew = (np.atleast_1d(value) for value in (one.mean, one.variance, one.df, one.skew))
    return Moments(mean, variance, df, skew, one.prompts)


def _always(df: float) -> Callable[[float], float]:
    """The degrees of freedom of a test at any level, where they do not depend on it."""
    return lambda level: df


def _scores(found: Moments, top: float | None) -> list[Interval]:
    """The intervals of scores."""
    low, high = bounds(found, top)
    return [
        Interval(
            float(m), float(a), float(b), df=float(df), note="" if np.isfinite(a) else "no variation between prompts"
        )
        for m, a, b, df in zip(found.mean, low, high, found.df, strict=True)
    ]


def _difference(
    one: Moments, df_at: Callable[[float], float], by_signs: float, values: np.ndarray, span: float | None
) -> Interval:
    """Interval and p of a difference. df_at: degrees of freedom by level of the test; by_signs: p of the flipped
    signs."""
    estimate, df = float(one.mean), float(one.df)
    if not one.variance > 0:
        if not np.any(values):
            return Interval(estimate, *_even(0.0, one.prompts, span), 1.0, note="no difference on any prompt")
        low, high = _even(estimate, one.prompts, span)
        return Interval(estimate, low, high, float(by_signs), note="the same difference on every prompt")
    low, high = (float(bound) for bound in reaching(one, student((1 - LEVEL) / 2, df)))
    if span is not None:
        low, high = max(low, -span), min(high, span)
    t = estimate / float(one.variance) ** 0.5
    statistic = min(abs(t), abs(float(transformed(t, float(one.skew)))))
    p = max(tail(statistic, df_at), float(by_signs))
    return Interval(estimate, low, high, p, df, df_at=df_at, error=float(one.variance) ** 0.5, skew=float(one.skew))


def equality(interval: Interval, margin: float) -> float:
    """p of "the difference lies beyond `margin` on one side or the other": two one-sided tests, of which the larger p
    counts (Schuirmann 1987), each by t and by Hall's t. NaN where there is no interval or no margin.

    Where no variance is left the interval decides: within the margin it is worth its own two-sided 2.5 %.
    """
    if not (interval.known and margin > 0):
        return float("nan")
    if not interval.error > 0 or interval.df_at is None:
        return (1 - LEVEL) / 2 if -margin < interval.low and interval.high < margin else 1.0
    sides = (
        ((interval.estimate + margin) / interval.error, interval.skew),
        ((margin - interval.estimate) / interval.error, -interval.skew),
    )
    statistic = min(min(t, float(transformed(t, skew))) for t, skew in sides)
    return tail(statistic, interval.df_at) / 2 if statistic > 0 else 1.0


def _even(value: float, prompts: float, span: float | None) -> tuple[float, float]:
    """Bounds where every prompt shows the difference `value`: how many prompts could show the extreme one instead, by
    the exact binomial bound for none seen in `prompts`; NaN where nothing bounds a difference."""
    if span is None:
        return float("nan"), float("nan")
    unseen = 1 - ((1 - LEVEL) / 2) ** (1 / prompts)
    return value - unseen * (value + span), value + unseen * (span - value)


def tail(statistic: float, df_at: Callable[[float], float]) -> float:
    """Two-sided p of a t statistic whose degrees of freedom depend on the level: the level at which it is just
    significant."""
    lowest = 1e-12

    def excess(log_level: float) -> float:
        level = float(np.exp(log_level))
        return float(student(level / 2, df_at(level))) - statistic

    if excess(np.log(lowest)) <= 0:
        return lowest
    ends = np.log(lowest), np.log(1 - 1e-9)
    return 1.0 if excess(ends[1]) >= 0 else float(np.exp(brentq(excess, *ends)))


def flip_p(terms: np.ndarray, generator: np.random.Generator, flips: int = FLIPS) -> np.ndarray:
    """Two-sided p [R] of the sums of `terms` (float [R, P]) under random signs of the prompts; never below 1 / (flips +
    1)."""
    total, beyond = np.abs(terms.sum(1)), np.ones(len(terms))
    slack = 1e-9 * np.abs(terms).sum(1)  # sums that are equal but for rounding count as equal
    for start in range(0, flips, 1000):
        signs = generator.integers(0, 2, (min(1000, flips - start), terms.shape[1]), dtype=np.int8) * 2.0 - 1.0
        beyond += (np.abs(signs @ terms.T) >= total - slack).sum(0)
    return beyond / (flips + 1)


def holm(p_values: list[float]) -> list[float]:
    """Holm-adjusted p values in the given order; NaN (no test) stays NaN and is not counted.

    statsmodels' multipletests has it too, but collects garbage at every call, which is most of a report's time.
    """
    p = np.array(p_values, float)
    order = np.argsort(p)[: np.isfinite(p).sum()]
    p[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return p.tolist()
