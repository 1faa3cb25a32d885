"""Every branch of GenEval's decision rule."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.scorers.geneval.rule import TASKS, aggregate, box_iou, filter_boxes, judge, relative_position
from htgrpo.base.errors import UserError


@dataclass(frozen=True)
class Found:
    cls: str
    score: float
    box: tuple = (0, 0, 10, 10)
    colour: str = "red"


def at(x, y, cls="cup", **rest):
    """A 10 x 10 box with its centre at (x, y)."""
    return Found(cls, rest.pop("score", 0.95), (x - 5, y - 5, x + 5, y + 5), **rest)


def verdict(found, include, exclude=(), tag="two_object"):
    return judge(found, {"tag": tag, "include": list(include), "exclude": list(exclude)}, lambda item: item.colour)


def want(cls, count=1, **more):
    return {"class": cls, "count": count, **more}


# --- which boxes count ---


@pytest.mark.parametrize("tag", TASKS)
def test_threshold_is_strict_and_higher_for_counting(tag):
    threshold = 0.9 if tag == "counting" else 0.3
    found = [Found("cup", threshold), Found("cup", threshold + 1e-6), Found("cup", threshold - 1e-6)]
    assert [item.score for item in filter_boxes(found, tag)["cup"]] == [threshold + 1e-6]


def test_kept_boxes_are_the_best_sixteen_of_each_class_in_order():
    found = [Found("cup", 0.31 + 0.01 * i) for i in range(20)] + [Found("dog", 0.5)]
    kept = filter_boxes(found, "colors")
    assert [item.score for item in kept["cup"]] == sorted((item.score for item in found[:20]), reverse=True)[:16]
    assert len(kept["dog"]) == 1
    assert filter_boxes([Found("cup", 0.1)], "colors") == {}


def test_of_equal_scores_the_later_detection_comes_first():
    """As upstream's np.argsort(scores)[::-1] has it."""
    found = [Found("cup", 0.8, (i, 0, i + 5, 5)) for i in range(4)] + [Found("cup", 0.9, (9, 0, 14, 5))]
    order = np.argsort([item.score for item in found], kind="stable")[::-1]
    assert filter_boxes(found, "colors")["cup"] == [found[i] for i in order] == [found[i] for i in (4, 3, 2, 1, 0)]


def test_sixteen_is_taken_before_overlaps_are_dropped():
    found = [Found("cup", 0.9 - 0.01 * i) for i in range(16)] + [Found("cup", 0.4, (50, 50, 60, 60))]
    assert len(filter_boxes(found, "colors", max_overlap=0.5)["cup"]) == 1


def test_overlap_limit_is_off_by_default_and_drops_from_the_value_on():
    one, same, half = Found("cup", 0.9, (0, 0, 9, 9)), Found("cup", 0.8, (0, 0, 9, 9)), Found("cup", 0.7, (0, 0, 9, 4))
    assert len(filter_boxes([one, same, half], "colors")["cup"]) == 3
    assert box_iou(one.box, half.box) == 0.5
    assert filter_boxes([one, same, half], "colors", max_overlap=0.5)["cup"] == [one]
    assert filter_boxes([one, same, half], "colors", max_overlap=0.51)["cup"] == [one, half]
    other_class = Found("dog", 0.8, (0, 0, 9, 9))
    assert len(filter_boxes([one, other_class], "colors", max_overlap=0.5)) == 2


def test_iou_counts_whole_pixels():
    assert box_iou((0, 0, 9, 9), (10, 0, 19, 9)) == 0.0
    assert box_iou((0, 0, 9, 9), (9, 0, 18, 9)) == 10 / 190
    assert box_iou((0, 0, 0, 0), (0, 0, 0, 0)) == 1.0
    assert box_iou((5, 5, 0, 0), (5, 5, 0, 0)) == 0.0


# --- presence ---


def test_missing_class_and_too_few_are_wrong_and_extras_are_ignored():
    assert not verdict([], [want("cup")]).correct
    assert "1 of 2 cup" in verdict([at(0, 0)], [want("cup", 2)]).reason
    extras = verdict([at(0, 0), at(30, 0), at(60, 0), at(0, 30, "dog")], [want("cup", 2)])
    assert extras.correct and extras.reason == ""


def test_all_clauses_must_hold_and_each_failure_is_named():
    result = verdict([at(0, 0)], [want("cup"), want("dog"), want("cat")])
    assert not result.correct and "dog" in result.reason and "cat" in result.reason and "cup" not in result.reason


def test_evidence_holds_the_kept_boxes():
    result = verdict([at(5, 5), Found("cup", 0.2)], [want("cup")])
    assert result.evidence == {"boxes": {"cup": [[0, 0, 10, 10, 0.95]]}}


