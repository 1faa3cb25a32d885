"""HT-GRPO whose grouping or credit follows the rollouts ("adaptive token grouping and dynamic credit assignment", the
paper's announced future work; all rules are ours).

Every variant changes which tokens are structure or what they weigh, and nothing else: contexts, stages, random draws and
cost stay HT-GRPO's, and at strength 0 the updates are its updates bit for bit. Nothing is remembered from one iteration
to the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from htgrpo.base.options import require
from htgrpo.base.values import Number
from htgrpo.ht import HT
from htgrpo.interface import RolloutGroup

if TYPE_CHECKING:
    from torch import Tensor

Strength = Annotated[float, Number(0, 1)]
EARLIEST, LATEST = 0.1, 0.5
"""Bounds of a prompt's part of structure tokens (the paper's ablation goes from 0.1 to 0.5)."""
OFFSET, CAP = 0.1, 3.0
"""Nats added to an entropy before it becomes credit, and how far a token's credit may be from the mean."""


@dataclass(frozen=True)
class Adaptive(HT):
    """fed: "other" applies the rule to another prompt's group of the same iteration (plain HT-GRPO where there is
    none): the control that a gain must beat to be one of adapting."""

    groups: ClassVar[tuple[str, ...]] = ("adaptive",)
    fed: Literal["own", "other"] = "own"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"entropy", "other"} if self.fed == "other" else {"entropy"})

    def source(self, group: RolloutGroup) -> RolloutGroup | None:
        """The group the rule looks at."""
        return group if self.fed == "own" else group.other


@dataclass(frozen=True)
class AdaptiveAlpha(Adaptive):
    """The part of structure tokens follows a prompt's entropy by rank.

    rule: "change_point" ends structure where the curve falls, if two levels explain it better than a line and at least
    half of it, and the first is the higher; else alpha stays. "mass" ends it where the first tokens hold 1 - (1 -
    alpha)^2 of all entropy, which is alpha on a line that falls to 0. strength: how far alpha goes there.
    """

    title = "HT-GRPO, adaptive grouping (ours)"
    look = ("#332288", "P")
    summary = "adaptive grouping (ours): HT-GRPO whose part of structure tokens follows each prompt's entropy by rank"
    rule: Literal["change_point", "mass"] = "change_point"
    strength: Strength = 1.0

    def fraction(self, group: RolloutGroup) -> float:
        source = self.source(group)
        if self.strength == 0.0 or source is None:
            return self.alpha
        curve = entropy_by_rank(source)
        found = change_point(curve) if self.rule == "change_point" else mass_point(curve, 1 - (1 - self.alpha) ** 2)
        if found is None:
            return self.alpha
        return self.alpha + self.strength * (found - self.alpha) + 1e-9  # n / N x N may fall just short of n

    def measures(self, group: RolloutGroup) -> dict[str, float]:
        """The part of structure tokens, and whether the curve had a change point."""
        source = self.source(group)
        accepted = source is not None and change_point(entropy_by_rank(source)) is not None
        return {"alpha": self.fraction(group), "change_point": float(accepted)}


@dataclass(frozen=True)
class AdaptiveCredit(Adaptive):
    """Credit follows the entropy a token was drawn with.

    tau: within structure and within refinement, credit is the entropy to this power, held within a factor 3 of the mean
    and averaging to the set's own weight. between: how far the two sets' weights go from HT-GRPO's to their entropies.
    The mean weight of all tokens stays the same.
    """

    title = "HT-GRPO, adaptive credit (ours)"
    look = ("#3F7FBF", "X")
    summary = "adaptive credit (ours): HT-GRPO whose credit follows the entropy a token was drawn with"
    tau: Annotated[float, Number(0, 10)] = 0.5
    between: Strength = 0.0

    def weights(self, group: RolloutGroup, structure: Tensor) -> Tensor:
        import torch

        plain, source = super().weights(group, structure), self.source(group)
        if (self.tau == 0.0 and self.between == 0.0) or source is None:
            return plain
        entropy = at_ranks(source, group).clamp_min(0.0) + OFFSET
        result, mean = torch.empty_like(plain), plain.mean()
        for part in (structure, ~structure):
            raised = torch.where(part, entropy**self.tau, 0.0)
            count = part.sum(1, keepdim=True)
            within = (raised / raised.sum(1, keepdim=True) * count).clamp(1.0 / CAP, CAP)
            within = within / (within * part).sum(1, keepdim=True) * count
            level = plain[part].mean()
            level = level + self.between * (mean * entropy[part].mean() / entropy.mean() - level)
            result = torch.where(part, level * within, result)
        return result


