"""The one policy-gradient engine. It knows groups and updates, and nothing of any method.

Order of work in an iteration: draw every update of every group; evaluate old and reference log-probabilities on the
union of their distinct contexts, before the weights move; then K optimiser steps, step k taking update k of every
group.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from htgrpo.base.device import finished
from htgrpo.base.options import require
from htgrpo.interface import Method, RolloutGroup, Update
from htgrpo.parallel.ranks import ALONE, Ranks
from htgrpo.parallel.totals import Totals
from htgrpo.policies.llada import Network
from htgrpo.policies.policy import Policy
from htgrpo.training.objective import loss
from htgrpo.training.planning import SAME_NUMBER, Step, check, plan_group, unshared
from htgrpo.training.tokens import Tokens, batches, judge, packed_length
from htgrpo.training.train_config import TrainConfig
from htgrpo.training.two_passes import TwoPasses


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
        optimiser_step: Callable[[], float | Tensor],
        total_groups: int | None = None,
        places: list[int] | None = None,
    ) -> Totals:
        """All K updates of `groups`, and the totals of all ranks. `optimiser_step` applies the accumulated gradients,
        clears them and returns their norm. The loss is a mean over the `total_groups` of all ranks, among which these
        have the `places` (default: there are no others)."""
        totals, total = Totals(), total_groups or len(groups)
        steps = self.plan(groups, method, generators, totals, total, places)
        updates, started = self._updates(len(steps)), time.perf_counter()
        for k in range(updates):
            self.accumulate(steps[k] if steps else [], total, totals, unmoved=k == 0)
            totals.add(grad_norm=optimiser_step(), steps=1.0)
        finished(self.policy.device)
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
        groups = [replace(group, ddof=self.config.ddof, delta=self.config.delta) for group in groups]
        drawn = [method.updates(group, g) for group, g in zip(groups, generators, strict=True)]
        if drawn:
            check(drawn)
        for group in groups:
            measured = method.measures(group)
            totals.add(**{f"method/{name}": value / (total_groups or len(groups)) for name, value in measured.items()})
        if self.config.interleave:
            n, own = total_groups or len(drawn), places or list(range(len(drawn)))
            drawn = [[u[(k * n + p) % len(u)] for k in range(len(u))] for p, u in zip(own, drawn, strict=True)]
        plans = [plan_group(group, updates, self.config) for group, updates in zip(groups, drawn, strict=True)]
        limit, moved = self.config.tokens_per_forward, bool(self.config.lora_dropout)
        counts = [
            unshared(updates, limit // packed_length(self.policy, group), moved)
            for group, updates in zip(groups, drawn, strict=True)
        ]
        once, trained = sum(count[0] for count in counts), sum(count[1] for count in counts)
        totals.add(unshared=float(trained))
        unions = [union for union, _ in plans]
        old, ref, tables, pairs = self._before(method, drawn, unions, once, totals)
        steps: list[list[Step]] = [[] for _ in (drawn[0] if drawn else [])]
        for index, (_, parts) in enumerate(plans):
            known = [None if values is None else values[index] for values in (old, ref, tables, pairs)]
            for k, part in enumerate(parts):
                steps[k].append(part.known(*known).on(self.policy.device))
        return steps

    def _before(
        self, method: Method, drawn: list[list[Update]], unions: list[Tokens], once: int, totals: Totals
    ) -> tuple[list[Tensor] | None, list[Tensor] | None, list | None, list | None]:
        """Log-probabilities before the weights move, per union: old ones, the reference's, its tables and every
        entry's row in them; None for what is not needed. once: contexts of all unions without sharing."""
        beta, own = self.config.beta, method.kl_ref == "ref"
        old: list[Tensor] | None = None
        ratios = any(update.objective != "likelihood" for updates in drawn for update in updates)
        if any(self.ranks.gather(ratios)) or (beta and not own):
            old, _, _ = self._timed(self.policy.net, unions, once, totals, "old", False)
        if beta and own:
            assert self.reference is not None  # beta is above 0
            return old, *self._timed(self.reference, unions, once, totals, "ref", self.config.kl == "exact")
        if beta and self.config.kl == "exact":
            _, tables, pairs = self._timed(self.policy.net, unions, once, totals, "ref", True)
            return old, old, tables, pairs
        return old, old if beta else None, None, None

    def _timed(self, net: Network, unions: list[Tokens], once: int, totals: Totals, phase: str, tables: bool) -> tuple:
        """`_evaluate`, with its seconds and what it would cost without sharing."""
        started = time.perf_counter()
        found = self._evaluate(net, unions, totals, phase, tables)
        finished(self.policy.device)
        totals.seconds[phase] += time.perf_counter() - started
        totals.add(unshared=once)
        return found

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
                        used, local = judged.pairs_of(slice(offset, offset + count))
                        table_parts[piece.index].append(judged.log_table[used])
                        pairs[piece.index].append(local + held[piece.index])
                        held[piece.index] += used.stop - used.start
                    offset += count
        joined = [torch.cat(parts) for parts in log_probs]
        if not tables:
            return joined, None, None
        return joined, [torch.cat(parts) for parts in table_parts], [torch.cat(parts) for parts in pairs]

    def accumulate(self, work: list[Step], total_groups: int, totals: Totals, unmoved: bool = False) -> None:
        """Adds the gradient of one update's loss, the mean over `total_groups` groups, to the network's weights. What
        is indivisible and larger than a batch takes two passes. unmoved: those are still the weights that the old
        log-probabilities are of (dropout, which draws anew, tells the two apart even so)."""
        unmoved, policy = unmoved and not self.config.lora_dropout, self.policy
        planned = list(batches(policy, [step.tokens for step in work], self.config.tokens_per_forward))
        two = TwoPasses(policy, self.config, work, total_groups, totals, unmoved)
        with self.ranks.phase(policy.net):
            looked = [two.look(batch) for batch in planned]
        with self.ranks.phase(policy.net, learning=True):
            for batch, large in zip(planned, looked, strict=True):
                if large:
                    two.learn(large)
                    continue
                judged = judge(policy, policy.net, batch)
                part = loss(judged, work, batch, self.config, totals, unmoved) / total_groups
                part.backward()
                totals.count("train", 3 * sum(piece.last - piece.first for piece in batch), 3 * len(judged.log_table))
                totals.add(loss=part)
