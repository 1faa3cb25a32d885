"""Equal within a margin: the test keeps its level at the margin and finds equal methods; plans are as exact as runs."""

import math
from dataclasses import replace

import numpy as np
import pytest

from reports.findings.pairs import Pair, adjusted
from reports.statistics import stats
from reports.statistics.components import Components
from reports.statistics.crossed import Crossed
from reports.statistics.power import establishes, sees
from reports.statistics.stats import Interval, equality, headline_weights

PROMPTS, SEEDS, PICTURES = 120, 4, 4
TRUTH = Components(seed=0.0004, prompt=0.004, both=0.002, picture=0.2)
CATEGORY = np.arange(PROMPTS) % 6
WEIGHTS = headline_weights(CATEGORY, "category_mean")


def drawn(rng, gap, truth=TRUTH):
    """Picture differences, float [S, P, K], whose true mean is `gap`."""
    parts = [
        truth.seed**0.5 * rng.standard_normal((SEEDS, 1, 1)),
        truth.prompt**0.5 * rng.standard_normal((1, PROMPTS, 1)),
        truth.both**0.5 * rng.standard_normal((SEEDS, PROMPTS, 1)),
        truth.picture**0.5 * rng.standard_normal((SEEDS, PROMPTS, PICTURES)),
    ]
    return gap + sum(parts)


def interval_of(differences):
    crossed = Crossed.of(differences.mean(2), CATEGORY, WEIGHTS)
    found = crossed.moments(crossed.df(0.05))
    return stats._difference(found, crossed.df, 0.0, differences.ravel(), None)


def test_methods_that_differ_by_the_margin_are_rarely_called_equal_and_equal_ones_mostly():
    rng, margin = np.random.default_rng(0), 0.06
    at_margin = [equality(interval_of(drawn(rng, margin)), margin) < 0.05 for _ in range(600)]
    assert np.mean(at_margin) < 0.05 + 2 * (0.05 * 0.95 / 600) ** 0.5
    assert np.mean([equality(interval_of(drawn(rng, 0.0)), margin) < 0.05 for _ in range(200)]) > 0.8


def test_a_plan_knows_the_error_and_the_power_of_the_run_it_plans():
    """The planned standard error is that of the simulated runs; four in five of them see what it says they see, and call
    equal within what it says they do."""
    rng, planned = np.random.default_rng(1), TRUTH.planned(WEIGHTS, SEEDS, PICTURES)
    found = [interval_of(drawn(rng, 0.0)) for _ in range(400)]
    assert np.std([one.estimate for one in found]) == pytest.approx(planned.error, rel=0.1)
    margin, size = establishes(planned), sees(planned)
    assert np.mean([equality(one, margin) < 0.05 for one in found]) == pytest.approx(0.8, abs=0.08)
    seen = [interval_of(drawn(rng, size)).p < 0.05 for _ in range(400)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.08)
    assert establishes(planned, 15) > margin and sees(planned, 15) > size
    assert TRUTH.planned(WEIGHTS, 8, PICTURES).error < planned.error < TRUTH.planned(WEIGHTS, 4, 1).error


def test_components_are_found_again():
    rng = np.random.default_rng(2)
    found = [Components.of(drawn(rng, 0.1), CATEGORY, WEIGHTS) for _ in range(150)]
    for name in ("prompt", "both", "picture"):
        assert np.mean([getattr(one, name) for one in found]) == pytest.approx(getattr(TRUTH, name), rel=0.3)
    assert np.mean([one.seed for one in found]) == pytest.approx(TRUTH.seed, rel=0.4)


def test_means_over_pictures_have_the_same_components_with_pictures_among_both():
    differences = drawn(np.random.default_rng(4), 0.1, replace(TRUTH, both=0.1))
    whole, means = (Components.of(one, CATEGORY, WEIGHTS) for one in (differences, differences.mean(2, keepdims=True)))
    assert (means.seed, means.prompt, means.picture) == (pytest.approx(whole.seed), pytest.approx(whole.prompt), 0.0)
    assert means.both == pytest.approx(whole.both + whole.picture / differences.shape[2])


