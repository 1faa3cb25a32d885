"""GenEval's decision rule, apart from any detector.

Restated from github djghosh13/geneval @ af4902f24d3c (MIT; paper arXiv 2310.11513). Boxes are (x1, y1, x2, y2) in px, y
down. Pure functions; the embedded world and the real benchmark both decide through them.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from htgrpo.base.errors import UserError

TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
THRESHOLD, COUNTING_THRESHOLD = 0.3, 0.9  # a box is kept when its score is strictly greater
MAX_OBJECTS = 16  # per class, after the threshold
POSITION_SLACK = 0.1  # of the summed box sides; taken off each offset
POSITION_SHARE = 0.5  # of the offset's length; a relation needs strictly more along its axis
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")

Box = tuple[float, float, float, float]


class Detected(Protocol):
    """What the rule reads of a detection; `colour_of` may read more."""

    @property
    def cls(self) -> str: ...

    @property
    def score(self) -> float: ...

    @property
    def box(self) -> Box: ...


One = TypeVar("One", bound=Detected)


@dataclass(frozen=True)
class Verdict:
    """correct; reason: one clause per failure, empty when correct; evidence: kept boxes [x1, y1, x2, y2, score] by
    class.
    """

    correct: bool
    reason: str
    evidence: dict


def filter_boxes(detections: Iterable[One], tag: str) -> dict[str, list[One]]:
    """The detections that count, by class, best first: score strictly above the threshold, then the first 16 of a
    class. Of equal scores the later detection comes first, as upstream reverses an ascending sort. Classes with nothing
    left are absent.
    """
    threshold = COUNTING_THRESHOLD if tag == "counting" else THRESHOLD
    by_class: dict[str, list[One]] = {}
    for item in reversed(sorted(detections, key=lambda item: item.score)):
        if item.score > threshold:
            by_class.setdefault(item.cls, []).append(item)
    return {cls: items[:MAX_OBJECTS] for cls, items in by_class.items()}


def shares(box: Box, target: Box) -> tuple[float, float]:
    """How much of the offset of `box` from `target`, less the slack, is along x and along y, each signed: in -1..1."""
    offset, sides = [], []
    for axis in (0, 1):
        offset.append((box[axis] + box[axis + 2]) / 2 - (target[axis] + target[axis + 2]) / 2)
        sides.append(abs(box[axis + 2] - box[axis]) + abs(target[axis + 2] - target[axis]))
    revised = [
        math.copysign(max(abs(along) - POSITION_SLACK * side, 0.0), along)
        for along, side in zip(offset, sides, strict=True)
    ]
    if all(abs(along) < 1e-3 for along in revised):
        return 0.0, 0.0
    dx, dy = (along / math.hypot(*offset) for along in revised)
    return dx, dy


def relative_position(box: Box, target: Box) -> set[str]:
    """The relations in which `box` stands to `target`; none, one, or two (both axes may hold)."""
    dx, dy = shares(box, target)
    holds = {
        "left of": dx < -POSITION_SHARE,
        "right of": dx > POSITION_SHARE,
        "above": dy < -POSITION_SHARE,
        "below": dy > POSITION_SHARE,
    }
    return {name for name, value in holds.items() if value}


def target_of(clause: dict, groups: list[list[One] | None]) -> list[One] | None:
    """The boxes to which a clause asks for a relation; None where their own clause failed. groups: of the clauses
    before it. Raises UserError for a later clause."""
    relation, target = clause["position"]
    if not 0 <= target < len(groups):
        raise UserError(
            f"the specification asks for a {clause['class']} {relation} clause {target}, but only the {len(groups)} "
            "clauses before it may be named: put the target first"
        )
    return groups[target]


def all_related(relation: str, items: list[One], targets: list[One]) -> bool:
    """Whether each of `items` stands in the relation to each of `targets`."""
    return all(relation in relative_position(item.box, other.box) for item in items for other in targets)


def judge(detections: Iterable[One], spec: dict, colour_of: Callable[[One], str]) -> Verdict:
    """One image's verdict under a GenEval specification ({"tag", "include", "exclude"}).

    For each clause of `include` the `count` best boxes of the class must exist, show the colour, and all stand in the
    relation to all boxes of the target clause; further boxes are ignored unless `exclude` forbids them. `colour_of`
    names the colour of a detection and is asked only where the specification wants one. Raises UserError for a relation
    to a later clause.
    """
    kept = filter_boxes(detections, spec["tag"])
    failures: list[str] = []
    groups: list[list[One] | None] = []
    for clause in spec.get("include", []):
        candidates = kept.get(clause["class"], [])[: clause["count"]]
        failure = _clause_failure(clause, candidates, groups, colour_of)
        groups.append(None if failure else candidates)
        if failure:
            failures.append(failure)
    for clause in spec.get("exclude", []):
        found = len(kept.get(clause["class"], []))
        if found >= clause["count"]:
            failures.append(f"{found} {clause['class']} where fewer than {clause['count']} are allowed")
    boxes = {cls: [[*item.box, item.score] for item in items] for cls, items in kept.items()}
    return Verdict(not failures, "; ".join(failures), {"boxes": boxes})


def _clause_failure(
    clause: dict, candidates: list[One], groups: list[list[One] | None], colour_of: Callable[[One], str]
) -> str:
    """Why a clause of `include` fails, or ""."""
    cls, count = clause["class"], clause["count"]
    if len(candidates) < count:
        return f"{len(candidates)} of {count} {cls}"
    if "color" in clause:
        right = sum(colour_of(item) == clause["color"] for item in candidates)
        if right < count:
            return f"{right} of {count} {cls} in {clause['color']}"
    if "position" in clause:
        relation, targets = clause["position"][0], target_of(clause, groups)
        if targets is None:
            return f"no target for {cls} to be {relation}"
        if not all_related(relation, candidates, targets):
            return f"{cls} is not {relation} its target"
    return ""
