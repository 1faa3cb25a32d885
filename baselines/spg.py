"""SPG (arXiv 2510.09541): likelihoods under random masks, bounded from below for images to be raised and from above for
images to be lowered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from baselines.espo import Samples
from baselines.own import Advantage, own
from htgrpo.base.options import require
from htgrpo.base.values import Number
from htgrpo.interface import HIDDEN, Method, RolloutGroup, Update, Updates, uniform

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class SPG(Method):
    """Options of SPG. samples: masks an update draws for each image, of a size uniform from low to high.

    negative: what images of negative advantage lower: the upper bound (power `power`), a mixture of it with the lower
    one, the lower bound too, or nothing. omega: the upper bound's part of the mixture. The two bounds differ only at
    slots hidden by several masks. The published code's prompt noise (see d1) and its left-to-right blocks are left out.
    advantage: "own" is reward - mean. There is no ratio; its published code has no penalty either (beta 0).
    """

    title = "SPG, no prompt noise"
    look = ("#AA4499", "h")
    updates_per_rollout: Updates = 8
    samples: Samples = 2
    low: Annotated[float, Number(0, 1)] = 0.0
    high: Annotated[float, Number(0, 1, open_low=True)] = 1.0
    negative: Literal["mix", "eubo", "elbo", "zero"] = "mix"
    omega: Annotated[float, Number(0, 1)] = 0.5
    power: Annotated[float, Number(0, 100, open_low=True)] = 1.5
    advantage: Advantage = "z"
    kl_ref: Literal["ref", "old"] = "ref"

    def __post_init__(self):
        super().__post_init__()
        require(self.low <= self.high, "spg.low/high", (self.low, self.high), "low must not be above high")

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        return [self._update(group, self._masks(group.codes, generator)) for _ in range(self.updates_per_rollout)]

    def _masks(self, codes: Tensor, generator: torch.Generator) -> Tensor:
        """bool [m, G, N]: the hidden slots of every sample."""
        size, slots = codes.shape
        least, most = max(1, int(slots * self.low)), max(1, int(slots * self.high))
        count = least + (uniform((self.samples, size, 1), generator) * (most - least + 1)).long()
        return uniform((self.samples, size, slots), generator).argsort(2).argsort(2) < count

    def _update(self, group: RolloutGroup, masks: Tensor) -> Update:
        """Views 0..m-1 carry the lower bound, every entry alone; views m..2m-1 the upper one, a unit a token."""
        import torch

        samples, size, slots = masks.shape
        given = own(self, group)
        advantage = group.advantage()[:, None] if given is None else given
        part = {"mix": self.omega, "eubo": 1.0, "elbo": 0.0, "zero": 0.0}[self.negative]
        raised = (advantage > 0).double()
        upper, lower = (1.0 - raised) * part, raised + (1.0 - raised) * (self.negative != "zero") * (1.0 - part)
        below = masks.double() / masks.sum(2, keepdim=True) / (size * samples)
        views, union = masks.sum(0), masks.any(0)
        above = masks.double() / views.clamp_min(1) / union.sum(1, keepdim=True) / size
        share = torch.cat([lower * below, upper * above])
        rate = masks.double().mean(2, keepdim=True)
        coef = torch.cat([torch.ones_like(below), (1.0 / (samples * rate)).expand(masks.shape)])
        alone = torch.arange(masks.numel()).reshape(masks.shape)
        token = masks.numel() + torch.arange(size * slots).reshape(1, size, slots).expand(masks.shape)
        row = torch.arange(samples * size).reshape(samples, size, 1).expand(masks.shape)
        return Update(
            torch.where(masks, HIDDEN, group.codes).flatten(0, 1),
            torch.cat([row, row]),
            share,
            torch.ones_like(share),
            kl_share=torch.cat([below, torch.zeros_like(below)]),
            unit=torch.cat([alone, token]),
            coef=torch.where(share > 0, coef, 0.0),
            power=torch.cat([torch.zeros_like(below), torch.full_like(below, self.power)]),
            advantage=advantage,
            objective="likelihood",
        )
