"""GDSD (arXiv 2605.29398): as much a regression as a policy gradient: an image's log-ratio, stopped at a very small
distance on both sides, is pulled towards its advantage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from baselines.espo import Samples, sampled_halves
from baselines.own import Advantage, own
from htgrpo.base.values import Number
from htgrpo.interface import Method, RolloutGroup, Update, Updates

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class GDSD(Method):
    """Options of GDSD. The loss of an image's sample is (d / N - psi A)^2, d the half sum of its log-ratios under
    complementary halves, held within log(1 -+ eps). Within, that is a policy gradient; beyond, on either side, nothing.

    Images whose advantage is 0 are not silent once the weights have moved: their d is pulled back to 0. advantage:
    "own" is reward - mean of the others.
    """

    title = "GDSD"
    look = ("#882255", "p")
    updates_per_rollout: Updates = 8
    samples: Samples = 1
    eps: Annotated[float, Number(0, 1, open_low=True, open_high=True)] = 4e-4
    psi: Annotated[float, Number(0, 1e6)] = 1.0
    advantage: Advantage = "z"
    kl_ref: Literal["ref", "old"] = "ref"

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        return [self._update(group, generator) for _ in range(self.updates_per_rollout)]

    def _update(self, group: RolloutGroup, generator: torch.Generator) -> Update:
        import torch

        size, slots = group.codes.shape
        contexts, row, _ = sampled_halves(group.codes, self.samples, generator)
        share = torch.full(row.shape, 1.0 / (size * slots), dtype=torch.float64)
        return Update(
            contexts,
            row,
            share,
            torch.full_like(share, self.psi),
            kl_share=share / self.samples,
            unit=torch.arange(self.samples * size).reshape(self.samples, size, 1).expand_as(row),
            coef=torch.full_like(share, 1.0 / (2 * slots)),
            advantage=own(self, group, leave_one_out=True),
            objective="square",
            clip=((1.0 - self.eps) ** (1.0 / slots), (1.0 + self.eps) ** (1.0 / slots)),
        )
