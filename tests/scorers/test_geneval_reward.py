"""GenEval as a reward: the reward-server's strict and partial rules."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.scorers.geneval.reward import reward
from htgrpo.base.errors import UserError
from tests.scorers.geneval_made import (
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
    (
        "half of the colours",
        row(2),
        spec("colors", want("cup", 2, color="red")),
        {"x0": "red", "x30": "blue"},
        False,
        [1, 0.5],
    ),
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
]


@pytest.mark.parametrize(
    "found, wanted, by_place, strict, parts", [case[1:] for case in REWARDS], ids=[case[0] for case in REWARDS]
)
def test_rewards(found, wanted, by_place, strict, parts):
    names = Names(**by_place)
    got = reward(found, wanted, lambda one: names.of(None, one))
    assert got.strict is strict and got.parts == pytest.approx(parts)
    assert got.partial == pytest.approx(sum(parts) / len(parts) if parts else 0.0)
    assert len(names.asked) == len(by_place)


def test_a_reward_for_a_later_target_is_refused():
    with pytest.raises(UserError, match="target first"):
        reward([CUP], spec("position", want("cup", position=["left of", 0])), str)


@settings(max_examples=150, deadline=None)
@given(st.lists(objects, max_size=12), requirements())
def test_a_strict_reward_is_a_correct_picture_but_for_exclude(found, wanted):
    found, names = unique(found), ByBox()
    got = reward(found, wanted, lambda one: names.of(None, one))
    if got.strict:
        assert judged(found, wanted | {"exclude": []}, names)["score"] == 1
    assert got.partial <= 1 and (not got.strict or not got.parts or got.partial == 1)
