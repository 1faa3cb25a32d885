"""The loss of a batch of entries: the negative of what a method maximises per unit, and the penalty.

A unit is the entries that share one L = sum of coef x log-probability; every entry stands for its unit with its own
share.
"""

import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from htgrpo.parallel.totals import Totals
from htgrpo.policies.policy import sent
from htgrpo.training.planning import Step
from htgrpo.training.tokens import LogProbs, Piece
from htgrpo.training.train_config import TrainConfig

LARGE = 80.0
"""Log-ratio in nats from which on a ratio no longer grows: its exponential still fits single precision, where an infinite
one, though clipped, would make gradients NaN."""


def loss(
    judged: LogProbs, work: list[Step], batch: list[Piece], config: TrainConfig, totals: Totals, unmoved: bool = False
) -> Tensor:
    """Sum over the batch's entries of -share x objective + beta kl_share kl (paper, eq. of section 3.1)."""
    found = surrogate(judged.log_prob, work, batch, totals, unmoved)
    return found if config.beta == 0.0 else found + config.beta * penalty(judged, work, batch, config, totals)


def surrogate(log_prob: Tensor, work: list[Step], batch: list[Piece], totals: Totals, unmoved: bool = False) -> Tensor:
    """Sum over the batch's entries, whose log-probabilities [M] are given, of -share x objective.

    unmoved: the weights are still those of the old log-probabilities, for which the new ones then stand: a product's
    rounding may depend on what it is computed together with, and a ratio that is 1 must be 1. How far apart the two are
    is counted."""
    device, dtype = log_prob.device, log_prob.dtype
    advantage, share = (_gather(name, work, batch, device).to(dtype) for name in ("advantage", "share"))
    first = work[batch[0].index]
    old = None if first.objective == "likelihood" else _gather("old", work, batch, device)
    support = share > 0
    if unmoved and old is not None:
        now = log_prob.detach()
        totals.raise_to(old_gap=((now - old).abs() * support).max())
        totals.add(clipped_first=_beyond(_pooled(now, old, share, work, batch), support, work, batch))
        old = now
    pooled = _pooled(log_prob, old, share, work, batch)
    totals.add(tokens=support.sum())
    if first.objective == "likelihood":
        loss = -(share * (advantage * pooled)).sum()
        totals.add(log_prob=_over(support, log_prob))
    elif first.objective == "square":
        low, high = _bounds(work, batch, device, dtype)
        inside = pooled.clamp(_log(low), _log(high))
        loss = (share * (inside - advantage) ** 2).sum()
        _count_ratios(totals, pooled.detach().exp(), support, inside != pooled)
    else:
        ratio = pooled.clamp(-LARGE, LARGE).exp()
        low, high = _bounds(work, batch, device, dtype)
        clipped = ratio.clamp(low, high)
        loss = -(share * torch.minimum(ratio * advantage, clipped * advantage)).sum()
        _count_ratios(totals, ratio.detach(), support, clipped * advantage < ratio * advantage)
    return loss


def penalty(judged: LogProbs, work: list[Step], batch: list[Piece], config: TrainConfig, totals: Totals) -> Tensor:
    """Sum over the batch's entries of kl_share kl."""
    log_prob = judged.log_prob
    gap = _gather("ref", work, batch, log_prob.device) - log_prob
    support = _gather("share", work, batch, log_prob.device) > 0
    kl = k3 = gap.exp() - gap - 1.0
    if config.kl == "exact":
        kl = _exact_kl(judged, work, batch)
        totals.add(kl_exact=_over(support, kl), kl_k3=_over(support, k3))
    totals.add(kl=_over(support, kl))
    return (_gather("kl_share", work, batch, log_prob.device).to(log_prob.dtype) * kl).sum()


def _gather(name: str, work: list[Step], batch: list[Piece], device: torch.device) -> Tensor:
    """A field of the batch's entries: [M]."""
    return torch.cat([getattr(work[p.index], name)[p.span] for p in batch]).to(device)


def _over(support: Tensor, values: Tensor) -> Tensor:
    """The sum over the support."""
    return torch.where(support, values.detach(), 0.0).sum()


def _count_ratios(totals: Totals, ratio: Tensor, support: Tensor, binds: Tensor) -> None:
    """Adds how many entries a clip holds, and their ratios."""
    totals.add(clipped=(support & binds).sum(), ratio=_over(support, ratio))
    totals.raise_to(ratio_max=ratio.max())


def _beyond(gap: Tensor, support: Tensor, work: list[Step], batch: list[Piece]) -> Tensor:
    """How many entries have a log-ratio outside the clip."""
    low, high = map(_log, _bounds(work, batch, gap.device, gap.dtype))
    return (support & ((gap < low) | (gap > high))).sum()


