"""GenEval's decision rule read as margins: how clearly each clause of a specification holds, in 0..1, above one half
exactly when the hard rule (rule.py) lets it pass, ties aside.

A diagnostic beside the verdict, never in its place: a policy that was trained on the detector may raise its confidence
without making more pictures right.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.scorers.geneval.rule import (
    COUNTING_THRESHOLD,
    MAX_OBJECTS,
    POSITION_SHARE,
    THRESHOLD,
    Box,
    Detected,
    Verdict,
    shares,
    target_of,
)

FLOOR, CAP = 0.02, 0.98  # detections are read from FLOOR on; one that is absent counts as FLOOR
TEMPERATURE, COLOUR_TEMPERATURE, WIDTH = 1.0, 1.0, 0.1  # of presence (in logits), of colour (in logits), of position
CONSTANTS = {
    "floor": FLOOR,
    "cap": CAP,
    "temperature": TEMPERATURE,
    "colour_temperature": COLOUR_TEMPERATURE,
    "width": WIDTH,
}
"""For the identity of who reads by them. They were set before any experiment."""
AXES = {"soft": "least clause", "gm": "geometric mean of clauses"}
"""What tables show of `Margins.evidence`."""
NOTE = "how clearly pictures are right: a policy trained on the detector may raise it with no more of them right"
ALONG = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}
"""The axis and the sign of each relation."""

One = TypeVar("One", bound=Detected)


@dataclass(frozen=True)
class Margins:
    """clauses: the value of every clause, in 0..1. score: the least of them, above one half exactly when the picture is
    correct. gm: their geometric mean, which moves with every clause and has no such link."""

    score: float
    gm: float
    clauses: tuple[float, ...]

    @property
    def evidence(self) -> dict[str, Any]:
        """What a record keeps."""
        return {"soft": self.score, "gm": self.gm, "clauses": list(self.clauses)}

    def agree(self, verdict: Verdict, whose: str) -> None:
        """Raises RuntimeError where the hard rule calls the picture right and this does not, or the other way round."""
        if (self.score > 0.5) is not verdict.correct:
            raise RuntimeError(
                f"{whose} gets {self.score!r}, where the hard rule says {verdict.reason or 'right'}: the two must agree"
            )


def margins(
    detections: Iterable[One], spec: dict, colours: Callable[[One], Mapping[str, float]], reported: float = THRESHOLD
) -> Margins:
    """One picture's margins under a GenEval specification (rule.judge). detections: with those below the threshold,
    from FLOOR on. colours: of a detection, a logit for every colour, none where it has no pixel. reported: the score
    from which on the hard rule is given detections at all. Raises UserError for a relation to a later clause."""
    threshold = max(COUNTING_THRESHOLD if spec["tag"] == "counting" else THRESHOLD, reported)
    ranked = by_class(detections)
    values: list[float] = []
    groups: list[list[One] | None] = []
    for clause in spec.get("include", []):
        items = ranked.get(clause["class"], [])
        best = items[: clause["count"]]
        values.append(present(items, clause["count"], threshold))
        if "color" in clause:
            values += [coloured(colours(item), clause["color"]) for item in best]
        if "position" in clause:
            targets = target_of(clause, groups) or []
            relation = clause["position"][0]
            values += [related(relation, item.box, other.box) for item in best for other in targets]
        groups.append(best)
    for clause in spec.get("exclude", []):
        values.append(1 - present(ranked.get(clause["class"], []), clause["count"], threshold))
    if not values:
        return Margins(1.0, 1.0, ())
    gm = math.exp(sum(map(math.log, values)) / len(values)) if min(values) > 0 else 0.0
    return Margins(min(values), gm, tuple(values))


def by_class(detections: Iterable[One]) -> dict[str, list[One]]:
    """The detections of each class, best first, as many as the rule reads, in its order (rule.filter_boxes)."""
    ranked: dict[str, list[One]] = {}
    for item in reversed(sorted(detections, key=lambda item: item.score)):
        ranked.setdefault(item.cls, []).append(item)
    return {cls: items[:MAX_OBJECTS] for cls, items in ranked.items()}


def present(items: Sequence[Detected], count: int, threshold: float) -> float:
    """Whether at least `count` of the ranked detections of a class are there."""
    score = items[count - 1].score if count <= len(items) else FLOOR
    return logistic((logit(min(max(score, FLOOR), CAP)) - logit(threshold)) / TEMPERATURE)


def coloured(logits: Mapping[str, float], colour: str) -> float:
    """Whether a detection has this colour rather than any other. Of equal ones the first is its colour, as for the hard
    rule: in fp16 there are some."""
    if not logits:
        return 0.0
    others = max(value for name, value in logits.items() if name != colour)
    value = logistic((logits[colour] - others) / COLOUR_TEMPERATURE)
    return max(value, math.nextafter(0.5, 1)) if max(logits, key=logits.__getitem__) == colour else value


def related(relation: str, box: Box, target: Box) -> float:
    """Whether `box` stands in this relation to `target`."""
    axis, sign = ALONG[relation]
    return logistic((sign * shares(box, target)[axis] - POSITION_SHARE) / WIDTH)


def logit(share: float) -> float:
    """The log odds of a share strictly between 0 and 1."""
    return math.log(share) - math.log1p(-share)


def logistic(value: float) -> float:
    """The share of which `value` is the log odds; for a value far below zero 0."""
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0
