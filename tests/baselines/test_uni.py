"""UniGRPO: both statements of its timesteps, masks and ratios."""

import pytest
import torch

from baselines.uni import Uni
from htgrpo.base.errors import UserError
from htgrpo.base.rng import generator
from htgrpo.interface import HIDDEN
from tests.htgrpo.tiny import make_group, tiny_policy


def group(size=9, grid=(3, 3)):
    return make_group(tiny_policy(grid=grid), "blue square", grid, size)


def hidden(update):
    """bool [G, N]: what the update hides."""
    return update.contexts[update.row[:, 0]] == HIDDEN


def test_timesteps_of_the_algorithm_box():
    assert Uni(updates_per_rollout=5).timesteps(100) == [100, 325, 550, 775, 1000]
    for start in (0, 1, 333, 999):
        steps = Uni(updates_per_rollout=8).timesteps(start)
        assert steps == [int((n - 1) / 7 * (1000 - start) + start + 1e-9) for n in range(1, 9)]
        assert steps[0] == start and steps[-1] == 1000


def test_timesteps_of_the_worked_example():
    assert Uni(updates_per_rollout=5, spacing="stride").timesteps(100) == [100, 300, 500, 700, 900]
    wrapped = Uni(updates_per_rollout=5, spacing="stride").timesteps(450)
    assert wrapped == [450, 650, 850, 50, 250]


def test_a_single_update_is_possible():
    assert Uni(updates_per_rollout=1).timesteps(300) == [300]
    assert Uni(updates_per_rollout=1, spacing="stride").timesteps(300) == [300]


@pytest.mark.parametrize("spacing", ["box", "stride"])
def test_masks_follow_the_timesteps(spacing, monkeypatch):
    """With the start fixed, update n hides the share t_n / 1000 of the slots, independently, and never nothing."""
    monkeypatch.setattr(Uni, "timesteps", lambda self, start, original=Uni.timesteps: original(self, 200))
    method, images = Uni(updates_per_rollout=4, spacing=spacing), group(size=60)
    drawn = torch.stack(
        [torch.stack([hidden(u) for u in method.updates(images, generator("uni", s))]) for s in range(20)]
    )
    for n, timestep in enumerate(method.timesteps(0)):
        rate = timestep / 1000 + (1 - timestep / 1000) ** 9 / 9  # the forced slot of an empty mask
        bound = 4.5 * max(rate * (1 - rate), 1e-9) ** 0.5 / drawn[:, n].numel() ** 0.5
        assert abs(float(drawn[:, n].double().mean()) - rate) <= bound
    assert drawn.any(-1).all()


def test_one_start_is_drawn_for_all_images_and_it_is_uniform():
    """Under the box the start is the rate of the first update; a start near 0 leaves one slot per image."""
    starts = []

    class Spy(Uni):
        def timesteps(self, start):
            starts.append(start)
            return super().timesteps(start)

    for seed in range(200):
        Spy(updates_per_rollout=2).updates(group(size=2, grid=(2, 2)), generator("start", seed))
    assert len(starts) == 200 and 0 <= min(starts) < 40 and 960 < max(starts) <= 999
    assert abs(sum(starts) / 200 - 499.5) < 4.5 * 288.7 / 200**0.5


def test_last_update_of_the_box_shows_nothing():
    assert (Uni().updates(group(), generator(1))[-1].contexts == HIDDEN).all()


def test_a_start_of_zero_still_hides_a_slot(monkeypatch):
    monkeypatch.setattr(Uni, "timesteps", lambda self, start: [0])
    assert (hidden(Uni(updates_per_rollout=1).updates(group(), generator(1))[0]).sum(1) == 1).all()


def test_support_contexts_and_units():
    images = group()
    for ratio in ("token", "sequence"):
        for u in Uni(ratio=ratio).updates(images, generator(2)):
            shown = u.contexts[u.row[:, 0]]
            assert torch.equal(shown[shown != HIDDEN], images.codes[shown != HIDDEN])
            assert torch.equal(u.share > 0, shown == HIDDEN)
            if ratio == "token":
                assert u.unit is None
            else:
                assert torch.equal(u.unit, torch.arange(9)[:, None].expand_as(u.unit))


def test_bad_options_are_refused():
    with pytest.raises(UserError, match="uni.updates_per_rollout"):
        Uni(updates_per_rollout=0)
