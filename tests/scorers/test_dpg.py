"""DPG-Bench on a question graph made by hand: the lost first row in both modes, answers, zeroing, categories, and who
answers its questions."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.benchmarks import dpg
from bench.benchmarks.dpg import DPG, DPGFixed, item_of
from bench.benchmarks.dpg_rule import (
    MissingParent,
    Question,
    as_spec,
    crop_boxes,
    crop_score,
    load_items,
    questions_of,
    zero_dependents,
)
from bench.scorers.base import Judged
from htgrpo.base.errors import UserError
from htgrpo.base.pictures import as_pictures
from reports.run.questions import counted
from tests.scorers.dpg_made import GRAPH, IDENTITY, TEXTS, Says, benchmark, black, place_assets, table


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
    assert [prompt.id for prompt in prompts] == list(TEXTS)
    assert [prompt.text for prompt in prompts] == list(TEXTS.values())
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
    for parents, why in (("one", "row 0"), ("7", r"\[7\]")):
        made(table([("10", 1, parents, "entity - whole (car)", "Is there a car?")]))
        with pytest.raises(UserError, match=why):
            benchmark(DPGFixed).prompts("heldout")
    with pytest.raises(UserError, match="upstream"):
        load_items([], "publised")


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


def test_a_zero_cascades_as_far_as_the_table_says():
    """From parent to grandchild, by any one of several parents, and not to those that stand before their parent."""

    def asked(*parents):
        return [Question(number, "?", of, "entity - whole (cup)") for number, of in parents]

    chain, raw = asked((1, ()), (2, (1,)), (3, (2,)), (4, ())), {1: 0.0, 2: 1.0, 3: 1.0, 4: 1.0}
    assert zero_dependents(chain, raw) == {1: 0.0, 2: 0.0, 3: 0.0, 4: 1.0} and raw[2] == 1.0
    assert zero_dependents(asked((3, (2,)), (2, (1,)), (1, ())), {1: 0.0, 2: 1.0, 3: 1.0}) == {1: 0.0, 2: 0.0, 3: 1.0}
    assert zero_dependents(asked((1, ()), (2, ()), (3, (1, 2))), {1: 1.0, 2: 0.0, 3: 1.0})[3] == 0.0
    assert zero_dependents(asked((1, (0,))), {1: 1.0}) == {1: 1.0}, "0 is no parent"
    assert crop_score(chain, raw) == 0.25 and crop_score(chain, dict.fromkeys(raw, 1.0)) == 1.0
    with pytest.raises(UserError, match="no questions"):
        crop_score([], {})


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


# --- categories ---


@pytest.mark.parametrize(
    "label, broad, detailed",
    [
        ("attribute - color (car, red)", "attribute", "attribute - color"),
        ("global - (a photo)", "global", "global -"),
        ("relation - non-spatial (a, b, holds)", "relation", "relation - non-spatial"),
        ("other", "other", "other"),
    ],
)
def test_categories_come_from_the_label(label, broad, detailed):
    named = Question(1, "?", (), label)
    assert (named.category, named.detailed) == (broad, detailed)


def category_report(records, mode, level="category"):
    """What the report prints: 100 x the mean over the answers that count."""
    pooled = {}
    for _, question, value in counted(records, mode):
        pooled.setdefault(question[level], []).append(value)
    return {category: 100 * sum(values) / len(values) for category, values in pooled.items()}


def verdicts(answers):
    """Records of a verdict file: {prompt: one {question id: answer} per sample}, None for a picture that failed."""
    asked = {prompt.id: questions_of(prompt.spec) for prompt in benchmark().prompts("heldout")}
    records = []
    for name, samples in answers.items():
        for sample, said in enumerate(samples):
            made = {"score": None, "evidence": {"reason": "torn"}}
            if said is not None:
                made = dpg.record(asked[name], ["yes" if said[q.id] else "no" for q in asked[name]], "upstream")
            records.append({"prompt_id": name, "sample": sample, **made})
    return records


ANSWERS = {"10": [{1: 0, 2: 1, 3: 1, 4: 1}, {1: 1, 2: 1, 3: 0, 4: 0}], "2": [{1: 1, 2: 1, 3: 1}, {1: 0, 2: 1, 3: 1}]}


def test_category_values(made):
    records = verdicts(ANSWERS)
    upstream = category_report(records, "upstream")
    assert upstream == {"entity": pytest.approx(200 / 3), "attribute": 50.0, "global": 0.0, "other": 100.0}
    fixed = category_report(records, "fixed")  # both images, after zeroing
    assert fixed == {"entity": 50.0, "attribute": 25.0, "global": 50.0, "other": 100.0}
    assert category_report(reversed(records), "upstream", "detailed")["entity - part"] == 100.0


def test_a_failed_picture_leaves_its_prompt_out_of_upstreams_categories(made):
    records = verdicts(ANSWERS | {"2": [None, {1: 1, 2: 1, 3: 1}]})
    assert "other" not in category_report(records, "upstream") and category_report(records, "upstream")["global"] == 0.0
    assert category_report(records, "fixed")["other"] == 100.0


# --- pictures and who answers ---


def test_crops_are_read_row_by_row():
    boxes = [(0, 0, 64, 64), (64, 0, 128, 64), (0, 64, 64, 128), (64, 64, 128, 128)]
    assert crop_boxes(64) == boxes
    assert crop_boxes(64, 1) == boxes[:1] and crop_boxes(64, 3) == boxes[:3]
    for resolution, count in ((64, 0), (64, 5), (0, 4)):
        with pytest.raises(UserError, match="1 to 4"):
            crop_boxes(resolution, count)


def test_a_file_belongs_to_the_prompt_before_its_first_dot():
    assert item_of(Path("some/where/partiprompts97.png")) == "partiprompts97" == item_of("partiprompts97.v2.final.png")


class Asked:
    """A scorer of questions, as mplug_vqa is one."""

    name, version = "mplug_vqa", "1"

    def __init__(self, fails=""):
        self.fails = fails

    @classmethod
    def load(cls, device):
        return cls()

    @classmethod
    def planned_identity(cls):
        return {"name": cls.name, "version": cls.version, "weights_revision": "its revision"}

    def self_test(self):
        return []

    def score(self, images, prompts):
        return [Judged.failed("torn") if prompt == self.fails else Judged(1.0, {"answer": "yes"}) for prompt in prompts]


def test_mplug_answers_by_default(made, monkeypatch):
    class Registry:
        @staticmethod
        def names():
            return ["mplug_vqa"]

        @staticmethod
        def get(name):
            assert name == "mplug_vqa"
            return Asked

    monkeypatch.setattr("bench.scorers.opening.SCORERS", Registry)
    one = DPG()
    assert one.scorer_identity()["weights_revision"] == "its revision"
    assert one.judge(black(2), one.prompts("heldout"))[1]["score"] == 1.0


def test_a_question_without_an_answer_fails_its_picture(made):
    asked = dpg.ScorerAnswers(Asked(fails="Is the car red?"))
    one = DPG(asked, IDENTITY)
    prompts = one.prompts("heldout")
    with pytest.raises(RuntimeError, match=r"no answer to 'Is the car red\?': torn"):
        one.judge(black(2), prompts)
    assert one.judge(black(1), prompts[1:])[0]["score"] == 1.0


def test_a_wrong_number_of_answers_is_an_error(made):
    prompts = benchmark().prompts("heldout")
    for spare in (-1, 1):
        one = DPG(lambda images, questions, spare=spare: ["yes"] * (len(questions) + spare), IDENTITY)
        with pytest.raises(RuntimeError, match="4 questions got"):
            one.judge(black(1), prompts[:1])


def test_half_a_judge_is_refused():
    with pytest.raises(UserError, match="only one of `answer` and `identity`"):
        DPG(Says())


def test_without_assets_it_says_which_command_to_run(monkeypatch, tmp_path):
    monkeypatch.delenv("HTGRPO_ASSETS", raising=False)
    monkeypatch.setenv("HTGRPO_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="python -m bench.fetch dpg_prompts"):
        benchmark().prompts("heldout")


def test_official_prompts(assets, monkeypatch):
    monkeypatch.setenv("HTGRPO_ASSETS", str(assets))
    lines = dpg._texts()
    assert len(lines) == len({line["id"] for line in lines}) == 1065
    assert sum(line["id"].isdigit() for line in lines) == 299
    assert sum(line["id"].startswith("partiprompts") for line in lines) == 324
    assert "partiprompts97" in {line["id"] for line in lines}


def test_a_specification_holds_the_questions():
    questions = [Question(1, "a?", (), "entity - whole (a)"), Question(2, "b?", (1, 3), "x")]
    assert questions_of({"questions": as_spec(questions)}) == questions
