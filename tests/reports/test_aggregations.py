"""Every printed number of the published benchmarks against the official tool's own aggregation, on hand-made verdicts.

What each tool does is restated in plain Python beside each case.
"""

from collections import defaultdict
from statistics import fmean

import pytest

from bench.benchmarks.dpg import record
from bench.benchmarks.dpg_rule import Question
from bench.benchmarks.evaluation import Evaluation
from bench.benchmarks.hpsv3_categories import CATEGORIES
from bench.benchmarks.registry import make
from bench.record.rundir import RunDir
from bench.record.verdicts import write
from bench.record.work import Target
from bench.scorers.geneval.rule import TASKS
from htgrpo.base.files import atomic_json
from htgrpo.base.prompts import Prompt, prompt_set_sha256
from reports.findings.analysis import analyse
from reports.run.blocks import make_blocks
from reports.run.load import load_run

IDENTITY = {"name": "made", "version": "1", "weights_revision": None, "official": True}


def results(root, name, verdicts):
    """The report's results by block name, from verdicts {(prompt id, category): [(score, evidence) per sample]}."""
    benchmark = make(name)
    benchmark.scorer_identity = lambda: dict(IDENTITY)
    prompts = [Prompt(identity, f"prompt {identity}", category, {}) for identity, category in verdicts]
    samples = len(next(iter(verdicts.values())))
    values = {
        "sampler": "random", "steps": 1, "guidance": 0.0, "resolution": "", "dtype": "float32", "seed": 0,
        "samples": samples,
    }  # fmt: skip
    evaluation = Evaluation(name, "main", values, tuple(prompts), prompt_set_sha256(prompts), whole=len(prompts))
    records = [
        {
            "prompt_id": identity, "sample": sample, "category": category, "prompt": f"prompt {identity}",
            "status": "ok", "score": float(score), "evidence": evidence, "image": "x.png", "sha256": "0" * 64,
        }
        for (identity, category), made in verdicts.items()
        for sample, (score, evidence) in enumerate(made)
    ]  # fmt: skip
    write(
        RunDir(root),
        Target("base", "base", None, "final", "embedded", "0" * 64, False, 0, 0),
        evaluation,
        benchmark,
        records,
    )
    atomic_json(root / "config.json", {"methods": [], "benchmarks": [name], "settings": {"main": values}, "title": ""})
    return {block.name: analyse(block) for block in make_blocks(load_run(root))}


def grouped(verdicts):
    by_category = defaultdict(list)
    for (_, category), made in verdicts.items():
        by_category[category] += [float(score) for score, _ in made]
    return by_category


def plain(scores):
    return [(score, {}) for score in scores]


def test_geneval_prints_the_mean_of_images_by_task_and_the_unweighted_mean_of_tasks(tmp_path):
    """summary_scores.py: a task's score is the share of its images; overall the mean of the six, whatever their
    sizes."""
    sizes, verdicts = (2, 3, 1, 4, 5, 2), {}
    for task, size in zip(TASKS, sizes):
        for index in range(size):
            verdicts[f"{task}{index}", task] = plain([(index + sample + size) % 3 == 0 for sample in range(4)])
    found = results(tmp_path, "geneval", verdicts)["geneval"]
    tasks = {task: fmean(scores) for task, scores in grouped(verdicts).items()}
    score = found.scores["base"]
    assert {task: cell.estimate for task, cell in score.columns.items()} == pytest.approx(tasks)
    assert score.headline.estimate == pytest.approx(fmean(tasks.values()))
    assert score.headline.estimate != pytest.approx(
        fmean(value for made in grouped(verdicts).values() for value in made)
    )
    assert found.block.scale == 1 and found.block.title == "GenEval"


