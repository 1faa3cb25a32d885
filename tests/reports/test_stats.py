"""Statistics against scipy, statsmodels, brute force and simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests

from reports import stats

CATEGORIES = np.repeat([0, 1, 2], [20, 30, 40])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_weights_of_both_aggregates():
    assert stats.headline_weights(np.array([0, 0, 1]), "category_mean") == pytest.approx([0.25, 0.25, 0.5])
    assert stats.headline_weights(np.array([0, 0, 1]), "item_mean") == pytest.approx([1 / 3] * 3)
    with pytest.raises(ValueError, match="accepted are category_mean"):
        stats.headline_weights(np.array([0]), "median")


def test_stratified_bootstrap_equals_a_plain_loop():
    row = rng(1).normal(0.1, 0.4, len(CATEGORIES))
    found = stats.checkpoint_intervals(row[None], CATEGORIES, "category_mean", rng(2), 4000)[0]
    draw = rng(3)
    means = [
        np.mean([draw.choice(row[CATEGORIES == c], (CATEGORIES == c).sum()).mean() for c in range(3)]) for _ in range(4000)
    ]
    counts = np.array([20, 30, 40])
    expansion = ((1 / counts).sum() / ((counts - 1) / counts**2).sum()) ** 0.5
    tail = scipy_stats.norm.sf(expansion * scipy_stats.t.ppf(0.975, 87))
    low, high = np.quantile(means, [tail, 1 - tail])
    assert found.estimate == pytest.approx(np.mean([row[CATEGORIES == c].mean() for c in range(3)]))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)


def test_the_interval_of_few_even_prompts_is_that_of_student():
    row = rng(29).normal(0.1, 0.4, 30)
    found = stats.checkpoint_intervals(row[None], np.zeros(30, int), "item_mean", rng(30), 20000)[0]
    expected = scipy_stats.t.interval(0.95, 29, row.mean(), scipy_stats.sem(row))
    assert found.high - found.low == pytest.approx(expected[1] - expected[0], rel=0.03)
    assert found.p == pytest.approx(scipy_stats.ttest_1samp(row, 0).pvalue, abs=0.02)


def test_p_value_agrees_with_the_interval_and_with_t():
    for shift in (0.0, 0.05, 0.1, 0.15, 0.3):
        row = rng(4).normal(shift, 0.4, 60)
        found = stats.checkpoint_intervals(row[None], np.zeros(60, int), "item_mean", rng(5))[0]
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)
        assert found.p == pytest.approx(scipy_stats.ttest_1samp(row, 0).pvalue, abs=0.03)


def test_rows_share_resamples():
    row = rng(6).normal(size=90)
    a, b = stats.checkpoint_intervals(np.array([row, row]), CATEGORIES, "item_mean", rng(7), 500)
    assert a == b


def test_no_interval_without_prompts_or_variation():
    few = stats.checkpoint_intervals(np.ones((1, 19)), np.zeros(19, int), "item_mean", rng())[0]
    assert not few.known and "fewer than 20" in few.note
    flat = stats.checkpoint_intervals(np.ones((1, 40)), np.zeros(40, int), "item_mean", rng())[0]
    assert not flat.known and flat.p == 1.0
    lonely = np.array([0] * 30 + [1])
    assert "single prompt" in stats.checkpoint_intervals(np.ones((1, 31)), lonely, "category_mean", rng())[0].note


def test_exact_interval_where_all_prompts_agree():
    found = stats.exact_interval(np.ones(36), 1.0)
    assert found.high == 1.0 and found.low == pytest.approx(0.025 ** (1 / 36))
    assert stats.exact_interval(np.ones(19), 1.0) is None
    assert stats.exact_interval(np.r_[np.ones(35), 0.0], 1.0) is None


def test_ratio_of_sums():
    hits, asked = rng(8).integers(0, 3, (2, 50)).astype(float), np.full((2, 50), 3.0)
    for row, found in enumerate(stats.ratio_intervals(hits, asked, rng(9))):
        assert found.estimate == pytest.approx(hits[row].sum() / 150)
        assert found.low < found.estimate < found.high


def test_holm_against_statsmodels_and_by_hand():
    p = [0.01, float("nan"), 0.04, 0.03]
    assert stats.holm(p)[0] == pytest.approx(0.03) and stats.holm(p)[2:] == pytest.approx([0.06, 0.06])
    assert np.isnan(stats.holm(p)[1])
    values = list(rng(10).random(9))
    assert stats.holm(values) == pytest.approx(list(multipletests(values, method="holm")[1]))


def test_fewer_than_three_seeds_support_no_claim():
    for seeds in (1, 2):
        found = stats.method_interval(rng(11).normal(size=(seeds, 90)), CATEGORIES, "category_mean", rng())
        assert not found.known and np.isnan(found.p) and "these checkpoints, not these methods" in found.note


def test_crossed_variance_by_hand():
    matrix = np.array([[0.0, 1.0], [2.0, 5.0], [1.0, 3.0]])
    variance, _ = stats.crossed_variance(matrix, np.zeros(2, int), np.full(2, 0.5))
    seed = np.var([0.5, 3.5, 2.0], ddof=1) / 3
    prompt = np.var([1.0, 3.0], ddof=1) / 2
    residual = matrix - matrix.mean(1, keepdims=True) - matrix.mean(0) + matrix.mean()
    both = (residual**2).sum() / 2 / 6
    assert variance == pytest.approx(seed + prompt - both)


def test_without_prompt_variation_it_is_the_t_interval_over_seeds():
    shifts = np.array([0.1, 0.3, 0.2, 0.5])
    found = stats.method_interval(np.repeat(shifts[:, None], 90, axis=1), CATEGORIES, "category_mean", rng())
    expected = scipy_stats.t.interval(0.95, 3, shifts.mean(), shifts.std(ddof=1) / 2)
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.p == pytest.approx(scipy_stats.ttest_1samp(shifts, 0).pvalue)


def test_crossed_variance_is_that_of_a_two_way_anova():
    """One category: (MS of seeds + MS of prompts - MS of the rest) / (seeds x prompts)."""
    seeds, prompts = 4, 30
    matrix = rng(18).normal(0, 0.2, (seeds, 1)) + rng(19).normal(0, 0.3, prompts) + rng(20).normal(0, 0.1, (seeds, prompts))
    s, p = np.meshgrid(np.arange(seeds), np.arange(prompts), indexing="ij")
    table = pd.DataFrame({"score": matrix.ravel(), "seed": s.ravel(), "prompt": p.ravel()})
    anova = anova_lm(ols("score ~ C(seed) + C(prompt)", table).fit())
    squares = anova["sum_sq"] / anova["df"]
    expected = (squares["C(seed)"] + squares["C(prompt)"] - squares["Residual"]) / (seeds * prompts)
    variance, df = stats.crossed_variance(matrix, np.zeros(prompts, int), np.full(prompts, 1 / prompts))
    assert variance == pytest.approx(expected) and seeds - 1 <= df


def test_equal_headlines_leave_the_prompts_part():
    row = rng(21).normal(size=90)
    weights = stats.headline_weights(CATEGORIES, "item_mean")
    variance, df = stats.crossed_variance(np.stack([row] * 3), CATEGORIES, weights)
    single = [(CATEGORIES == c).mean() ** 2 * row[CATEGORIES == c].var(ddof=1) / (CATEGORIES == c).sum() for c in range(3)]
    assert variance == pytest.approx(sum(single)) and df > 19


def test_p_value_agrees_with_a_permutation_test():
    for shift in (0.0, 0.05, 0.1):
        row = rng(22).normal(shift, 0.4, 80)
        found = stats.checkpoint_intervals(row[None], np.zeros(80, int), "item_mean", rng(23))[0]
        flips = scipy_stats.permutation_test((row,), np.mean, permutation_type="samples", n_resamples=4999, rng=rng(24))
        assert found.p == pytest.approx(flips.pvalue, abs=0.03)


def test_the_exact_interval_is_that_of_scipy():
    for hits in (0, 36):
        found = stats.exact_interval(np.full(36, hits / 36.0), 1.0)
        expected = scipy_stats.binomtest(hits, 36).proportion_ci(method="exact")
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_the_interval_of_a_ratio_equals_a_plain_loop():
    asked = rng(25).integers(1, 6, 60).astype(float)
    hits = rng(26).binomial(asked.astype(int), 0.6).astype(float)
    found = stats.ratio_intervals(hits[None], asked[None], rng(27), 4000)[0]
    draw, ratios = rng(28), []
    for _ in range(4000):
        at = draw.integers(0, 60, 60)
        ratios.append(hits[at].sum() / asked[at].sum())
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(ratios, [0.025, 0.975])), abs=0.008)


def test_ten_seeds_are_resampled_crossed():
    matrix = rng(14).normal(0.1, 0.1, (10, 1)) + rng(15).normal(0, 0.3, (10, 90))
    found = stats.method_interval(matrix, CATEGORIES, "category_mean", rng(16), 1500)
    variance, _ = stats.crossed_variance(matrix, CATEGORIES, stats.headline_weights(CATEGORIES, "category_mean"))
    draw, means = rng(17), []
    for _ in range(1500):
        rows = matrix[draw.integers(0, 10, 10)]
        means.append(
            np.mean([rows[:, draw.choice(np.flatnonzero(CATEGORIES == c), (CATEGORIES == c).sum())].mean() for c in range(3)])
        )
    assert np.isnan(found.df)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.02)
    assert 0.7 < (found.high - found.low) / (2 * 1.96 * variance**0.5) < 1.4
