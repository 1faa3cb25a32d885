"""Another prompt's group beside every group: what a rule is fed where it is to be shown that it must be its own."""

from dataclasses import replace
from typing import Any

import torch

from htgrpo.interface import RolloutGroup
from htgrpo.parallel.ranks import Ranks

FIELDS = ("codes", "reveal_step", "rank", "reward", "entropy")


def with_others(
    groups: list[RolloutGroup], places: list[int], ranks: Ranks, generator: torch.Generator
) -> list[RolloutGroup]:
    """The groups of this rank, each with another one of the iteration, of whichever rank: a random cycle through all,
    by their `places` among them. A single group has no other."""
    sent = [{name: getattr(group, name).tolist() for name in FIELDS} for group in groups]
    told = ranks.gather([places, sent])
    known = {place: each for theirs, parts in told for place, each in zip(theirs, parts, strict=True)}
    if len(known) < 2:
        return groups
    cycle = torch.randperm(len(known), generator=generator).tolist()
    after = {place: cycle[(i + 1) % len(cycle)] for i, place in enumerate(cycle)}
    return [
        replace(group, other=_group(group, known[after[place]])) for group, place in zip(groups, places, strict=True)
    ]


def _group(like: RolloutGroup, sent: dict) -> RolloutGroup:
    """A group of the same grid from what was sent of it; its prompt is not known."""
    double = ("reward", "entropy")
    values: dict[str, Any] = {
        name: torch.tensor(sent[name], dtype=torch.float64 if name in double else torch.long) for name in FIELDS
    }
    return RolloutGroup((), like.grid, **values)
