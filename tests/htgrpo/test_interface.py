"""Groups and advantages, shares, uniforms, keyed generators."""

import math
import statistics
from dataclasses import replace

import pytest
import torch

from htgrpo.base.rng import generator
from htgrpo.interface import at_least_one, rollout_mean, token_mean, uniform
from tests.htgrpo.tiny import make_group, tiny_policy


def group_with(rewards):
    """A group of these rewards."""
    base = make_group(tiny_policy(), size=len(rewards))
    return replace(base, reward=torch.tensor(rewards, dtype=torch.float64))


def test_advantage_is_the_z_score_with_delta_on_the_deviation():
    rewards = [0.1, 0.4, 0.35, 0.9]
    mean, sample, population = statistics.fmean(rewards), statistics.stdev(rewards), statistics.pstdev(rewards)
    for ddof, spread in ((1, sample), (0, population)):
        wanted = [(r - mean) / (spread + 1e-5) for r in rewards]
        assert replace(group_with(rewards), ddof=ddof).advantage().tolist() == pytest.approx(wanted, abs=1e-12)
    assert replace(group_with(rewards), delta=10.0).advantage().tolist() == pytest.approx(
        [(r - mean) / (sample + 10) for r in rewards]
    )


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e9, -7.3])
@pytest.mark.parametrize("size", [2, 3, 9])
def test_equal_rewards_have_no_advantage_at_all(value, size):
    assert group_with([value] * size).advantage().tolist() == [0.0] * size


def test_a_failed_image_leaves_the_group_with_everything_it_has():
    group = replace(group_with([0.3, math.nan, 0.5, math.inf]), entropy=torch.arange(24.0).reshape(4, 6))
    assert group.valid.tolist() == [True, False, True, False]
    kept = group.kept()
    for name in ("codes", "reveal_step", "rank", "reward", "entropy"):
        assert torch.equal(getattr(kept, name), getattr(group, name)[[0, 2]])
    assert (kept.prompt, kept.grid) == (group.prompt, group.grid)
    assert replace(group, entropy=None).kept().entropy is None
    assert kept.advantage().tolist() == group_with([0.3, 0.5]).advantage().tolist()


def test_shares():
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]]).bool()
    assert rollout_mean(mask).tolist() == [[0.25, 0.25, 0.0, 0.0], [0.125] * 4]
    assert torch.allclose(token_mean(mask), torch.tensor([[1, 1, 0, 0], [1] * 4]).double() / 6)
    assert torch.allclose(token_mean(torch.tensor([[2, 0], [1, 1]])), torch.tensor([[0.5, 0], [0.25, 0.25]]).double())


def test_at_least_one_changes_empty_rows_only():
    score = torch.tensor([[0.3, 0.1, 0.2], [0.5, 0.9, 0.4]])
    assert at_least_one(torch.zeros(2, 3).bool(), score).tolist() == [[False, True, False], [False, False, True]]
    full = torch.tensor([[True, False, False], [False, True, True]])
    assert torch.equal(at_least_one(full, score), full)


def test_generators_are_private_keyed_and_the_same_everywhere():
    """Equal keys give equal draws, on any machine (golden values); a number and its text are different keys."""
    first = uniform((4,), generator(0, "rollout", 3, "p-1", 2))
    assert torch.equal(first, uniform((4,), generator(0, "rollout", 3, "p-1", 2)))
    others = (
        (1, "rollout", 3, "p-1", 2),
        (0, "rollout", 3, "p-1", 3),
        ("0", "rollout", 3, "p-1", 2),
        (0, "rollout", 31, "p", 2),
    )
    for other in others:
        assert not torch.equal(first, uniform((4,), generator(*other)))
    assert not torch.equal(uniform((2,), generator(1)), uniform((2,), generator("1")))
    assert generator(0, "a").initial_seed() == 739273521946992771
    assert torch.rand(2, generator=generator(0, "a"), dtype=torch.float64).tolist() == [
        0.7836429219255678,
        0.637344833947096,
    ]
