"""wd1 (arXiv 2507.08838): a weighted likelihood under the fully masked image; no ratio, no old policy, no clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from baselines.own import Advantage, own
from htgrpo.base.values import Number
from htgrpo.interface import HIDDEN, Method, RolloutGroup, Update, Updates, rollout_mean

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class WD1(Method):
    """Options of wd1. An image's log-probability is weighted by softmax(A / tau) - softmax(-A / tau) over its group.

    tau: decides how much the best and the worst image count; its own A is reward - mean, far flatter than z-scores.
    sides: "positive" drops the second softmax for its mean 1/G, so that equal rewards still move nothing. reduction:
    over an image's tokens; the published code's "sum" is N times as much. The published code's prompt noise is left out
    (see d1). The objective has no bound and nothing but the penalty holds the policy.
    """

    title = "wd1, no prompt noise"
    look = ("#7A5C3E", "<")
    updates_per_rollout: Updates = 8
    tau: Annotated[float, Number(0, 1e6, open_low=True)] = 1.0
    sides: Literal["both", "positive"] = "both"
    reduction: Literal["mean", "sum"] = "mean"
    advantage: Advantage = "z"
    kl_ref: Literal["ref", "old"] = "ref"

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        import torch

        everything = torch.ones_like(group.codes, dtype=torch.float64)
        contexts, row = torch.full_like(group.codes[:1], HIDDEN), torch.zeros_like(group.codes)
        share = everything / (group.codes.shape[1] if self.reduction == "mean" else 1)
        update = Update(
            contexts,
            row,
            share,
            everything,
            kl_share=rollout_mean(everything),
            advantage=self.pull(group),
            objective="likelihood",
        )
        return [update] * self.updates_per_rollout

    def pull(self, group: RolloutGroup) -> Tensor:
        """float64 [G, 1]: what each image's log-probability is multiplied by; it sums to 0."""
        given = own(self, group)
        sharp = (group.advantage()[:, None] if given is None else given) / self.tau
        other = (-sharp).softmax(0) if self.sides == "both" else 1.0 / len(sharp)
        return sharp.softmax(0) - other
