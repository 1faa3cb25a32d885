"""GenEval's decision rule, apart from any detector.

Restated from github djghosh13/geneval @ af4902f24d3c (MIT; paper arXiv 2310.11513). Boxes are (x1, y1, x2, y2) in px, y
down. Pure functions; the embedded world and the real benchmark both decide through them.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

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

    cls: str
    score: float
    box: Box


@dataclass(frozen=True)
class Verdict:
    """correct; reason: one clause per failure, empty when correct; evidence: kept boxes [x1, y1, x2, y2, score] by
    class.
    """

    correct: bool
    reason: str
    evidence: dict


def box_iou(one: Box, other: Box) -> float:
    """Intersection over union with areas counted in whole pixels, i.e. every side one longer; 0 for empty boxes."""

    def area(box: Sequence[float]) -> float:
        return max(box[2] - box[0] + 1, 0) * max(box[3] - box[1] + 1, 0)

    shared = area([max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])])
    union = area(one) + area(other) - shared
    return shared / union if union else 0.0


def filter_boxes(detections: Iterable[Detected], tag: str, max_overlap: float = 1.0) -> dict[str, list[Detected]]:
    """The detections that count, by class, best first: score strictly above the threshold, then the first 16 of a
    class. Of equal scores the later detection comes first, as upstream reverses an ascending sort.

    `max_overlap` 1.0 (the benchmark's setting) suppresses nothing; below it, a box whose IoU with a better kept one is
    at least `max_overlap` is dropped. Classes with nothing left are absent.
    """
    threshold = COUNTING_THRESHOLD if tag == "counting" else THRESHOLD
    by_class: dict[str, list[Detected]] = {}
    for item in reversed(sorted(detections, key=lambda item: item.score)):
        if item.score > threshold:
            by_class.setdefault(item.cls, []).append(item)
    kept = {}
    for cls, items in by_class.items():
        kept[cls] = []
        for item in items[:MAX_OBJECTS]:
            if max_overlap == 1.0 or all(box_iou(item.box, better.box) < max_overlap for better in kept[cls]):
                kept[cls].append(item)
    return kept


def relative_position(box: Box, target: Box) -> set[str]:
    """The relations in which `box` stands to `target`; none, one, or two (both axes may hold)."""
    offset, sides = [], []
    for axis in (0, 1):
        offset.append((box[axis] + box[axis + 2]) / 2 - (target[axis] + target[axis + 2]) / 2)
        sides.append(abs(box[axis + 2] - box[axis]) + abs(target[axis + 2] - target[axis]))
    revised = [
        math.copysign(max(abs(along) - POSITION_SLACK * side, 0.0), along)
        for along, side in zip(offset, sides, strict=True)
    ]
    if all(abs(along) < 1e-3 for along in revised):
        return set()
    dx, dy = (along / math.hypot(*offset) for along in revised)
    holds = {
        "left of": dx < -POSITION_SHARE,
        "right of": dx > POSITION_SHARE,
        "above": dy < -POSITION_SHARE,
        "below": dy > POSITION_SHARE,
    }
    return {name for name, value in holds.items() if value}


def judge(detections: Iterable[Detected], spec: dict, colour_of: Callable[[Detected], str]) -> Verdict:
    """One image's verdict under a GenEval specification ({"tag", "include", "exclude"}).

    For each clause of `include` the `count` best boxes of the class must exist, show the colour, and all stand in the
    relation to all boxes of the target clause; further boxes are ignored unless `exclude` forbids them. `colour_of`
    names the colour of a detection and is asked only where the specification wants one. Raises UserError for a relation
    to a later clause.
    """
    kept = filter_boxes(detections, spec["tag"])
    failures: list[str] = []
    groups: list[list[Detected] | None] = []
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


def _clause_failure(clause: dict, candidates: list, groups: list, colour_of: Callable[[Detected], str]) -> str:
    """Why a clause of `include` fails, or ""."""
    cls, count = clause["class"], clause["count"]
    if len(candidates) < count:
        return f"{len(candidates)} of {count} {cls}"
    if "color" in clause:
        right = sum(colour_of(item) == clause["color"] for item in candidates)
        if right < count:
            return f"{right} of {count} {cls} in {clause['color']}"
    if "position" in clause:
        relation, target = clause["position"]
        if not 0 <= target < len(groups):
            raise UserError(
                f"the specification asks for a {cls} {relation} clause {target}, but only the {len(groups)} clauses "
                "before it may be named: put the target first"
            )
        if groups[target] is None:
            return f"no target for {cls} to be {relation}"
        for item in candidates:
            if any(relation not in relative_position(item.box, other.box) for other in groups[target]):
                return f"{cls} is not {relation} its target"
    return ""


@dataclass(frozen=True)
class Summary:
    """tasks: share of correct images per task; overall: unweighted mean of the tasks; images: share of correct images;
    prompts: share of prompts with at least one correct image. All in 0..1."""

    tasks: dict[str, float]
    overall: float
    images: float
    prompts: float


def aggregate(records: Sequence[dict]) -> Summary:
    """Scores of records {"prompt_id", "category", "score" (0 or 1)}; raises UserError when there are none."""
    if not records:
        raise UserError("GenEval has no judged image to aggregate: generate and score some first")
    by_task: dict[str, list[float]] = {}
    by_prompt: dict[str, float] = {}
    for record in records:
        by_task.setdefault(record["category"], []).append(record["score"])
        by_prompt[record["prompt_id"]] = max(record["score"], by_prompt.get(record["prompt_id"], 0.0))
    ordered = sorted(by_task, key=lambda task: TASKS.index(task) if task in TASKS else len(TASKS))
    tasks = {task: sum(by_task[task]) / len(by_task[task]) for task in ordered}
    return Summary(
        tasks=tasks,
        overall=sum(tasks.values()) / len(tasks),
        images=sum(record["score"] for record in records) / len(records),
        prompts=sum(by_prompt.values()) / len(by_prompt),
    )
