"""GenEval's margins against its hard rule."""

import random
from dataclasses import dataclass

import pytest

from bench.scorers.geneval.rule import COLOURS, judge
from bench.scorers.geneval.soft import FLOOR, margins
from htgrpo.base.errors import UserError

CLASSES = ("cat", "dog", "cup")
RELATIONS = ("left of", "right of", "above", "below")


@dataclass(frozen=True)
class Found:
    cls: str
    score: float
    box: tuple
    logits: tuple = (0.0,) * 10


def detection(draw):
    x, y = draw.uniform(0, 400), draw.uniform(0, 400)
    # raised to a power, so that scores lie on both sides of both thresholds
    score = draw.uniform(FLOOR, 1) ** draw.choice((0.1, 1))
    box = (x, y, x + draw.uniform(1, 112), y + draw.uniform(1, 112))
    return Found(draw.choice(CLASSES), score, box, tuple(draw.gauss(20, 3) for _ in COLOURS))


def specification(draw, found):
    """A specification that some picture meets, and about one half of these do."""
    include = []
    for number in range(draw.randint(1, 2)):
        clause = {"class": draw.choice(CLASSES), "count": draw.randint(1, 3) if draw.random() < 0.3 else 1}
        best = max((one for one in found if one.cls == clause["class"]), key=lambda one: one.score, default=None)
        if draw.random() < 0.4:
            likely = COLOURS[best.logits.index(max(best.logits))] if best else "red"
            clause["color"] = likely if draw.random() < 0.7 else draw.choice(COLOURS)
        if number and draw.random() < 0.6:
            clause["position"] = (draw.choice(RELATIONS), 0)
        include.append(clause)
    spec = {"tag": draw.choice(("counting", "position")), "include": include}
    if draw.random() < 0.3:
        spec["exclude"] = [{"class": draw.choice(CLASSES), "count": draw.randint(1, 4)}]
    return spec


def test_above_one_half_exactly_when_the_hard_rule_passes():
    """On 50,000 random detections."""
    draw, seen, passed, pictures = random.Random(0), 0, 0, 0
    while seen < 50_000:
        found = [detection(draw) for _ in range(draw.randint(1, 8))]
        spec = specification(draw, found)
        hard = judge(found, spec, lambda one: COLOURS[one.logits.index(max(one.logits))])
        soft = margins(found, spec, lambda one: dict(zip(COLOURS, one.logits)))
        assert (soft.score > 0.5) is hard.correct, (spec, found, soft, hard)
        assert 0 <= soft.score <= soft.gm + 1e-12 and soft.gm <= 1
        seen, passed, pictures = seen + len(found), passed + hard.correct, pictures + 1
    assert 0.1 < passed / pictures < 0.9


def test_a_clause_is_worth_more_the_clearer_it_holds():
    def presence(score, tag="single_object"):
        spec = {"tag": tag, "include": [{"class": "cat", "count": 1}]}
        return margins([Found("cat", score, (0, 0, 9, 9))], spec, lambda one: dict(zip(COLOURS, one.logits))).score

    assert presence(0.1) < presence(0.29) < 0.5 < presence(0.31) < presence(0.9)
    assert presence(0.7, "counting") < 0.5 < presence(0.95, "counting")
    assert presence(0.29) == pytest.approx((0.29 / 0.71) / (0.29 / 0.71 + 0.3 / 0.7))


def test_a_detection_without_a_pixel_has_no_colour():
    spec = {"tag": "colors", "include": [{"class": "cat", "count": 1, "color": "red"}]}
    soft = margins([Found("cat", 0.9, (0, 0, 9, 9))], spec, lambda one: {})
    assert soft.score == soft.gm == 0.0 and len(soft.clauses) == 2


def test_a_relation_to_a_later_clause_is_refused():
    spec = {"tag": "position", "include": [{"class": "cat", "count": 1, "position": ("above", 0)}]}
    with pytest.raises(UserError, match="put the target first"):
        margins([], spec, lambda one: dict(zip(COLOURS, one.logits)))
