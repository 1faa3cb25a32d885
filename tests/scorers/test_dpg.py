"""DPG-Bench on a question graph made by hand: the lost first row in both modes, answers, order of zeroing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.benchmarks.dpg import DPG, DPGFixed, questions_of
from bench.benchmarks.dpg_rule import MissingParent, Question, crop_score, zero_dependents
from bench.scorers.pixels import as_pictures
from htgrpo.base.errors import UserError
from tests.scorers.dpg_made import GRAPH, IDENTITY, TEXTS, benchmark, black, place_assets, table


@pytest.fixture
def made(monkeypatch, tmp_path):
    return place_assets(monkeypatch, tmp_path)


# --- the table and its lost row ---


def test_upstream_loses_the_prompt_of_the_first_row(made):
    one = benchmark()
    assert [prompt.id for prompt in one.prompts("heldout")] == ["10", "2"]
    identity = one.scorer_identity()
    assert identity["mode"] == "upstream" and identity["left_out"] == ["partiprompts9"] and identity["name"] == "made"
    assert one.title == "DPG-Bench"


def test_fixed_keeps_every_prompt_and_question(made):
    one = benchmark(DPGFixed)
    prompts = one.prompts("heldout")
    assert [prompt.id for prompt in prompts] == list(TEXTS) and [prompt.text for prompt in prompts] == list(
        TEXTS.values()
    )
    assert questions_of(prompts[2].spec)[0] == Question(1, "Is there a bear?", (), "entity - whole (bear)")
    assert questions_of(prompts[0].spec)[2] == Question(
        3, 'Is the red car big, "really"?', (1, 2), "attribute - size (car, big)"
    )
    identity = one.scorer_identity()
    assert identity["mode"] == "fixed" and identity["left_out"] == [] and one.title == "DPG-Bench (fixed loader)"
    assert identity != benchmark().scorer_identity() and identity["questions"].startswith("sha256:")


def test_a_lost_row_that_nobody_depends_on_costs_one_question_only(made):
    rows = [
        ("10", 1, "0", "entity - whole (car)", "Is there a car?"),
        ("10", 2, "0", "entity - whole (dog)", "Is there a dog?"),
    ]
    made(table(rows), {"10": "A car and a dog."})
    (prompt,) = benchmark().prompts("heldout")
    assert [question["id"] for question in prompt.spec["questions"]] == [2]
    assert len(benchmark(DPGFixed).prompts("heldout")[0].spec["questions"]) == 2


def test_a_prompt_whose_only_question_is_lost_is_left_out(made):
    made(
        table([("10", 1, "0", "entity - whole (car)", "Is there a car?"), *GRAPH[7:]]),
        {"10": "A car.", "2": "Two cups."},
    )
    assert [prompt.id for prompt in benchmark().prompts("heldout")] == ["2"]
    assert [prompt.id for prompt in benchmark(DPGFixed).prompts("heldout")] == ["10", "2"]


def test_where_upstream_fails_by_the_answers_the_picture_fails(made):
    rows = [
        ("10", 1, "0", "entity - whole (car)", "Is there a car?"),
        ("10", 2, "0", "entity - whole (dog)", "Is there a dog?"),
        ("10", 3, "2,1", "relation - spatial (car, dog)", "Is the car by the dog?"),
    ]
    made(table(rows), {"10": "A car and a dog."})
    assert benchmark().left_out == frozenset()  # the lost parent is looked at second
    (prompt,) = benchmark().prompts("heldout")
    no_dog = DPG(lambda images, questions: ["no" if "there a dog" in q else "yes" for q in questions], IDENTITY)
    assert no_dog.judge(black(1), [prompt])[0]["score"] == 0.0
    with pytest.raises(MissingParent, match="question 3 depends on 1"):
        benchmark().judge(black(1), [prompt])


def test_tables_that_are_not_upstreams_are_refused(made):
    made(table([row for row in GRAPH if row[0] != "2"]))
    with pytest.raises(UserError, match="no question about '2'"):
        benchmark(DPGFixed).prompts("heldout")
    made(b"\xff\xfe")
    with pytest.raises(UserError, match="is not a CSV table"):
        benchmark().prompts("heldout")
    made(b"item_id,question\n1,a\n2,b\n")
    with pytest.raises(UserError, match="row 0"):
        benchmark(DPGFixed).prompts("heldout")
    with pytest.raises(UserError, match="no 'validation' prompts"):
        benchmark().prompts("validation")


def test_a_repeated_question_stands_once(made):
    made(table([*GRAPH[:4], ("10", 1, "0", "entity - whole (van)", "Is there a van?")]), {"10": "A van."})
    (prompt,) = benchmark().prompts("heldout")
    assert [(q["id"], q["question"]) for q in prompt.spec["questions"]] == [(1, "Is there a van?")]


# --- answers and zeroing ---


def test_all_yes_is_one_and_every_question_is_asked_of_its_picture(made):
    one = benchmark()
    prompts = one.prompts("heldout")
    images = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    records = one.judge(as_pictures(images), prompts)
    assert [record["score"] for record in records] == [1.0, 1.0]
    assert [question for _, question in one._answer.asked] == [row[4] for row in GRAPH[3:]]
    assert [image.getpixel((0, 0))[0] for image, _ in one._answer.asked] == [0] * 4 + [255] * 3
    assert records[0]["evidence"]["mode"] == "upstream"
    with pytest.raises(UserError, match="2 images for 1 prompts"):
        one.judge(as_pictures(images), prompts[:1])


@pytest.mark.parametrize("answer", ["no", "Yes", "yes ", "yes.", ""])
def test_only_yes_is_yes_and_a_zero_cascades_to_children_that_follow(made, answer):
    one = DPG(lambda images, questions: [answer if "there a car" in q else "yes" for q in questions], IDENTITY)
    (record,) = one.judge(black(1), one.prompts("heldout")[:1])
    seen = record["evidence"]["questions"]
    assert [(q["id"], q["answer"], q["score"]) for q in seen] == [(1, 0, 0.0), (2, 1, 0.0), (3, 1, 0.0), (4, 1, 1.0)]
    assert record["score"] == 0.25 and seen[0]["text"] == answer
    assert [(q["category"], q["detailed"]) for q in seen] == [
        ("entity", "entity - whole"),
        ("attribute", "attribute - color"),
        ("attribute", "attribute - size"),
        ("global", "global -"),
    ]


def test_a_child_before_its_parent_keeps_its_answer(made):
    one = DPG(lambda images, questions: ["no" if q == "Is there a cup?" else "yes" for q in questions], IDENTITY)
    record = one.judge(black(1), one.prompts("heldout")[1:])[0]
    assert [(q["id"], q["score"]) for q in record["evidence"]["questions"]] == [(3, 1.0), (2, 0.0), (1, 0.0)]
    assert record["score"] == pytest.approx(1 / 3)


graphs = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.permutations(range(1, n + 1)),
        st.lists(st.lists(st.integers(0, n), max_size=2), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
    )
)


@settings(max_examples=200, deadline=None)
@given(graphs)
def test_zeroing_against_upstreams_loop(graph):
    order, parents, answers = graph
    questions = [Question(i, "q", tuple(p for p in parents[i - 1] if p), "entity - whole (x)") for i in order]
    raw = {i: float(answers[i - 1]) for i in order}
    scores = dict(raw)
    for i in order:
        if any(parent != 0 and scores[parent] == 0 for parent in parents[i - 1]):
            scores[i] = 0
    assert zero_dependents(questions, raw) == scores
    assert crop_score(questions, raw) == pytest.approx(sum(scores.values()) / len(scores))
    lowered = raw | {order[0]: 0.0}
    assert crop_score(questions, lowered) <= crop_score(questions, raw)
