"""One iteration of reinforcement learning: sample groups, reward them, run the method's updates.

Several ranks share the prompts of an iteration; a prompt's images stay on one rank. What is logged is computed by all
ranks from the records of all images, in the order of the prompts, so that it does not depend on how many ranks there
are.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from htgrpo.base.errors import EXIT_INCOMPLETE, UserError
from htgrpo.base.options import require
from htgrpo.base.prompts import Prompt
from htgrpo.base.registry import SAMPLERS
from htgrpo.base.rng import generator
from htgrpo.interface import Method, RolloutGroup
from htgrpo.parallel.ranks import ALONE, InStep, Ranks
from htgrpo.policies.llada import Network
from htgrpo.policies.policy import Policy
from htgrpo.rollout import Rollouts, generate, refuse_training
from htgrpo.training.engine import Engine
from htgrpo.training.holding import Holding
from htgrpo.training.images import Images
from htgrpo.training.others import with_others
from htgrpo.training.rewards import WeightedReward
from htgrpo.training.train_config import TrainConfig
from htgrpo.training.tuning import Tuning

RANK_BINS = 8
RECORDED = frozenset({"entropy", "predicted", "other"})
"""What a method may need of its rollouts."""
PATIENCE = 20
"""Iterations in a row without any spread of rewards after which training stops: nothing is being learnt."""


@dataclass
class Setup:
    """What a learner works with. policy.net is called as LLaDA is, by all ranks in step where it is sharded.
    flat_iterations: iterations without any spread of rewards that ended the run so far. rollout_tokens: packed tokens to
    sample together (0: config.tokens_per_forward)."""

    policy: Policy
    tuning: Tuning
    config: TrainConfig
    prompts: list[Prompt]
    reward: WeightedReward
    holding: Holding
    ranks: Ranks = ALONE
    flat_iterations: int = 0
    rollout_tokens: int = 0

    def in_step(self, net: Network) -> Network:
        """A network of the tuning, as all ranks may call it."""
        return InStep(net, self.ranks) if isinstance(self.policy.net, InStep) else net


@dataclass(frozen=True)
class Iteration:
    """What an iteration did: metrics for the log and forwards by phase, both of all ranks, and this rank's seconds by
    phase. Among the metrics: optimiser_steps, rollouts (pictures sampled), reward_queries (pictures put to the
    rewards), forwards_undeduplicated (what the forwards would be with dedup="none"). reward_cpu: processor seconds of the
    rewards in this process."""

    metrics: dict[str, Any]
    forwards: dict[str, int]
    seconds: dict[str, float]
    reward_cpu: float = 0.0


class GroupLearner:
    """Rollouts, rewards, and a method's updates through the engine."""

    def __init__(self, method: Method, setup: Setup):
        config = setup.config
        self.method, self.setup = method, setup
        unknown = sorted(method.needs - RECORDED)
        require(not unknown, "what the method needs of a rollout", unknown, f"rollouts record {sorted(RECORDED)}")
        self.sampler = SAMPLERS.get(config.sampler)(steps=config.steps)
        untrained = setup.tuning.reference()
        reference = setup.in_step(untrained) if config.beta and untrained is not None else None
        self.engine = Engine(setup.policy, reference, config, setup.ranks)
        self.flat_iterations = setup.flat_iterations

    def iteration(self, number: int, on_phase: Callable[[str], None]) -> Iteration:
        """Runs iteration `number` (1-based): everything random in it is keyed by (seed, number)."""
        clock, setup, config = _Clock(), self.setup, self.setup.config
        drawn = draw_prompts(setup.prompts, config.prompts_per_iteration, generator(config.seed, "prompts", number))
        mine = setup.ranks.share(list(range(len(drawn))))
        on_phase("rollout")
        rollouts, sampled = self._sample([drawn[i] for i in mine], number)
        clock.lap("rollout")
        on_phase("reward")
        images = Images(
            setup.ranks.together(self._records([drawn[i] for i in mine], rollouts)), config.group_size, setup.reward
        )
        clock.lap("reward")
        self._insist_on_rewards(images, number)
        self._insist_on_spread(images)
        on_phase("update")
        metrics, forwards = (images.metrics(config), {"rollout": sum(setup.ranks.gather(sampled))})
        pictures = len(drawn) * config.group_size
        counts = {
            "optimiser_steps": 0,
            "rollouts": pictures,
            "reward_queries": pictures,
            "forwards_undeduplicated": forwards["rollout"],
        }
        kept = [i for i in mine if i in images.groups]
        groups = [
            self._group(drawn[i], rollout, images.reward(i))
            for i, rollout in zip(mine, rollouts, strict=True)
            if i in kept
        ]
        if images.groups:
            places = [images.groups.index(i) for i in kept]
            if "other" in self.method.needs:
                groups = with_others(groups, places, setup.ranks, generator(config.seed, "other", number))
            generators = [generator(config.seed, self.method.draws or config.method, number, drawn[i].id) for i in kept]
            with setup.tuning.updating(number):
                totals = self.engine.run(
                    groups, self.method, generators, setup.holding.step, len(images.groups), places
                )
            clock.seconds.update(totals.seconds)
            forwards.update(totals.forwards)
            metrics.update(totals.metrics())
            counts["optimiser_steps"] = int(totals.sums["steps"])
            counts["forwards_undeduplicated"] += int(totals.sums["unshared"])
        return Iteration({**counts, **metrics}, forwards, clock.seconds, clock.cpu["reward"])

    def _sample(self, prompts: list[Prompt], number: int) -> tuple[list[Rollouts], int]:
        """The images of every prompt, sampled together, and the forwards that took, which do not depend on how many
        prompts a rank has."""
        config, policy = self.setup.config, self.setup.policy
        sampling = policy.with_net(self.setup.in_step(self.setup.tuning.sampling()))
        with self.setup.ranks.phase(sampling.net):
            if not prompts:
                return [], 0
            size = config.group_size
            found = generate(
                sampling,
                [ids for prompt in prompts for ids in [policy.prompt(prompt.text, config.pads)] * size],
                [(config.seed, "rollout", number, prompt.id, i) for prompt in prompts for i in range(size)],
                self.sampler,
                config.guidance,
                tokens_per_forward=self.setup.rollout_tokens or config.tokens_per_forward,
                pads=config.pads,
                predict="predicted" in self.method.needs,
                owners=[i for i in range(len(prompts)) for _ in range(size)],
            )
            refuse_training(found)
        return [found.part(slice(i * size, (i + 1) * size)) for i in range(len(prompts))], found.forwards

    def _records(self, prompts: list[Prompt], rollouts: list[Rollouts]) -> list[dict]:
        """What the log needs to know of every prompt's images: what the rewards answered, and entropies in nats."""
        if not prompts:
            return []
        size = self.setup.config.group_size
        owners = [prompt for prompt in prompts for _ in range(size)]
        answers = self.setup.reward.answers(owners, self.setup.policy.decode(torch.cat([r.codes for r in rollouts])))
        reasons = self.setup.reward.reasons()
        return [
            {
                "answers": {name: values[i * size : (i + 1) * size] for name, values in answers.items()},
                "reasons": reasons,
                "entropy": float(rollout.entropy.double().mean()),
                "entropy_by_rank": _entropy_by_rank(rollout),
            }
            for i, rollout in enumerate(rollouts)
        ]

    def _group(self, prompt: Prompt, rollout: Rollouts, reward: Tensor) -> RolloutGroup:
        """The images of a prompt with a finite reward."""
        policy = self.setup.policy
        ids = policy.prompt(prompt.text, self.setup.config.pads)
        return RolloutGroup(
            ids,
            policy.backbone.grid,
            rollout.codes,
            rollout.reveal_step,
            rollout.rank,
            reward,
            rollout.entropy,
            rollout.predicted,
        ).kept()

    def _insist_on_rewards(self, images: "Images", number: int) -> None:
        """Raises UserError, with the exit code of work that can be done later, where rewards failed and no picture has
        one."""
        if any(images.failed.values()) and not bool(torch.isfinite(images.rewards.total).any()):
            parts = ", ".join(f"{name} failed for {count}" for name, count in images.failed.items() if count)
            why = f" ({images.why()})" if images.why() else ""
            raise UserError(
                f"no picture of iteration {number} has a reward: of {len(images.rewards.total)} {parts}{why}; mend the "
                "reward, then run the same command again, which goes on from the last checkpoint",
                EXIT_INCOMPLETE,
            )

    def _insist_on_spread(self, images: "Images") -> None:
        """Counts iterations in which no group had two different rewards; raises UserError after PATIENCE of them."""
        spread = any(images.spread(i) > 0.0 for i in images.groups)
        self.flat_iterations = 0 if spread else self.flat_iterations + 1
        if self.flat_iterations >= PATIENCE:
            first = [float(images.finite(i)[0]) for i in images.groups[:1]]
            why = f" ({images.why()})" if images.why() else ""
            seen = f"the reward {first[0]:g} for every image of a group" if first else f"no finite reward{why}"
            raise UserError(
                f"the last {PATIENCE} iterations gave {seen} with rewards={self.setup.config.rewards!r}: images of one "
                "prompt must differ in reward for anything to be learnt; use a denser reward or a larger group"
            )