def test_dpg_prints_a_hundred_times_the_mean_of_prompts_and_upstreams_categories(tmp_path):
    """compute_dpg_bench.py: mean over prompts of the mean over four crops; categories pool the answers of each prompt's
    last crop, before zeroing."""
    labels = ("entity - whole (a)", "attribute - color (a)", "relation - spatial (a, b)")
    graphs = {
        "p1": [Question(1, "?", (), labels[0]), Question(2, "?", (1,), labels[1])],
        "p2": [Question(1, "?", (), labels[0]), Question(2, "?", (1,), labels[1]), Question(3, "?", (1,), labels[2])],
    }
    answers = {
        "p1": ["yes yes", "no yes", "no no", "no yes"],
        "p2": ["yes yes no", "no yes yes", "yes no yes", "no yes yes"],
    }
    verdicts = {}
    for name, said in answers.items():
        made = [record(graphs[name], one.split(), "upstream") for one in said]
        verdicts[name, "dense"] = [(one["score"], one["evidence"]) for one in made]
    score = results(tmp_path, "dpg", verdicts)["dpg"].scores["base"]
    p1, p2 = fmean([1, 0, 0, 0]), fmean([2 / 3, 0, 2 / 3, 0])
    assert score.headline.estimate == pytest.approx(100 * fmean([p1, p2]))
    cells = {name.removeprefix("questions: "): cell.estimate for name, cell in score.columns.items()}
    assert cells == pytest.approx({"entity": 0.0, "attribute": 100.0, "relation": 100.0}), (
        "the last crops say no yes (yes)"
    )


def test_hpsv3_prints_the_unweighted_mean_of_twelve_category_means_of_one_picture_each(tmp_path):
    verdicts = {
        (f"{category}{n}", category): plain([8.0 + place - 3 * n])
        for place, category in enumerate(CATEGORIES)
        for n in range(1 + place % 3)
    }
    found = results(tmp_path, "hpsv3_categories", verdicts)["hpsv3_categories"]
    means = {category: fmean(scores) for category, scores in grouped(verdicts).items()}
    score = found.scores["base"]
    one = make("hpsv3_categories")
    assert list(score.columns) == list(CATEGORIES) and one.samples == one.published_samples == 1
    assert {name: cell.estimate for name, cell in score.columns.items()} == pytest.approx(means)
    assert score.headline.estimate == pytest.approx(fmean(means.values()))


def test_another_scorer_on_hpsv3s_prompts_takes_one_picture_too():
    assert make("imagereward@hpsv3_categories").samples == 1 and make("imagereward").samples is None


def test_unipercept_prints_the_mean_of_every_axis_and_no_mixture(tmp_path):
    numbers = [(60.0, 70.5, 40.0), (50.0, 30.5, 45.0), (10.0, 20.0, 5.0), (90.0, 80.0, 75.0)]
    axes = [dict(zip(("iaa", "iqa", "ista"), row)) for row in numbers]
    made = [(fmean(one.values()), one) for one in axes]
    verdicts = {("a", "dense"): made[:2], ("b", "dense"): made[2:]}
    found = results(tmp_path, "unipercept@dpg", verdicts)
    assert list(found) == [f"unipercept@dpg.{axis}" for axis in ("iaa", "iqa", "ista")]
    for axis in ("iaa", "iqa", "ista"):
        one = found[f"unipercept@dpg.{axis}"]
        assert one.scores["base"].headline.estimate == pytest.approx(fmean(each[axis] for each in axes))
        assert one.block.scale == 1


@pytest.mark.parametrize(
    "name, scores",
    [
        ("clip@dpg", [-0.02, 0.31, 0.25, 0.18]),  # clip-score 0.2.1: the cosine, neither x100 nor x2.5 nor cut off at 0
        ("imagereward@dpg", [-2.2, 1.9, 0.4, -0.3]),  # already normalised to mean 0 and deviation 1 on its own data
        ("deqa@dpg", [4.604, 1.5, 3.25, 2.0]),  # 1..5, where reward-servers send a fifth
        ("hpsv3@dpg", [-5.5, 12.25, 8.0, 10.5]),  # mu as it is, where trainings take a fifth
        ("unifiedreward@dpg", [1.0, 5.0, 3.25, 4.5]),  # 1..5
    ],
)
def test_model_scores_print_the_plain_mean_over_pictures(tmp_path, name, scores):
    verdicts = {("a", "dense"): plain(scores[:2]), ("b", "dense"): plain(scores[2:])}
    found = results(tmp_path, name, verdicts)[name]
    score = found.scores["base"]
    assert score.headline.estimate == pytest.approx(fmean(scores)) and not score.columns
    assert found.block.scale == 1 and found.sign == 1 and found.block.top is None
