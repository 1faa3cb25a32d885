"""diffu-GRPO (d1, arXiv 2504.12216) without its prompt noise: every token under the fully masked image, one ratio a
token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from baselines.own import Advantage, own
from htgrpo.interface import HIDDEN, Method, RolloutGroup, Update, Updates, rollout_mean

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class D1(Method):
    """Options of diffu-GRPO. Its published code also hides each token of the prompt with probability 0.15; that would
    hide the words a picture is scored by, so it is left out. What is left is HT-GRPO's global stage at weight 1.
    advantage: "own" is reward - mean."""

    title = "diffu-GRPO (d1), no prompt noise"
    look = ("#C98A00", "v")
    updates_per_rollout: Updates = 8
    advantage: Advantage = "z"
    kl_ref: Literal["ref", "old"] = "ref"

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        import torch

        everything = torch.ones_like(group.codes, dtype=torch.float64)
        contexts, row = torch.full_like(group.codes[:1], HIDDEN), torch.zeros_like(group.codes)
        update = Update(contexts, row, rollout_mean(everything), everything, advantage=own(self, group))
        return [update] * self.updates_per_rollout
