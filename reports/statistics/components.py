"""What the variance of a paired difference of two methods is made of, and how exactly a planned comparison would know it.

For training seed s, prompt p and picture k (the same noise for all policies) a difference of two methods is taken as

    difference = mean + seed_s + prompt_p + both_sp + picture_spk

with independent parts; their variances are estimated by the mean squares of that nested, crossed layout, within the
categories that a headline weighs, and never below zero.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from reports.statistics.crossed import caution
from reports.statistics.shapes import student
from reports.statistics.stats import MIN_SEEDS


@dataclass(frozen=True)
class Components:
    """Variances, in squared units of the scores. seed: of the headline's difference between trainings; prompt: of what a
    prompt adds, whatever the training; both: of what one training adds on one prompt; picture: of one picture."""

    seed: float
    prompt: float
    both: float
    picture: float

    @staticmethod
    def of(differences: np.ndarray, categories: np.ndarray, weights: np.ndarray) -> "Components":
        """Of differences, float [S, P, K] with at least two seeds and prompts, of prompts in `categories` (int [P]) that a
        headline gives `weights` (float [P], sum 1). Where K is 1 nothing tells pictures apart: `both` contains them."""
        seeds, _, pictures = differences.shape
        means = differences.mean(2)
        picture = float(differences.var(2, ddof=1).mean()) if pictures > 1 else 0.0
        residual, between, total = 0.0, 0.0, 0.0
        for name in np.unique(categories):
            cell, share = means[:, categories == name], float(weights[categories == name].sum())
            if cell.shape[1] < 2:
                continue
            left = cell - cell.mean(1, keepdims=True) - cell.mean(0) + cell.mean()
            own = float((left**2).sum()) / ((seeds - 1) * (cell.shape[1] - 1))
            residual += share * own
            between += share * (float(cell.mean(0).var(ddof=1)) - own / seeds)
            total += share
        residual, between = residual / total, between / total
        of_seeds = float((means @ weights).var(ddof=1)) - residual * float((weights**2).sum())
        return Components(max(0.0, of_seeds), max(0.0, between), max(0.0, residual - picture / pictures), picture)

    def planned(self, weights: np.ndarray, seeds: int, pictures: int) -> "Planned":
        """How a run on prompts of these headline weights would know a difference. With fewer than MIN_SEEDS seeds it is
        about these checkpoints, so that seeds do not vary."""
        share, fixed = float((weights**2).sum()), seeds < MIN_SEEDS
        left = (self.both + self.picture / pictures) * share / seeds
        seed = 0.0 if fixed else self.seed / seeds + left
        return Planned(seeds, len(weights), seed, self.prompt * share + (left if fixed else 0.0), left)


@dataclass(frozen=True)
class Planned:
    """A difference as a planned run would know it. seed: what reports.statistics.crossed calls V_seed, 0 where seeds do
    not vary; added: the rest of the variance of the mean; left: the part that both V_seed and V_prompt contain."""

    seeds: int
    prompts: int
    seed: float
    added: float
    left: float

    @property
    def error(self) -> float:
        """Standard error of the difference."""
        return (self.seed + self.added) ** 0.5

    def limits(self, level: float) -> np.ndarray:
        """How far from zero, in standard errors, a two-sided test at `level` draws the line: equally likely values, since
        V_seed is estimated from few seeds and decides the degrees of freedom too."""
        if not self.seed:
            return np.full(1, float(student(level / 2, self.prompts - 1.0)))
        free = self.seeds - 1.0
        seed = self.seed * special.chdtri(free, 1 - _POINTS) / free  # chi squared over its degrees of freedom
        counted, own = caution(self.seeds, level) * seed, self.added + self.left
        below = counted**2 / free + (own**2 + self.left**2 / free) / (self.prompts - 1.0)
        df = np.maximum(free, (counted + self.added) ** 2 / below)
        return student(level / 2, df) * np.sqrt((seed + self.added) / (self.seed + self.added))


_POINTS = (np.arange(2000) + 0.5) / 2000
"""Quantiles of the estimated V_seed that are averaged over."""
