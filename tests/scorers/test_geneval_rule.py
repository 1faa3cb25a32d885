"""GenEval's decisions on constructed objects over every branch of the rule, its properties, and the two rules of the
reward-server. tests/bench/test_upstream_rules.py has the rule against the published program."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.scorers.geneval.detector import Detection
from bench.scorers.geneval.reward import reward
from bench.scorers.geneval.rule import judge, relative_position
from htgrpo.base.errors import UserError
from tests.scorers.geneval_made import (
    BOTH,
    CHAIN,
    CUP,
    DOG,
    LEFT,
    ONE,
    PAIRS,
    RED,
    THREE,
    TWO,
    ByBox,
    Names,
    box,
    judged,
    objects,
    requirements,
    row,
    spec,
    unique,
    want,
)
from tests.scorers.upstream_geneval import is_right

TABLE = [
    # presence and its threshold: strictly more than 0.3
    ("found", [CUP], ONE, 1, ""),
    ("nothing found", [], ONE, 0, "0 of 1 cup"),
    ("another class", [DOG], ONE, 0, "0 of 1 cup"),
    ("at the threshold", [box("cup", 50, 50, 0.3)], ONE, 0, "0 of 1 cup"),
    ("just above it", [box("cup", 50, 50, 0.3 + 1e-6)], ONE, 1, ""),
    ("more than wanted", row(5), ONE, 1, ""),
    ("both", [CUP, DOG], TWO, 1, ""),
    ("one of two", [CUP], TWO, 0, "0 of 1 dog"),
    ("neither", [], TWO, 0, "0 of 1 cup; 0 of 1 dog"),
    # counting: strictly more than 0.9, exactly so many
    ("three", row(3), THREE, 1, ""),
    ("two", row(2), THREE, 0, "2 of 3 cup"),
    ("four", row(4), THREE, 0, "4 cup where fewer than 4 are allowed"),
    ("three and weak ones", [*row(3), box("cup", 200, 0, 0.9), box("cup", 230, 0, 0.5)], THREE, 1, ""),
    ("two and weak ones", [*row(2), box("cup", 200, 0, 0.9)], THREE, 0, "2 of 3 cup"),
    ("three and others", [*row(3), *row(9, cls="dog")], THREE, 1, ""),
    ("cap of 16 under the limit", row(17), spec("counting", want("cup", 16), exclude=[want("cup", 17)]), 1, ""),
    ("cap of 16 at the limit", row(17), spec("counting", want("cup", 16), exclude=[want("cup", 16)]), 0,
     "16 cup where"),
    ("cap of 16 below the number", row(17), spec("counting", want("cup", 17)), 0, "16 of 17 cup"),
    ("exclude alone", [CUP], spec("counting", exclude=[want("cup", 2)]), 1, ""),
    ("excluded alone", row(2), spec("counting", exclude=[want("cup", 2)]), 0, "2 cup where"),
    ("exclude of another class", [CUP, DOG], spec("counting", want("cup"), exclude=[want("dog", 1)]), 0, "1 dog where"),
    # relations: strictly more than half of the offset after a tenth of both sides
    ("left", [CUP, DOG], LEFT, 1, ""),
    ("mirrored", [box("cup", 250, 50), DOG], LEFT, 0, "cup is not left of its target"),
    ("on top of each other", [box("cup", 150, 50), DOG], LEFT, 0, "cup is not left of"),
    ("within the margin", [box("cup", 146, 50), DOG], LEFT, 0, "cup is not left of"),
    ("half is left", [box("cup", 142, 50), DOG], LEFT, 0, "cup is not left of"),
    ("more than half is left", [box("cup", 141.9, 50), DOG], LEFT, 1, ""),
    ("diagonal holds", [box("cup", 50, 150), DOG], LEFT, 1, ""),
    ("mostly below", [box("cup", 120, 150), DOG], LEFT, 0, "cup is not left of"),
    ("no target", [CUP], LEFT, 0, "0 of 1 dog; no target for cup to be left of"),
    ("best box only", [box("cup", 250, 50, 0.9), box("cup", 50, 50, 0.8), DOG], LEFT, 0, "cup is not left of"),
    ("every pair", [box("cup", 0, 0), box("cup", 30, 0), box("dog", 100, 0), box("dog", 130, 0)], PAIRS, 1, ""),
    (
        "one pair fails",
        [box("cup", 0, 0), box("cup", 115, 0), box("dog", 100, 0), box("dog", 130, 0)],
        PAIRS,
        0,
        "not left of",
    ),
    (
        "one target fails",
        [box("cup", 0, 0), box("cup", 30, 0), box("dog", 100, 0), box("dog", 15, 0)],
        PAIRS,
        0,
        "not left of",
    ),
    (
        "a misplaced clause is no target",
        [box("cup", 0, 0), box("dog", 50, 0), box("cat", 50, -50)],
        spec("position", want("cup"), want("dog", position=["left of", 0]), want("cat", position=["above", 1])),
        0,
        "dog is not left of its target; no target for cat to be above",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    "found, requirements, score, reason", [case[1:] for case in TABLE], ids=[case[0] for case in TABLE]
)
def test_decisions(found, requirements, score, reason):
    record = judged(found, requirements)
    assert record["score"] == score
    assert (reason in record["evidence"]["reason"]) if reason else record["evidence"]["reason"] == ""
    assert record["evidence"]["colours"] == []


@pytest.mark.parametrize(
    "relation, x, y", [("left of", -100, 0), ("right of", 100, 0), ("above", 0, -100), ("below", 0, 100)], ids=str
)
def test_every_relation(relation, x, y):
    found = [box("cup", 150 + x, 150 + y), box("dog", 150, 150)]
    for asked in ("left of", "right of", "above", "below"):
        requirements = spec("position", want("dog"), want("cup", position=[asked, 0]))
        assert judged(found, requirements)["score"] == (asked == relation)


COLOUR_TABLE = [
    ("right", [CUP], RED, {"x50": "red"}, 1, 1),
    ("wrong", [CUP], RED, {"x50": "blue"}, 0, 1),
    ("best only", [box("cup", 50, 0, 0.9), box("cup", 80, 0, 0.8)], RED, {"x50": "blue"}, 0, 1),
    ("missing", [DOG], RED, {}, 0, 0),
    ("both", [CUP, DOG], BOTH, {"x50": "red", "x150": "blue"}, 1, 2),
    ("swapped", [CUP, DOG], BOTH, {"x50": "blue", "x150": "red"}, 0, 2),
    ("one of each", [CUP, DOG], BOTH, {"x50": "red", "x150": "red"}, 0, 2),
    ("two of two", row(2), spec("colors", want("cup", 2, color="red")), {"x0": "red", "x30": "red"}, 1, 2),
    ("one of two", row(2), spec("colors", want("cup", 2, color="red")), {"x0": "red", "x30": "pink"}, 0, 2),
    ("target matched", [CUP, DOG], CHAIN, {"x150": "blue"}, 1, 1),
    ("target of another colour", [CUP, DOG], CHAIN, {"x150": "red"}, 0, 1),
]


@pytest.mark.parametrize(
    "found, requirements, by_place, score, asked",
    [case[1:] for case in COLOUR_TABLE],
    ids=[case[0] for case in COLOUR_TABLE],
)
def test_colours_decide(found, requirements, by_place, score, asked):
    names = Names(**by_place)
    record = judged(found, requirements, names)
    assert record["score"] == score and len(names.asked) == asked
    assert [colour for _, _, colour in record["evidence"]["colours"]] == list(by_place.values())[:asked]


def test_a_target_of_the_wrong_colour_is_no_target():
    assert "no target for cup" in judged([CUP, DOG], CHAIN, Names(x150="red"))["evidence"]["reason"]


def test_a_specification_may_lack_both_lists():
    assert judge([], {"tag": "colors"}, str).correct


@pytest.mark.parametrize("rule", [judge, reward])
def test_a_later_target_is_refused(rule):
    with pytest.raises(UserError, match="target first"):
        rule([CUP], spec("position", want("cup", position=["left of", 0])), str)


# --- where boxes stand ---


@pytest.mark.parametrize(
    "offset, relations",
    [
        ((-50, 0), {"left of"}),
        ((50, 0), {"right of"}),
        ((0, -50), {"above"}),
        ((0, 50), {"below"}),
        ((50, 50), {"right of", "below"}),
        ((-50, -50), {"left of", "above"}),
        ((50, 10), {"right of"}),
        ((0, 0), set()),
        ((2, 0), set()),  # all of the offset is slack: 0.1 * (10 + 10)
        ((2.0009, 0), set()),  # less than a thousandth is left
        ((4, 0), set()),  # exactly half of the length is left
        ((4.01, 0), {"right of"}),
        ((-4, 0), set()),
        ((-4.01, 0), {"left of"}),
        ((0, 4), set()),
        ((0, 4.01), {"below"}),
        ((0, -4), set()),
        ((0, -4.01), {"above"}),
    ],
)
def test_relative_position(offset, relations):
    assert relative_position(box("cup", *offset, side=10).box, box("cup", 0, 0, side=10).box) == relations


def test_hardly_any_offset_is_no_relation():
    assert relative_position((0.0009, 0, 0.0009, 0), (0, 0, 0, 0)) == set()
    assert relative_position((0.002, 0, 0.002, 0), (0, 0, 0, 0)) == {"right of"}


def test_slack_grows_with_both_boxes_and_ignores_corner_order():
    assert relative_position((10, -5, 20, 5), (-20, -20, 20, 20)) == {"right of"}
    assert relative_position((-40, -40, 60, 40), (-50, -40, 40, 40)) == set()
    assert relative_position((20, 5, 10, -5), (5, 5, -5, -5)) == relative_position((10, -5, 20, 5), (-5, -5, 5, 5))


@given(st.tuples(*[st.integers(-200, 200)] * 4), st.tuples(*[st.integers(-200, 200)] * 4))
def test_relations_are_mirrored(one, other):
    mirror = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    assert {mirror[name] for name in relative_position(one, other)} == relative_position(other, one)


# --- properties ---


@settings(max_examples=300, deadline=None)
@given(st.lists(objects, max_size=20), requirements())
def test_the_published_program_agrees(found, wanted):
    found = unique(found)
    names = ByBox()
    assert judged(found, wanted, names)["score"] == is_right(found, wanted, lambda one: names.of(None, one))


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


# --- rewards ---


RED_LEFT = spec("position", want("dog"), want("cup", color="red", position=["left of", 0]))
REWARDS = [
    ("exact", [CUP, DOG], TWO, {}, True, [1, 1]),
    ("one too many", [*row(2), DOG], TWO, {}, False, [0, 1]),
    ("far too many", row(4), ONE, {}, False, [-2]),
    ("nothing", [], ONE, {}, False, [0]),
    ("exclude is not looked at", row(3), spec("counting", want("cup", 3), exclude=[want("cup", 1)]), {}, True, [1]),
    ("two of three", row(2), THREE, {}, False, [2 / 3]),
    ("colour", [CUP], RED, {"x50": "red"}, True, [1, 1]),
    ("wrong colour", [CUP], RED, {"x50": "blue"}, False, [1, 0]),
    ("half of the colours", row(2), spec("colors", want("cup", 2, color="red")), {"x0": "red", "x30": "blue"}, False,
     [1, 0.5]),
    ("number wrong, colour wanted", row(2), RED, {}, False, [0, 0]),
    ("relation", [CUP, DOG], LEFT, {}, True, [1, 1, 1]),
    ("failed relation", [box("cup", 250, 50), DOG], LEFT, {}, False, [1, 1, 0, 1]),
    (
        "failed pairs count once",
        [box("cup", 0, 0), box("cup", 115, 0), box("dog", 100, 0), box("dog", 105, 0)],
        PAIRS,
        {},
        False,
        [1, 1, 0, 1],
    ),
    ("no target", [CUP], LEFT, {}, False, [0, 1, 0]),
    ("number wrong, relation wanted", [DOG], LEFT, {}, False, [1, 0, 0]),
    ("both wanted, number wrong", [DOG], RED_LEFT, {}, False, [1, 0, 0]),
    ("wrong colour, relation not asked", [CUP, DOG], RED_LEFT, {"x50": "blue"}, False, [1, 1, 0]),
    ("target of another colour", [CUP, DOG], CHAIN, {"x150": "red"}, False, [1, 0, 1, 0]),
    ("nothing wanted", [CUP], spec("counting"), {}, True, []),
]  # fmt: skip


@pytest.mark.parametrize(
    "found, wanted, by_place, strict, parts", [case[1:] for case in REWARDS], ids=[case[0] for case in REWARDS]
)
def test_rewards(found, wanted, by_place, strict, parts):
    names = Names(**by_place)
    got = reward(found, wanted, lambda one: names.of(None, one))
    assert got.strict is strict and got.parts == pytest.approx(parts)
    assert got.partial == pytest.approx(sum(parts) / len(parts) if parts else 0.0)
    assert len(names.asked) == len(by_place)


@settings(max_examples=150, deadline=None)
@given(st.lists(objects, max_size=12), requirements())
def test_a_strict_reward_is_a_correct_picture_but_for_exclude(found, wanted):
    found, names = unique(found), ByBox()
    got = reward(found, wanted, lambda one: names.of(None, one))
    if got.strict:
        assert judged(found, wanted | {"exclude": []}, names)["score"] == 1
    assert got.partial <= 1 and (not got.strict or not got.parts or got.partial == 1)