@pytest.mark.parametrize("size, margin", [(0.05, math.nan), (0.002, 0.04), (0.03, math.nan)])
def test_the_seeds_that_are_needed_are_the_fewest_that_see_it_or_call_it_equal(size, margin):
    parts = Components(seed=0.0004, prompt=0.0, both=0.002, picture=0.0)
    pair = Pair("a", "b", 8, Interval(size), Interval(size), {}, 1, [], margin, 15, parts=(parts, WEIGHTS))

    def answered(seeds):
        planned = parts.planned(WEIGHTS, seeds, 1)
        return sees(planned, 15) <= size or establishes(planned, 15) <= margin - size

    needed, word = pair.seeds_needed()
    assert 3 < needed <= 64 and answered(needed) and not answered(needed - 1)
    assert word == ("equal" if size < margin else "resolved")


def test_no_number_of_seeds_is_named_where_prompts_are_too_few_or_nothing_is_known():
    parts = Components(seed=0.0, prompt=0.1, both=0.0, picture=0.0)
    pair = Pair("a", "b", 8, Interval(0.01), Interval(0.01), {}, 1, [], math.nan, 15, parts=(parts, WEIGHTS))
    assert pair.seeds_needed() is None and replace(pair, parts=None).seeds_needed() is None


def test_equality_needs_an_interval_and_a_margin():
    known = Interval(0.01, -0.02, 0.04, 0.5, 9.0, df_at=lambda level: 9.0, error=0.0133)
    assert math.isnan(equality(known, math.nan)) and math.isnan(equality(Interval(0.1), 0.2))
    assert equality(known, 0.2) < 1e-4 and equality(known, 0.005) == 1.0
    assert equality(known, 0.05) == equality(known.negated(), 0.05)
    even = Interval(0.0, -0.015, 0.015, 1.0)  # no difference on any prompt: the exact bound decides
    assert equality(even, 0.02) == pytest.approx(0.025) and equality(even, 0.01) == 1.0
    lopsided = Interval(0.0, -0.02, 0.04, 0.5, 9.0, df_at=lambda level: 9.0, error=0.0133, skew=0.8)
    assert equality(lopsided, 0.05) > equality(known, 0.06)


@pytest.mark.parametrize(
    ("estimate", "error", "word"),
    [(0.1, 0.01, "better"), (-0.1, 0.01, "worse"), (0.0, 0.004, "equal"), (0.0, 0.1, "unresolved")],
)
def test_a_pair_is_better_worse_equal_or_unresolved(estimate, error, word):
    p = stats.tail(abs(estimate) / error, lambda level: 30.0)
    one = Interval(estimate, estimate - 2 * error, estimate + 2 * error, p, 30.0, df_at=lambda level: 30.0, error=error)
    (pair,) = adjusted([Pair("a", "b", 4, one, one, {}, 1, [], margin=0.02)])
    assert pair.verdict() == word and pair.flipped().verdict() == {"better": "worse", "worse": "better"}.get(word, word)
    (without,) = adjusted([Pair("a", "b", 4, one, one, {}, 1, [])])
    assert without.verdict() == ("unresolved" if word == "equal" else word)


def test_equalities_are_adjusted_among_themselves():
    """A pair that alone would be equal is not among twenty of its kind."""
    one = Interval(0.0, -0.018, 0.018, 1.0, 30.0, df_at=lambda level: 30.0, error=0.009)
    pairs = [Pair("a", f"b{i}", 4, one, one, {}, 1, [], margin=0.02) for i in range(20)]
    assert adjusted(pairs[:1])[0].verdict() == "equal" and adjusted(pairs)[0].verdict() == "unresolved"
