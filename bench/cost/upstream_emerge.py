"""Does MaskGRPO's emerge sampler decide as ours does (bench.speed --upstream DIR)?

Its draws come from the global generator, so that its pictures are others than ours. What its loop does with a draw is
compared: its one drawing function is stood in for by one that takes our decision and asks whether our uniforms, put to
the probabilities that its loop has made (guidance, schedule, what it has written into the sequence), would have taken it
too. Slots that are revealed already get code 0 from it, which the loop must pass by: in the end its pictures are ours.
"""

import sys
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from bench.cost.upstream_loops import Side, emerge, ours
from htgrpo.base.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

SLACK = 1e-5
"""By how much of the probability a uniform may miss its interval, for rounding; a code has 1e-4."""


class _Decisions:
    """Stands in for `sample_categorical` of the trainer's module. made: decisions, one for every hidden slot and step;
    differ: those that its probabilities would not have taken."""

    def __init__(self, side: Side):
        from htgrpo.base.rng import generator
        from htgrpo.samplers import Draws

        device = side.policy.device
        rollouts = ours("emerge", side)()
        self.codes, self.reveal_step = rollouts.codes.to(device), rollouts.reveal_step.to(device)
        draws = Draws.make([generator(*key) for key in side.keys], side.steps, side.slots)
        self.draws, self.columns = draws.to(device), side.policy.backbone.codebook_size
        self.step = self.made = self.differ = 0

    def __call__(self, probs: "Tensor") -> "Tensor":
        """Of probabilities [B, N, C + 1], the last being that of staying hidden, or [B, N, C] at the last step: what
        ours did, C for staying hidden."""
        import torch

        hidden, leaves = self.reveal_step >= self.step, self.reveal_step == self.step
        stay = (probs[..., self.columns :].sum(-1) / probs.sum(-1)).double()
        order, code = self.draws.order[:, self.step], self.draws.code[:, self.step]
        otherwise = hidden & torch.where(leaves, order < stay - SLACK, order >= stay + SLACK)
        cdf = probs[leaves][:, : self.columns].double().cumsum(-1)
        cdf = cdf / cdf[:, -1:]
        drawn, wanted = self.codes[leaves][:, None], code[leaves]
        above = cdf.gather(1, drawn)[:, 0]
        below = torch.where(drawn > 0, cdf.gather(1, (drawn - 1).clamp_min(0)), 0.0)[:, 0]
        otherwise[leaves] |= (wanted < below - SLACK) | (wanted > above + SLACK)
        self.made, self.differ = self.made + int(hidden.sum()), self.differ + int(otherwise.sum())
        self.step += 1
        return torch.where(leaves, self.codes, torch.where(hidden, self.columns, 0))


def decisions_alike(kind: Any, net: Any, side: Side) -> int:
    """How many decisions were compared. Raises UserError where one of them, or a picture, is another than ours."""
    import torch

    decide = _Decisions(side)
    with patch.object(sys.modules[kind.__module__], "sample_categorical", decide, create=True):
        codes = emerge(kind, net, side)()
    same = torch.equal(codes, decide.codes)
    if decide.step != side.steps or decide.differ or not same:
        raise UserError(
            f"--upstream: its emerge sampler decides otherwise than ours under the same draws: it drew {decide.step} times "
            f"in {side.steps} steps, {decide.differ} of {decide.made} decisions differ, and its pictures are "
            f"{'the same' if same else 'others'}, so that times of the two say nothing: use a checkout of the published "
            "code"
        )
    return decide.made
