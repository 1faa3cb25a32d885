"""A paired difference of two methods: what it claims at which level, and what it would take to know more."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from reports.statistics import stats
from reports.statistics.components import Components, Planned
from reports.statistics.power import detectable, establishes, fewest_seeds, sees
from reports.statistics.stats import Interval

ALPHA = 0.05


@dataclass
class Pair:
    """The paired difference `a` minus `b` in displayed units, once per kind of claim.

    seeds: training seeds that both have; per_seed: the difference of each. sign: +1 where higher is better, else -1.
    margin: within which two count as equal, NaN where there is none. comparisons: how many pairs Holm's adjustment is
    over. parts: what the difference varies with, and the prompts' weights; None below 3 seeds. Where a level ("methods" or
    "checkpoints") is not named, the stronger one that this pair supports is meant.
    """

    a: str
    b: str
    seeds: int
    checkpoints: Interval
    methods: Interval
    columns: dict[str, Interval]
    sign: int
    per_seed: list[float]
    margin: float = float("nan")
    comparisons: int = 1
    checkpoints_holm: float = float("nan")
    methods_holm: float = float("nan")
    checkpoints_equal: float = float("nan")
    methods_equal: float = float("nan")
    parts: tuple[Components, np.ndarray] | None = field(default=None, compare=False, repr=False)

    @property
    def level(self) -> str:
        """The stronger kind of claim this pair supports."""
        return "methods" if self.seeds >= stats.MIN_SEEDS else "checkpoints"

    def interval(self, level: str = "") -> Interval:
        """Interval of the claim at a level."""
        return self.methods if (level or self.level) == "methods" else self.checkpoints

    def holm(self, level: str = "") -> float:
        """Adjusted p of the claim at a level."""
        return self.methods_holm if (level or self.level) == "methods" else self.checkpoints_holm

    def resolved(self, level: str = "") -> bool:
        """Whether the difference is told from zero after Holm's adjustment."""
        return bool(self.holm(level) < ALPHA)

    def sees(self, level: str = "") -> float:
        """The smallest true difference that this comparison would have told from zero; NaN without an interval."""
        return detectable(self.interval(level), self.comparisons)

    def seeds_needed(self) -> tuple[int, str] | None:
        """With how many training seeds a true difference as large as this one would be "resolved", or told to be "equal"
        within the margin, whichever needs fewer, four times in five on the same prompts and pictures; at most, as Holm's
        strictest step is taken. None where 64 are too few, or nothing is known."""
        if self.parts is None:
            return None
        (parts, weights), size = self.parts, abs(self.methods.estimate)

        def fewest(enough: Callable[[Planned], bool]) -> int | None:
            return fewest_seeds(lambda seeds: enough(parts.planned(weights, seeds, 1)))

        resolved = fewest(lambda planned: sees(planned, self.comparisons) <= size)
        equal = fewest(lambda planned: establishes(planned, self.comparisons) <= self.margin - size)
        found = [(seeds, word) for seeds, word in ((resolved, "resolved"), (equal, "equal")) if seeds]
        return min(found, default=None)

    def equal(self, level: str = "") -> bool:
        """Whether the difference is told to lie within the margin, after Holm's adjustment of its own."""
        return bool((self.methods_equal if (level or self.level) == "methods" else self.checkpoints_equal) < ALPHA)

    def verdict(self, level: str = "") -> str:
        """ "better", "worse", "equal" (within the margin), "unresolved" or "no claim" of `a` at a level. A difference that
        is told from zero is one, however small."""
        interval = self.interval(level)
        if math.isnan(interval.p) or (level == "methods" and self.seeds < stats.MIN_SEEDS):
            return "no claim"
        if not self.resolved(level):
            return "equal" if self.equal(level) else "unresolved"
        return "better" if self.sign * interval.estimate > 0 else "worse"

    def flipped(self) -> "Pair":
        """The same pair as `b` minus `a`."""
        return replace(
            self,
            a=self.b,
            b=self.a,
            checkpoints=self.checkpoints.negated(),
            methods=self.methods.negated(),
            columns={name: interval.negated() for name, interval in self.columns.items()},
            per_seed=[0.0 - value for value in self.per_seed],
        )


def adjusted(pairs: list[Pair]) -> list[Pair]:
    """`pairs` with Holm's adjustment over all of them: differences and equalities of each level are families of their own."""
    found = {
        "checkpoints_holm": [p.checkpoints.p for p in pairs],
        "methods_holm": [p.methods.p for p in pairs],
        "checkpoints_equal": [stats.equality(p.checkpoints, p.margin) for p in pairs],
        "methods_equal": [stats.equality(p.methods, p.margin) for p in pairs],
    }
    families = [dict(zip(found, row, strict=True)) for row in zip(*map(stats.holm, found.values()), strict=True)]
    told: list[dict[str, Any]] = families
    return [replace(pair, comparisons=len(pairs), **own) for pair, own in zip(pairs, told, strict=True)]