class _Clock:
    """Seconds by phase, and those of the processor."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self.cpu: dict[str, float] = {}
        self.last = time.perf_counter(), time.process_time()

    def lap(self, phase: str) -> None:
        now = time.perf_counter(), time.process_time()
        self.seconds[phase], self.cpu[phase] = now[0] - self.last[0], now[1] - self.last[1]
        self.last = now


def draw_prompts(prompts: list[Prompt], count: int, g: torch.Generator) -> list[Prompt]:
    """`count` different prompts, categories in turn (in a fresh order) so that large categories do not crowd out small
    ones."""
    by_category: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        by_category.setdefault(prompt.category, []).append(prompt)
    shuffled = [[group[i] for i in torch.randperm(len(group), generator=g).tolist()] for group in by_category.values()]
    order = torch.randperm(len(shuffled), generator=g).tolist()
    rounds = max(map(len, shuffled))
    drawn = [shuffled[c][r] for r in range(rounds) for c in order if r < len(shuffled[c])]
    return drawn[:count]


def _entropy_by_rank(rollouts: Rollouts) -> list[float]:
    """Mean entropy in nats in RANK_BINS equal bins of unmasking rank, first revealed first."""
    slots = rollouts.rank.shape[1]
    bins = (rollouts.rank - 1) * RANK_BINS // slots
    return [
        float(rollouts.entropy[bins == b].double().mean()) if bool((bins == b).any()) else 0.0 for b in range(RANK_BINS)
    ]
