"""The page: the answer first, quality against cost, one colour and one name per method, figures that follow the page."""

import csv
import io
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from htgrpo.base.records import CURVE
from htgrpo.base.registry import METHODS
from reports.figures.looks import COLOURS, colours, markers
from reports.figures.quality import figure as quality_figure
from reports.findings.analysis import analyse
from reports.findings.answer import answer, claimed, in_every_view
from reports.findings.costs import costs
from reports.findings.quality import Panel, Point, quality, to_csv
from reports.findings.shown import shown
from reports.pages import html
from reports.pages.drawing import inline, tones, variable
from reports.run.blocks import make_blocks
from reports.run.load import load_run
from reports.statistics.stats import Interval
from tests.reports.enriched import rewrite
from tests.reports.synthetic import write_run

VIEWS = ("final", "milestone")


def results_of(root):
    run = load_run(root)
    return run, [analyse(block) for block in make_blocks(run)]


def change(root, **values):
    path = root / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_the_answer_names_the_winner_of_the_main_claim(tmp_path):
    effects = {"a": 0.0, "b": 0.35}
    root = write_run(tmp_path, effects, seeds=1, prompts=20, milestones=VIEWS, images=False)
    change(
        root, claim={"benchmark": "geneval", "setting": "main", "milestone": "iterations:20"}, titles={"b": "B-GRPO"}
    )
    run, results = results_of(root)
    main = claimed(results)
    assert main.block.milestone == "iterations:20" and in_every_view(results) == [main, results[0]]
    first, base, about = answer(results, run.names)
    score = main.scores["b"].headline.estimate
    assert first.startswith("On GenEval (embedded world), at equal iterations (20), ")
    if main.pair("b", "a").verdict() == "better":
        assert f"B-GRPO ({score:.3f}) is better than a (" in first
    assert "B-GRPO is shown to be above it" in base and "a is not told apart from it" in base
    assert "these checkpoints, not these methods" in about and "four times in five" in about


def test_no_winner_is_named_where_none_is_shown(tmp_path):
    root = write_run(tmp_path, {"a": 0.0, "b": 0.0}, seeds=1, prompts=20, images=False)
    _, results = results_of(root)
    assert "no method is shown to be the best" in answer(results, {})[0] and "better" not in answer(results, {})[0]
    titled = answer(results, {"a": "A-GRPO, each row once"})[0]
    assert "A-GRPO (each row once) (0." in titled, "commas part the names of a list"
    assert answer([], {}) == ["No comparison has a headline: see what is missing below."]


def test_one_method_is_compared_with_its_start(tmp_path):
    _, results = results_of(write_run(tmp_path, {"a": 0.5}, seeds=1, prompts=20, images=False))
    first, about = answer(results, {"a": "A-GRPO"})
    assert re.search(r"A-GRPO \(0\.\d+\) is better than base \(0\.\d+\): \+0\.\d+ \[", first)


def test_quality_stands_over_every_cost_with_the_tables_intervals(tmp_path):
    root = write_run(tmp_path, {"a": 0.1, "b": 0.3}, seeds=3, prompts=20, milestones=VIEWS, images=False)
    run, results = results_of(root)
    spent = costs(run)
    (panel,) = quality(run, results)
    assert panel.base == results[0].scores["base"].headline and panel.methods == ["a", "b"]
    for axis in ("iterations", "forwards", "seconds"):
        points = panel.of("b", axis)
        assert [point.iterations for point in points] == [20, 30] and [p.seeds for p in points] == [3, 3]
        for point, result in zip(points, (results[1], results[0]), strict=True):
            assert point.score == result.scores["b"].method_level and point.score.known
            (cost,) = [c for c in spent if (c.view, c.method) == (result.block.milestone, "b")]
            assert getattr(point, axis) == getattr(cost, axis)
    rows = list(csv.DictReader(io.StringIO(to_csv([panel]))))
    assert [(row["method"], row["iterations"]) for row in rows] == [
        ("base", "0"),
        *[(m, i) for i in ("30", "20") for m in "ab"],
    ]
    assert {row["interval"] for row in rows[1:]} == {"seeds and prompts"}


