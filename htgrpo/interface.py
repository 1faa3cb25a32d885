"""The shared interface: a method turns one group of rollouts into K updates, and says nothing about models or
optimisers.

The paper's appendix B observes that policy-gradient methods for masked image tokens differ in three choices only: the
context a token is judged under, the support that receives gradient, and the weight of a token. `Update` is that,
literally.

Shapes: G images of one prompt (a group), N image slots in raster order, U context rows, T denoising steps; V views,
where a token is judged under several contexts at once.

This module, like every method's own, imports torch only where it computes, so that options are checked without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from htgrpo.base.options import check
from htgrpo.base.values import Whole

if TYPE_CHECKING:
    import torch
    from torch import Tensor

HIDDEN = -1
"""The code of a slot the policy does not see."""


@dataclass(frozen=True)
class RolloutGroup:
    """G images sampled for one prompt, and what is known about them.

    prompt: token ids of the prompt, everything that stands before the image block.  grid: (rows, columns), N = rows x
    columns. codes: int64 [G, N], 0..codebook-1.  reveal_step: int64 [G, N], 0-based denoising step at which a slot left
    the mask for good. rank: int64 [G, N], a permutation of 1..N per image, 1 = revealed first.  reward: float [G], NaN
    where it failed. entropy: float [G, N] in nats, of the guided distribution a code was drawn from, or None where it
    was not recorded. other: another prompt's group of the same iteration, or None where there is none or nobody asked.
    predicted: int64 [G, T, N], the code drawn at every slot that was hidden at a step (the code that
    stayed, from then on; HIDDEN before anything was drawn), or None where nobody asked for it. ddof, delta: how
    advantages are normalised (see `advantages`).
    """

    prompt: tuple[int, ...]
    grid: tuple[int, int]
    codes: Tensor
    reveal_step: Tensor
    rank: Tensor
    reward: Tensor
    entropy: Tensor | None = None
    predicted: Tensor | None = None
    other: RolloutGroup | None = None
    ddof: int = 1
    delta: float = 1e-5

    @property
    def valid(self) -> Tensor:
        """bool [G]: images with a finite reward."""
        import torch

        return torch.isfinite(self.reward)

    def kept(self) -> RolloutGroup:
        """The group without its invalid images."""
        keep, of_images = self.valid, ("codes", "reveal_step", "rank", "reward", "entropy", "predicted")
        known = {name: getattr(self, name) for name in of_images}
        return replace(self, **{name: value[keep] for name, value in known.items() if value is not None})

    def advantage(self) -> Tensor:
        """float64 [G]: see `advantages`."""
        return advantages(self.reward, self.ddof, self.delta)


def advantages(reward: Tensor, ddof: int = 1, delta: float = 1e-5) -> Tensor:
    """float64 [G]: (reward - mean) / (std + delta) over a group's rewards (GRPO), at least two, all finite.

    Where all rewards are equal the advantages are exactly zero: a mean of equal numbers may differ from them by
    rounding, and delta would blow that rounding up into a signal.
    """
    import torch

    reward = reward.double()
    if torch.equal(reward, reward[:1].expand_as(reward)):
        return torch.zeros_like(reward)
    return (reward - reward.mean()) / (reward.std(correction=ddof) + delta)


def centred(reward: Tensor, leave_one_out: bool = False) -> Tensor:
    """float64 [G]: reward - mean, or reward - mean of the others, which is G / (G - 1) times as much. Exactly zero
    where all rewards are equal, and for a single image."""
    import torch

    reward = reward.double()
    if torch.equal(reward, reward[:1].expand_as(reward)):
        return torch.zeros_like(reward)
    return (reward - reward.mean()) * (len(reward) / (len(reward) - 1) if leave_one_out else 1.0)


Objective = Literal["ratio", "likelihood", "square"]


@dataclass(frozen=True)
class Update:
    """One inner-loop gradient step on one group. An entry is one token under one context: shapes are [G, N], or
    [V, G, N] for all fields alike where a token has V entries.

    contexts:  int64 [U, N], image codes shown to the policy, HIDDEN where nothing is shown.
    row:       int64 [G, N], which context row judges token (g, i).
    share:     float [G, N] >= 0, the entry's absolute part of the group's loss; support = share > 0. It carries every
               normalisation, the engine never normalises again.
    weight:    float [G, N], multiplies the advantage only.
    kl_share:  float [G, N] >= 0, the entry's part of the KL penalty; default `share`.
    unit:      int64 [G, N] or None. Supported entries of one unit share one L = sum of coef x log-probability; default:
               every entry alone.
    coef:      float [G, N] or None, 0 where share is 0; default 1 / supported entries of the unit (their mean).
    power:     float [G, N], equal in a unit, or None: where b > 0, L = log(sum of coef x exp(b log-probability)) / b.
    advantage: float, broadcast to share's shape; default the group's z-scores (`RolloutGroup.advantage`).
    objective: what is maximised per unit, one for all updates of a method, with A = advantage x weight and s = L - L
               before the weights moved. "ratio": min(r A, clip(r) A) of r = exp(s); "likelihood": A L; "square":
               -(clip(s) - A)^2.
    clip:      bounds of r (of exp(s) for "square"), the upper one may be inf; default 1 -+ the configured clip.
    """

    contexts: Tensor
    row: Tensor
    share: Tensor
    weight: Tensor
    kl_share: Tensor | None = None
    unit: Tensor | None = None
    coef: Tensor | None = None
    power: Tensor | None = None
    advantage: Tensor | None = None
    objective: Objective = "ratio"
    clip: tuple[float, float] | None = None


Updates = Annotated[int, Whole(1, 10_000)]
"""How many updates a group is given."""


class Method(ABC):
    """A policy-gradient method. Subclasses are dataclasses whose fields are the method's options.

    kl_ref: "ref" penalises the distance to the policy training started from, "old" to the policy of the rollouts
    (TraceRL). rewarded: whether it samples rollouts and asks the rewards at all; without, none is loaded. title: what
    it is called in words. summary: a line on it with its source; default what its module says of itself. groups: names
    that stand for it and its like wherever methods are named. draws: methods of the same name here draw the same random
    numbers; default a method's own. look: the colour ("#0072B2") and the marker (matplotlib's letter) of it in every
    figure; without, a figure takes the next free ones.
    """

    kl_ref: str = "ref"
    rewarded: bool = True
    title: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    groups: ClassVar[tuple[str, ...]] = ("literature",)
    draws: ClassVar[str] = ""
    look: ClassVar[tuple[str, str] | None] = None

    @property
    def needs(self) -> frozenset[str]:
        """Which optional fields of RolloutGroup the rollouts must record: of "entropy", "predicted" and "other"."""
        return frozenset()

    def measures(self, group: RolloutGroup) -> dict[str, float]:
        """Numbers of a group that are worth logging, by name; their means over groups are logged as method/NAME."""
        return {}

    @property
    def forwards(self) -> int:
        """Forwards of an iteration without rollouts, a training forward thrice; 0 where rollouts say what it takes."""
        return 0

    def __post_init__(self):
        check(self, f"{type(self).__name__.lower()}.")

    @abstractmethod
    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        """All K updates of one group, drawn before the first optimiser step. K must not depend on the group."""

    def learner(self, setup):
        """What turns one iteration into optimiser steps. None, for all but methods without rollouts: the trainer's
        GroupLearner, which samples rollouts and runs `updates`."""
        return None


def rollout_mean(mask: Tensor) -> Tensor:
    """float64 [G, N]: shares 1 / (G |M_g|), every image counts equally. Rows of `mask` must not be empty."""
    mask = mask.double()
    return mask / mask.sum(1, keepdim=True) / mask.shape[0]


def token_mean(mask: Tensor) -> Tensor:
    """float64 [G, N]: shares 1 / sum|M_g|, every token counts equally. `mask` may hold counts (MaskGRPO's summed
    masks)."""
    mask = mask.double()
    return mask / mask.sum()


NORMS = {"rollout_mean": rollout_mean, "token_mean": token_mean}


def uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """float64 uniforms in [0, 1) from the passed generator."""
    import torch

    return torch.rand(shape, generator=generator, dtype=torch.float64)


def at_least_one(mask: Tensor, score: Tensor) -> Tensor:
    """`mask` [.., N] with the slot of smallest `score` added to rows that are empty, so that no mean is over
    nothing."""
    import torch

    lowest = torch.zeros_like(mask).scatter_(-1, score.argmin(-1, keepdim=True), True)
    return torch.where(mask.any(-1, keepdim=True), mask, lowest)
