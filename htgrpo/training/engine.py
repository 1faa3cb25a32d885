"""The one policy-gradient engine. It knows groups and updates, and nothing of any method.

Order of work in an iteration: draw every update of every group; evaluate old and reference log-probabilities on the
union of their distinct contexts, before the weights move; then K optimiser steps, step k taking update k of every
group.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from htgrpo.base.options import require
from htgrpo.interface import Method, RolloutGroup, Update
from htgrpo.parallel.ranks import ALONE, Ranks
from htgrpo.parallel.totals import Totals
from htgrpo.policies.llada import Network
from htgrpo.policies.policy import Policy
from htgrpo.training.tokens import LogProbs, Piece, Tokens, batches, judge, sort_tokens
from htgrpo.training.train_config import TrainConfig

SAME_NUMBER = "a method must give every group the same number, at least 1"


@dataclass
class Step:
    """One group's part of one optimiser step: tokens, and per token (M): advantage x weight, share, KL share, unit or
    None, old and reference log-probabilities; for the exact KL the reference's table and each token's row in it."""

    tokens: Tokens
    advantage: Tensor
    share: Tensor
    kl_share: Tensor
    unit: Tensor | None
    old: Tensor
    ref: Tensor | None
    ref_table: Tensor | None
    ref_pair: Tensor | None


class Engine:
    """Runs methods' updates on a policy. `reference` is called as the network is, with the weights before training
    (None when beta is 0). config: the objective and how it is computed. Several `ranks` run it together, each with
    groups of its own or none."""

    def __init__(self, policy: Policy, reference: Network | None, config: TrainConfig, ranks: Ranks = ALONE):
        self.policy, self.reference, self.config, self.ranks = policy, reference, config, ranks

    def run(
        self,
        groups: list[RolloutGroup],
        method: Method,
        generators: list[torch.Generator],
        optimiser_step: Callable[[], float],
        total_groups: int | None = None,
        places: list[int] | None = None,
    ) -> Totals:
        """All K updates of `groups`, and the totals of all ranks. `optimiser_step` applies the accumulated gradients,
        clears them and returns their norm. The loss is a mean over the `total_groups` of all ranks, among which these
        have the `places` (default: there are no others)."""
        totals, total = Totals(), total_groups or len(groups)
        steps = self.plan(groups, method, generators, totals, total, places)
        for k in range(self._updates(len(steps))):
            started = time.perf_counter()
            self.accumulate(steps[k] if steps else [], total, totals)
            totals.add(grad_norm=optimiser_step(), steps=1.0)
            totals.seconds["update"] += time.perf_counter() - started
        return totals.of_all(self.ranks)

    def _updates(self, own: int) -> int:
        """K, which a rank without groups learns from the others."""
        counts = {count for count in self.ranks.gather(own) if count}
        require(len(counts) < 2, "the number of updates per group", sorted(counts), SAME_NUMBER)
        return max(counts, default=0)

    def plan(
        self,
        groups: list[RolloutGroup],
        method: Method,
        generators: list[torch.Generator],
        totals: Totals,
        total_groups: int | None = None,
        places: list[int] | None = None,
    ) -> list[list[Step]]:
        """The steps of every update, old and reference evaluated at the weights as they are now; none without
        groups."""
        drawn = [method.updates(group, g) for group, g in zip(groups, generators, strict=True)]
        if drawn:
            _check(drawn)
        if self.config.interleave:
            n, own = total_groups or len(drawn), places or list(range(len(drawn)))
            drawn = [[u[(k * n + p) % len(u)] for k in range(len(u))] for p, u in zip(own, drawn, strict=True)]
        plans = [self._plan_group(group, updates) for group, updates in zip(groups, drawn, strict=True)]
        unions = [union for union, _ in plans]
        once, trained = (
            map(sum, zip(*(_unshared(group_updates) for group_updates in drawn), strict=True)) if drawn else (0, 0)
        )
        started = time.perf_counter()
        old, _, _ = self._evaluate(self.policy.net, unions, totals, "old")
        totals.seconds["old"] += time.perf_counter() - started
        totals.add(unshared=3 * trained + once)
        ref: list[Tensor] | None = None if self.config.beta == 0.0 else old
        tables = pairs = None
        if ref is not None and (method.kl_ref == "ref" or self.config.kl == "exact"):
            started = time.perf_counter()
            net: Network = self.policy.net
            if method.kl_ref == "ref":
                assert self.reference is not None  # beta is above 0
                net = self.reference
            ref, tables, pairs = self._evaluate(net, unions, totals, "ref", tables=self.config.kl == "exact")
            totals.add(unshared=once)
            totals.seconds["ref"] += time.perf_counter() - started
        steps: list[list[Step]] = [[] for _ in (drawn[0] if drawn else [])]
        for index, (_, parts) in enumerate(plans):
            for k, part in enumerate(parts):
                where = part.pop("where")
                steps[k].append(
                    Step(
                        **part,
                        old=old[index][where],
                        ref=None if ref is None else ref[index][where],
                        ref_table=None if tables is None else tables[index],
                        ref_pair=None if pairs is None else pairs[index][where],
                    )
                )
        return steps

    def _plan_group(self, group: RolloutGroup, updates: list[Update]) -> tuple[Tokens, list[dict]]:
        """The union of a group's contexts with all tokens, and per update the fields of Step without
        log-probabilities."""
        advantage = group.advantage(self.config.ddof, self.config.delta)
        parts, keys, slots, codes = [], [], [], []
        for k, update in enumerate(updates):
            kl_share = update.share if update.kl_share is None else update.kl_share
            image, slot = judged_tokens(update)
            row = update.row[image, slot]
            contexts, row = self._distinct(update.contexts, row, image)
            code = group.codes[image, slot]
            unit = None if update.unit is None else update.unit[image, slot]
            tokens, order = sort_tokens(group, contexts, row, slot, code, unit)
            image = image[order]
            keys.append((contexts, row[order], image, k))
            slots.append(tokens.slot)
            codes.append(tokens.code)
            parts.append(
                {
                    "tokens": tokens,
                    "unit": None if unit is None else unit[order],
                    "advantage": advantage[image] * update.weight[image, tokens.slot],
                    "share": update.share[image, tokens.slot],
                    "kl_share": kl_share[image, tokens.slot],
                }
            )
        contexts, row = self._union(keys)
        union, order = sort_tokens(group, contexts, row, torch.cat(slots), torch.cat(codes))
        position = order.argsort()
        for part, where in zip(parts, position.split([len(s) for s in slots]), strict=True):
            part["where"] = where
        return union, parts

    def _distinct(self, contexts: Tensor, row: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Distinct contexts that carry loss, and each token's row among them, as far as `dedup` lets contexts be
        shared."""
        used, row = torch.unique(row, return_inverse=True)
        contexts = contexts[used]
        if self.config.dedup == "all":
            contexts, back = torch.unique(contexts, dim=0, return_inverse=True)
            return contexts, back[row]
        pairs, row = torch.unique(torch.stack([row, image], 1), dim=0, return_inverse=True)
        return contexts[pairs[:, 0]], row

    def _union(self, keys: list[tuple[Tensor, Tensor, Tensor, int]]) -> tuple[Tensor, Tensor]:
        """Distinct contexts over all updates and each token's row among them."""
        marked, rows, used = [], [], 0
        for contexts, row, image, k in keys:
            owner = torch.zeros(len(contexts), 2, dtype=torch.long)
            if self.config.dedup != "all":
                owner[row, 0] = image
            if self.config.dedup == "none":
                owner[:, 1] = k
            marked.append(torch.cat([owner, contexts], dim=1))
            rows.append(row + used)
            used += len(contexts)
        distinct, back = torch.unique(torch.cat(marked), dim=0, return_inverse=True)
        return distinct[:, 2:].contiguous(), back[torch.cat(rows)]

    @torch.no_grad()
    def _evaluate(
        self, net: Network, unions: list[Tokens], totals: Totals, phase: str, tables: bool = False
    ) -> tuple[list[Tensor], list | None, list | None]:
        """Log-probabilities [M] of every union's tokens; with `tables` also all codes' at the distinct pairs, per
        union."""
        log_probs: list[list[Tensor]] = [[] for _ in unions]
        table_parts: list[list[Tensor]] = [[] for _ in unions]
        pairs: list[list[Tensor]] = [[] for _ in unions]
        held = [0] * len(unions)
        with self.ranks.phase(net):
            for batch in batches(self.policy, unions, self.config.tokens_per_forward):
                judged = judge(self.policy, net, batch)
                totals.count(phase, sum(piece.last - piece.first for piece in batch), len(judged.log_table))
                offset = 0
                for piece in batch:
                    count = piece.span.stop - piece.span.start
                    log_probs[piece.index].append(judged.log_prob[offset : offset + count])
                    if tables:
                        used, local = torch.unique(judged.pair[offset : offset + count], return_inverse=True)
                        table_parts[piece.index].append(judged.log_table[used])
                        pairs[piece.index].append(local + held[piece.index])
                        held[piece.index] += len(used)
                    offset += count
        joined = [torch.cat(parts) for parts in log_probs]
        if not tables:
            return joined, None, None
        return joined, [torch.cat(parts) for parts in table_parts], [torch.cat(parts) for parts in pairs]

    def accumulate(self, work: list[Step], total_groups: int, totals: Totals) -> None:
        """Adds the gradient of one update's loss, the mean over `total_groups` groups, to the network's weights."""
        with self.ranks.phase(self.policy.net, learning=True):
            for batch in batches(self.policy, [step.tokens for step in work], self.config.tokens_per_forward):
                judged = judge(self.policy, self.policy.net, batch)
                loss = self.loss(judged, work, batch, totals) / total_groups
                loss.backward()
                totals.count("train", 3 * sum(piece.last - piece.first for piece in batch), 3 * len(judged.log_table))
                totals.add(loss=float(loss.detach()))

    def loss(self, judged: LogProbs, work: list[Step], batch: list[Piece], totals: Totals) -> Tensor:
        """Sum over the batch's tokens of -share min(r A, clip(r) A) + beta kl_share kl (paper, eq. of section 3.1)."""
        config, device, dtype = self.config, judged.log_prob.device, judged.log_prob.dtype

        def gather(name: str) -> Tensor:
            return torch.cat([getattr(work[p.index], name)[p.span] for p in batch]).to(device)

        advantage, share = gather("advantage").to(dtype), gather("share").to(dtype)
        ratio = self._ratio(judged.log_prob - gather("old"), share, work, batch)
        clipped = ratio.clamp(1.0 - config.clip, 1.0 + config.clip)
        objective = torch.minimum(ratio * advantage, clipped * advantage)
        loss = -(share * objective).sum()
        with torch.no_grad():
            support = share > 0
            active = support & (clipped * advantage < ratio * advantage)
            totals.add(tokens=float(support.sum()), clipped=float(active.sum()), ratio=float(ratio[support].sum()))
            totals.sums["ratio_max"] = max(totals.sums.get("ratio_max", 0.0), float(ratio.max()))
        if config.beta == 0.0:
            return loss
        gap = gather("ref") - judged.log_prob
        kl = k3 = gap.exp() - gap - 1.0
        if config.kl == "exact":
            kl = self._exact_kl(judged, work, batch)
            totals.add(kl_exact=float(kl.detach()[support].sum()), kl_k3=float(k3.detach()[support].sum()))
        totals.add(kl=float(kl.detach()[support].sum()))
        return loss + config.beta * (gather("kl_share").to(dtype) * kl).sum()

    def _ratio(self, log_ratio: Tensor, share: Tensor, work: list[Step], batch: list[Piece]) -> Tensor:
        """exp of each token's log-ratio, or of its unit's mean over supported tokens."""
        if all(step.unit is None for step in work):
            return log_ratio.exp()
        units, used = [], 0
        for piece in batch:
            unit = work[piece.index].unit
            count = piece.span.stop - piece.span.start
            local = torch.arange(count) if unit is None else torch.unique(unit[piece.span], return_inverse=True)[1]
            units.append(local + used)
            used += int(local.max()) + 1
        unit, support = torch.cat(units).to(log_ratio.device), (share > 0).to(log_ratio.dtype)
        total = torch.zeros(used, dtype=log_ratio.dtype, device=log_ratio.device)
        mean = total.index_add(0, unit, log_ratio * support) / total.index_add(0, unit, support).clamp_min(1.0)
        return mean[unit].exp()

    def _exact_kl(self, judged: LogProbs, work: list[Step], batch: list[Piece]) -> Tensor:
        """KL(pi || ref) over the codebook under every token's context: [M]."""
        rows = torch.cat([cast(Tensor, work[p.index].ref_pair)[p.span] for p in batch])
        example = torch.zeros(len(judged.log_table), dtype=torch.long, device=judged.pair.device)
        example[judged.pair] = torch.arange(len(rows), device=judged.pair.device)
        owner = torch.cat([torch.full((p.span.stop - p.span.start,), p.index) for p in batch]).to(example.device)
        reference = torch.empty_like(judged.log_table)
        for index in {p.index for p in batch}:
            mine = owner[example] == index
            reference[mine] = cast(Tensor, work[index].ref_table)[rows[example[mine]]].to(reference.dtype)
        return (judged.log_table.exp() * (judged.log_table - reference)).sum(-1)[judged.pair]


