"""ESPO (arXiv 2512.03759): one ratio an image, of an unbiased estimate of its any-order likelihood from complementary
halves of random size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from baselines.own import Advantage, own
from htgrpo.base.values import Whole
from htgrpo.interface import HIDDEN, Method, RolloutGroup, Update, Updates, uniform

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Samples = Annotated[int, Whole(1, 64)]


def stratified_halves(codes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """One sample of halves for every image: contexts int64 [2 G, N] with the half or its complement hidden, the row
    [G, N] that hides a token, and the number of slots [G, N] hidden with it. Sizes of halves are spread evenly over
    0..N within the group, from one random start."""
    import torch

    size, slots = codes.shape
    start = int(uniform((1,), generator) * (slots + 1))
    step = torch.tensor([round(g * (slots + 1) / size) for g in range(size)])
    count = ((start + step) % (slots + 1))[:, None]
    half = uniform(codes.shape, generator).argsort(1).argsort(1) < count
    image = torch.arange(size)[:, None]
    contexts = torch.cat([codes.where(~half, HIDDEN), codes.where(half, HIDDEN)])
    return contexts, torch.where(half, image, image + size), torch.where(half, count, slots - count)


def sampled_halves(codes: Tensor, samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """As `stratified_halves` for several samples: contexts [2 m G, N], row and hidden [m, G, N]."""
    import torch

    drawn = [stratified_halves(codes, generator) for _ in range(samples)]
    contexts, rows, hidden = zip(*drawn, strict=True)
    first = 2 * len(codes) * torch.arange(samples)[:, None, None]
    return torch.cat(contexts), torch.stack(rows) + first, torch.stack(hidden)


@dataclass(frozen=True)
class ESPO(Method):
    """Options of ESPO. samples: pairs of halves an update draws for each image. advantage: "own" is reward - mean of
    the others. Its published code penalises half the square of an image's summed log-ratio; here the penalty is per
    token, as for all methods, so that its beta is not comparable. A half that holds all slots counts one half like any
    other: doubling it would bias the estimate."""

    title = "ESPO"
    look = ("#56B4E9", "P")
    updates_per_rollout: Updates = 8
    samples: Samples = 1
    advantage: Advantage = "z"
    kl_ref: Literal["ref", "old"] = "ref"

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        return [self._update(group, generator) for _ in range(self.updates_per_rollout)]

    def _update(self, group: RolloutGroup, generator: torch.Generator) -> Update:
        import torch

        size, slots = group.codes.shape
        contexts, row, hidden = sampled_halves(group.codes, self.samples, generator)
        share = torch.full(row.shape, 1.0 / row.numel(), dtype=torch.float64)
        return Update(
            contexts,
            row,
            share,
            torch.ones_like(share),
            unit=torch.arange(size)[:, None].expand_as(row),
            coef=(slots + 1) / (2.0 * self.samples * slots * hidden.double()),
            advantage=own(self, group, leave_one_out=True),
        )
