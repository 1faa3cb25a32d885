"""MaskGRPO (arXiv 2510.02880 and its published code): K random remaskings at a rising rate; the kept codes are the context."""

from dataclasses import dataclass
from typing import Literal

import torch

from htgrpo.interface import HIDDEN, NORMS, Method, RolloutGroup, Update, at_least_one, uniform
from htgrpo.options import require


@dataclass(frozen=True)
class Mask(Method):
    """Options of MaskGRPO.

    min_rate: the published script whose settings HT-GRPO inherits uses 0.8. mask_agg: the paper's loss is over the current
    mask ("current"); the published code sums the K masks into one and applies that at every update ("all_iterations"), so
    tokens visible in their context receive loss as well. Its reduction is the token mean; the paper's is the rollout mean.
    """

    title = "MaskGRPO"
    updates_per_rollout: int = 8
    min_rate: float = 0.8
    mask_agg: Literal["current", "all_iterations"] = "current"
    loss_norm: Literal["rollout_mean", "token_mean"] = "rollout_mean"
    kl_ref: Literal["ref", "old"] = "ref"

    def __post_init__(self):
        require(self.updates_per_rollout >= 1, "mask.updates_per_rollout", self.updates_per_rollout, "it must be at least 1")
        require(0.0 <= self.min_rate <= 1.0, "mask.min_rate", self.min_rate, "it must lie between 0 and 1")

    def rates(self) -> list[float]:
        """Mask rate of every update: min_rate + (1 - min_rate)(k + 1)/K, at most 0.999, as in the published code."""
        count = self.updates_per_rollout
        return [min(self.min_rate + (1.0 - self.min_rate) * (k + 1) / count, 0.999) for k in range(count)]

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        draws = [uniform(group.codes.shape, generator) for _ in self.rates()]
        masks = [at_least_one(u < rate, u) for u, rate in zip(draws, self.rates(), strict=True)]
        row = torch.arange(len(group.codes))[:, None].expand_as(group.codes)
        weight = torch.ones_like(group.codes, dtype=torch.float64)
        supports = masks
        if self.mask_agg == "all_iterations":
            supports = [torch.stack(masks).sum(0)] * len(masks)
        return [
            Update(torch.where(mask, HIDDEN, group.codes), row, NORMS[self.loss_norm](support), weight)
            for mask, support in zip(masks, supports, strict=True)
        ]