def _bounds(work: list[Step], batch: list[Piece], device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """The clip's bounds: two numbers, or two tensors [M] where groups differ in them."""
    clips = [work[p.index].clip for p in batch]
    if len(set(clips)) == 1:
        return clips[0]
    spans = [p.span.stop - p.span.start for p in batch]
    low, high = (
        torch.cat([torch.full((n,), clip[side], dtype=dtype) for n, clip in zip(spans, clips)]).to(device)
        for side in (0, 1)
    )
    return low, high


def _log(bound: Any) -> Any:
    if isinstance(bound, Tensor):
        return bound.log()
    return math.log(bound) if bound > 0.0 else -math.inf


def _pooled(log_prob: Tensor, old: Tensor | None, share: Tensor, work: list[Step], batch: list[Piece]) -> Tensor:
    """Of each entry's unit: L - L_old, or L where there is no old one."""
    steps = [work[p.index] for p in batch]
    gap = log_prob if old is None else log_prob - old
    if all(step.unit is None and step.coef is None and step.power is None for step in steps):
        return gap
    unit, count = _units(work, batch)
    unit, support = sent(unit, gap.device), (share > 0).to(gap.dtype)
    zero = torch.zeros(count, dtype=gap.dtype, device=gap.device)

    def given(name: str, default: Tensor) -> Tensor:
        offset, parts = 0, []
        for piece, step in zip(batch, steps):
            values, size = getattr(step, name), piece.span.stop - piece.span.start
            parts.append(default[offset : offset + size] if values is None else values[piece.span].to(default))
            offset += size
        return torch.cat(parts)

    coef = given("coef", support)
    averaged = torch.cat(
        [torch.full((p.span.stop - p.span.start,), float(s.coef is None)) for p, s in zip(batch, steps)]
    )
    size = zero.index_add(0, unit, support * averaged.to(support)).clamp_min(1.0)
    pooled = (zero.index_add(0, unit, gap * coef) / size)[unit]
    if all(step.power is None for step in steps):
        return pooled
    power = given("power", torch.zeros_like(support))
    raised = _raised(log_prob, coef / size[unit], power, unit, zero)
    if old is not None:
        raised = raised - _raised(old, coef / size[unit], power, unit, zero)
    return torch.where(power > 0, raised, pooled)


def _raised(log_prob: Tensor, coef: Tensor, power: Tensor, unit: Tensor, zero: Tensor) -> Tensor:
    """log(sum over the unit of coef x exp(b log_prob)) / b for every entry; of no meaning where b is 0 or the unit has
    no coefficient."""
    b = torch.where(power > 0, power, 1.0)
    term = torch.where(coef > 0, coef, 1.0).log() + b * log_prob
    highest = zero.scatter_reduce(0, unit, torch.where(coef > 0, term.detach(), -torch.inf), "amax", include_self=False)
    highest = torch.where(highest.isfinite(), highest, 0.0)
    total = zero.index_add(0, unit, torch.where(coef > 0, (term - highest[unit]).exp(), 0.0))
    return ((torch.where(total > 0, total, 1.0).log() + highest)[unit]) / b


def _units(work: list[Step], batch: list[Piece]) -> tuple[Tensor, int]:
    """int64 [M], each entry's unit numbered within the batch, and how many there are."""
    units, used = [], 0
    for piece in batch:
        unit = work[piece.index].unit
        count = piece.span.stop - piece.span.start
        local = np.arange(count) if unit is None else np.unique(unit[piece.span].numpy(), return_inverse=True)[1]
        units.append(torch.from_numpy(local) + used)
        used += int(local.max()) + 1
    return torch.cat(units), used


def _exact_kl(judged: LogProbs, work: list[Step], batch: list[Piece]) -> Tensor:
    """KL(pi || ref) over the codebook under every entry's context: [M]."""
    offset, reference = 0, []
    for piece in batch:
        step, count = work[piece.index], piece.span.stop - piece.span.start
        pairs, place = judged.pairs_of(slice(offset, offset + count))
        row = torch.empty(pairs.stop - pairs.start, dtype=torch.long)
        row[place] = cast(Tensor, step.ref_pair)[piece.span]
        reference.append(cast(Tensor, step.ref_table)[sent(row, judged.log_table.device)])
        offset += count
    gap = judged.log_table - torch.cat(reference).to(judged.log_table.dtype)
    return (judged.log_table.exp() * gap).sum(-1)[sent(judged.pair, judged.log_table.device)]
