"""One iteration of reinforcement learning: sample groups, reward them, run the method's updates."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from htgrpo.cpu import sampling_dtype
from htgrpo.engine import Engine, EngineConfig
from htgrpo.errors import UserError
from htgrpo.interface import Method, RolloutGroup
from htgrpo.policies.llada import LLaDA
from htgrpo.policies.policy import Policy
from htgrpo.prompts import Prompt
from htgrpo.registry import SAMPLERS
from htgrpo.rewards import RewardBatch, WeightedReward
from htgrpo.rng import generator
from htgrpo.rollout import Rollouts, generate, rollout_net
from htgrpo.train_config import TrainConfig

RANK_BINS = 8
PATIENCE = 20
"""Iterations in a row without any spread of rewards after which training stops: nothing is being learnt."""


@dataclass
class Setup:
    """What a learner works with. `reference` is a frozen copy of the policy's first weights; flat_iterations: iterations without
    any spread of rewards that ended the run so far."""

    policy: Policy
    reference: LLaDA
    config: TrainConfig
    prompts: list[Prompt]
    reward: WeightedReward
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    flat_iterations: int = 0

    def optimiser_step(self) -> float:
        """Sums gradients over ranks, clips, steps, clears; returns the norm before clipping (learners' losses are already
        divided by the number of groups of all ranks)."""
        weights = [w for w in self.policy.net.parameters() if w.requires_grad]
        if self.accelerator.num_processes > 1:
            for weight in weights:
                gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
                weight.grad = self.accelerator.reduce(gradient, "sum")
        norm = torch.nn.utils.clip_grad_norm_(weights, self.config.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(norm)


@dataclass(frozen=True)
class Iteration:
    """What an iteration did: metrics for the log, forwards by phase, seconds by phase."""

    metrics: dict[str, Any]
    forwards: dict[str, int]
    seconds: dict[str, float]


class GroupLearner:
    """Rollouts, rewards, and a method's updates through the engine."""

    def __init__(self, method: Method, setup: Setup):
        config = setup.config
        self.method, self.setup = method, setup
        self.sampler = SAMPLERS.get(config.sampler)(steps=config.steps)
        engine = EngineConfig(**{name: getattr(config, name) for name in EngineConfig.__dataclass_fields__})
        self.engine = Engine(setup.policy, setup.reference, engine)
        dtype = sampling_dtype(config.rollout_dtype, setup.policy.device)
        self.sampling = setup.policy.with_net(rollout_net(setup.policy.net, dtype))
        self.flat_iterations = setup.flat_iterations

    def iteration(self, number: int, on_phase: Callable[[str], None]) -> Iteration:
        """Runs iteration `number` (1-based): everything random in it is keyed by (seed, number)."""
        clock = _Clock()
        prompts = draw_prompts(self.setup.prompts, self.setup.config.prompts_per_iteration,
                               generator(self.setup.config.seed, "prompts", number))
        ranks, rank = self.setup.accelerator.num_processes, self.setup.accelerator.process_index
        prompts = prompts[rank::ranks]
        on_phase("rollout")
        rollouts, owners = self._sample(prompts, number)
        clock.lap("rollout")
        on_phase("reward")
        rewards = self.setup.reward(owners, self.setup.policy.decode(rollouts.codes))
        groups, keys = self._groups(prompts, rollouts, rewards)
        clock.lap("reward")
        self._insist_on_spread(groups)
        on_phase("update")
        generators = [generator(self.setup.config.seed, self.setup.config.method, number, key) for key in keys]
        total = int(self.setup.accelerator.reduce(torch.tensor(len(groups)), "sum"))
        forwards, metrics = {"rollout": rollouts.forwards}, {}
        if groups:
            totals = self.engine.run(groups, self.method, generators, self.setup.optimiser_step, total)
            clock.seconds.update(totals.seconds)
            forwards.update(totals.forwards)
            metrics = totals.metrics()
        return Iteration({**self._describe(rollouts, rewards, groups), **metrics}, forwards, clock.seconds)

    def _sample(self, prompts: list[Prompt], number: int) -> tuple[Rollouts, list[Prompt]]:
        config = self.setup.config
        self.sampling.net.load_state_dict(self.setup.policy.net.state_dict())
        owners = [prompt for prompt in prompts for _ in range(config.group_size)]
        ids = [self.setup.policy.prompt(prompt.text, config.pads) for prompt in owners]
        keys = [(config.seed, "rollout", number, p.id, i % config.group_size) for i, p in enumerate(owners)]
        return generate(self.sampling, ids, keys, self.sampler, config.guidance), owners

    def _groups(self, prompts: list[Prompt], rollouts: Rollouts, rewards: RewardBatch) -> tuple[list[RolloutGroup], list[str]]:
        """Groups of at least two images with a finite reward, and their prompts' ids."""
        size = self.setup.config.group_size
        groups, keys = [], []
        for index, prompt in enumerate(prompts):
            part = slice(index * size, (index + 1) * size)
            group = RolloutGroup(
                self.setup.policy.prompt(prompt.text, self.setup.config.pads), self.setup.policy.backbone.grid,
                rollouts.codes[part], rollouts.reveal_step[part], rollouts.rank[part], rewards.total[part],
                rollouts.entropy[part],
            ).kept()
            if len(group.codes) >= 2:
                groups.append(group)
                keys.append(prompt.id)
        return groups, keys

    def _insist_on_spread(self, groups: list[RolloutGroup]) -> None:
        """Counts iterations in which no group had two different rewards; raises UserError after PATIENCE of them."""
        spread = any(float(g.reward.max()) > float(g.reward.min()) for g in groups)
        self.flat_iterations = 0 if spread else self.flat_iterations + 1
        if self.flat_iterations >= PATIENCE:
            seen = "no finite reward" if not groups else f"the reward {float(groups[0].reward[0]):g} for every image of a group"
            raise UserError(f"the last {PATIENCE} iterations gave {seen} with rewards={self.setup.config.rewards!r}: images of one "
                            "prompt must differ in reward for anything to be learnt; use a denser reward or a larger group")

    def _describe(self, rollouts: Rollouts, rewards: RewardBatch, groups: list[RolloutGroup]) -> dict[str, Any]:
        config, finite = self.setup.config, torch.isfinite(rewards.total)
        spreads = [float(g.reward.std()) if float(g.reward.max()) > float(g.reward.min()) else 0.0 for g in groups]
        advantages = [g.advantage(config.ddof, config.delta).abs() for g in groups]
        metrics: dict[str, Any] = {
            "reward_mean": _mean(rewards.total[finite]), "reward_std": _mean(torch.tensor(spreads, dtype=torch.float64)),
            "advantage_abs": _mean(torch.cat(advantages) if groups else torch.zeros(0)),
            "entropy": _mean(rollouts.entropy), "entropy_by_rank": _entropy_by_rank(rollouts),
            "groups": len(groups), "groups_without_spread": sum(spread == 0.0 for spread in spreads),
            "images_dropped": int((~finite).sum()),
        }
        for name, values in rewards.parts.items():
            metrics[f"reward/{name}"] = _mean(values[torch.isfinite(values)])
        return metrics


