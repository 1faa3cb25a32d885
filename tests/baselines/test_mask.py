"""MaskGRPO: rates, masks, contexts, and the published code's summed mask."""

import pytest
import torch

from baselines.mask import Mask
from htgrpo.base.errors import UserError
from htgrpo.base.rng import generator
from htgrpo.interface import HIDDEN
from tests.htgrpo.tiny import make_group, tiny_policy


def group(size=9, grid=(3, 3)):
    """A group whose method generator is free."""
    return make_group(tiny_policy(grid=grid), "blue square", grid, size)


def masks(method, images, *key):
    """bool [K, G, N]: what each update hides."""
    updates = method.updates(images, generator("masks", *key))
    return torch.stack([u.contexts[u.row, torch.arange(images.codes.shape[1])] == HIDDEN for u in updates])


def test_rates_of_the_published_scripts():
    assert Mask().rates() == pytest.approx([0.825, 0.85, 0.875, 0.9, 0.925, 0.95, 0.975, 0.999])
    assert Mask(updates_per_rollout=6, min_rate=0.6).rates() == pytest.approx(
        [2 / 3, 0.7333, 0.8, 0.8667, 0.9333, 0.999], abs=1e-4
    )


def test_contexts_show_the_kept_codes_and_nothing_else():
    images = group()
    for u in Mask().updates(images, generator(1)):
        shown = u.contexts[u.row[:, 0]]
        assert torch.equal(u.row, u.row[:, :1].expand_as(u.row))
        assert torch.equal(shown[shown != HIDDEN], images.codes[shown != HIDDEN])
        assert torch.equal(u.share > 0, shown == HIDDEN), "support is the remasked part"
        assert torch.allclose(u.share.sum(1), torch.full((9,), 1 / 9, dtype=torch.float64))
        assert (u.weight == 1).all() and u.unit is None


def test_masks_are_independent_bernoulli_draws():
    """Per slot, image and update: the rate holds, and pairs of slots or updates are uncorrelated."""
    method, images = Mask(updates_per_rollout=4, min_rate=0.2), group(size=40)
    drawn = torch.stack([masks(method, images, seed) for seed in range(40)]).double()  # [40, K, G, N]
    for k, rate in enumerate(method.rates()[:3]):
        count = drawn[:, k].numel()
        assert abs(float(drawn[:, k].mean()) - rate) < 4.5 * (rate * (1 - rate) / count) ** 0.5
    first = drawn[:, 0].reshape(-1, 9)
    off_diagonal = torch.corrcoef(first.T) - torch.eye(9)
    assert float(off_diagonal.abs().max()) < 4.5 / len(first) ** 0.5
    pair = torch.stack([drawn[:, 0].flatten(), drawn[:, 1].flatten()])
    assert abs(float(torch.corrcoef(pair)[0, 1])) < 4.5 / pair.shape[1] ** 0.5


def test_a_mask_is_never_empty():
    """At rate 0 exactly one slot is hidden, and it is not always the same one."""

    class Never(Mask):
        def rates(self):
            return [0.0] * self.updates_per_rollout

    hidden = masks(Never(), group(), 3)
    assert (hidden.sum(-1) == 1).all()
    assert len(hidden.nonzero()[:, 2].unique()) > 3


def test_all_iterations_is_the_frequency_weighted_mean():
    """The published loss mask: the K masks added up, over visible tokens too, under the current context (sheet 4.3,
    item 1)."""
    method = Mask(updates_per_rollout=4, min_rate=0.1, mask_agg="all_iterations", loss_norm="token_mean")
    images = group(size=3)
    updates, hidden = method.updates(images, generator("masks", 5)), masks(method, images, 5)
    count = hidden.sum(0).double()
    for k, u in enumerate(updates):
        assert torch.allclose(u.share, count / count.sum())
        assert torch.equal(u.contexts[u.row[:, 0]] == HIDDEN, hidden[k])
    assert all(bool(((u.share > 0) & ~h).any()) for u, h in zip(updates[:3], hidden, strict=False)), (
        "visible tokens carry loss"
    )
    current = Mask(updates_per_rollout=4, min_rate=0.1).updates(images, generator("masks", 5))
    assert all(torch.equal(a.contexts, b.contexts) for a, b in zip(updates, current, strict=True)), (
        "same draws in both modes"
    )


@pytest.mark.parametrize("options", [{"updates_per_rollout": 0}, {"min_rate": -0.1}, {"min_rate": 1.5}])
def test_bad_options_are_refused(options):
    with pytest.raises(UserError, match=f"mask.{next(iter(options))}"):
        Mask(**options)
