"""HT-GRPO ("Sketch Then Paint", arXiv 2605.16842): tokens revealed first are structure, the rest refinement; stages of
updates visit all, then structure, then refinement; each token is judged under the fully masked image, so that one
forward serves the group.

Source: the paper's section 3 and appendices B and E. What it leaves open, and our choice, is said at each option.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from htgrpo.base.options import require
from htgrpo.base.values import Number, Whole
from htgrpo.interface import HIDDEN, NORMS, Method, RolloutGroup, Update, uniform

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Stage = Literal["global", "structure", "refinement"]
STAGES = get_args(Stage)

SHAPES = {
    "down": lambda p: 1.0 - p,  # the paper's choice everywhere
    "up": lambda p: p,  # its "0.5 to 1.0" ablation
    "cosine": lambda p: 0.5 * (1.0 + math.cos(math.pi * p)),  # ours
    "square": lambda p: (1.0 - p) ** 2,  # ours
}

Count = Annotated[int, Whole(0, 10_000)]
Rate = Annotated[float, Number(0, 1, open_low=True)]
Weight = Annotated[float, Number(0, 1000)]


@dataclass(frozen=True)
class HT(Method):
    """Options of HT-GRPO; triples are (global, structure, refinement) whatever the order of the stages.

    A constant schedule is gamma_max = gamma_min. `subset`: the paper does not say whether subsets have an exact size;
    exact makes rollout and token means coincide. `ties`: tokens revealed in one step have no order in the paper; raster
    order would make the top of the picture structural, so the default is the sampler's seeded shuffle. `context`
    "structure_revealed" shows refinement tokens the structure codes (ablation A5); structure tokens, on which the paper
    is silent, stay under the empty context. `credit`: "constant" is the paper's weights, "stage_mean" divides them by
    their mean over the update's support, "none" is 1.
    """

    title = "HT-GRPO"
    look = ("#0072B2", "o")
    draws = "ht"
    alpha: Annotated[float, Number(0, 1, open_low=True, open_high=True)] = 0.3
    stages: tuple[Count, Count, Count] = (2, 4, 2)
    order: tuple[Stage, Stage, Stage] = STAGES
    schedule: Literal["down", "up", "cosine", "square"] = "down"
    gamma_max: tuple[Rate, Rate, Rate] = (1.0, 1.0, 1.0)
    gamma_min: tuple[Rate, Rate, Rate] = (0.5, 0.5, 0.5)
    lambda_s: Weight = 1.5
    lambda_r: Weight = 0.5
    credit: Literal["constant", "stage_mean", "none"] = "constant"
    context: Literal["empty", "structure_revealed"] = "empty"
    subset: Literal["exact", "bernoulli"] = "exact"
    ties: Literal["shuffle", "raster"] = "shuffle"
    loss_norm: Literal["rollout_mean", "token_mean"] = "rollout_mean"
    kl_ref: Literal["ref", "old"] = "ref"

    def __post_init__(self):
        super().__post_init__()
        require(
            sum(self.stages) > 0,
            "ht.stages",
            self.stages,
            "it takes three counts of updates that are not all zero, such as 2:4:2",
        )
        require(
            sorted(self.order) == sorted(STAGES),
            "ht.order",
            self.order,
            f"it must name each of {', '.join(STAGES)} once",
        )
        for low, high in zip(self.gamma_min, self.gamma_max, strict=True):
            require(low <= high, "ht.gamma_min/gamma_max", (low, high), "0 < gamma_min <= gamma_max <= 1 must hold")

    def rates(self) -> list[tuple[str, float]]:
        """(stage, gamma) of every update in order; the defaults give the paper's 2 + 4 + 2 (section 3.3)."""
        rates: list[tuple[str, float]] = []
        for stage in self.order:
            index = STAGES.index(stage)
            count, low, high = self.stages[index], self.gamma_min[index], self.gamma_max[index]
            for k in range(count):
                shape = SHAPES[self.schedule](k / max(1, count - 1))
                rates.append((stage, low + (high - low) * (shape if count > 1 else 1.0)))
        return rates

    def fraction(self, group: RolloutGroup) -> float:
        """The part of an image's tokens that is structure."""
        return self.alpha

    def weights(self, group: RolloutGroup, structure: Tensor) -> Tensor:
        """float64 [G, N]: what a token's advantage is multiplied by, before `credit` changes it."""
        import torch

        return torch.where(structure, self.lambda_s, self.lambda_r).double()

    def structure(self, group: RolloutGroup) -> Tensor:
        """bool [G, N]: the floor(alpha N) tokens revealed first. Raises UserError when that is none of them."""
        part = self.fraction(group)
        count = math.floor(part * group.codes.shape[1])
        require(
            count > 0, "ht.alpha", part, f"no token is structure on {group.codes.shape[1]} slots; use a larger alpha"
        )
        rank = group.rank
        if self.ties == "raster":
            rank = group.reveal_step.argsort(dim=1, stable=True).argsort(dim=1) + 1
        return rank <= count

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        import torch

        structure = self.structure(group)
        members = {"global": torch.ones_like(structure), "structure": structure, "refinement": ~structure}
        contexts, row = self._contexts(group, structure)
        credit = self.weights(group, structure)
        updates = []
        for stage, gamma in self.rates():
            support = self._subset(members[stage], gamma, generator)
            weight = torch.ones_like(credit) if self.credit == "none" else credit
            if self.credit == "stage_mean":
                weight = credit / credit[support].mean().clamp_min(1e-12)
            updates.append(Update(contexts, row, NORMS[self.loss_norm](support), weight))
        return updates

    def _contexts(self, group: RolloutGroup, structure: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        empty = torch.full_like(group.codes[:1], HIDDEN)
        row = torch.zeros_like(group.codes)
        if self.context == "empty":
            return empty, row
        revealed = torch.where(structure, group.codes, HIDDEN)
        own = torch.arange(1, len(row) + 1)[:, None]
        return torch.cat([empty, revealed]), torch.where(structure, row, own)

    def _subset(self, members: Tensor, gamma: float, generator: torch.Generator) -> Tensor:
        """A fresh random part of `members` at rate gamma, drawn per image; never empty."""
        import torch

        score = torch.where(members, uniform(members.shape, generator), 2.0)
        order = score.argsort(dim=1).argsort(dim=1)
        if self.subset == "exact":
            return order < (gamma * members.sum(1, keepdim=True)).round().clamp_min(1)
        return members & ((score < gamma) | (order == 0))
