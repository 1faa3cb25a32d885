"""TraceGRPO: TraceRL (arXiv 2509.06949) carried to images. A token is judged under what the rollout had revealed before
it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from baselines.own import Advantage, own
from htgrpo.base.options import require
from htgrpo.base.values import Whole
from htgrpo.interface import HIDDEN, Method, RolloutGroup, Update, Updates

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Trace(Method):
    """Options of TraceGRPO.

    shrink: this many consecutive reveal steps form one trace group, judged under what was revealed before the group.
    segments: where not 0, the steps are cut into so many segments of equal length instead, each a trace group. norm:
    "token" gives every token 1/(G N), HT-GRPO's reading of this family; "group" gives every trace group the same part,
    as the published code does; "step" every denoising step, over all images. visit: "every" judges all trace groups at
    each of the K updates, as HT-GRPO's text describes; "once" spreads the (image, trace group) rows over the K updates,
    as TraceRL visits each row once.
    kl_norm: "share" follows the policy term; "sum" is the published code's sum over tokens divided by rows only.
    """

    title = "TraceGRPO"
    look = ("#009E73", "^")
    updates_per_rollout: Updates = 8
    shrink: Annotated[int, Whole(1, 100_000)] = 1
    segments: Annotated[int, Whole(0, 100_000)] = 0
    norm: Literal["token", "group", "step"] = "token"
    visit: Literal["every", "once"] = "every"
    kl_norm: Literal["share", "sum"] = "share"
    kl_ref: Literal["ref", "old"] = "ref"

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        import torch

        trace = self.trace_groups(group.reveal_step)
        contexts, row = _rows(group.codes, trace)
        count = self.updates_per_rollout
        if self.visit == "every":
            return [self._update(contexts, row, torch.ones_like(row, dtype=torch.bool), group.reveal_step)] * count
        parts = torch.randperm(len(contexts), generator=generator).tensor_split(count)
        require(
            len(contexts) >= count,
            "trace.updates_per_rollout",
            count,
            f"the rollouts have only {len(contexts)} trace rows to spread over them; use fewer updates or a smaller shrink",
        )
        return [self._update(contexts, row, torch.isin(row, part), group.reveal_step) for part in parts]

    def trace_groups(self, reveal_step: Tensor) -> Tensor:
        """int64 [G, N]: 0-based trace group of every token; the s-th block of `shrink` distinct steps of an image is
        group s; with segments the s-th that reveals something."""
        import torch

        if self.segments:
            length = int(reveal_step.max()) + 1
            cuts = torch.tensor([j * length // self.segments for j in range(1, self.segments)], dtype=torch.long)
            segment = torch.searchsorted(cuts, reveal_step, right=True)
            return torch.stack([torch.unique(image, return_inverse=True)[1] for image in segment])
        groups = torch.empty_like(reveal_step)
        for index, steps in enumerate(reveal_step):
            groups[index] = torch.unique(steps, return_inverse=True)[1] // self.shrink
        return groups

    def _update(self, contexts: Tensor, row: Tensor, mask: Tensor, step: Tensor) -> Update:
        import torch

        rows = len(torch.unique(row[mask]))
        if self.norm == "token":
            share = mask.double() / mask.sum()
        elif self.norm == "group":
            share = mask.double() / torch.bincount(row.flatten(), minlength=len(contexts))[row] / rows
        else:
            share = mask.double() / torch.bincount(step[mask], minlength=int(step.max()) + 1)[step].clamp_min(1)
            share = share / len(torch.unique(step[mask]))
        kl_share = None if self.kl_norm == "share" else mask.double() / rows
        return Update(contexts, row, share, torch.ones_like(share), kl_share)


@dataclass(frozen=True)
class TraceOnce(Trace):
    """TraceGRPO, each row once: TraceRL's own visit, a K-th of what `every` costs in training steps."""

    title = "TraceGRPO, each row once"
    look = ("#3FA69A", "v")
    summary = "TraceRL (arXiv 2509.06949) on images, each row once: a token is judged under what was revealed before it"
    visit: Literal["every", "once"] = "once"


@dataclass(frozen=True)
class D2(Trace):
    """StepMerge of d2 (arXiv 2509.21474), without its prompt noise: the steps are merged into segments, each judged
    under what was revealed before it. advantage: "own" is reward - mean."""

    title = "d2-StepMerge, no prompt noise"
    look = ("#117733", "<")
    summary = (
        "d2-StepMerge (arXiv 2509.21474): the denoising steps merged into segments, each judged under what was revealed "
        "before it"
    )
    segments: Annotated[int, Whole(0, 100_000)] = 4
    advantage: Advantage = "z"

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        return [replace(update, advantage=own(self, group)) for update in super().updates(group, generator)]


@dataclass(frozen=True)
class CJ(D2):
    """CJ-GRPO (arXiv 2509.23924): every denoising step at every update, each step the same part. Its samplers are for
    text. advantage: "own" is reward - mean."""

    title = "CJ-GRPO"
    look = ("#7F8F1F", ">")
    summary = (
        "CJ-GRPO (arXiv 2509.23924): every denoising step judged under what was revealed before it, each step the same "
        "part"
    )
    segments: Annotated[int, Whole(0, 100_000)] = 0
    norm: Literal["token", "group", "step"] = "step"


def _rows(codes: Tensor, trace: Tensor) -> tuple[Tensor, Tensor]:
    """One context row per (image, trace group): contexts int64 [rows, N] and row int64 [G, N]."""
    import torch

    contexts, row, used = [], torch.empty_like(codes), 0
    for g, (image, group) in enumerate(zip(codes, trace, strict=True)):
        for value in range(int(group.max()) + 1):
            contexts.append(torch.where(group < value, image, HIDDEN))
        row[g] = group + used
        used += int(group.max()) + 1
    return torch.stack(contexts), row
