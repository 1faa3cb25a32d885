"""The shape of an interval around a mean over prompts: Wilson's for shares, Student's t and Hall's transformation
elsewhere. What each is taken for, and why, is told in reports.statistics.stats. Arguments are arrays of one shape, or numbers."""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from scipy import special

LEVEL = 0.95
FEW_HITS = 4.0  # prompts x share x (1 - share): below, the variance of a share is itself badly known
PRIOR_HITS = (
    0.03  # weight, in the same units, of "the pictures of a prompt are all right or all wrong" beside the seen variance
)
EVEN = 1e-12  # relative spread below which values count as equal


Values: TypeAlias = Any
"""A float array [R], or one number."""


@dataclass(frozen=True)
class Moments:
    """Of a weighted mean over prompts. variance; df: degrees of freedom of that variance; skew: third standardised
    moment of the mean; prompts: how many equally weighted prompts it is worth. Arrays of one shape, or numbers."""

    mean: Values
    variance: Values
    df: Values
    skew: Values
    prompts: float

    def row(self, row: int) -> "Moments":
        """One of several."""
        return Moments(self.mean[row], self.variance[row], self.df[row], self.skew[row], self.prompts)


def moments(rows: np.ndarray, categories: np.ndarray, weights: np.ndarray) -> Moments:
    """Moments of the weighted means of `rows` (float [R, P]), prompts sampled within their category; arrays [R]."""
    variance, spread, third = np.zeros(len(rows)), np.zeros(len(rows)), np.zeros(len(rows))
    for name in np.unique(categories):
        part, share = rows[:, categories == name], float(weights[categories == name].sum())
        count = part.shape[1]
        deviation = part - part.mean(1, keepdims=True)
        own = share**2 * (deviation**2).sum(1) / (count - 1.0) / count
        variance, spread = variance + own, spread + own**2 / (count - 1.0)
        third = third + share**3 * (deviation**3).mean(1) / count**2
    even = variance <= (EVEN * np.abs(rows).max(1, initial=0.0)) ** 2
    variance = np.where(even, 0.0, variance)
    free = float(len(categories) - len(np.unique(categories)))
    df = np.divide(variance**2, spread, out=np.full(len(rows), free), where=~even & (spread > 0))
    skew = np.divide(third, variance**1.5, out=np.zeros(len(rows)), where=~even)
    return Moments(rows @ weights, variance, df, skew, 1.0 / float((weights**2).sum()))


def student(tail, df):
    """The quantile that Student's t of `df` degrees of freedom exceeds with probability `tail`."""
    return -special.stdtrit(df, tail)


def bounds(found: Moments, top: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Bounds [R] at LEVEL; NaN where there is no variance and no range."""
    quantile = student((1 - LEVEL) / 2, found.df)
    if top is None:
        low, high = reaching(found, quantile)
        return np.where(found.variance > 0, low, np.nan), np.where(found.variance > 0, high, np.nan)
    share, variance = np.clip(found.mean / top, 0.0, 1.0), found.variance / top**2
    low, high = wilson(share, variance, found.prompts, quantile)
    below, above = hall(replace(found, mean=share, variance=variance), quantile)
    # prompts all right or all wrong
    lowest, highest = wilson(share, share * (1 - share) / found.prompts, found.prompts, quantile)
    few = (found.prompts * share * (1 - share) < FEW_HITS) & (variance > 0)
    high = np.where(few & (share < 0.5), np.maximum(high, np.minimum(above, highest)), high)
    low = np.where(few & (share >= 0.5), np.minimum(low, np.maximum(below, lowest)), low)
    return np.clip(low, 0.0, 1.0) * top, np.clip(high, 0.0, 1.0) * top


def reaching(found: Moments, quantile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The interval of t, both sides reaching at least as far as Hall's."""
    below, above = hall(found, quantile)
    half = quantile * np.sqrt(found.variance)
    return np.minimum(found.mean - half, below), np.maximum(found.mean + half, above)


def wilson(
    share: np.ndarray, variance: np.ndarray, prompts: float, quantile: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of a share in 0..1 whose prompts are worth as many independent ones as their variance says."""
    single = share * (1 - share)
    hits = prompts * single
    # 1: prompts are all or nothing
    effect = np.divide(variance * prompts, single, out=np.ones_like(share), where=single > 0)
    effect = np.minimum((hits * effect + PRIOR_HITS) / (hits + PRIOR_HITS), 1 + 1 / (prompts - 1))
    z2 = quantile**2 * effect / prompts
    centre, half = (share + z2 / 2) / (1 + z2), np.sqrt(z2 * single + z2**2 / 4) / (1 + z2)
    return centre - half, centre + half


def hall(found: Moments, quantile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hall's interval: the bounds where the transformed t is + and - `quantile`."""
    error = np.sqrt(found.variance)
    return found.mean - error * untransformed(quantile, found.skew), found.mean - error * untransformed(
        -quantile, found.skew
    )


def transformed(t, skew):
    """Hall's monotone transformation of a t statistic whose mean has this skewness: close to Student's distribution."""
    return t + skew * (t**2 / 3 + 1 / 6) + skew**2 * t**3 / 27


def untransformed(value, skew):
    """The t of a transformed one."""
    inner = value - skew / 6
    third = np.where(np.abs(skew) < 1e-8, 1.0, skew / 3)
    return np.where(np.abs(skew) < 1e-8, inner, (np.cbrt(1 + 3 * third * inner) - 1) / third)
