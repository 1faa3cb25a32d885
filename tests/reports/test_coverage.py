"""How often the report's intervals hold the truth and its words are wrong: by integration, and a small draw of the
cells that `python -m bench.campaign statistics` runs at full size (docs/statistics.md)."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.campaign.statistics import EVEN, cells
from htgrpo.world.prompts import split_prompts
from htgrpo.world.world import find
from reports.statistics import crossed, stats

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
CELLS = {f"{cell.kind}, {cell.group}, {cell.name}": cell for cell in cells()}


def test_the_simulated_categories_are_those_of_the_shipped_split():
    names = [prompt.category for prompt in split_prompts(find(), "heldout") if prompt.category != "dense"]
    assert np.bincount(np.unique(names, return_inverse=True)[1]).tolist() == np.bincount(EVEN).tolist()


def rejected(seeds: int, share: float, level: float, draws: int = 200) -> float:
    """How often a true null is rejected at `level`, where seeds hold `share` of the variance and prompts, which are
    known, the rest; integrated over what the seeds' variance may come out as."""
    none = stats.Moments(*np.zeros(4), 1.0)
    seen = scipy_stats.chi2.ppf((np.arange(draws) + 0.5) / draws, seeds - 1) / (seeds - 1) * share
    found = [crossed.Crossed(seeds, one, 1 - share, (1 - share) ** 2 / 200, none) for one in seen]
    limits = [stats.student(level / 2, one.df(level)) * (one.seed + one.added) ** 0.5 for one in found]
    return float(np.mean(2 * scipy_stats.norm.sf(limits)))


@pytest.mark.parametrize("seeds", [3, 4, 5, 6, 8, 12])
@pytest.mark.parametrize("pairs", [1, 3, 10, 21])
def test_a_true_null_is_rejected_as_often_as_holm_allows(seeds, pairs):
    """Whatever part of the variance is the seeds': at most 15 % more often than the strictest of `pairs` tests says, so
    that a family stays below 6 %."""
    level = 0.05 / pairs
    assert max(rejected(seeds, share, level) for share in SHARES) < 1.15 * level


def test_without_caution_three_seeds_would_be_believed_far_too_often(monkeypatch):
    monkeypatch.setattr(crossed, "caution", lambda seeds, level: 2.0)
    assert rejected(3, 0.9, 0.005) > 3 * 0.005


@pytest.mark.parametrize("seeds", [3, 4, 6, 8])
def test_coverage_whatever_part_of_the_variance_is_the_seeds(seeds):
    found = [1 - rejected(seeds, share, 0.05) for share in SHARES]
    assert 0.935 < min(found) and max(found) < 0.965


@pytest.mark.parametrize(
    "name, low, high",
    [
        ("coverage, a category of 35, share 0.1, prompts very unlike", 0.925, 0.98),
        ("coverage, a category of 35, share 0.9, prompts alike", 0.925, 0.98),
        ("coverage, a category of 20, share 0.03, prompts alike", 0.94, 1.0),
        ("coverage, a category of 35, exponential scores", 0.925, 0.98),
        ("coverage, headline over five of 5, one of 40, share 0.5", 0.925, 0.98),
        ("coverage, pair over five of 5, one of 40, 0.5 against 0.4", 0.925, 0.985),
        ("coverage, methods, 3 seeds, seeds hold 60% of the variance", 0.92, 0.985),
        ("family, 5 methods, 3 seeds, seeds hold 90%", 0.0, 0.09),
    ],
)
def test_a_small_draw_of_the_campaign(name, low, high):
    """600 trials: a standard error of 0.9 %, and the bounds are 1.5 % plus one and a half of them away, or 6 % plus
    three."""
    trials = 600 if CELLS[name].kind == "coverage" else 200
    assert low <= CELLS[name].run(trials, np.random.default_rng(12)) <= high


def test_p_values_of_equal_methods_are_not_too_small():
    """Under the null at most every tenth p lies below 0.1, which Holm's adjustment relies on."""
    draw = np.random.default_rng(14)
    found = stats.difference_intervals(draw.normal(size=(600, len(EVEN))), EVEN, "category_mean", None, draw, 499)
    for level in (0.1, 0.3, 0.5):
        assert np.mean([one.p < level for one in found]) < level + 3.5 * (level * (1 - level) / 600) ** 0.5
