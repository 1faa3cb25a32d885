"""Benchmarks with axes, benchmarks of texts, runs of given pictures, and the panel of reward hacking."""

import json

import numpy as np
import pytest
from PIL import Image

from htgrpo.base.errors import UserError
from reports.findings.analysis import analyse
from reports.findings.diversity import diversity, spread
from reports.findings.hacking import Move, Moves, make_moves, warnings
from reports.findings.quality import saved
from reports.pages.build import build
from reports.pages.gallery import make_gallery
from reports.run.blocks import make_blocks
from reports.run.load import load_run
from reports.statistics.stats import Interval
from tests.reports.enriched import add_benchmark, as_given, rewrite
from tests.reports.synthetic import write_run
from tests.sealing import rehash

pytestmark = pytest.mark.usefixtures("plain_figures")


def results_of(root):
    run = load_run(root)
    return run, [analyse(block) for block in make_blocks(run)]


def test_axes_are_blocks_of_their_own(tmp_path):
    root = write_run(tmp_path, {"a": 0.2}, seeds=1, prompts=20, samples=1, iterations=2)

    def two_axes(record):
        return {**record, "score": 2.0, "evidence": {"iaa": record["score"] * 3, "iqa": 1.0}}

    add_benchmark(
        root, "looks", two_axes, title="Looks", scale=1, axes={"iaa": "IAA", "iqa": "IQA"}, pictures="geneval"
    )
    run, results = results_of(root)
    assert [r.block.name for r in results] == ["geneval", "looks.iaa", "looks.iqa"]
    assert results[1].block.title == "Looks: IAA"
    for name, score in results[1].scores.items():
        assert score.headline.estimate == pytest.approx(3 * results[0].scores[name].headline.estimate)
    found = make_gallery(run, results)
    assert len(found.benchmarks) == 1  # the same pictures stand in one row
    assert set(found.cases[0].tiles[0].others) == {"Looks: IAA", "Looks: IQA"}
    terminal = build(root).terminal
    assert "## Looks: IAA" in terminal and "## Looks: IQA" in terminal
    rewrite(root / "verdicts" / "looks" / "main" / "base.jsonl", lambda r: {**r, "evidence": {"iqa": 1.0}})
    with pytest.raises(UserError, match="lack a number for the axis 'iaa'"):
        results_of(root)


def test_texts_are_a_table_and_no_pictures(tmp_path):
    root = write_run(tmp_path, {"a": 0.2}, seeds=1, prompts=20, samples=1, iterations=2)

    def text(record):
        kept = {key: record[key] for key in ("prompt_id", "sample", "category", "status", "score")}
        return {**kept, "evidence": {"answer": "4"}, "image": ""}

    add_benchmark(root, "text", text, title="Text", aggregate="category_mean")
    run, results = results_of(root)
    assert [r.block.name for r in results] == ["geneval", "text"] and results[1].scores and not results[1].block.shown
    assert {case.benchmark for case in make_gallery(run, results).cases} == {"GenEval (embedded world)"}
    report = build(root)
    assert "## Text" in report.terminal and "120 documents" in report.terminal
    assert not (root / "report" / "contact_sheet_text.png").exists()
    assert (root / "report" / "categories_text.svg").exists()


def test_given_pictures_without_a_starting_policy(tmp_path):
    root = write_run(tmp_path, {"mine": 0.0, "theirs": 0.3}, seeds=1, prompts=20, samples=2, iterations=2)
    as_given(root)
    report = build(root)
    assert "pictures as given" in report.terminal.lower() and "minus base" not in report.terminal
    assert "Cost" not in report.terminal
    assert "theirs − mine" in report.terminal
    names = {path.name for path in report.files}
    assert {"contact_sheet.png", "differences.svg", "categories.svg"} <= names
    assert not any(n.startswith("curves") for n in names)
    run, results = results_of(root)
    assert [tile.method for tile in make_gallery(run, results).cases[0].tiles] == ["mine", "theirs"]
    assert make_moves(run, results, diversity(run, results)) == []


def test_diversity_by_hand():
    black, white = np.zeros((32, 32, 3), np.float32), np.ones((32, 32, 3), np.float32)
    half = np.full((32, 32, 3), 0.5, np.float32)
    assert spread([black, black]) == 0.0 and spread([black, white]) == 1.0
    assert spread([black, half, white]) == pytest.approx((0.5 + 1.0 + 0.5) / 3)
    assert np.isnan(spread([black])) and spread([black, None, white]) == 1.0