# --- counting and exclude ---


@pytest.mark.parametrize("found, correct", [(0, False), (1, False), (2, True), (3, False), (4, False)])
def test_counting_is_right_for_exactly_the_number(found, correct):
    items = [at(20 * i, 0) for i in range(found)]
    assert verdict(items, [want("cup", 2)], [want("cup", 3)], "counting").correct is correct


def test_weak_boxes_neither_count_nor_are_excluded():
    weak = [at(40, 0, score=0.9), at(60, 0, score=0.89)]
    assert verdict([at(0, 0), at(20, 0), *weak], [want("cup", 2)], [want("cup", 3)], "counting").correct
    assert not verdict([at(0, 0), *weak], [want("cup", 2)], [want("cup", 3)], "counting").correct


def test_exclude_is_reached_from_its_count_on():
    assert verdict([at(0, 0)], [], [want("cup", 2)]).correct
    assert not verdict([at(0, 0), at(20, 0)], [], [want("cup", 2)]).correct
    assert judge([], {"tag": "colors"}, lambda item: "").correct


# --- colour ---


def test_colour_is_asked_of_the_best_candidates_only():
    best, second = at(0, 0, score=0.9, colour="blue"), at(20, 0, score=0.8, colour="red")
    assert not verdict([best, second], [want("cup", color="red")]).correct
    assert verdict([best, second], [want("cup", color="blue")]).correct
    assert not verdict([best, second], [want("cup", 2, color="red")]).correct
    assert verdict([best, at(20, 0, colour="blue")], [want("cup", 2, color="blue")]).correct


def test_colour_is_not_asked_where_it_cannot_matter():
    def refuse(item):
        raise AssertionError("asked for a colour")

    assert judge([at(0, 0)], {"tag": "colors", "include": [want("cup")]}, refuse).correct
    assert not judge([at(0, 0)], {"tag": "colors", "include": [want("cup", 2, color="red")]}, refuse).correct


def test_wrong_colour_unmatches_the_target_of_a_relation():
    include = [want("cup", color="red"), want("dog", position=["left of", 0])]
    dog = at(0, 0, "dog")
    assert verdict([at(50, 0), dog], include).correct
    wrong = verdict([at(50, 0, colour="blue"), dog], include)
    assert not wrong.correct and "no target" in wrong.reason


# --- position ---


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
    assert relative_position(at(*offset).box, at(0, 0).box) == relations


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


def test_every_pair_must_stand_in_the_relation():
    include = [want("cup", 2), want("dog", 2, position=["left of", 0])]
    cups, dogs = [at(100, 0), at(140, 0)], [at(0, 0, "dog"), at(30, 0, "dog")]
    assert verdict([*cups, *dogs], include).correct
    assert not verdict([*cups, dogs[0], at(120, 0, "dog")], include).correct
    assert not verdict([cups[0], at(15, 0), *dogs], include).correct
    further = at(300, 0, "dog", score=0.4)  # a third dog is no candidate
    assert verdict([*cups, *dogs, further], include).correct


def test_wrong_side_missing_target_and_later_target():
    include = [want("cup"), want("dog", position=["above", 0])]
    assert "not above" in verdict([at(0, 0), at(50, 0, "dog")], include).reason
    missing = verdict([at(0, 0, "dog")], include)
    assert "no target" in missing.reason and "0 of 1 cup" in missing.reason
    with pytest.raises(UserError, match="target first"):
        verdict([at(0, 0)], [want("cup", position=["above", 0])])


def test_a_misplaced_clause_is_no_target_for_the_next():
    include = [want("cup"), want("dog", position=["left of", 0]), want("cat", position=["above", 1])]
    found = [at(0, 0), at(50, 0, "dog"), at(50, -50, "cat")]
    result = verdict(found, include)
    assert "dog is not left of" in result.reason and "no target for cat" in result.reason


# --- aggregation ---


def records(**scores):
    return [
        {"prompt_id": f"{task}-{i // 2}", "category": task, "score": score}
        for task, values in scores.items()
        for i, score in enumerate(values)
    ]


def test_overall_is_the_mean_of_tasks_not_of_images():
    summary = aggregate(records(counting=[1, 0, 0, 0], single_object=[1, 1]))
    assert summary.tasks == {"single_object": 1.0, "counting": 0.25}
    assert list(summary.tasks) == ["single_object", "counting"]
    assert summary.overall == 0.625
    assert summary.images == 0.5
    assert summary.prompts == 2 / 3  # a prompt is right when any of its images is


def test_nothing_to_aggregate_is_refused():
    with pytest.raises(UserError, match="no judged image"):
        aggregate([])
