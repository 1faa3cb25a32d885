"""MaskFocus (arXiv 2512.18766): random masks as large as what is hidden after the steps at which the picture changes
most; no clip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from htgrpo.base.options import require
from htgrpo.interface import HIDDEN, Method, RolloutGroup, Update, Updates, rollout_mean, uniform

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Focus(Method):
    """Options of MaskFocus. Update k visits the k-th of the K chosen steps, in the order of time.

    select: by how much the step changes the share of slots drawn as they end ("agreement", our stand-in for the
    published similarity of embeddings); by the mean entropy of what it reveals; or spread evenly. Only steps after
    which every image has something hidden count, and for "agreement" not the last two, as published; where they are fewer
    than K, they are visited again from the first. mask: "random"
    hides as many slots as are hidden after the step, "step" those very ones. shared_mask: one random order for all
    images, as published.
    """

    title = "MaskFocus"
    look = ("#8C1C13", "s")
    updates_per_rollout: Updates = 8
    select: Literal["agreement", "entropy", "uniform"] = "agreement"
    mask: Literal["random", "step"] = "random"
    shared_mask: bool = True
    kl_ref: Literal["ref", "old"] = "ref"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"agreement": {"predicted"}, "entropy": {"entropy"}, "uniform": set()}[self.select])

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        import torch

        row = torch.arange(len(group.codes))[:, None].expand_as(group.codes)
        updates = []
        for step in self.chosen(group):
            hidden = group.reveal_step > step
            if self.mask == "random":
                order = uniform((1 if self.shared_mask else len(row), row.shape[1]), generator).argsort(1).argsort(1)
                hidden = order < hidden.sum(1, keepdim=True)
            share, contexts = rollout_mean(hidden), torch.where(hidden, HIDDEN, group.codes)
            updates.append(Update(contexts, row, share, torch.ones_like(share), clip=(0.0, math.inf)))
        return updates

    def chosen(self, group: RolloutGroup) -> list[int]:
        """The steps the updates visit, in order. Raises UserError where there is none."""
        usable = int(group.reveal_step.amax(1).min())  # after any later step some image is complete
        if self.select == "agreement":
            assert group.predicted is not None  # it is among what this method needs
            usable = min(usable, group.predicted.shape[1] - 2)
        least = "all images are complete after their first step; sample in more steps"
        require(usable > 0, "the number of steps that focus can choose from", usable, least)
        count = min(self.updates_per_rollout, usable)
        if self.select == "uniform":
            steps = [k * usable // count for k in range(count)]
        else:
            score = _agreement_change(group) if self.select == "agreement" else _entropy(group)
            steps = sorted((-score[:usable]).argsort(stable=True)[:count].tolist())
        return [steps[k % count] for k in range(self.updates_per_rollout)]

    def measures(self, group: RolloutGroup) -> dict[str, float]:
        """The mean of the chosen steps."""
        steps = self.chosen(group)
        return {"step": sum(steps) / len(steps)}


def _agreement_change(group: RolloutGroup) -> Tensor:
    """float64 [T - 1]: how much the share of slots drawn as they end changes from a step to the next."""
    assert group.predicted is not None
    share = (group.predicted == group.codes[:, None]).double().mean((0, 2))
    return (share[1:] - share[:-1]).abs()


def _entropy(group: RolloutGroup) -> Tensor:
    """float64 [T]: mean entropy of the tokens a step reveals; below all where it reveals none."""
    import torch

    assert group.entropy is not None  # it is among what this method needs
    steps, entropy = group.reveal_step.flatten(), group.entropy.double().flatten()
    count = torch.bincount(steps)
    total = torch.zeros(len(count), dtype=torch.float64).index_add(0, steps, entropy)
    return torch.where(count > 0, total / count.clamp_min(1), -1.0)