def test_views_on_different_prompts_have_a_panel_and_a_start_each(tmp_path):
    effects = {"a": 0.1, "b": 0.3}
    root = write_run(
        tmp_path, effects, seeds=1, prompts=20, samples=1, milestones=VIEWS, fail=("b-seed0", 3), images=False
    )
    run = load_run(root)
    (whole,) = quality(run, [analyse(block) for block in make_blocks(run)])
    assert whole.prompts == 120 and whole.view == "" and whole.title == "GenEval (embedded world)"
    results = [analyse(block, allow_incomplete=True) for block in make_blocks(run)]
    panels = quality(run, results)
    assert [panel.title for panel in panels] == [
        "GenEval (embedded world), at equal forwards (6000), 117 prompts",
        "GenEval (embedded world), at equal iterations (20), 120 prompts",
    ]
    for panel, result in zip(panels, results, strict=True):
        assert panel.base == result.scores["base"].headline and panel.prompts == result.prompts_used
        assert {point.method: point.score for point in panel.points} == {
            name: score.headline for name, score in result.scores.items() if name != "base"
        }
    assert panels[0].base.estimate != panels[1].base.estimate
    rows = [row for row in csv.DictReader(io.StringIO(to_csv(panels))) if row["method"] == "base"]
    assert [(row["view"], row["prompts"], float(row["estimate"])) for row in rows] == [
        (panel.view, str(panel.prompts), pytest.approx(panel.base.estimate)) for panel in panels
    ]
    assert [row["view"] for row in rows] == ["forwards:6000", "iterations:20"]


def test_the_cost_of_a_point_is_that_of_the_trainings_that_are_scored(tmp_path):
    """`b` has no third training, so that the third of `a`, ten times as slow, is in no score; nor in its saved checkpoints."""
    root = write_run(tmp_path, {"a": 0.1, "b": 0.3}, seeds=3, prompts=20, samples=1, images=False)
    shutil.rmtree(root / "train" / "b" / "seed2")
    verdicts = root / "verdicts" / "geneval"
    for path in (verdicts / "main").glob("b-seed2.*"):
        path.unlink()
    rewrite(root / "train" / "a" / "seed2" / "timing.jsonl", lambda r: {**r, "seconds_total": 10 * r["seconds_total"]})
    shutil.copytree(verdicts / "main", verdicts / CURVE)
    for path in (verdicts / CURVE).glob("a-seed2.*"):
        path.unlink()
    run, results = results_of(root)
    assert results[0].scores["a"].per_seed == results[0].scores["a"].per_seed[:2]
    panels = quality(run, results)
    found = [(point.method, point.seeds, point.seconds) for panel in panels for point in panel.points]
    assert len(panels) == 2 and sorted(found) == sorted(2 * [("a", 2, 37.5), ("b", 2, 37.5)])


def test_words_of_quality_have_the_digits_of_its_scale(tmp_path):
    run = load_run(write_run(tmp_path, {"a": 0.1}, seeds=1, prompts=2, images=False))
    points = [Point("a", "", 1, Interval(20.1234), 30.0, 9.0, 9.0)]
    assert (
        "from 19.500 a to 20.123"
        in shown(run, [], [Panel("p", "P", 20, Interval(19.5), points)], [])["quality_seconds"]
    )
    low = Panel("p", "P", 20, Interval(0.5), points, 100.0)
    assert "from 0.5 a to 20.1" in shown(run, [], [low], [])["quality_seconds"]


def test_checkpoints_of_one_mean_iteration_are_two_points():
    """Seeds stopped at 10 and 30 by the clock are not those stopped at 20; the same checkpoints are drawn once."""
    by_clock, equal = (
        Point("a", view, 2, Interval(y), 20.0, f, f) for view, y, f in (("s", 0.5, 9.0), ("i", 0.6, 8.0))
    )
    panel = Panel("g", "G", 20, None, [by_clock, equal, replace(equal, view="f")])
    assert [point.score.estimate for point in panel.of("a", "iterations")] == [0.5, 0.6]


def test_a_start_without_an_interval_takes_none_from_the_methods(tmp_path, monkeypatch):
    run = load_run(write_run(tmp_path, {"a": 0.1}, seeds=1, prompts=2, images=False))
    panel = Panel("g", "G", 20, Interval(0.0), [Point("a", "", 1, Interval(0.5, 0.4, 0.6), 30.0, 9.0, 9.0)])
    (ax,) = quality_figure(run, [panel], "iterations").axes
    drawn = [path.vertices[:, 1].tolist() for one in ax.collections for path in one.get_paths()]
    assert [0.4, 0.6] in drawn


