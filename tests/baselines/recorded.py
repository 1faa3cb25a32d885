"""Groups that record all that a method may need of a rollout."""

from dataclasses import replace

import torch

from htgrpo.base.rng import generator
from htgrpo.interface import RolloutGroup
from tests.htgrpo.tiny import make_group, two_groups


def recorded(group: RolloutGroup, seed: int = 0) -> RolloutGroup:
    """The group with random entropies and predictions: a slot's own code from its reveal step on, any before."""
    g = generator("recorded", seed)
    (size, slots), steps = group.codes.shape, int(group.reveal_step.max()) + 1
    settled = group.reveal_step[:, None] <= torch.arange(steps)[None, :, None]
    guess = torch.randint(6, (size, steps, slots), generator=g)
    predicted = torch.where(settled, group.codes[:, None], guess)
    return replace(group, entropy=torch.rand(size, slots, generator=g), predicted=predicted)


def recorded_groups(policy, **changes) -> list[RolloutGroup]:
    """`two_groups`, recorded, each the other's other."""
    one, two = (recorded(group, i) for i, group in enumerate(two_groups(policy, **changes)))
    return [replace(one, other=two.kept()), replace(two, other=one.kept())]


def recorded_group(policy, seed: int = 0, **changes) -> RolloutGroup:
    """`make_group`, recorded."""
    return recorded(make_group(policy, seed=seed, **changes), seed)
