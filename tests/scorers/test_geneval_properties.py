"""Properties of GenEval's rule, and a second version of it after the words of the specification, on random objects."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.scorers.geneval.detector import Detection
from tests.scorers.geneval_made import ByBox, judged, objects, requirements, unique

# --- a second version of the rule, after the words of the specification ---


def second_version(found, requirements, colour_of):
    """Whether a picture is right, with numpy and no shared code."""
    limit = 0.9 if requirements["tag"] == "counting" else 0.3
    objects = {}
    for cls in {one.cls for one in found}:
        kept = sorted(
            (one for one in found if one.cls == cls and one.score > limit), key=lambda one: one.score, reverse=True
        )
        objects[cls] = kept[:16]
    right, groups = True, []
    for clause in requirements["include"]:
        group = objects.get(clause["class"], [])[: clause["count"]]
        ok = len(group) == clause["count"]
        if ok and "color" in clause:
            ok = [colour_of(one) for one in group].count(clause["color"]) >= clause["count"]
        if ok and "position" in clause:
            relation, target = clause["position"]
            pairs = [(one, other) for one in group for other in groups[target] or []]
            ok = groups[target] is not None and all(
                relation in second_relations(one.box, other.box) for one, other in pairs
            )
        groups.append(group if ok else None)
        right &= ok
    return right and all(len(objects.get(clause["class"], [])) < clause["count"] for clause in requirements["exclude"])


def second_relations(one, other):
    boxes = np.array([one, other], float).reshape(2, 2, 2)
    offset = boxes.mean(1)[0] - boxes.mean(1)[1]
    sides = np.abs(boxes[:, 1] - boxes[:, 0]).sum(0)
    kept = np.maximum(np.abs(offset) - 0.1 * sides, 0) * np.sign(offset)
    if (np.abs(kept) < 1e-3).all():
        return set()
    x, y = kept / np.linalg.norm(offset)
    holds = {"left of": x < -0.5, "right of": x > 0.5, "above": y < -0.5, "below": y > 0.5}
    return {name for name, value in holds.items() if value}


# --- properties ---


@settings(max_examples=300, deadline=None)
@given(st.lists(objects, max_size=20), requirements())
def test_both_versions_agree(found, wanted):
    found = unique(found)
    names = ByBox()
    assert judged(found, wanted, names)["score"] == second_version(found, wanted, lambda one: names.of(None, one))


@settings(max_examples=100, deadline=None)
@given(st.lists(objects, max_size=12), requirements(), st.randoms(use_true_random=False))
def test_the_order_of_detections_does_not_matter(found, wanted, shuffle):
    found = unique(found)
    mixed = list(found)
    shuffle.shuffle(mixed)
    assert judged(found, wanted, ByBox()) == judged(mixed, wanted, ByBox())


@settings(max_examples=100, deadline=None)
@given(
    st.lists(objects, max_size=8),
    requirements(),
    st.integers(-500, 500),
    st.integers(-500, 500),
    st.sampled_from([1, 2, 4]),
)
def test_moving_or_enlarging_a_picture_changes_no_uncoloured_verdict(found, wanted, dx, dy, factor):
    for clause in wanted["include"]:
        clause.pop("color", None)

    def moved(one):
        x1, y1, x2, y2 = one.box
        return Detection(
            one.cls, one.score, (factor * x1 + dx, factor * y1 + dy, factor * x2 + dx, factor * y2 + dy), one.mask
        )

    found = unique(found)
    margins = [abs(v) for a in found for b in found for v in _margins(a.box, b.box)]
    if all(margin > 1e-2 for margin in margins):  # a boundary may fall to either side in floating point
        assert judged(found, wanted)["score"] == judged([moved(one) for one in found], wanted)["score"]


def _margins(one, other):
    """How far a pair is from the rule's boundaries."""
    offset = [(one[axis] + one[axis + 2] - other[axis] - other[axis + 2]) / 2 for axis in (0, 1)]
    length = math.hypot(*offset)
    sides = [abs(one[axis + 2] - one[axis]) + abs(other[axis + 2] - other[axis]) for axis in (0, 1)]
    kept = [max(abs(along) - 0.1 * side, 0) for along, side in zip(offset, sides)]
    return [along / length - 0.5 for along in kept] + [max(kept) - 1e-3] if length else []


@settings(max_examples=100, deadline=None)
@given(st.lists(objects, max_size=10), requirements(), objects)
def test_a_weaker_object_more_never_helps_or_hurts_what_was_complete(found, wanted, extra):
    wanted["exclude"] = []
    found = unique(found)
    weakest = min([one.score for one in found], default=1.0)
    more = [*found, Detection(extra.cls, weakest / 2, extra.box, extra.mask)]
    if judged(found, wanted, ByBox())["score"] == 1:
        assert judged(more, wanted, ByBox())["score"] == 1