def _unshared(updates: list[Update]) -> tuple[int, int]:
    """How many contexts of a group dedup="none" evaluates before the weights move, and trains on: an image's own at
    each update."""
    once = trained = 0
    for update in updates:
        image, slot = judged_tokens(update)
        pairs = torch.unique(torch.stack([image, update.row[image, slot]], 1), dim=0)
        trained += len(pairs)
        once += len(torch.unique(torch.cat([pairs[:, :1], update.contexts[pairs[:, 1]]], dim=1), dim=0))
    return once, trained


def judged_tokens(update: Update) -> tuple[Tensor, Tensor]:
    """(image, slot) of the tokens that carry loss or penalty."""
    kl_share = update.share if update.kl_share is None else update.kl_share
    image, slot = ((update.share > 0) | (kl_share > 0)).nonzero(as_tuple=True)
    return image, slot


def _check(drawn: list[list[Update]]) -> None:
    """Raises UserError where a method broke its contract: another number of updates, or shares that are not finite and
    >= 0."""
    counts = {len(updates) for updates in drawn}
    require(len(counts) == 1 and 0 not in counts, "the number of updates per group", sorted(counts), SAME_NUMBER)
    for update in (u for updates in drawn for u in updates):
        share = update.share
        require(
            bool((torch.isfinite(share) & (share >= 0)).all()),
            "a token's share",
            float(share.min()),
            "a method's shares must be finite and not negative",
        )