@dataclass(frozen=True)
class AdaptiveAgreement(Adaptive):
    """The contrast of structure and refinement follows which of them explains the rewards: whether images that agree in
    the codes of a set have like rewards. strength: 1 lets the contrast go from a third to three times HT-GRPO's e-fold.
    The mean weight of all tokens stays the same."""

    title = "HT-GRPO, credit by agreement (ours)"
    look = ("#5FA8D3", "*")
    summary = (
        "credit by agreement (ours): HT-GRPO whose contrast follows whether early or late codes explain the rewards"
    )
    strength: Strength = 1.0

    def __post_init__(self):
        super().__post_init__()
        require(
            self.lambda_r > 0 and self.lambda_s > 0,
            "lambda_s/lambda_r",
            (self.lambda_s, self.lambda_r),
            "both must be above 0",
        )

    def weights(self, group: RolloutGroup, structure: Tensor) -> Tensor:
        source = self.source(group)
        if self.strength == 0.0 or source is None:
            return super().weights(group, structure)
        part = float(structure.double().mean())
        contrast = self.lambda_s / self.lambda_r * math.exp(self.strength * self.lean(source))
        low = (part * self.lambda_s + (1 - part) * self.lambda_r) / (part * contrast + 1 - part)
        return structure.double() * (contrast - 1.0) * low + low

    def lean(self, group: RolloutGroup) -> float:
        """From -1 (refinement explains the rewards) to 1 (structure does)."""
        structure = self.structure(group)
        gap = explained(group.codes, structure, group.reward) - explained(group.codes, ~structure, group.reward)
        return math.tanh(gap / 0.2)

    def measures(self, group: RolloutGroup) -> dict[str, float]:
        """Which of the two sets explains the rewards."""
        source = self.source(group)
        return {"lean": 0.0 if source is None else self.lean(source)}


def entropy_by_rank(group: RolloutGroup) -> Tensor:
    """float64 [N]: mean over images of the entropy at each rank; slots revealed in one step of an image, which have no
    order among them, all count as their mean."""
    import torch

    assert group.entropy is not None  # it is among what the variants need
    curve = torch.zeros(group.codes.shape[1], dtype=torch.float64)
    for steps, entropy, rank in zip(group.reveal_step, group.entropy.double(), group.rank, strict=True):
        _, place, count = torch.unique(steps, return_inverse=True, return_counts=True)
        mean = torch.zeros(len(count), dtype=torch.float64).index_add(0, place, entropy) / count
        curve[rank - 1] += mean[place]
    return curve / len(group.codes)


def change_point(curve: Tensor) -> float | None:
    """The part of the curve [N] before its fall, in EARLIEST..LATEST, or None where it is no such curve."""
    import torch

    slots, spread = len(curve), float(curve.var(correction=0))
    if spread <= 1e-12 * float(curve.abs().max()) ** 2:
        return None
    rank = torch.arange(1, slots + 1, dtype=torch.float64)
    before = curve.cumsum(0) / rank
    after = (curve.sum() - curve.cumsum(0)) / (slots - rank).clamp_min(1)
    explained = rank * (slots - rank) / slots**2 * (before - after) ** 2
    first, last = math.ceil(EARLIEST * slots), math.floor(LATEST * slots)
    at = first + int(explained[first - 1 : last].argmax())
    line = float(((rank - rank.mean()) * (curve - curve.mean())).mean()) ** 2 / float(rank.var(correction=0)) / spread
    share = float(explained[at - 1]) / spread
    return at / slots if share >= 0.5 and share > line and before[at - 1] > after[at - 1] else None


def mass_point(curve: Tensor, part: float) -> float | None:
    """The first part of the curve [N] that holds `part` of its sum, in EARLIEST..LATEST; None where the sum is 0."""
    total = float(curve.sum())
    if total <= 0.0:
        return None
    at = int((curve.cumsum(0) < part * total - 1e-9).sum()) + 1
    return min(max(at, math.ceil(EARLIEST * len(curve))), math.floor(LATEST * len(curve))) / len(curve)


def at_ranks(source: RolloutGroup, group: RolloutGroup) -> Tensor:
    """float64 [G, N]: entropies of `source`, each at the slot of `group` that was revealed at the same rank."""
    import torch

    assert source.entropy is not None  # it is among what the variants need
    image = torch.arange(len(group.codes)) % len(source.codes)
    return source.entropy.double().gather(1, source.rank.argsort(1))[image].gather(1, group.rank - 1)


def explained(codes: Tensor, part: Tensor, reward: Tensor) -> float:
    """How much of the rewards' spread the other images predict, weighted by how many codes of `part` [G, N] they share,
    beyond what their plain mean predicts; 0 in the mean over permutations of the rewards, and for equal rewards."""
    import torch

    size, reward = len(codes), reward.double()
    around = reward - reward.mean()
    if size < 2 or bool((reward == reward[0]).all()):
        return 0.0
    both = part[:, None] & part[None]
    equal = ((codes[:, None] == codes[None]) & both).sum(2).double()
    kernel = equal / both.sum(2).clamp_min(1) + 1e-3
    kernel = kernel * (1.0 - torch.eye(size, dtype=torch.float64))
    weight = kernel / kernel.sum(1, keepdim=True) - (1.0 - torch.eye(size, dtype=torch.float64)) / (size - 1)
    return float(((weight @ reward) * around).sum() / (around**2).sum())
