"""Continued pre-training: the control that spends a method's compute on more supervised data instead of on rewards."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from htgrpo.base.options import require
from htgrpo.base.values import Whole
from htgrpo.interface import Method, RolloutGroup, Update, Updates

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from htgrpo.training.learner import Iteration, Setup
    from htgrpo.world.world import World


@dataclass(frozen=True)
class Pretrain(Method):
    """Options of the control: optimiser steps per iteration, and pictures per step."""

    title = "continued pre-training, a control"
    look = ("#5F5F46", "H")
    updates_per_iteration: Updates = 4
    batch: Annotated[int, Whole(1, 65536)] = 64
    rewarded = False

    @property
    def forwards(self) -> int:
        return 3 * self.updates_per_iteration * self.batch

    def learner(self, setup: Setup) -> PretrainLearner:
        from htgrpo.world.world import by_policy

        world = by_policy(setup.policy.backbone.name)
        require(
            world is not None,
            "method",
            "pretrain",
            f"its pictures are of the embedded worlds, and {setup.policy.backbone.name} has other image codes: leave it out",
        )
        assert world is not None  # require has seen to it
        return PretrainLearner(self, setup, world)

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        """None: the control never sees a rollout."""
        return []


class PretrainLearner:
    """Supervised steps on fresh scenes of the training combinations."""

    def __init__(self, method: Pretrain, setup: Setup, world: World):
        self.method, self.setup, self.world = method, setup, world

    def iteration(self, number: int, on_phase: Callable[[str], None]) -> Iteration:
        """`updates_per_iteration` optimiser steps; a step costs three forwards per picture, as every training step
        does."""
        from htgrpo.base.rng import generator
        from htgrpo.training.learner import Iteration
        from htgrpo.training.pretraining import masked_batch

        on_phase("update")
        started = time.perf_counter()
        losses, norms = [], []
        with self.setup.tuning.updating(number):
            for step in range(self.method.updates_per_iteration):
                g = generator(self.setup.config.seed, "pretrain", number, step)
                losses.append(self._backward(*masked_batch(self.setup.policy, self.world, self.method.batch, g)))
                norms.append(float(self.setup.holding.step()))
        mean = {"loss": sum(losses) / len(losses), "grad_norm": sum(norms) / len(norms)}
        steps, forwards = self.method.updates_per_iteration, {"train": self.method.forwards}
        counts = {
            "rollouts": 0,
            "reward_queries": 0,
            "optimiser_steps": steps,
            "forwards_undeduplicated": forwards["train"],
        }
        return Iteration({**counts, **mean}, forwards, {"update": time.perf_counter() - started})

    def _backward(self, prompts: list[tuple[int, ...]], codes: Tensor, mask: Tensor) -> float:
        """The loss of a batch that all ranks share; adds this rank's part of its gradient."""
        from htgrpo.training.pretraining import masked_backward

        ranks, part = self.setup.ranks, 0.0
        mine = ranks.share(list(range(len(codes))))
        with ranks.phase(self.setup.policy.net, learning=True):
            if mine:
                scale = int(mask[mine].sum()) / int(mask.sum())
                part = scale * masked_backward(
                    self.setup.policy, [prompts[i] for i in mine], codes[mine], mask[mine], scale
                )
        return sum(ranks.gather(part))
