"""Rewards: plain callables as TRL knows them, and their weighted sum.

A reward is called as fn(prompts=[text], completions=images, specs=[dict]) with images float [B, 3, H, W] in [0, 1], and
answers one number per image: None = not applicable to this prompt (left out of the sum), NaN = failed (drops the image
from its group).

A reward that is more than a function, because a model stands behind it, may have any of these too:

check(prompts)  raises UserError where it cannot reward such prompts here; loads nothing
start(device)   gets ready on the device that training is on, before the first iteration; raises UserError
close()         lets go of what start has loaded
identity()      JSON values that say what rewards, after start; equal identities give equal rewards
reason          a sentence about the last image that failed, "" before there was one

Rewards are found by name under the entry points htgrpo.rewards, else in one of htgrpo.reward_sources: an
object with `names()` and with `find(name)`, which answers a reward or None.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from htgrpo.base.errors import UserError, shown, suggest
from htgrpo.base.prompts import Prompt
from htgrpo.base.registry import REWARD_SOURCES, REWARDS
from htgrpo.base.values import Number

if TYPE_CHECKING:
    import torch
    from torch import Tensor

RewardFunction = Callable[..., list[float | None]]


@dataclass(frozen=True)
class RewardBatch:
    """total: float64 [B], NaN where a reward failed or none applied. parts: unweighted values by name, NaN where
    absent."""

    total: Tensor
    parts: dict[str, Tensor]


def parse_weights(spec: str, flag: str = "rewards") -> dict[str, float]:
    """`name=weight,…` (a bare name weighs 1) as a dictionary. Raises UserError for anything else."""
    weights: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in spec.split(","))):
        name, equals, weight = part.partition("=")
        if not name.strip():
            raise UserError(
                f"{flag} has the part {shown(part)} without a name: write name=weight, such as objects=1,tidiness=0.5"
            )
        try:
            weights[name] = Number(-1e6, 1e6)(weight, "a weight") if equals else 1.0
        except UserError:
            raise UserError(
                f"{flag} has the weight {shown(part)}, which is not a number from -1e6 to 1e6: write name=weight, "
                "such as objects=1,tidiness=0.5"
            ) from None
    if not weights:
        raise UserError(
            f"{flag} is {shown(spec)}, but at least one name=weight is needed: accepted {', '.join(reward_names())} "
            "or an import path module:function"
        )
    return weights


def reward_names() -> list[str]:
    """All names that find_reward knows, sorted."""
    return sorted(
        {*REWARDS.names(), *(name for source in REWARD_SOURCES.names() for name in REWARD_SOURCES.get(source).names())}
    )


def check_names(spec: str) -> None:
    """Raises UserError where `parse_weights` does, and for a name that nobody knows. Imports no torch, but what an import
    path names."""
    for name in parse_weights(spec):
        if ":" in name:
            _module_of(name)
            find_reward(name)
        elif name not in REWARDS.names() and not any(
            REWARD_SOURCES.get(source).find(name) for source in REWARD_SOURCES.names()
        ):
            raise suggest(name, reward_names(), "reward")


def _module_of(name: str) -> None:
    """Raises UserError where the module of an import path is not there. Imports nothing but the packages around it."""
    from importlib.util import find_spec

    module = name.partition(":")[0]
    try:
        found = find_spec(module)
    except (ImportError, AttributeError, ValueError):
        found = None
    if found is None:
        raise UserError(
            f"reward {shown(name)} cannot be imported (there is no module {shown(module)}): give an importable "
            "module:function"
        )


def find_reward(name: str) -> RewardFunction:
    """A registered reward, one of a registered source, or the function at an import path `module:function`. Raises
    UserError."""
    if ":" not in name:
        return _registered(name)
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"reward {name!r} cannot be imported ({error}): give an importable module:function") from error
    if not callable(function):
        raise UserError(f"reward {name!r} is {function!r}, which is not a function: give an importable module:function")
    return function


def _registered(name: str) -> RewardFunction:
    if name in REWARDS.names():
        return REWARDS.get(name)
    for source in REWARD_SOURCES.names():
        if (found := REWARD_SOURCES.get(source).find(name)) is not None:
            return found
    raise suggest(name, reward_names(), "reward")


class WeightedReward:
    """sum of weight x reward over the rewards that apply; with `normalise` each reward is first z-scored over the
    batch."""

    def __init__(self, spec: str, normalise: bool = False):
        self.weights = parse_weights(spec)
        self.functions = {name: find_reward(name) for name in self.weights}
        self.normalise = normalise

    def check(self, prompts: list[Prompt]) -> None:
        """Raises UserError for the first reward that cannot reward these prompts here. Loads nothing."""
        for function in self.functions.values():
            getattr(function, "check", lambda prompts: None)(prompts)

    def start(self, device: torch.device) -> None:
        """Gets every reward ready. Raises UserError."""
        for function in self.functions.values():
            getattr(function, "start", lambda device: None)(device)

    def close(self) -> None:
        """Lets go of what `start` has loaded."""
        for function in self.functions.values():
            getattr(function, "close", lambda: None)()

    def identities(self) -> dict[str, dict[str, Any]]:
        """What rewards, by name, after `start`: {"weight", ...}."""
        return {
            name: {"weight": self.weights[name], **getattr(function, "identity", dict)()}
            for name, function in self.functions.items()
        }

    def reasons(self) -> dict[str, str]:
        """Why the last image failed that did, by name."""
        return {
            name: reason for name, function in self.functions.items() if (reason := getattr(function, "reason", ""))
        }

    def __call__(self, prompts: list[Prompt], images: Tensor) -> RewardBatch:
        """Rewards of images float [B, 3, H, W] in [0, 1] for their prompts. Raises UserError on a wrong number of
        answers."""
        return self.combine(self.answers(prompts, images))

    def answers(self, prompts: list[Prompt], images: Tensor) -> dict[str, list[float | None]]:
        """What every reward says of every image, by name: a number, NaN (failed) or None (not applicable)."""
        found = {}
        for name, function in self.functions.items():
            values = function(prompts=[p.text for p in prompts], completions=images, specs=[p.spec for p in prompts])
            if len(values) != len(prompts):
                raise UserError(
                    f"reward {name!r} answered {len(values)} values for {len(prompts)} images: "
                    "it must answer one number or None per image"
                )
            found[name] = [None if value is None else float(value) for value in values]
        return found

    def combine(self, answers: dict[str, list[float | None]]) -> RewardBatch:
        """The weighted sum of `answers`, those of all images of an iteration: they are what `normalise` scores
        against."""
        import torch

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
    import torch

    finite = value[torch.isfinite(value)]
    if len(finite) < 2:
        return value
    return (value - finite.mean()) / (finite.std() + 1e-5)
