"""MaskGRPO (arXiv 2510.02880 and its published code): K random remaskings at a rising rate; the kept codes are the
context."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from htgrpo.base.values import Number
from htgrpo.interface import HIDDEN, NORMS, Method, RolloutGroup, Update, Updates, at_least_one, uniform

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Mask(Method):
    """Options of MaskGRPO.

    min_rate: the published script whose settings HT-GRPO inherits uses 0.8. mask_agg: the paper's loss is over the
    current mask ("current"); the published code sums the K masks into one and applies that at every update
    ("all_iterations"), so tokens visible in their context receive loss as well. Its reduction is the token mean; the
    paper's is the rollout mean.
    """

    title = "MaskGRPO"
    look = ("#D55E00", "s")
    updates_per_rollout: Updates = 8
    min_rate: Annotated[float, Number(0, 1)] = 0.8
    mask_agg: Literal["current", "all_iterations"] = "current"
    loss_norm: Literal["rollout_mean", "token_mean"] = "rollout_mean"
    kl_ref: Literal["ref", "old"] = "ref"

    def rates(self) -> list[float]:
        """Mask rate of every update: min_rate + (1 - min_rate)(k + 1)/K, at most 0.999, as in the published code."""
        count = self.updates_per_rollout
        return [min(self.min_rate + (1.0 - self.min_rate) * (k + 1) / count, 0.999) for k in range(count)]

    def masks(self, group: RolloutGroup, generator: torch.Generator) -> list[Tensor]:
        """bool [G, N] of every update: the hidden slots."""
        draws = [uniform(group.codes.shape, generator) for _ in self.rates()]
        return [at_least_one(u < rate, u) for u, rate in zip(draws, self.rates(), strict=True)]

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        import torch

        masks = self.masks(group, generator)
        row = torch.arange(len(group.codes))[:, None].expand_as(group.codes)
        weight = torch.ones_like(group.codes, dtype=torch.float64)
        supports = masks
        if self.mask_agg == "all_iterations":
            supports = [torch.stack(masks).sum(0)] * len(masks)
        return [
            Update(torch.where(mask, HIDDEN, group.codes), row, NORMS[self.loss_norm](support), weight)
            for mask, support in zip(masks, supports, strict=True)
        ]
