"""A mean over training seeds crossed with prompts; why it is treated so is told in reports.statistics.stats."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from reports.statistics.shapes import EVEN, Moments, moments, student


@dataclass(frozen=True)
class Crossed:
    """A mean over training seeds crossed with prompts. seed: V_seed; added: V_prompt - V_both; spread: what prompts add
    to the denominator of Satterthwaite's rule; alone: moments of the seed-averaged prompts."""

    seeds: int
    seed: float
    added: float
    spread: float
    alone: Moments

    @staticmethod
    def of(matrix: np.ndarray, categories: np.ndarray, weights: np.ndarray) -> "Crossed":
        """Of a seeds x prompts matrix, float [S, P]. What prompts add to the seed part cannot be negative. Headlines
        that are all equal say nothing about seeds: then the prompt part is all there is."""
        seeds, headlines = len(matrix), matrix @ weights
        seed, prompt, both, spread = float(np.var(headlines, ddof=1)) / seeds, 0.0, 0.0, 0.0
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
        return Crossed(seeds, seed, added, spread, moments(matrix.mean(0)[None], categories, weights).row(0))

    @property
    def variance(self) -> float:
        """Of the mean."""
        return (
            self.seed + self.added
            if self.alone.variance > 0 or self.seed > (EVEN * abs(float(self.alone.mean))) ** 2
            else 0.0
        )

    def df(self, level: float) -> float:
        """Degrees of freedom for a test at `level`."""
        counted = caution(self.seeds, level) * self.seed
        below = counted**2 / (self.seeds - 1.0) + self.spread
        return max(self.seeds - 1.0, (counted + self.added) ** 2 / below) if below > 0 else self.seeds - 1.0

    def moments(self, df: float) -> Moments:
        """Of the mean; the skewness is that of the prompts, and seeds are taken to be symmetric."""
        variance, alone = self.variance, self.alone
        skew = float(alone.skew) * (float(alone.variance) / variance) ** 1.5 if variance > 0 else 0.0
        return Moments(alone.mean, np.float64(variance), np.float64(df), np.float64(skew), alone.prompts)


def caution(seeds: int, level: float) -> float:
    """How many times the seeds' part of the variance counts in the degrees of freedom of a two-sided test at `level`.

    (t / z) ** 1.5, with Student's quantile of seeds - 1 degrees of freedom over the normal one, keeps the worst case
    over all parts that seeds may have within 12 % of the level, from 5 % down to 0.1 % and from 3 seeds on
    (tests/reports/test_coverage.py integrates it): 3.2 for 3 seeds at 5 %, 11 at 0.5 %; 1.3 for 8 seeds at 5 %.
    """
    return float(-student(level / 2, seeds - 1) / special.ndtri(level / 2)) ** 1.5
