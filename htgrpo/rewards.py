"""Rewards: plain callables as TRL knows them, and their weighted sum.

A reward is called as fn(prompts=[text], completions=images, specs=[dict]) with images float [B, 3, H, W] in [0, 1], and answers
one number per image: None = not applicable to this prompt (left out of the sum), NaN = failed (drops the image from its group).
"""

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from htgrpo.errors import UserError
from htgrpo.prompts import Prompt
from htgrpo.registry import REWARDS

RewardFunction = Callable[..., list[float | None]]


@dataclass(frozen=True)
class RewardBatch:
    """total: float64 [B], NaN where a reward failed or none applied. parts: unweighted values by name, NaN where absent."""

    total: Tensor
    parts: dict[str, Tensor]


def parse_weights(spec: str) -> dict[str, float]:
    """`name=weight,…` (a bare name weighs 1) as a dictionary. Raises UserError for anything else."""
    weights: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in spec.split(","))):
        name, _, weight = part.partition("=")
        try:
            weights[name] = float(weight) if weight else 1.0
        except ValueError:
            weights[name] = math.nan
        if not math.isfinite(weights[name]):
            raise UserError(f"reward weight {part!r} is not a number: write name=weight, such as objects=1,tidiness=0.5")
    if not weights:
        raise UserError(f"rewards is {spec!r}, but at least one name=weight is needed: accepted {', '.join(REWARDS.names())} "
                        "or an import path module:function")
    return weights


def find_reward(name: str) -> RewardFunction:
    """A registered reward, or the function at an import path `module:function`."""
    if ":" not in name:
        return REWARDS.get(name)
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"reward {name!r} cannot be imported ({error}): give an importable module:function") from error
    if not callable(function):
        raise UserError(f"reward {name!r} is {function!r}, which is not a function: give an importable module:function")
    return function


class WeightedReward:
    """sum of weight x reward over the rewards that apply; with `normalise` each reward is first z-scored over the batch."""

    def __init__(self, spec: str, normalise: bool = False):
        self.weights = parse_weights(spec)
        self.functions = {name: find_reward(name) for name in self.weights}
        self.normalise = normalise

    def __call__(self, prompts: list[Prompt], images: Tensor) -> RewardBatch:
        """Rewards of images float [B, 3, H, W] in [0, 1] for their prompts. Raises UserError on a wrong number of answers."""
        return self.combine(self.answers(prompts, images))

    def answers(self, prompts: list[Prompt], images: Tensor) -> dict[str, list[float | None]]:
        """What every reward says of every image, by name: a number, NaN (failed) or None (not applicable)."""
        found = {}
        for name, function in self.functions.items():
            values = function(prompts=[p.text for p in prompts], completions=images, specs=[p.spec for p in prompts])
            if len(values) != len(prompts):
                raise UserError(f"reward {name!r} answered {len(values)} values for {len(prompts)} images: "
                                "it must answer one number or None per image")
            found[name] = [None if value is None else float(value) for value in values]
        return found

    def combine(self, answers: dict[str, list[float | None]]) -> RewardBatch:
        """The weighted sum of `answers`, those of all images of an iteration: they are what `normalise` scores against."""
        count = len(next(iter(answers.values())))
        parts, total = {}, torch.zeros(count, dtype=torch.float64)
        applied = torch.zeros(count, dtype=torch.bool)
        for name, values in answers.items():
            applies = torch.tensor([value is not None for value in values])
            value = torch.tensor([math.nan if v is None else v for v in values], dtype=torch.float64)
            parts[name] = value
            if self.normalise:
                value = _z_score(value)
            total = total + torch.where(applies, self.weights[name] * value, 0.0)
            applied |= applies
        return RewardBatch(torch.where(applied & torch.isfinite(total), total, math.nan), parts)


def _z_score(value: Tensor) -> Tensor:
    finite = value[torch.isfinite(value)]
    if len(finite) < 2:
        return value
    return (value - finite.mean()) / (finite.std() + 1e-5)
