"""Of two benchmarks that judge the same pictures, such as a verdict and its continuous read-out: how well each knows the
same differences, and which needs fewer prompts for them."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from reports.run.blocks import Block, make_blocks
from reports.run.load import Run
from reports.statistics.crossed import Crossed
from reports.statistics.shapes import moments
from reports.statistics.stats import MIN_SEEDS, headline_weights, too_few

DRAWS = 2000
NOTE = (
    "Differences ± standard errors over prompts, of these checkpoints, in shares of the scales; by what the second one's error "
    "is that of the first (in parentheses over training seeds too). Gain: (error / difference)² of the first over that of the "
    "second, so many times the second's prompts the first needs to know the difference as well; of all together the sums of "
    f"(difference / error)². Brackets: 95 % of {DRAWS} bootstrap samples of the prompts, within their categories: where they hold "
    "1, no gain is shown."
)


@dataclass(frozen=True)
class Known:
    """A paired difference as one benchmark knows it, in shares of its scale. error: its standard error over prompts;
    over_seeds: over seeds and prompts, None with fewer than MIN_SEEDS."""

    difference: float
    error: float
    over_seeds: float | None


@dataclass(frozen=True)
class Gain:
    """How many times the prompts of the other benchmark one needs, with its bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One difference, "ht − base", as both know it."""

    pair: str
    one: Known
    other: Known
    gain: Gain


@dataclass(frozen=True)
class Readouts:
    """Two benchmarks of the same pictures, by name, and all differences of methods that are not 0 by either; gain: over all
    of these."""

    one: str
    other: str
    rows: list[Row]
    gain: Gain


def readouts(run: Run) -> list[Readouts]:
    """Every pair of benchmarks that judge the same pictures under the main setting and view, each by its first axis."""
    chosen = [block for block in make_blocks(run) if block.is_main and block.leads]
    return [
        found
        for one, other in combinations(chosen, 2)
        if one.picture_set == other.picture_set
        and _categories(one) == _categories(other)
        and (found := _beside(one, other))
    ]


def _categories(block: Block) -> dict[str, int]:
    return dict(zip(block.prompts, block.category.tolist(), strict=True))


def _beside(one: Block, other: Block) -> Readouts | None:
    """None where prompts are too few for standard errors, or nothing is compared."""
    category = one.category
    if too_few(category):
        return None
    mine, theirs, places = _differences(one), _differences(other), _places(category)
    weights = [headline_weights(category, block.meta["aggregate"]) for block in (one, other)]
    clear, rows = [], []
    for pair in (pair for pair in mine if pair in theirs):
        both = [by[pair] for by in (mine, theirs)]
        squares = [_squared(m.mean(0)[places], category, own) for m, own in zip(both, weights, strict=True)]
        if all(own[0] > 0 for own in squares):
            clear.append(squares)
            first, second = (_known(m, category, own) for m, own in zip(both, weights, strict=True))
            rows.append(Row(pair, first, second, _gain(*squares)))
    return Readouts(one.benchmark, other.benchmark, rows, _gain(*np.nansum(clear, axis=0))) if rows else None


def _differences(block: Block) -> dict[str, np.ndarray]:
    """ "a − b" -> shares of the scale, float [S, P], of all methods with the same training seeds, or none."""
    methods = block.usable(False)
    return {
        f"{a.name} − {b.name}": (a.scores - b.scores) / block.scale
        for b, a in combinations(methods, 2)
        if a.seeds == b.seeds or [None] in (a.seeds, b.seeds)
    }


def _known(matrix: np.ndarray, category: np.ndarray, weights: np.ndarray) -> Known:
    alone = moments(matrix.mean(0)[None], category, weights)
    crossed = Crossed.of(matrix, category, weights).variance ** 0.5 if len(matrix) >= MIN_SEEDS else None
    return Known(float(alone.mean[0]), float(alone.variance[0]) ** 0.5, crossed)


def _places(category: np.ndarray) -> np.ndarray:
    """int [1 + DRAWS, P]: the prompts themselves, then samples of them that leave every prompt's category as it is."""
    draws, generator = np.tile(np.arange(len(category)), (1 + DRAWS, 1)), np.random.default_rng(0)
    for name in np.unique(category):
        own = np.flatnonzero(category == name)
        draws[1:, own] = generator.choice(own, (DRAWS, len(own)))
    return draws


def _squared(rows: np.ndarray, category: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(difference / error)² of each row of `rows`, float [R, P]; NaN where nothing varies."""
    found = moments(rows, category, weights)
    return np.divide(found.mean**2, found.variance, out=np.full(len(rows), np.nan), where=found.variance > 0)


def _gain(one: np.ndarray, other: np.ndarray) -> Gain:
    """Of the squares by both, float [1 + DRAWS]: the sample's own first."""
    ratio = np.divide(other, one, out=np.full(len(one), np.nan), where=one > 0)
    low, high = np.nanquantile(ratio, [0.025, 0.975])
    return Gain(float(ratio[0]), float(low), float(high))
