"""How small a difference a run can see."""

import math

import numpy as np
import pytest
from scipy import stats

from reports.findings.pairs import ALPHA
from reports.statistics import stats as stats_of_reports
from reports.statistics.power import detectable
from reports.statistics.stats import Interval


@pytest.mark.parametrize("df", [math.nan, 2.0, 7.5])
@pytest.mark.parametrize("comparisons", [1, 8])
def test_a_difference_of_that_size_is_seen_four_times_in_five(df, comparisons):
    generator, error = np.random.default_rng(3), 0.01
    free = df if math.isfinite(df) else math.inf
    half = stats.t.ppf(0.975, free) * error
    size = detectable(Interval(0.3, 0.3 - half, 0.3 + half, df=df), comparisons)
    draws = generator.normal(size, error, 100_000)
    spread = error * np.sqrt(generator.chisquare(df, 100_000) / df) if math.isfinite(df) else error
    seen = np.abs(draws / spread) > stats.t.ppf(1 - 0.025 / comparisons, free)
    assert seen.mean() == pytest.approx(0.8, abs=0.005)


def test_prompts_resampled_and_adjusted_see_it_four_times_in_five():
    """The whole way from scores to Holm's p: one real difference of the detectable size in a family of two."""
    trials, family, prompts, spread = 400, 2, 60, 0.4
    generator, categories = np.random.default_rng(5), np.repeat(np.arange(2), prompts // 2)
    error = spread / math.sqrt(prompts)
    size = detectable(Interval(0.0, -1.96 * error, 1.96 * error), family)
    rows = generator.normal(0.0, spread, (trials, family, prompts))
    rows[:, 0] += size
    found = stats_of_reports.difference_intervals(
        rows.reshape(-1, prompts), categories, "category_mean", None, generator, 999
    )
    p_values = np.array([one.p for one in found]).reshape(trials, family)
    real, null = p_values.T
    seen = (real * family < ALPHA) | ((null * family < ALPHA) & (real < ALPHA))  # Holm's two steps
    assert seen.mean() == pytest.approx(0.8, abs=0.06)
    assert (null * family < ALPHA).mean() < 0.06, "and what is not there is rarely seen"


def test_training_seeds_see_it_four_times_in_five():
    """Four seeds that disagree far more than prompts do: Student's t with three degrees of freedom."""
    trials, family, seeds, spread = 1500, 3, 4, 0.05
    generator, categories = np.random.default_rng(6), np.repeat(np.arange(2), 15)
    half = stats.t.ppf(0.975, seeds - 1) * spread / math.sqrt(seeds)
    size = detectable(Interval(0.0, -half, half, df=seeds - 1), family)
    luck = generator.normal(0.0, spread, (trials, seeds, 1)) + size + generator.normal(0.0, 1e-4, (trials, seeds, 30))
    found = [
        stats_of_reports.method_difference(one, categories, "category_mean", None, generator, 999).p for one in luck
    ]
    assert (np.array(found) * family < ALPHA).mean() == pytest.approx(0.8, abs=0.04)


def test_without_an_interval_nothing_is_known():
    assert math.isnan(detectable(Interval(0.1))) and math.isnan(detectable(Interval(0.1, 0.1, 0.1)))
