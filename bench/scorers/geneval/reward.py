"""GenEval as a training reward: the two rules of yifan123/reward-server @ 92ac29fb, reward_server/gen_eval.py. Pure
functions.

They are not the benchmark's rule: both want *exactly* the number of objects of each included class, and neither looks
at `exclude`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.scorers.geneval.rule import One, all_related, filter_boxes, target_of


@dataclass(frozen=True)
class Reward:
    """strict: whether every clause holds; partial: the mean of the clauses' parts, at most 1, negative where far too
    many objects are found; parts: those, in the order of the clauses."""

    strict: bool
    partial: float
    parts: tuple[float, ...]


def reward(detections: Iterable[One], spec: dict, colour_of: Callable[[One], str]) -> Reward:
    """One picture's reward under a GenEval specification ({"tag", "include"}); boxes are filtered as in the benchmark.

    A clause's parts: 1 - |wanted - found| / wanted. Where the number is wrong, 0 more if it wants a colour or a
    relation. Else for a colour 1 - |wanted - of that colour| / wanted; for a relation, asked only where the colour is
    right, 0 without a target, or 1 after all pairs were looked at, with a 0 before it where one of them failed. No
    clauses give 0. Raises UserError for a relation to a later clause.
    """
    kept = filter_boxes(detections, spec["tag"])
    parts: list[float] = []
    groups: list[list[One] | None] = []
    for clause in spec.get("include", []):
        found = kept.get(clause["class"], [])
        right = _clause(clause, found, groups, colour_of, parts)
        groups.append(found if right else None)
    return Reward(None not in groups, sum(parts) / len(parts) if parts else 0.0, tuple(parts))


def _clause(
    clause: dict, found: list[One], groups: list[list[One] | None], colour_of: Callable[[One], str], parts: list[float]
) -> bool:
    """Adds a clause's parts and says whether it holds."""
    count = clause["count"]
    parts.append(1 - abs(count - len(found)) / count)
    if len(found) != count:
        if "color" in clause or "position" in clause:
            parts.append(0.0)
        return False
    if "color" in clause:
        right = sum(colour_of(item) == clause["color"] for item in found)
        parts.append(1 - abs(count - right) / count)
        if right != count:
            return False
    if "position" not in clause:
        return True
    targets = target_of(clause, groups)
    if targets is None:
        parts.append(0.0)
        return False
    holds = all_related(clause["position"][0], found, targets)
    parts += [1.0] if holds else [0.0, 1.0]
    return holds