def test_a_registered_look_does_not_depend_on_who_else_is_there(tmp_path):
    root = write_run(tmp_path, {"a": 0.1, "b": 0.1, "c": 0.1}, seeds=1, prompts=2, images=False)
    change(root, looks={"b": ["#0072B2", "o"], "c": ["#D55E00", "s"]})
    run = load_run(root)
    assert colours(run)["b"] == "#0072B2" and markers(run)["c"] == "s"
    assert colours(run)["a"] == next(c for c in COLOURS if c not in ("#0072B2", "#D55E00"))
    assert len(set(colours(run).values())) == 4


def test_every_shipped_method_has_a_look_of_its_own():
    looks = {name: METHODS.get(name).__dict__.get("look") for name in METHODS.names() if METHODS.get(name).title}
    shipped = {
        name: look
        for name, look in looks.items()
        if METHODS.get(name).__module__.split(".")[0] in ("htgrpo", "baselines")
    }
    assert all(shipped.values()), "look = (colour, marker) beside title"
    assert len({colour for colour, _ in shipped.values()}) == len(shipped)


def test_a_figure_inside_the_page_has_its_own_ids_and_the_pages_colours():
    svg = (
        '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="72pt" viewBox="0 0 72 36">\n'
        '<defs><clipPath id="p1"/></defs><g clip-path="url(#p1)"><use xlink:href="#m1"/>'
        '<path style="fill: #ffffff; stroke: #0072b2"/><text style="fill: #222222">x</text></g></svg>'
    )
    found = inline(svg, "fig")
    assert 'id="fig-p1"' in found and "url(#fig-p1)" in found and 'href="#fig-m1"' in found
    assert "fill:var(--paper,#ffffff)" in found and "fill:var(--ink,#222222)" in found
    assert tones(found) == ["0072b2"] == tones(variable("#0072B2"))
    assert found.startswith('<svg width="116" height="58" viewBox="0 0 72 36" role="img" aria-labelledby="fig-shows">')


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    root = write_run(
        tmp_path_factory.mktemp("page"), {"a": 0.0, "b_2": 0.3}, seeds=1, prompts=20, milestones=VIEWS, images=False
    )
    change(
        root,
        titles={"b_2": "B-GRPO"},
        folder="runs/mine",
        command="python -m bench.compare --methods a,b_2",
        git_commit="abcdef0123456789",
    )
    run, results = results_of(root)
    spent = costs(run)
    plain = b'<svg viewBox="0 0 72 72"><rect style="fill: #0072b2"/></svg>'
    contents = {f"{name}.svg": plain for name in ("differences", "quality_iterations", "curves_seconds", "categories")}
    return html.page(run, results, spent, contents, panels=quality(run, results))


def test_the_answer_the_differences_and_the_table_come_first(text):
    order = ["<title>mine", "<h1>mine", "runs/mine", "commit abcdef012345", "bench.compare --methods a,b_2", 'class="answer"',
             'aria-labelledby="differences-shows"', '<table class="scores"', 'id="cost"']  # fmt: skip
    places = [text.index(part) for part in order]
    assert places == sorted(places) and text.count("B-GRPO") > 5 and "<td>b_2" not in text


def test_tables_have_captions_and_no_empty_header(text):
    assert text.count("<table") == text.count("<caption") and not re.search(r"<th[^>]*></th>", text)
    assert not re.search(r"<th(?! scope)", text.replace("<thead", ""))


def test_one_switch_shows_the_curves_of_one_cost(text):
    assert re.findall(r'name="axis" value="(\w+)"', text) == ["iterations", "seconds"]
    assert re.findall(r'<figure class="drawing" data-axis="(\w+)"', text) == ["iterations", "seconds"]
    assert "--c-0072b2:#0072b2" in text and "color-mix" in text


def test_curves_and_differences_say_what_they_show(text):
    shown = dict(re.findall(r'<span id="([\w]+)-shows">([^<]*)</span>', text))
    assert "differences resolved" in shown["differences"] and "Highest in each category" in shown["categories"]
    assert re.search(r"B-GRPO to 0\.\d+ \[0\.\d+, 0\.\d+\] after 30", shown["quality_iterations"])
    assert np.all([len(words) > 40 for words in shown.values()])