@pytest.fixture(scope="module")
def hacked(tmp_path_factory):
    """The reward of `bad` rises, while its score falls and its pictures become one."""
    root = tmp_path_factory.mktemp("hacked") / "run"
    write_run(root, {"good": 0.2, "bad": -0.2}, seeds=1, prompts=20, samples=2, iterations=20)
    for path in (root / "train" / "bad").glob("*/metrics.jsonl"):
        rewrite(path, lambda r: {**r, "reward_mean": 0.5 + 0.02 * r["iteration"]})
    rng = np.random.default_rng(0)
    for policy in ("base", "good-seed0", "bad-seed0"):
        for category in ("single_object", "two_object", "counting", "colors", "position", "color_attr"):
            for p in range(20):
                for sample in (0, 1):
                    shade = 128 if policy == "bad-seed0" else int(rng.integers(0, 255))
                    name = root / "images" / policy / "geneval" / "main" / f"{category}-{p:03d}_{sample}.png"
                    Image.new("RGB", (8, 8), (shade, shade, shade)).save(name)
    return root


def test_warnings_where_reward_and_the_rest_part(hacked):
    run, results = results_of(hacked)
    moves = make_moves(run, results, diversity(run, results))
    assert [one.method for one in moves] == ["good", "bad"]
    lines = warnings(moves)
    assert len(lines) == 2 and all(line.startswith("bad: the trained reward rose from 0.52") for line in lines)
    assert "GenEval (embedded world) went from" in lines[0] and "Diversity within prompts went from" in lines[1]
    assert not moves[0].warnings
    report = build(hacked)
    assert "**Warning:** bad: the trained reward rose" in report.terminal
    assert '<div class="warn"><b>Warning.</b> bad' in (hacked / "report" / "index.html").read_text()
    assert "| bad" in (hacked / "report" / "table.md").read_text().split("## Reward against")[1]


def test_no_warning_about_what_was_trained_on(hacked, tmp_path):
    run, results = results_of(hacked)
    run.config["train"]["bad"]["rewards"] = "geneval=1,jpeg=0"
    moves = make_moves(run, results, diversity(run, results))[1]
    assert [move.trained for move in moves.moves] == [True, True, False] and moves.rewards == "geneval"
    assert [line for line in moves.warnings if "GenEval" in line] == []


def test_verdicts_along_training_are_a_curve_and_in_no_table(tmp_path):
    root = write_run(tmp_path, {"a": 0.2}, seeds=2, prompts=20, samples=1, iterations=20, images=False)
    folder, curve = root / "verdicts" / "geneval" / "main", root / "verdicts" / "geneval" / "curve"
    curve.mkdir()
    for policy, method, seed, step in (
        ("base", "base", None, 0),
        ("a-seed0.10", "a", 0, 10),
        ("a-seed1.10", "a", 1, 10),
    ):
        lines = (folder / f"{policy.partition('.')[0]}.jsonl").read_text().splitlines()[::10]
        (curve / f"{policy}.jsonl").write_text("\n".join(lines) + "\n")
        meta = json.loads((folder / "base.meta.json").read_text())
        told = {
            "name": policy, "method": method, "train_seed": seed, "iteration": step, "forwards": step,
            "milestone": "curve",
        }  # fmt: skip
        meta |= {
            "expected_images": len(lines),
            "policy": told,
            "prompt_set_sha256": "other",
            "setting": {"steps": 8, "samples": 1},
        }
        (curve / f"{policy}.meta.json").write_text(json.dumps(meta))
        rehash(curve / f"{policy}.jsonl")
    run, results = results_of(root)
    assert [r.block.key for r in results] == ["geneval/main/forwards:6000"]
    found = saved(run)
    expected = np.mean([json.loads(line)["score"] for line in (folder / "base.jsonl").read_text().splitlines()[::10]])
    assert found.base.estimate == pytest.approx(expected)
    assert [(point.iterations, point.seeds) for point in found.points] == [(10, 2)] and "12 prompts" in found.title


def test_pictures_that_become_alike_are_told_whatever_the_reward_did():
    unresolved = Move("trained reward", 1.0, 1.0, Interval(0.0, -0.1, 0.1), "unresolved", trained=True)
    fell = Move("Diversity within prompts", 0.2, 0.15, Interval(-0.05, -0.06, -0.04), "down, resolved", worse=True)
    slightly = Move(
        "Diversity within prompts", 0.2, 0.19, Interval(-0.01, -0.015, -0.005), "down, resolved", worse=True
    )
    (line,) = Moves("ht", "objects", [unresolved, fell]).warnings
    assert line.startswith("ht: Diversity within prompts went from 0.200 to 0.150")
    assert Moves("ht", "objects", [unresolved, slightly]).warnings == []
