"""Statistics against scipy, statsmodels, brute force and simulation."""

import numpy as np
import pytest
from scipy import stats as scipy_stats
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
    low, high = np.quantile(means, [0.025, 0.975])
    assert found.estimate == pytest.approx(np.mean([row[CATEGORIES == c].mean() for c in range(3)]))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)


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


@pytest.mark.parametrize("seeds", [3, 4])
@pytest.mark.parametrize(
    "seed_sd, category_sd, prompt_sd, both_sd", [(0.0, 0.0, 0.3, 0.3), (0.02, 0.02, 0.3, 0.3), (0.05, 0.05, 0.3, 0.3)]
)
def test_coverage_of_the_claim_about_methods(seeds, seed_sd, category_sd, prompt_sd, both_sd):
    draw, hits, trials = rng(12), 0, 300
    categories = np.repeat(np.arange(6), 36)
    for _ in range(trials):
        matrix = (
            seed_sd * draw.standard_normal((seeds, 1))
            + category_sd * draw.standard_normal((seeds, 6))[:, categories]
            + prompt_sd * draw.standard_normal(216)
            + both_sd * draw.standard_normal((seeds, 216))
        )
        found = stats.method_interval(matrix, categories, "category_mean", draw)
        hits += found.low <= 0 <= found.high
    assert 0.92 <= hits / trials <= 0.98  # 93 to 97 % up to the noise of 300 trials


def test_coverage_of_the_claim_about_checkpoints():
    draw = rng(13)
    hits = sum(
        found.low <= 0.3 <= found.high
        for _ in range(8)
        for found in stats.checkpoint_intervals(
            (draw.random((1, 90)) < 0.3).astype(float), CATEGORIES, "category_mean", draw, 300
        )
    )
    # 8 separate draws of the resamples; most of the evidence comes from rows that share one draw
    rows = (draw.random((400, 90)) < 0.3).astype(float)
    found = stats.checkpoint_intervals(rows, CATEGORIES, "category_mean", draw, 600)
    assert hits >= 6 and 0.915 <= np.mean([f.low <= 0.3 <= f.high for f in found]) <= 0.98


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
