"""DPG-Bench's categories, its grids, its official prompts, and who answers its questions."""

from pathlib import Path

import pytest
from PIL import Image

from bench.benchmarks import dpg
from bench.benchmarks.dpg import DPG, item_of, questions_of, split_grid
from bench.benchmarks.dpg_rule import Item, Question, benchmark_score
from bench.benchmarks.dpg_rule import category_report as rule_report
from bench.scorers.base import Judged
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt
from reports.run.questions import counted
from tests.scorers.dpg_made import IDENTITY, Says, benchmark, black, place_assets


@pytest.fixture
def made(monkeypatch, tmp_path):
    return place_assets(monkeypatch, tmp_path)


# --- the headline and the categories ---


def category_report(records, mode, level="category"):
    """What the report prints: 100 x the mean over the answers that count."""
    pooled = {}
    for _, question, value in counted(records, mode):
        pooled.setdefault(question[level], []).append(value)
    return {category: 100 * sum(values) / len(values) for category, values in pooled.items()}


def verdicts(answers):
    """Records of a verdict file: {prompt: one {question id: answer} per sample}, None for a picture that failed."""
    one = benchmark()
    prompts = {prompt.id: prompt for prompt in one.prompts("heldout")}
    records = []
    for name, samples in answers.items():
        questions = questions_of(prompts[name].spec)
        for sample, said in enumerate(samples):
            made = {"score": None, "evidence": {"reason": "torn"}}
            if said is not None:
                made = dpg.record(questions, ["yes" if said[q.id] else "no" for q in questions], "upstream")
            records.append({"prompt_id": name, "sample": sample, **made})
    return records, {name: questions_of(prompt.spec) for name, prompt in prompts.items()}


ANSWERS = {
    "10": [{1: 0, 2: 1, 3: 1, 4: 1}, {1: 1, 2: 1, 3: 0, 4: 0}],
    "2": [{1: 1, 2: 1, 3: 1}, {1: 0, 2: 1, 3: 1}],
}


@pytest.mark.parametrize("mode", ["upstream", "fixed"])
def test_categories_are_the_rules(made, mode):
    records, questions = verdicts(ANSWERS)
    said = {name: [{i: float(yes) for i, yes in one.items()} for one in samples] for name, samples in ANSWERS.items()}
    items = {name: Item(questions[name], samples) for name, samples in said.items()}
    assert category_report(records, mode) == rule_report(items, mode)
    assert category_report(reversed(records), mode, "detailed") == rule_report(items, mode, lambda q: q.detailed)
    by_prompt = {name: [r["score"] for r in records if r["prompt_id"] == name] for name in ANSWERS}
    mean = sum(sum(scores) / len(scores) for scores in by_prompt.values()) / len(by_prompt)
    assert 100 * mean == pytest.approx(benchmark_score(items, "fixed")[0])


def test_category_values(made):
    records, _ = verdicts(ANSWERS)
    upstream = category_report(records, "upstream")
    assert upstream == {"entity": pytest.approx(200 / 3), "attribute": 50.0, "global": 0.0, "other": 100.0}
    fixed = category_report(records, "fixed")  # both images, after zeroing
    assert fixed == {"entity": 50.0, "attribute": 25.0, "global": 50.0, "other": 100.0}
    assert category_report(records, "upstream", "detailed")["entity - part"] == 100.0


def test_a_failed_picture_leaves_its_prompt_out_of_upstreams_categories(made):
    records, _ = verdicts(ANSWERS | {"2": [None, {1: 1, 2: 1, 3: 1}]})
    assert "other" not in category_report(records, "upstream") and category_report(records, "upstream")["global"] == 0.0
    assert category_report(records, "fixed")["other"] == 100.0


# --- grids ---


def grid(side=8):
    picture = Image.new("RGB", (2 * side, 2 * side))
    for index in range(4):
        picture.paste(
            (50 * index, 0, 0), (index % 2 * side, index // 2 * side, index % 2 * side + side, index // 2 * side + side)
        )
    return picture


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_grid_is_cut_row_by_row(count):
    cut = split_grid(grid(), 8, count)
    assert [image.getcolors() for image in cut] == [[(64, (50 * index, 0, 0))] for index in range(count)]
    assert len(split_grid(grid())) == 4


@pytest.mark.parametrize(
    "picture, resolution",
    [(grid(), 16), (grid(), 7), (Image.new("RGB", (16, 8)), None), (Image.new("RGB", (15, 15)), None)],
)
def test_a_picture_that_is_no_grid_is_refused(picture, resolution):
    with pytest.raises(UserError, match="give the size of one image"):
        split_grid(picture, resolution)
    with pytest.raises(UserError, match="1 to 4"):
        split_grid(grid(), 8, 5)


def test_a_file_belongs_to_the_prompt_before_its_first_dot():
    assert item_of(Path("some/where/partiprompts97.png")) == "partiprompts97" == item_of("partiprompts97.v2.final.png")


# --- who answers ---


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
    from bench.sources import assets as module

    monkeypatch.setenv("HTGRPO_ASSETS", str(assets))
    lines = dpg._texts()
    assert len(lines) == len({line["id"] for line in lines}) == 1065
    assert sum(line["id"].isdigit() for line in lines) == 299
    assert sum(line["id"].startswith("partiprompts") for line in lines) == 324
    assert "partiprompts97" in {line["id"] for line in lines}
    assert module.named("dpg_prompts").file == "dpg_bench/prompts.jsonl"


def test_a_specification_holds_the_questions():
    questions = [Question(1, "a?", (), "entity - whole (a)"), Question(2, "b?", (1, 3), "x")]
    prompt = Prompt("p", "t", "dense", {"questions": dpg.as_spec(questions)})
    assert questions_of(prompt.spec) == questions
