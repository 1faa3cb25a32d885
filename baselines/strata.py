"""Strata (ours, after the abstract of DACA-GRPO, arXiv 2605.16342, whose formulas are not public): an image is cut into
random parts, each hidden while all others stay visible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from htgrpo.base.values import Number, Whole
from htgrpo.interface import HIDDEN, Method, RolloutGroup, Update, Updates, rollout_mean, uniform

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Strata(Method):
    """Options of strata. strata: parts of equal size an image is cut into, anew at every update; 1 is the fully masked
    image.

    score: our two readings of DACA-GRPO's progress score, which say the opposite of early tokens, so run both or
    neither. "step": by how much a step's tokens settled what was drawn at the slots still hidden after it; "token": for
    which part of the steps before its reveal a slot's draw was not yet its code. strength: of the weight, whose mean is
    1 for every image.
    """

    title = "strata (ours, after DACA-GRPO)"
    look = ("#6F6FC7", "D")
    groups: ClassVar[tuple[str, ...]] = ("ours",)
    updates_per_rollout: Updates = 8
    strata: Annotated[int, Whole(1, 100_000)] = 4
    score: Literal["none", "step", "token"] = "none"
    strength: Annotated[float, Number(0, 1)] = 0.5
    kl_ref: Literal["ref", "old"] = "ref"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset() if self.score == "none" else frozenset({"predicted"})

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        import torch

        size, slots = group.codes.shape
        weight, share = self.weights(group), rollout_mean(torch.ones_like(group.codes))
        image, updates = torch.arange(size)[:, None], []
        for _ in range(self.updates_per_rollout):
            stratum = uniform(group.codes.shape, generator).argsort(1).argsort(1) * self.strata // slots
            hidden = stratum[:, None] == torch.arange(self.strata)[:, None]
            contexts = torch.where(hidden, HIDDEN, group.codes[:, None]).flatten(0, 1)
            updates.append(Update(contexts, image * self.strata + stratum, share, weight))
        return updates

    def weights(self, group: RolloutGroup) -> Tensor:
        """float64 [G, N]: 1 - strength + strength x value / the image's mean value; 1 where all values are 0."""
        import torch

        if self.score == "none":
            return torch.ones_like(group.codes, dtype=torch.float64)
        value = step_progress(group) if self.score == "step" else token_progress(group)
        mean = value.mean(1, keepdim=True)
        return torch.where(mean > 0, 1 - self.strength + self.strength * value / mean.clamp_min(1e-300), 1.0)


def _right(group: RolloutGroup) -> tuple[Tensor, Tensor]:
    """bool [G, T, N]: where a step drew a slot's final code, and where the slot is still hidden after the step."""
    import torch

    assert group.predicted is not None  # it is among what a score needs
    steps = torch.arange(group.predicted.shape[1])[None, :, None]
    return group.predicted == group.codes[:, None], group.reveal_step[:, None] > steps


def step_progress(group: RolloutGroup) -> Tensor:
    """float64 [G, N]: of the step that revealed a token, how much more of what stayed hidden is drawn right at the next
    step, at least 0."""
    import torch

    right, hidden = _right(group)
    right = right.double()
    gain = ((right[:, 1:] - right[:, :-1]) * hidden[:, :-1]).sum(2) / hidden[:, :-1].sum(2).clamp_min(1)
    gain = torch.cat([gain.clamp_min(0.0), torch.zeros(len(gain), 1, dtype=torch.float64)], dim=1)
    return gain.gather(1, group.reveal_step)


def token_progress(group: RolloutGroup) -> Tensor:
    """float64 [G, N]: share of the steps before a token's reveal at which its draw was not its code."""
    right, hidden = _right(group)
    return (hidden & ~right).double().sum(1) / hidden.sum(1).clamp_min(1)
