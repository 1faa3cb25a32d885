"""Shares of variance against planted ones, and the measurement on samplers whose early or late draws are all there is."""

import numpy as np
import pytest
import torch

from htgrpo.base.rng import generator
from htgrpo.rollout import generate
from htgrpo.samplers import Draws, MaskGIT, RandomOrder
from reports.statistics.premise import shares
from tests.htgrpo.tiny import tiny_policy


def drawn(rng, early, late, both, prompts=150):
    parts = rng.standard_normal((prompts, 8, 1)) * early**0.5, rng.standard_normal((prompts, 1, 6)) * late**0.5
    return parts[0] + parts[1] + rng.standard_normal((prompts, 8, 6)) * both**0.5


@pytest.mark.parametrize("truth", [(0.6, 0.1, 0.3), (0.0, 0.8, 0.2), (0.3, 0.3, 0.4)])
def test_planted_shares_are_found(truth):
    found = shares(drawn(np.random.default_rng(1), *truth))
    for one, value in zip(found.values(), truth, strict=True):
        assert one.estimate == pytest.approx(value, abs=0.06) and one.low <= one.estimate <= one.high
    assert sum(one.estimate for one in found.values()) == pytest.approx(1.0, abs=2e-4)
    assert found["early"].nats == pytest.approx(-0.5 * np.log(1 - max(0, found["early"].estimate)), abs=1e-3)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(2)
    hits = [(one := shares(drawn(rng, 0.4, 0.2, 0.4, 40))["early"]).low <= 0.4 <= one.high for _ in range(150)]
    assert np.mean(hits) > 0.88


def test_prompts_without_any_variance_count_for_nothing():
    table = drawn(np.random.default_rng(3), 0.5, 0.2, 0.3, 60)
    with_dead = np.concatenate([table, np.full((40, 8, 6), 0.7)])
    assert shares(with_dead)["early"].estimate == shares(table)["early"].estimate


@pytest.mark.parametrize("sampler", [RandomOrder(4), MaskGIT(4)], ids=["random", "maskgit"])
def test_pictures_of_equal_early_draws_share_what_was_revealed_early(sampler):
    """Pictures are those of their own key where the later keys are the same; up to `step` they depend on the first key
    alone, whatever comes later."""
    policy, ids = tiny_policy(4), [(1, 2, 3)] * 4
    keys, others = [("early", i // 2) for i in range(4)], [("late", i % 2) for i in range(4)]
    plain = generate(policy, ids, keys, sampler, 1.0)
    same = generate(policy, ids, keys, sampler, 1.0, later=(2, keys))
    assert torch.equal(plain.codes, same.codes)
    crossed = generate(policy, ids, keys, sampler, 1.0, later=(2, others))
    for one, other in ((0, 1), (2, 3)):
        early = crossed.reveal_step[one] < 2
        assert torch.equal(early, crossed.reveal_step[other] < 2)
        assert torch.equal(crossed.codes[one][early], crossed.codes[other][early])
    early = plain.reveal_step < 2
    assert torch.equal(plain.codes[early], crossed.codes[early]) and not torch.equal(plain.codes, crossed.codes)
    assert not torch.equal(crossed.codes[0], crossed.codes[1])


def test_draws_are_joined_at_a_step():
    one, other = (Draws.make([generator(name)], 4, 5) for name in ("a", "b"))
    joined = one.until(3, other)
    assert torch.equal(joined.code[:, :3], one.code[:, :3]) and torch.equal(joined.code[:, 3:], other.code[:, 3:])
    assert torch.equal(joined.order[:, 3:], other.order[:, 3:]) and torch.equal(joined.tie, one.tie)
