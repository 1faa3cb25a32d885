"""How small a difference a comparison can see, and how close to equal it can call two methods."""

import bisect
import math
from collections.abc import Callable

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from reports.statistics.components import Planned
from reports.statistics.stats import LEVEL, MIN_SEEDS, Interval

POWER = 0.8
MOST_SEEDS = 64
"""How many training seeds are thought of."""
_POINTS = (np.arange(4000) + 0.5) / 4000
"""Quantiles at which the estimated standard error is averaged over (scipy's noncentral t gives NaN at few degrees of
freedom)."""


def detectable(interval: Interval, comparisons: int = 1) -> float:
    """The smallest true difference that is told from zero with probability POWER; NaN where there is no interval.

    The standard error is the interval's own, else read off it (half of it over Student's t, normal where it states no
    degrees of freedom), and the test is two-sided at 5 % over `comparisons`: the strictest step of Holm's adjustment,
    which errs on the wide side.
    """
    if not interval.known or interval.high <= interval.low:
        return math.nan
    df = interval.df if math.isfinite(interval.df) else math.inf
    error = interval.error
    if math.isnan(error):
        error = (interval.high - interval.low) / 2 / float(stats.t.ppf(0.5 + LEVEL / 2, df))
    level = (1 - LEVEL) / comparisons
    df = interval.df_at(level) if interval.df_at else df
    critical = float(stats.t.isf(level / 2, df))
    limit = critical * (np.sqrt(stats.chi2.ppf(_POINTS, df) / df) if math.isfinite(df) else np.ones(1))

    return error * _reaching(limit)


def sees(planned: Planned, comparisons: int = 1) -> float:
    """The smallest true difference that a planned run tells from zero with probability POWER; as `detectable`."""
    return planned.error * _reaching(planned.limits((1 - LEVEL) / comparisons))


def _reaching(limit: np.ndarray) -> float:
    """The true difference, in standard errors, that passes the equally likely `limit`s with probability POWER."""

    def shortfall(shift: float) -> float:
        """Power at a true difference of `shift` standard errors, minus what is wanted."""
        return float((stats.norm.sf(limit - shift) + stats.norm.cdf(-limit - shift)).mean()) - POWER

    return brentq(shortfall, 0.0, 2 * float(limit.max()) + 10)


def establishes(planned: Planned, comparisons: int = 1) -> float:
    """The smallest margin within which a planned run calls two methods without any difference equal with probability
    POWER, by two one-sided tests at 5 % over `comparisons`."""
    limit = planned.limits(2 * (1 - LEVEL) / comparisons)  # one side is tested at half the level

    def shortfall(margin: float) -> float:
        """Power at a margin of so many standard errors, minus what is wanted."""
        return float((2 * stats.norm.cdf(margin - limit) - 1).clip(0.0).mean()) - POWER

    return planned.error * brentq(shortfall, 0.0, 2 * float(limit.max()) + 10)


def fewest_seeds(enough: Callable[[int], bool]) -> int | None:
    """The fewest training seeds that are `enough`, as all larger numbers then are; None where MOST_SEEDS are not."""
    seeds = range(MIN_SEEDS, MOST_SEEDS + 1)
    first = bisect.bisect_left(seeds, True, key=enough)
    return seeds[first] if first < len(seeds) else None
