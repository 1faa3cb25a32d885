"""Does "first means structure" hold for a policy and a sampler? What the order of unmasking decides of the reward.

For every prompt the draws of the early steps and those of the late ones are crossed: EARLY x LATE pictures, each
early part with each late part. The two-way analysis of variance of their rewards says what share of the variance
within a prompt, which is what advantages are made of, the early draws decide alone, the late draws alone, and both
together (Sobol's indices of first order and of interaction). Under the random sampler the order of all slots is drawn
at once, and so early. Early ends with the first step at which a share ALPHA of the slots is revealed.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from htgrpo.adaptive import entropy_by_rank, explained
from htgrpo.base.options import require
from htgrpo.base.prompts import Prompt
from htgrpo.interface import RolloutGroup
from htgrpo.policies.policy import Policy
from htgrpo.rollout import Rollouts, generate
from htgrpo.samplers import Sampler
from htgrpo.training.rewards import WeightedReward
from reports.statistics.premise import shares

ALPHA = 0.3
EARLY, LATE = 8, 6
EIGHTHS = 8


@dataclass(frozen=True)
class Way:
    """How pictures are sampled. name: of the sampler."""

    name: str
    sampler: Sampler
    guidance: float


def measure(
    policy: Policy,
    prompts: list[Prompt],
    rewards: str,
    way: Way,
    seed: int = 0,
    on_prompt: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """What the order of unmasking decides under one way of sampling, as JSON: "shares" (see
    reports.statistics.premise.shares), "entropy" in nats by eighth of the rank, first to last, "agreement": how far
    sharing the first ALPHA of the tokens, the last, or a random part of the same size, predicts the reward of other
    pictures, "early_steps" and the share of slots they reveal, "mean" and "deviation" of the reward within prompts."""
    step, reward = _early_steps(way.sampler, policy.backbone.grid), WeightedReward(rewards)
    totals, curves, agreement = [], [], []
    for number, prompt in enumerate(prompts):
        rolled = _crossed(policy, prompt, way, step, seed)
        images = policy.decode(rolled.codes)
        total = reward([prompt] * len(images), images).total
        totals.append(total.double().reshape(EARLY, LATE).numpy())
        group = RolloutGroup(
            policy.prompt(prompt.text),
            policy.backbone.grid,
            rolled.codes,
            rolled.reveal_step,
            rolled.rank,
            total,
            rolled.entropy,
        )
        curves.append(np.array([part.mean() for part in np.array_split(entropy_by_rank(group).numpy(), EIGHTHS)]))
        agreement.append(_agreement(group, torch.Generator().manual_seed(seed)))
        if on_prompt:
            on_prompt(number + 1)
    within = np.array(totals).reshape(len(prompts), -1)
    return {
        "sampler": way.name,
        "steps": way.sampler.steps,
        "guidance": way.guidance,
        "early_steps": step,
        "early_slots": round(_revealed(way.sampler, policy.backbone.grid, step), 3),
        "prompts": len(prompts),
        "pictures": EARLY * LATE,
        "mean": round(float(within.mean()), 4),
        "deviation": round(float(within.std(1).mean()), 4),
        "entropy": [round(float(value), 4) for value in np.mean(curves, 0)],
        "shares": {name: asdict(value) for name, value in shares(np.array(totals)).items()},
        "agreement": {name: _mean(np.array([one[name] for one in agreement])) for name in agreement[0]},
    }


def _crossed(policy: Policy, prompt: Prompt, way: Way, step: int, seed: int) -> Rollouts:
    """EARLY x LATE pictures: number e * LATE + l has the early draws e and the late draws l."""
    pairs = [(early, late) for early in range(EARLY) for late in range(LATE)]
    keys = [(seed, "premise", prompt.id, "early", early) for early, _ in pairs]
    later = [(seed, "premise", prompt.id, "late", late) for _, late in pairs]
    ids = [policy.prompt(prompt.text)] * len(pairs)
    return generate(policy, ids, keys, way.sampler, way.guidance, later=(step, later))


def _early_steps(sampler: Sampler, grid: tuple[int, int]) -> int:
    """The first step count after which a share ALPHA of the slots is revealed."""
    early = next(step for step in range(1, sampler.steps + 1) if _revealed(sampler, grid, step) >= ALPHA)
    require(early < sampler.steps, "--steps", sampler.steps, "with so few nothing is late; use more")
    return early


def _revealed(sampler: Sampler, grid: tuple[int, int], step: int) -> float:
    """Share of slots that the cosine schedule of all samplers has revealed after so many steps."""
    from htgrpo.samplers import cosine

    slots = grid[0] * grid[1]
    return 1 - int(slots * cosine(step / sampler.steps)) / slots


def _agreement(group: RolloutGroup, generator: torch.Generator) -> dict[str, float]:
    """See `measure`; methods that weigh structure apart rest on "early" being more than "random"."""
    slots = group.codes.shape[1]
    size = int(ALPHA * slots)
    random = torch.rand(group.codes.shape, generator=generator).argsort(1).argsort(1) < size
    parts = {"early": group.rank <= size, "late": group.rank > slots - size, "random": random}
    return {name: explained(group.codes, part, group.reward) for name, part in parts.items()}


def _mean(values: np.ndarray) -> dict[str, float]:
    error = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0
    return {"estimate": round(float(values.mean()), 4), "error": round(error, 4)}
