"""What a verdict's evidence holds, whatever benchmark wrote it: boxes, answers, a reason, single values."""

import json
from dataclasses import dataclass, field
from typing import Any

from reports.run.questions import asked_questions

HIDDEN = {"reason", "questions", "found", "boxes", "details", "metadata", "mode", "colours", "resized_to", "testpoints"}
MOST_VALUES, MOST_LETTERS = 8, 240


@dataclass(frozen=True)
class Box:
    """An object that was found. corners: x1, y1, x2, y2 in px of the frame; counted: whether the rule kept it."""

    name: str
    corners: tuple[float, ...]
    score: float
    counted: bool = True


@dataclass(frozen=True)
class Seen:
    """Evidence in parts. frame: (width, height) that boxes refer to, None for the picture's own size; questions:
    {"text", "category", "answer", "score"}, the last two before and after zeroing, each that was asked once; values:
    whatever else there is, by name."""

    reason: str = ""
    boxes: list[Box] = field(default_factory=list)
    frame: tuple[int, int] | None = None
    questions: list[dict] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)


def read_evidence(evidence: Any) -> Seen:
    """The parts of one record's evidence; what is not understood is left out."""
    if not isinstance(evidence, dict):
        return Seen(questions=_questions(evidence))
    size = evidence.get("resized_to")
    frame = (int(size[1]), int(size[0])) if isinstance(size, list) and len(size) == 2 else None
    rest = {key: _value(value) for key, value in evidence.items() if key not in HIDDEN}
    shown = {key: text for key, text in rest.items() if text}
    return Seen(
        str(evidence.get("reason") or ""),
        _boxes(evidence),
        frame,
        _questions(evidence),
        dict(list(shown.items())[:MOST_VALUES]),
    )


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value) if value else ""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value) if isinstance(value, (int, str, list)) else ""
    return text if len(text) <= MOST_LETTERS else text[:MOST_LETTERS] + " …"


def _questions(evidence: Any) -> list[dict]:
    """What was asked. Where that is testpoints, the "questions" beside them count each in every category that it is of."""
    points = evidence.get("testpoints") if isinstance(evidence, dict) else None
    if isinstance(points, list) and all(isinstance(one, dict) and {"name", "holds"} <= set(one) for one in points):
        return [
            {
                "text": _value(": ".join(filter(None, (one["name"], one.get("analysis"))))),
                "category": one["name"],
                "answer": None,
                "score": float(one["holds"]),
            }
            for one in points
        ]
    return [
        {
            "text": str(q.get("text") or q.get("question") or (f"question {q['id']}" if "id" in q else q["category"])),
            "category": q["category"],
            "answer": q.get("answer"),
            "score": q["score"],
        }
        for q in asked_questions(evidence)
    ]


def _boxes(evidence: dict) -> list[Box]:
    """Everything found, best first; without such a list, the boxes that the rule kept."""
    kept = evidence.get("boxes", evidence.get("details"))
    if isinstance(kept, str):
        try:
            kept = json.loads(kept)
        except ValueError:
            kept = None
    kept = kept if isinstance(kept, dict) else {}
    counted = [(name, [float(v) for v in box]) for name, boxes in kept.items() for box in boxes if len(box) == 5]
    found = [item for item in evidence.get("found", []) if isinstance(item, list) and len(item) == 7]
    if found:
        return [
            Box(
                f"{name}, {colour}",
                tuple(map(float, box)),
                float(score),
                not kept or (name, [*map(float, box), score]) in counted,
            )
            for name, colour, *box, score in found
        ]
    colours = {(c[0], tuple(c[1])): c[2] for c in evidence.get("colours", []) if isinstance(c, list) and len(c) == 3}
    named = [(", ".join(filter(None, [name, colours.get((name, tuple(box)))])), box) for name, box in counted]
    return sorted((Box(name, tuple(box[:4]), box[4]) for name, box in named), key=lambda box: -box.score)
