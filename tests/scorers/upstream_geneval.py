"""GenEval's published program (evaluation/evaluate_images.py) restated, without our code.

It sorts with numpy's default, which keeps the order of equal scores where there are few; here it is asked for.
"""

import numpy as np


def boxes_of(found, tag):
    """A class's detections [n, 5] in the detector's order -> indices of those kept, in upstream's."""
    threshold, kept = (0.9 if tag == "counting" else 0.3), {}
    for cls in {one.cls for one in found}:
        own = [one for one in found if one.cls == cls]
        scores = np.array([one.score for one in own])
        ordering = np.argsort(scores, kind="stable")[::-1]
        ordering = ordering[scores[ordering] > threshold][:16]
        if len(ordering):
            kept[cls] = [own[index] for index in ordering]
    return kept


def relations(a, b):
    """In which the first stands to the second."""
    first, second = np.array(a.box).reshape(2, 2), np.array(b.box).reshape(2, 2)
    offset = first.mean(axis=0) - second.mean(axis=0)
    dims = np.abs(np.diff(first, axis=0))[0] + np.abs(np.diff(second, axis=0))[0]
    revised = np.maximum(np.abs(offset) - 0.1 * dims, 0) * np.sign(offset)
    if np.all(np.abs(revised) < 1e-3):
        return set()
    dx, dy = revised / np.linalg.norm(offset)
    holds = {"left of": dx < -0.5, "right of": dx > 0.5, "above": dy < -0.5, "below": dy > 0.5}
    return {name for name, true in holds.items() if true}


def is_right(found, spec, colour_of):
    """Whether a picture is right."""
    objects, correct, groups = boxes_of(found, spec["tag"]), True, []
    for req in spec["include"]:
        matched, own = True, objects.get(req["class"], [])[: req["count"]]
        if len(own) < req["count"]:
            correct = matched = False
        else:
            if "color" in req and [colour_of(one) for one in own].count(req["color"]) < req["count"]:
                correct = matched = False
            if "position" in req and matched:
                wanted, target = req["position"]
                if groups[target] is None:
                    correct = matched = False
                elif any(wanted not in relations(one, other) for one in own for other in groups[target]):
                    correct = matched = False
        groups.append(own if matched else None)
    for req in spec["exclude"]:
        if len(objects.get(req["class"], [])) >= req["count"]:
            correct = False
    return correct