class _Clock:
    """Seconds by phase."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self.last = time.perf_counter()

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase] = now - self.last
        self.last = now


def draw_prompts(prompts: list[Prompt], count: int, g: torch.Generator) -> list[Prompt]:
    """`count` different prompts, categories in turn (in a fresh order) so that large categories do not crowd out small ones."""
    by_category: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        by_category.setdefault(prompt.category, []).append(prompt)
    shuffled = [[group[i] for i in torch.randperm(len(group), generator=g)] for group in by_category.values()]
    order = torch.randperm(len(shuffled), generator=g).tolist()
    rounds = max(map(len, shuffled))
    drawn = [shuffled[c][r] for r in range(rounds) for c in order if r < len(shuffled[c])]
    return drawn[:count]


def _mean(values: Tensor) -> float | None:
    """The mean as a float; None (JSON null) of nothing."""
    return float(values.double().mean()) if len(values) else None


def _entropy_by_rank(rollouts: Rollouts) -> list[float]:
    """Mean entropy in nats in RANK_BINS equal bins of unmasking rank, first revealed first."""
    slots = rollouts.rank.shape[1]
    bins = (rollouts.rank - 1) * RANK_BINS // slots
    return [float(rollouts.entropy[bins == b].double().mean()) if bool((bins == b).any()) else 0.0 for b in range(RANK_BINS)]
