"""UniGRPO (the one of the MMaDA paper, arXiv 2505.15809): remasking at structured timesteps from one random start.

Its training code was never published. The algorithm box and the worked example of the paper disagree on the timesteps;
both are here. The equation bodies did not reach us, so the mean over masked tokens is our reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from htgrpo.interface import HIDDEN, NORMS, Method, RolloutGroup, Update, Updates, at_least_one, uniform

if TYPE_CHECKING:
    import torch

TIMESTEPS = 1000


@dataclass(frozen=True)
class Uni(Method):
    """Options of UniGRPO. spacing: "box" ends at ratio 1 (the empty context), "stride" wraps modulo T. ratio: "token",
    or "sequence" for one ratio per image, exp of the mean log-ratio over its masked tokens."""

    title = "UniGRPO"
    look = ("#CC79A7", "D")
    updates_per_rollout: Updates = 8
    spacing: Literal["box", "stride"] = "box"
    ratio: Literal["token", "sequence"] = "token"
    loss_norm: Literal["rollout_mean", "token_mean"] = "rollout_mean"
    kl_ref: Literal["ref", "old"] = "ref"

    def timesteps(self, start: int) -> list[int]:
        """The timesteps in 0..1000 of all updates, given the start in 0..999."""
        count = self.updates_per_rollout
        if self.spacing == "box":
            return [(n * (TIMESTEPS - start)) // max(1, count - 1) + start for n in range(count)]
        return [(start + n * TIMESTEPS // count) % TIMESTEPS for n in range(count)]

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        import torch

        start = int(uniform((1,), generator) * TIMESTEPS)
        row = torch.arange(len(group.codes))[:, None].expand_as(group.codes)
        weight = torch.ones_like(group.codes, dtype=torch.float64)
        unit = row if self.ratio == "sequence" else None
        updates = []
        for timestep in self.timesteps(start):
            draw = uniform(group.codes.shape, generator)
            mask = at_least_one(draw < timestep / TIMESTEPS, draw)
            contexts = torch.where(mask, HIDDEN, group.codes)
            updates.append(Update(contexts, row, NORMS[self.loss_norm](mask), weight, unit=unit))
        return updates
