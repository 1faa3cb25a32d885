"""The loss of a batch of entries: what a method maximises per unit, and the penalty.

A unit is the entries that share one L = sum of coef x log-probability; every entry stands for its unit with its own
share.
"""

import math
from typing import Any, cast

import torch
from torch import Tensor

from htgrpo.parallel.totals import Totals
from htgrpo.training.planning import Step
from htgrpo.training.tokens import LogProbs, Piece
from htgrpo.training.train_config import TrainConfig


def loss(judged: LogProbs, work: list[Step], batch: list[Piece], config: TrainConfig, totals: Totals) -> Tensor:
    """Sum over the batch's entries of -share x objective + beta kl_share kl (paper, eq. of section 3.1)."""
    device, dtype = judged.log_prob.device, judged.log_prob.dtype

    def gather(name: str) -> Tensor:
        return torch.cat([getattr(work[p.index], name)[p.span] for p in batch]).to(device)

    advantage, share = gather("advantage").to(dtype), gather("share").to(dtype)
    first = work[batch[0].index]
    old = None if first.objective == "likelihood" else gather("old")
    pooled = _pooled(judged.log_prob, old, share, work, batch)
    support = share > 0
    totals.add(tokens=float(support.sum()))
    if first.objective == "likelihood":
        loss = -(share * (advantage * pooled)).sum()
        totals.add(log_prob=float(judged.log_prob.detach()[support].sum()))
    elif first.objective == "square":
        low, high = _bounds(work, batch, device, dtype)
        inside = pooled.clamp(_log(low), _log(high))
        loss = (share * (inside - advantage) ** 2).sum()
        _count_ratios(totals, pooled.detach().exp(), support, inside != pooled)
    else:
        ratio = pooled.exp()
        low, high = _bounds(work, batch, device, dtype)
        clipped = ratio.clamp(low, high)
        loss = -(share * torch.minimum(ratio * advantage, clipped * advantage)).sum()
        _count_ratios(totals, ratio.detach(), support, clipped * advantage < ratio * advantage)
    if config.beta == 0.0:
        return loss
    gap = gather("ref") - judged.log_prob
    kl = k3 = gap.exp() - gap - 1.0
    if config.kl == "exact":
        kl = _exact_kl(judged, work, batch)
        totals.add(kl_exact=float(kl.detach()[support].sum()), kl_k3=float(k3.detach()[support].sum()))
    totals.add(kl=float(kl.detach()[support].sum()))
    return loss + config.beta * (gather("kl_share").to(dtype) * kl).sum()


def _count_ratios(totals: Totals, ratio: Tensor, support: Tensor, binds: Tensor) -> None:
    """Adds how many entries a clip holds, and their ratios."""
    totals.add(clipped=float((support & binds).sum()), ratio=float(ratio[support].sum()))
    totals.sums["ratio_max"] = max(totals.sums.get("ratio_max", 0.0), float(ratio.max()))


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
    unit, support = unit.to(gap.device), (share > 0).to(gap.dtype)
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
        local = torch.arange(count) if unit is None else torch.unique(unit[piece.span], return_inverse=True)[1]
        units.append(local + used)
        used += int(local.max()) + 1
    return torch.cat(units), used


def _exact_kl(judged: LogProbs, work: list[Step], batch: list[Piece]) -> Tensor:
    """KL(pi || ref) over the codebook under every entry's context: [M]."""
    rows = torch.cat([cast(Tensor, work[p.index].ref_pair)[p.span] for p in batch])
    example = torch.zeros(len(judged.log_table), dtype=torch.long, device=judged.pair.device)
    example[judged.pair] = torch.arange(len(rows), device=judged.pair.device)
    owner = torch.cat([torch.full((p.span.stop - p.span.start,), p.index) for p in batch]).to(example.device)
    reference = torch.empty_like(judged.log_table)
    for index in {p.index for p in batch}:
        mine = owner[example] == index
        reference[mine] = cast(Tensor, work[index].ref_table)[rows[example[mine]]].to(reference.dtype)
    return (judged.log_table.exp() * (judged.log_table - reference)).sum(-1)[judged.pair]
