"""DPG-Bench's rules: answers, zeroing, means, the published quirks and their repair."""

import pytest

from bench.benchmarks.dpg_rule import (
    Item,
    MissingParent,
    Question,
    answer_score,
    benchmark_score,
    category_report,
    crop_boxes,
    crop_score,
    item_score,
    load_items,
    zero_dependents,
)
from htgrpo.base.errors import UserError


def question(number, *parents, label="entity - whole (cup)"):
    return Question(number, f"question {number}?", parents, label)


CHAIN = [question(1), question(2, 1), question(3, 2), question(4)]


@pytest.mark.parametrize("answer, score", [("yes", 1.0), ("no", 0.0), ("Yes", 0.0), ("yes ", 0.0), ("", 0.0)])
def test_only_the_exact_word_is_a_yes(answer, score):
    assert answer_score(answer) == score


def test_a_zero_cascades_from_parent_to_grandchild():
    assert zero_dependents(CHAIN, {1: 0.0, 2: 1.0, 3: 1.0, 4: 1.0}) == {1: 0.0, 2: 0.0, 3: 0.0, 4: 1.0}
    assert zero_dependents(CHAIN, {1: 1.0, 2: 0.0, 3: 1.0, 4: 1.0}) == {1: 1.0, 2: 0.0, 3: 0.0, 4: 1.0}


def test_zeroing_follows_the_table_so_late_parents_do_not_cascade():
    backwards = [question(3, 2), question(2, 1), question(1)]
    assert zero_dependents(backwards, {1: 0.0, 2: 1.0, 3: 1.0}) == {1: 0.0, 2: 0.0, 3: 1.0}


def test_one_missing_yes_among_several_parents_is_enough_and_zero_means_none():
    both = [question(1), question(2), question(3, 1, 2)]
    assert zero_dependents(both, {1: 1.0, 2: 0.0, 3: 1.0})[3] == 0.0
    assert zero_dependents(both, {1: 1.0, 2: 1.0, 3: 1.0})[3] == 1.0
    assert zero_dependents([question(1, 0)], {1: 1.0}) == {1: 1.0}


def test_zeroing_leaves_its_input_alone():
    raw = {1: 0.0, 2: 1.0, 3: 1.0, 4: 1.0}
    zero_dependents(CHAIN, raw)
    assert raw[2] == 1.0


def test_crop_and_item_scores_are_means():
    good, poor = dict.fromkeys((1, 2, 3, 4), 1.0), {1: 0.0, 2: 1.0, 3: 1.0, 4: 1.0}
    assert crop_score(CHAIN, good) == 1.0
    assert crop_score(CHAIN, poor) == 0.25
    assert item_score(Item(CHAIN, [good, poor])) == 0.625
    with pytest.raises(UserError, match="no questions"):
        crop_score([], {})


# --- the table ---


def row(item, number, dependency="0", label="entity - whole (cup)"):
    return {
        "item_id": item,
        "proposition_id": str(number),
        "dependency": dependency,
        "tuple": label,
        "question_natural_language": f"question {number}?",
    }


TABLE = [row("first", 1), row("first", 2, "1"), row("first", 3, "1,2"), row("second", 1), row("second", 2, "1")]


def test_fixed_mode_reads_every_row():
    items = load_items(TABLE, "fixed")
    assert list(items) == ["first", "second"]
    assert items["first"] == [question(1), question(2, 1), question(3, 1, 2)]


def test_upstream_mode_loses_the_first_row_and_then_the_item():
    items = load_items(TABLE, "upstream")
    assert [q.id for q in items["first"]] == [2, 3]
    judged = {name: Item(qs, [dict.fromkeys((q.id for q in qs), 1.0)] * 4) for name, qs in items.items()}
    judged["second"] = Item(items["second"], [{1: 1.0, 2: 0.0}] * 4)
    assert benchmark_score(judged, "upstream") == (50.0, ["first"])
    assert category_report(judged, "upstream") == {"entity": 50.0}  # "first" is left out here too
    with pytest.raises(MissingParent):
        benchmark_score(judged, "fixed")


def test_upstream_mode_keeps_the_item_when_no_question_needs_the_lost_one():
    items = load_items([row("first", 1), row("first", 2)], "upstream")
    judged = {"first": Item(items["first"], [{2: 1.0}])}
    assert benchmark_score(judged, "upstream") == (100.0, [])


def test_bad_tables_are_refused():
    with pytest.raises(UserError, match="row 0"):
        load_items([{**row("a", 1), "dependency": "one"}], "fixed")
    with pytest.raises(UserError, match="tuple"):
        load_items([{key: value for key, value in row("a", 1).items() if key != "tuple"}], "fixed")
    with pytest.raises(UserError, match=r"\[7\]"):
        load_items([row("a", 1, "7")], "fixed")
    for call in (lambda: load_items([], "publised"), lambda: category_report({}, "publised")):
        with pytest.raises(UserError, match="upstream"):
            call()
    with pytest.raises(UserError, match="no judged item"):
        benchmark_score({}, "fixed")


# --- categories ---


@pytest.mark.parametrize(
    "label, broad, detailed",
    [
        ("attribute - color (car, red)", "attribute", "attribute - color"),
        ("entity - whole (cup)", "entity", "entity - whole"),
        ("global - (a photo)", "global", "global -"),
        ("relation - non-spatial (a, b, holds)", "relation", "relation - non-spatial"),
        ("other", "other", "other"),
    ],
)
def test_categories_come_from_the_label(label, broad, detailed):
    named = question(1, label=label)
    assert (named.category, named.detailed) == (broad, detailed)


COLOURED = [
    question(1),
    question(2, 1, label="attribute - color (cup, red)"),
    question(3, 1, label="attribute - size (cup)"),
]


def test_category_report_modes_differ_in_images_and_zeroing():
    item = Item(COLOURED, [{1: 1.0, 2: 1.0, 3: 1.0}, {1: 0.0, 2: 1.0, 3: 0.0}])
    assert category_report({"a": item}, "upstream") == {"entity": 0.0, "attribute": 50.0}  # last image, before zeroing
    assert category_report({"a": item}, "fixed") == {"entity": 50.0, "attribute": 50.0}  # both images, after zeroing
    detailed = category_report({"a": item}, "upstream", lambda q: q.detailed)
    assert detailed == {"entity - whole": 0.0, "attribute - color": 100.0, "attribute - size": 0.0}


def test_categories_are_pooled_over_questions_not_averaged_over_items():
    many = Item(COLOURED, [{1: 1.0, 2: 1.0, 3: 1.0}])
    one = Item([question(1, label="attribute - color (cup, red)")], [{1: 0.0}])
    assert category_report({"a": many, "b": one}, "upstream")["attribute"] == pytest.approx(200 / 3)
    assert benchmark_score({"a": many, "b": one}, "upstream") == (50.0, [])


# --- crops ---


def test_crops_are_read_row_by_row():
    boxes = [(0, 0, 64, 64), (64, 0, 128, 64), (0, 64, 64, 128), (64, 64, 128, 128)]
    assert crop_boxes(64) == boxes
    assert crop_boxes(64, 1) == boxes[:1] and crop_boxes(64, 3) == boxes[:3]
    for resolution, count in ((64, 0), (64, 5), (0, 4)):
        with pytest.raises(UserError, match="1 to 4"):
            crop_boxes(resolution, count)
