"""One denoising step an update: EGSPO (arXiv 2603.12554) takes an image's steps of highest entropy; Mask-GRPO of Xing
et al. (arXiv 2510.13418; not MaskGRPO, arXiv 2510.02880) the first ones or a spread of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from baselines.own import Advantage, own
from htgrpo.base.values import Number
from htgrpo.interface import HIDDEN, Method, RolloutGroup, Update, Updates, rollout_mean

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Level = Literal["mean", "product"]
"""An image's ratio at a step: exp of the mean of its tokens' log-ratios, or the product of their ratios, which leaves
any clip range at once where a step reveals many tokens."""


def step_update(group: RolloutGroup, chosen: Tensor, level: Level, **fields) -> Update:
    """The update that judges every image's step `chosen` [G]: the tokens revealed at it, under the codes of all steps
    before, one ratio an image."""
    import torch

    support = group.reveal_step == chosen[:, None]
    contexts = torch.where(group.reveal_step < chosen[:, None], group.codes, HIDDEN)
    row = torch.arange(len(group.codes))[:, None].expand_as(group.codes)
    coef = support.double() if level == "product" else None
    share = rollout_mean(support)
    return Update(contexts, row, share, torch.ones_like(share), unit=row, coef=coef, **fields)


def in_turn(steps: Tensor, count: int) -> Tensor:
    """int64 [count]: `steps` in order, from the start again where there are fewer."""
    import torch

    return steps[torch.arange(count) % len(steps)]


@dataclass(frozen=True)
class EGSPO(Method):
    """Options of EGSPO without its rewards of steps (lambda = 0), which would need pictures of unfinished images.

    Update k judges each image's step of k-th highest mean entropy, as the guided rollout drew it (the published code:
    unguided); an image with fewer steps starts again. level: the published code's is the product. low, high: the clip,
    which is wider above. advantage: "own" is reward - mean.
    """

    title = "EGSPO"
    look = ("#B8860B", "d")
    summary = (
        "EGSPO (arXiv 2603.12554), without rewards of steps: one step an image and update, those of highest entropy"
    )
    updates_per_rollout: Updates = 8
    level: Level = "mean"
    low: Annotated[float, Number(0, 1, open_low=True)] = 0.2
    high: Annotated[float, Number(0, 1e6, open_low=True)] = 0.5
    advantage: Advantage = "z"
    kl_ref: Literal["ref", "old"] = "ref"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"entropy"})

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        import torch

        steps = torch.stack(
            [in_turn(self.by_entropy(group, g), self.updates_per_rollout) for g in range(len(group.codes))]
        )
        fields = {"advantage": own(self, group), "clip": (1.0 - self.low, 1.0 + self.high)}
        return [step_update(group, steps[:, k], self.level, **fields) for k in range(self.updates_per_rollout)]

    def by_entropy(self, group: RolloutGroup, image: int) -> Tensor:
        """An image's steps by the mean entropy of what they revealed, highest first; ties by time."""
        import torch

        assert group.entropy is not None  # it is among what this method needs
        steps, place, count = torch.unique(group.reveal_step[image], return_inverse=True, return_counts=True)
        mean = torch.zeros(len(steps), dtype=torch.float64).index_add(0, place, group.entropy[image].double()) / count
        return steps[(-mean).argsort(stable=True)]

    def measures(self, group: RolloutGroup) -> dict[str, float]:
        """Where the first chosen step lies: 0 the image's first, 1 its last."""
        places = []
        for g, steps in enumerate(group.reveal_step):
            distinct = steps.unique()
            first = int((distinct == self.by_entropy(group, g)[0]).nonzero())
            places.append(first / max(1, len(distinct) - 1))
        return {"first_step": sum(places) / len(places)}


@dataclass(frozen=True)
class Xing(Method):
    """Options of Mask-GRPO of Xing et al.: candidate 2 of its transition probabilities, which its published code
    computes under both names.

    Which steps its training visits is not published. visit: "first" takes an image's first K, "uniform" K spread evenly
    from its first to its last; an image with fewer starts again. A product over many tokens leaves the clip range at
    once; level "mean" does not. The clip is its own, 0.9 to 1.2.
    """

    title = "Mask-GRPO (Xing et al.)"
    look = ("#EE6677", "8")
    summary = "Mask-GRPO of Xing et al. (arXiv 2510.13418; `mask` is another one): one step an image and update"
    updates_per_rollout: Updates = 8
    visit: Literal["first", "uniform"] = "first"
    level: Level = "product"
    kl_ref: Literal["ref", "old"] = "ref"

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        import torch

        steps = torch.stack([self.chosen(image.unique()) for image in group.reveal_step])
        return [step_update(group, steps[:, k], self.level, clip=(0.9, 1.2)) for k in range(self.updates_per_rollout)]

    def chosen(self, distinct: Tensor) -> Tensor:
        """int64 [K]: which of an image's steps the updates judge, in order."""
        import torch

        count = self.updates_per_rollout
        if self.visit == "uniform" and 1 < count <= len(distinct):
            return distinct[torch.arange(count) * (len(distinct) - 1) // (count - 1)]
        return in_turn(distinct, count)
