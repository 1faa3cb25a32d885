"""Rollouts that record what is drawn at every hidden slot: the images are the same, and a method gets them by asking."""

import pytest
import torch

from htgrpo.base.errors import UserError
from htgrpo.interface import HIDDEN
from htgrpo.policies.cache_config import CacheConfig
from htgrpo.rollout import generate
from htgrpo.samplers import Emerge, Lumina, MaskGIT, RandomOrder
from tests.htgrpo.tiny import SHORT, tiny_policy

SAMPLERS = [RandomOrder(5), Emerge(5), MaskGIT(5), Lumina(5), RandomOrder(40), Emerge(40)]


def sampled(sampler, guidance=1.5, limit=6144, **changes):
    """Rollouts of four images of one prompt."""
    policy = tiny_policy(3, grid=(3, 3))
    keys = [("predictions", i) for i in range(4)]
    return generate(policy, [policy.prompt(SHORT)] * 4, keys, sampler, guidance, None, limit, **changes)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: f"{type(s).__name__}{s.steps}")
def test_recording_changes_no_image(sampler):
    plain, recorded = sampled(sampler), sampled(sampler, predict=True)
    for name in ("codes", "reveal_step", "rank", "entropy"):
        assert torch.equal(getattr(plain, name), getattr(recorded, name)), name
    assert plain.predicted is None and plain.forwards == recorded.forwards and plain.heads <= recorded.heads


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: f"{type(s).__name__}{s.steps}")
def test_what_is_recorded(sampler):
    """From its reveal step on a slot's prediction is its code; before, a draw for every hidden slot of an image at
    work; HIDDEN only before the image's first draw."""
    found = sampled(sampler, predict=True)
    steps = torch.arange(sampler.steps)[None, :, None]
    assert found.predicted.shape == (4, sampler.steps, 9)
    settled = steps >= found.reveal_step[:, None]
    assert torch.equal(found.predicted[settled], found.codes[:, None].expand_as(found.predicted)[settled])
    started = steps >= found.reveal_step.amin(1)[:, None, None]
    assert torch.equal(found.predicted == HIDDEN, ~started.expand_as(found.predicted))
    if sampler.steps == 5:
        assert (found.predicted[:, 0] != found.codes).any(), "an idle test: every first guess was final"


@pytest.mark.parametrize("limit", [1, 60])
def test_batches_cannot_change_a_prediction(limit):
    assert torch.equal(
        sampled(Emerge(40), predict=True).predicted, sampled(Emerge(40), limit=limit, predict=True).predicted
    )


def test_a_cache_predicts_nothing():
    with pytest.raises(UserError, match="cache=None"):
        sampled(Lumina(5), predict=True, cache=CacheConfig())
