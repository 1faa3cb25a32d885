"""Statistics against scipy, statsmodels, hand counts and limits that are known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from reports.statistics import stats
from reports.statistics.crossed import Crossed, caution

CATEGORIES = np.repeat([0, 1, 2], [20, 30, 40])
ONE = np.zeros(30, int)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def difference(row, categories=None, span=None, seed=0) -> stats.Interval:
    row = np.asarray(row, float)
    categories = np.zeros(len(row), int) if categories is None else categories
    return stats.difference_intervals(row[None], categories, "category_mean", span, rng(seed))[0]


def test_weights_of_both_aggregates():
    assert stats.headline_weights(np.array([0, 0, 1]), "category_mean") == pytest.approx([0.25, 0.25, 0.5])
    assert stats.headline_weights(np.array([0, 0, 1]), "item_mean") == pytest.approx([1 / 3] * 3)
    with pytest.raises(ValueError, match="accepted are category_mean"):
        stats.headline_weights(np.array([0]), "median")


def test_variance_and_degrees_of_freedom_by_hand():
    row = rng(1).normal(0.1, 0.4, 90)
    found = stats.moments(row[None], CATEGORIES, stats.headline_weights(CATEGORIES, "category_mean"))
    own = [row[CATEGORIES == c].var(ddof=1) / n / 9 for c, n in enumerate((20, 30, 40))]
    assert found.variance[0] == pytest.approx(sum(own))
    assert found.df[0] == pytest.approx(sum(own) ** 2 / sum(v**2 / (n - 1) for v, n in zip(own, (20, 30, 40))))


def test_the_skewness_of_a_mean_is_that_of_its_prompts_over_the_root_of_their_number():
    row = rng(2).exponential(size=50)
    found = stats.moments(row[None], np.zeros(50, int), np.full(50, 1 / 50))
    assert found.skew[0] == pytest.approx(scipy_stats.skew(row) / 50**0.5 * (49 / 50) ** 1.5)


def test_without_skewness_the_interval_of_a_difference_is_students():
    half = rng(3).normal(0.1, 0.4, 20)
    row = np.r_[half, 0.2 - half]  # symmetrical about 0.1
    found = difference(row)
    expected = scipy_stats.t.interval(0.95, 39, row.mean(), scipy_stats.sem(row))
    assert found.df == pytest.approx(39) and found.low == pytest.approx(expected[0], abs=0.002)
    assert found.high == pytest.approx(expected[1], abs=0.002)


def test_a_share_of_single_pictures_has_wilsons_interval():
    row = np.r_[np.ones(30), np.zeros(70)]
    found = stats.score_intervals(row[None], np.zeros(100, int), "item_mean", 1.0)[0]
    assert (found.low, found.high) == pytest.approx(proportion_confint(30, 100, method="wilson"), abs=0.002)


def test_all_right_and_all_wrong_have_an_interval_that_touches_the_end():
    for value, end in ((0.0, "low"), (100.0, "high")):
        found = stats.score_intervals(np.full((1, 36), value), np.zeros(36, int), "item_mean", 100.0)[0]
        exact = proportion_confint(36 if value else 0, 36, method="beta")
        assert getattr(found, end) == pytest.approx(value)
        assert abs(found.high - found.low - 100 * (exact[1] - exact[0])) < 1.0


def test_the_long_side_of_skewed_scores_is_the_longer_one():
    row = rng(4).exponential(size=25)
    found = stats.score_intervals(row[None], np.zeros(25, int), "item_mean", None)[0]
    assert found.high - found.estimate > 1.2 * (found.estimate - found.low)


def test_p_agrees_with_the_interval_with_t_and_with_a_permutation_test():
    for shift in (0.0, 0.05, 0.1, 0.15, 0.3):
        row = rng(5).normal(shift, 0.4, 60)
        found = difference(row)
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)
        assert found.p == pytest.approx(scipy_stats.ttest_1samp(row, 0).pvalue, abs=0.03)
        flips = scipy_stats.permutation_test((row,), np.mean, permutation_type="samples", n_resamples=4999, rng=rng(6))
        assert found.p == pytest.approx(flips.pvalue, abs=0.03)


def test_few_differing_prompts_are_judged_by_their_signs():
    """Five of two hundred prompts better, none worse: t would say 0.025, the signs say 2 / 2**5."""
    found = difference(np.r_[np.full(5, 0.25), np.zeros(195)], span=1.0)
    assert found.p == pytest.approx(2 / 2**5, abs=0.01)


@pytest.mark.parametrize("value", [1.0, 0.25])
@pytest.mark.parametrize("span", [1.0, None])
def test_the_same_difference_on_every_prompt_is_a_finding(value, span):
    """A right on every prompt, B on none."""
    found = difference(np.full(36, value), span=span)
    assert found.p == pytest.approx(1e-4) and found.estimate == value
    assert found.known == (span is not None)
    if span:
        assert 0 < found.low < value <= found.high <= 1.0


def test_twins_are_not_told_apart_and_may_differ_by_what_so_few_prompts_can_hide():
    found = difference(np.zeros(36), span=1.0)
    assert found.p == 1.0 and found.high == pytest.approx(1 - 0.025 ** (1 / 36)) and found.low == -found.high


def test_rows_share_their_flips():
    row = rng(7).normal(size=90)
    a, b = stats.difference_intervals(np.array([row, row]), CATEGORIES, "item_mean", None, rng(8))
    assert a == b


def test_no_interval_without_prompts_or_variation():
    for rows, categories, why in (
        (np.ones((1, 19)), np.zeros(19, int), "fewer than 20 prompts"),
        (np.ones((1, 34)), np.array([0] * 30 + [1] * 4), "a category has fewer than 5 prompts"),
    ):
        for found in (
            stats.score_intervals(rows, categories, "category_mean", 1.0)[0],
            difference(rows[0], categories),
        ):
            assert not found.known and np.isnan(found.p) and found.note == why
    flat = stats.score_intervals(np.ones((1, 40)), np.zeros(40, int), "item_mean", None)[0]
    assert not flat.known and flat.note == "no variation between prompts"


def test_ratio_of_sums_and_its_linearised_error():
    hits, asked = rng(9).binomial(3, 0.6, 60).astype(float), np.full(60, 3.0)
    found = stats.ratio_intervals(hits[None], asked[None], 1.0)[0]
    plain = stats.score_intervals(hits[None] / 3, np.zeros(60, int), "item_mean", 1.0)[0]
    assert (found.estimate, found.low, found.high) == pytest.approx((plain.estimate, plain.low, plain.high))
    asked = rng(10).integers(1, 6, 60).astype(float)
    hits = rng(11).binomial(asked.astype(int), 0.6).astype(float)
    found = stats.ratio_intervals(hits[None], asked[None], 1.0)[0]
    draw, ratios = rng(12), []
    for _ in range(4000):
        at = draw.integers(0, 60, 60)
        ratios.append(hits[at].sum() / asked[at].sum())
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(ratios, [0.025, 0.975])), abs=0.012)


def test_holm_against_statsmodels_and_by_hand():
    p = [0.01, float("nan"), 0.04, 0.03]
    assert stats.holm(p)[0] == pytest.approx(0.03) and stats.holm(p)[2:] == pytest.approx([0.06, 0.06])
    assert np.isnan(stats.holm(p)[1])
    values = list(rng(13).random(9))
    assert stats.holm(values) == pytest.approx(list(multipletests(values, method="holm")[1]))


def test_fewer_than_three_seeds_support_no_claim():
    for seeds in (1, 2):
        matrix = rng(14).normal(size=(seeds, 90))
        for found in (
            stats.method_score(matrix, CATEGORIES, "category_mean", None),
            stats.method_difference(matrix, CATEGORIES, "category_mean", None, rng()),
        ):
            assert not found.known and np.isnan(found.p) and "these checkpoints, not these methods" in found.note


def crossed(matrix, categories=None, aggregate="item_mean") -> Crossed:
    categories = np.zeros(matrix.shape[1], int) if categories is None else categories
    return Crossed.of(matrix, categories, stats.headline_weights(categories, aggregate))


def test_crossed_variance_by_hand():
    matrix = np.array([[0.0, 1.0], [2.0, 5.0], [1.0, 3.0]])
    seed = np.var([0.5, 3.5, 2.0], ddof=1) / 3
    prompt = np.var([1.0, 3.0], ddof=1) / 2
    residual = matrix - matrix.mean(1, keepdims=True) - matrix.mean(0) + matrix.mean()
    assert crossed(matrix).variance == pytest.approx(seed + prompt - (residual**2).sum() / 2 / 6)


def test_crossed_variance_is_that_of_a_two_way_anova():
    """One category: (MS of seeds + MS of prompts - MS of the rest) / (seeds x prompts)."""
    seeds, prompts = 4, 30
    matrix = (
        rng(18).normal(0, 0.2, (seeds, 1)) + rng(19).normal(0, 0.3, prompts) + rng(20).normal(0, 0.1, (seeds, prompts))
    )
    s, p = np.meshgrid(np.arange(seeds), np.arange(prompts), indexing="ij")
    table = pd.DataFrame({"score": matrix.ravel(), "seed": s.ravel(), "prompt": p.ravel()})
    anova = anova_lm(ols("score ~ C(seed) + C(prompt)", table).fit())
    squares = anova["sum_sq"] / anova["df"]
    expected = (squares["C(seed)"] + squares["C(prompt)"] - squares["Residual"]) / (seeds * prompts)
    assert crossed(matrix).variance == pytest.approx(expected) and seeds - 1 <= crossed(matrix).df(0.05)


def test_equal_headlines_leave_the_prompts_part():
    row = rng(21).normal(size=90)
    found = crossed(np.stack([row] * 3), CATEGORIES)
    single = [
        (CATEGORIES == c).mean() ** 2 * row[CATEGORIES == c].var(ddof=1) / (CATEGORIES == c).sum() for c in range(3)
    ]
    assert found.variance == pytest.approx(sum(single)) and found.df(0.05) > 19


def test_without_prompt_variation_it_is_the_t_interval_over_seeds():
    shifts = np.array([0.1, 0.3, 0.2, 0.5])
    found = stats.method_difference(np.repeat(shifts[:, None], 90, axis=1), CATEGORIES, "category_mean", None, rng())
    expected = scipy_stats.t.interval(0.95, 3, shifts.mean(), shifts.std(ddof=1) / 2)
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.p == pytest.approx(scipy_stats.ttest_1samp(shifts, 0).pvalue, rel=1e-4)


def test_caution_grows_as_seeds_and_levels_fall():
    assert caution(3, 0.05) == pytest.approx((4.3027 / 1.96) ** 1.5, rel=1e-4)
    assert caution(3, 0.005) > caution(3, 0.05) > caution(8, 0.05) > 1


def test_ten_and_more_seeds_use_the_same_rule():
    matrix = rng(14).normal(0.1, 0.1, (10, 1)) + rng(15).normal(0, 0.3, (10, 90))
    found = stats.method_difference(matrix, CATEGORIES, "category_mean", None, rng(16))
    draw, means = rng(17), []
    for _ in range(1500):
        rows = matrix[draw.integers(0, 10, 10)]
        means.append(
            np.mean(
                [
                    rows[:, draw.choice(np.flatnonzero(CATEGORIES == c), (CATEGORIES == c).sum())].mean()
                    for c in range(3)
                ]
            )
        )
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.03)


def test_paired_differences_of_ratios_agree_with_resampled_prompts():
    rng = np.random.default_rng(5)
    asked = rng.integers(1, 6, 80).astype(float)
    ease = rng.uniform(0.2, 0.8, 80)
    hits = np.array([rng.binomial(asked.astype(int), np.clip(ease + gain, 0, 1)) for gain in (0.15, 0.0)], float)
    each = stats.linearised(hits, np.array([asked, asked]))
    ratios = hits.sum(1) / asked.sum()
    assert each.mean(1) == pytest.approx(ratios)
    gap, zeros = (each[0] - each[1])[None], np.zeros(80, dtype=int)
    (found,) = stats.difference_intervals(gap, zeros, "item_mean", 1.0, np.random.default_rng(0))
    drawn = rng.integers(0, 80, (4000, 80))
    again = (hits[0][drawn].sum(1) - hits[1][drawn].sum(1)) / asked[drawn].sum(1)
    assert found.estimate == pytest.approx(ratios[0] - ratios[1])
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * again.std(), rel=0.15)
