"""What is indivisible and larger than a batch: entries that share units, in two passes with the gradient of one.

The loss of such entries depends on all their log-probabilities at once, whose contexts do not fit into memory together.
The first pass has the log-probabilities without a gradient, in parts, and finds the loss's slope at each. The second one
goes down slope x log-probability part by part, which by the chain rule has the gradient of the loss. A context costs one
forward more, but for a first pass whose values are known or do not matter (`needs_look`).
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from htgrpo.base.device import global_draws
from htgrpo.parallel.totals import Totals
from htgrpo.policies.policy import Policy
from htgrpo.training.objective import penalty, surrogate
from htgrpo.training.planning import Step, needs_look
from htgrpo.training.tokens import LogProbs, Piece, batches, judge, packed_length
from htgrpo.training.train_config import TrainConfig


@dataclass(frozen=True)
class Looked:
    """After the first pass. whole: what is indivisible. slope: [M] of its entries. draws: where dropout's generator
    stood at every part, or nothing."""

    whole: Piece
    slope: Tensor
    draws: list[Tensor]


@dataclass(frozen=True)
class TwoPasses:
    """Both passes of one update. work, total_groups, totals, unmoved: as in Engine.accumulate."""

    policy: Policy
    config: TrainConfig
    work: list[Step]
    total_groups: int
    totals: Totals
    unmoved: bool

    def look(self, batch: list[Piece]) -> Looked | None:
        """The first pass over a batch that is a single piece beyond the limit; None for any other, and for one row."""
        whole = batch[0]
        rows, length = whole.last - whole.first, packed_length(self.policy, whole.tokens.group)
        if rows == 1 or rows * length <= self.config.tokens_per_forward:
            return None
        step, draws = self.work[whole.index], []
        if needs_look(step.objective, step.power, self.unmoved):
            found = []
            for part in self._parts(whole):
                if self.config.lora_dropout:
                    with global_draws(self.policy.device) as generator:
                        draws.append(generator.get_state())
                with torch.no_grad():
                    found.append(self._judge(part, forwards=1).log_prob)
            values = torch.cat(found)
        else:
            values = torch.zeros_like(step.share[whole.span]) if step.old is None else step.old[whole.span]
        values = values.detach().requires_grad_()
        [slope] = torch.autograd.grad(surrogate(values, self.work, [whole], Totals(), self.unmoved), values)
        return Looked(whole, slope, draws)

    def learn(self, looked: Looked) -> None:
        """The second pass: adds the gradient to the network's weights and counts the loss as a single pass would."""
        found, at = [], 0
        for number, part in enumerate(self._parts(looked.whole)):
            with global_draws(self.policy.device) if looked.draws else nullcontext() as generator:
                if generator:
                    generator.set_state(looked.draws[number])
                judged = self._judge(part, forwards=3)
            loss = (looked.slope[at : at + len(judged.log_prob)] * judged.log_prob).sum()
            if self.config.beta:
                punished = self.config.beta * penalty(judged, self.work, [part], self.config, self.totals)
                self.totals.add(loss=punished / self.total_groups)
                loss = loss + punished
            (loss / self.total_groups).backward()
            found.append(judged.log_prob.detach())
            at += len(judged.log_prob)
        whole = surrogate(torch.cat(found), self.work, [looked.whole], self.totals, self.unmoved)
        self.totals.add(loss=whole / self.total_groups)

    def _judge(self, part: Piece, forwards: int) -> LogProbs:
        judged = judge(self.policy, self.policy.net, [part])
        self.totals.count("train", forwards * (part.last - part.first), forwards * len(judged.log_table))
        return judged

    def _parts(self, whole: Piece) -> Iterator[Piece]:
        """`whole`, cut between any two rows."""
        tokens = replace(whole.tokens, cuts=list(range(whole.first, whole.last + 1)))
        for [part] in batches(self.policy, [tokens], self.config.tokens_per_forward):
            yield replace(part, index=whole.index)
