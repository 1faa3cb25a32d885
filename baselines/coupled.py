"""coupled-GRPO (DiffuCoder, arXiv 2506.20639): two complementary halves of an image, each hidden in turn, and the fully
masked image beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from baselines.own import Advantage, own
from htgrpo.base.options import require
from htgrpo.base.values import Number
from htgrpo.interface import HIDDEN, Method, RolloutGroup, Update, Updates, rollout_mean, uniform

if TYPE_CHECKING:
    import torch

Rate = Annotated[float, Number(0, 1)]


@dataclass(frozen=True)
class Coupled(Method):
    """Options of coupled-GRPO. An update has one rate t, drawn from low to high; an image's half is a random part t of
    its slots.

    views: "all" is the published code: a token's quantity is the mean of its log-probability under the fully masked
    image and q times that under its half, q = 1/t in the half and 1/(1 - t) outside; the clip acts on that quantity,
    where 0.5 is about 0.2 to 0.5 of a plain ratio. "pair" is the account usually given: the two halves alone, q = 1.
    advantage: "own" is reward - mean of the others.
    """

    title = "coupled-GRPO"
    look = ("#5B4FA2", "X")
    updates_per_rollout: Updates = 8
    low: Rate = 0.2
    high: Rate = 0.8
    views: Literal["all", "pair"] = "all"
    advantage: Advantage = "z"
    kl_ref: Literal["ref", "old"] = "ref"

    def __post_init__(self):
        super().__post_init__()
        fits = 0 < self.low <= self.high < 1
        require(fits, "coupled.low/high", (self.low, self.high), "0 < low <= high < 1 must hold")

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        return [self._update(group, generator) for _ in range(self.updates_per_rollout)]

    def _update(self, group: RolloutGroup, generator: torch.Generator) -> Update:
        import torch

        codes, image = group.codes, torch.arange(len(group.codes))[:, None]
        rate = self.low + (self.high - self.low) * float(uniform((1,), generator))
        half = uniform(codes.shape, generator) < rate
        contexts = torch.cat([codes.where(~half, HIDDEN), codes.where(half, HIDDEN)])
        row = torch.where(half, image, image + len(codes))
        share = rollout_mean(torch.ones_like(codes))
        advantage = own(self, group, leave_one_out=True)
        if self.views == "pair":
            return Update(contexts, row, share, torch.ones_like(share), advantage=advantage)
        empty = torch.full_like(codes[:1], HIDDEN)
        quantity = [torch.ones_like(share), half.double() / rate + (~half).double() / (1.0 - rate)]
        token = torch.arange(codes.numel()).reshape(codes.shape)
        return Update(
            torch.cat([empty, contexts]),
            torch.stack([torch.zeros_like(row), row + 1]),
            torch.stack([share, share]) / 2,
            torch.ones(2, *codes.shape, dtype=torch.float64),
            unit=torch.stack([token, token]),
            coef=torch.stack(quantity) / 2,
            advantage=advantage,
        )
