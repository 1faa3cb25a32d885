"""The report of made-up runs: numbers by hand, honesty rules, formats, determinism."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from reports.findings import sentences
from reports.findings.analysis import analyse
from reports.findings.costs import costs
from reports.pages import html
from reports.pages.build import build
from reports.run.blocks import make_blocks
from reports.run.load import load_run
from reports.tables import csv as csv_table
from reports.tables import latex, notes
from reports.tables import text as tables
from tests.reports.synthetic import write_run
from tests.sealing import rehash


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory) -> Path:
    root = write_run(tmp_path_factory.mktemp("two") / "run", prompts=20, samples=2, dense=24, iterations=12)
    build(root)
    return root


@pytest.fixture(scope="module")
def three_seeds(tmp_path_factory):
    root = write_run(
        tmp_path_factory.mktemp("three") / "run",
        {"α": 0.0, "a_b&c": 0.5},
        seeds=3,
        prompts=20,
        samples=1,
        settings=("main", "other_sampler"),
        milestones=("final", "milestone"),
        images=False,
    )
    run = load_run(root)
    return run, [analyse(block) for block in make_blocks(run)]


def raw(root: Path, policy: str, benchmark: str = "geneval") -> list[dict]:
    path = root / "verdicts" / benchmark / "main" / f"{policy}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def by_hand(records: list[dict]) -> dict[str, float]:
    """Category -> mean of the prompts' means over their samples, in plain Python."""
    categories: dict[str, dict[str, list[float]]] = {}
    for record in records:
        categories.setdefault(record["category"], {}).setdefault(record["prompt_id"], []).append(record["score"])
    return {
        name: sum(sum(scores) / len(scores) for scores in prompts.values()) / len(prompts)
        for name, prompts in categories.items()
    }


def rows_of(root: Path, **where: str) -> list[dict]:
    rows = csv.DictReader(io.StringIO((root / "report" / "table.csv").read_text()))
    return [row for row in rows if all(row[key] == value for key, value in where.items())]


def test_every_score_and_difference_recomputed_by_hand(two_seeds):
    headlines = {}
    for method, policies in {
        "base": ["base"],
        "alpha": ["alpha-seed0", "alpha-seed1"],
        "beta_2": ["beta_2-seed0", "beta_2-seed1"],
    }.items():
        cells = [by_hand(raw(two_seeds, policy)) for policy in policies]
        for column in cells[0]:
            (row,) = rows_of(two_seeds, kind="score", benchmark="geneval", method=method, column=column)
            assert float(row["estimate"]) == pytest.approx(sum(c[column] for c in cells) / len(cells))
            assert float(row["low"]) < float(row["estimate"]) < float(row["high"])
        headlines[method] = sum(sum(c.values()) / len(c) for c in cells) / len(cells)
        (row,) = rows_of(two_seeds, kind="score", benchmark="geneval", method=method, column="headline")
        assert (
            float(row["estimate"]) == pytest.approx(headlines[method])
            and row["coverage"] == "240/240"
            or len(policies) == 2
        )
    for row in rows_of(two_seeds, kind="difference", benchmark="geneval", column="headline"):
        assert float(row["estimate"]) == pytest.approx(headlines[row["method"]] - headlines[row["minus"]])


def test_question_categories_by_hand(two_seeds):
    records = raw(two_seeds, "base", "dpg")
    asked = [q for record in records for q in record["evidence"]["questions"] if q["category"] == "relation"]
    (row,) = rows_of(two_seeds, kind="score", benchmark="dpg", method="base", column="questions: relation")
    assert float(row["estimate"]) == pytest.approx(100 * sum(q["score"] for q in asked) / len(asked))
    (row,) = rows_of(two_seeds, kind="score", benchmark="dpg", method="base", column="headline")
    assert float(row["estimate"]) == pytest.approx(100 * np.mean([r["score"] for r in records]))


def test_costs_by_hand(two_seeds):
    (cost,) = [c for c in costs(load_run(two_seeds)) if c.method == "beta_2"]
    metrics = [two_seeds / "train" / "beta_2" / f"seed{s}" / "metrics.jsonl" for s in (0, 1)]
    tails = [[json.loads(line)["reward_mean"] for line in path.read_text().splitlines()][-2:] for path in metrics]
    assert (cost.iterations, cost.forwards, cost.seconds, cost.memory) == (12, 1200, 15, 1000)
    assert cost.reward == pytest.approx(np.mean(tails))


def test_two_seeds_make_no_claim_about_methods(two_seeds):
    text = (two_seeds / "report" / "table.md").read_text()
    assert tables.NO_METHOD_CLAIM in text and "these checkpoints, not these methods" in build(two_seeds).terminal
    assert not rows_of(two_seeds, claim="methods")
    assert tables.NO_METHOD_CLAIM in (two_seeds / "report" / "index.html").read_text()


def test_terminal_fits_80_columns_and_says_which_world(two_seeds):
    text = build(two_seeds).terminal
    assert max(map(len, text.splitlines()[:-1])) <= 80
    assert "embedded world" in text and "GenEval (embedded world)" in text and "minus base" in text


def test_three_seeds_claim_methods_and_follow_the_order(three_seeds):
    run, results = three_seeds
    main = results[0]
    assert main.level == "methods" and main.best == "a_b&c" and "base" not in main.tied
    words = sentences.pair_sentences(results)
    found = next(line for line in words if "a_b&c is better than base" in line)
    assert "3 training seeds" in found and "At equal iterations (20): the order survives" in found
    assert "With other_sampler: the order survives" in found
    undecided = next(line for line in words if "α" in line and "base" in line)
    assert "not told apart" in undecided
    assert ">" in sentences.order(main) and "a_b&c over base" in sentences.resolution(main)


def test_blocks_keep_settings_and_milestones_apart(three_seeds):
    _, results = three_seeds
    keys = [r.block.key for r in results]
    assert keys == [f"geneval/{s}/{m}" for s in ("main", "other_sampler") for m in ("forwards:6000", "iterations:20")]
    assert all([m.name for m in r.block.methods] == ["base", "α", "a_b&c"] for r in results)
    assert results[1].block.methods[1].policies == ["α-seed0@20", "α-seed1@20", "α-seed2@20"]


def test_final_checkpoint_at_the_milestone_iteration_counts_for_it(tmp_path):
    root = write_run(tmp_path, {"a": 0.1, "b": 0.1}, milestones=("final", "milestone"), images=False)
    folder = root / "verdicts" / "geneval" / "main"
    for seed in (0, 1):
        for suffix in (".jsonl", ".meta.json"):
            (folder / f"b-seed{seed}@20{suffix}").unlink()
        path = folder / f"b-seed{seed}.meta.json"
        meta = json.loads(path.read_text())
        meta["policy"]["iteration"] = 20
        path.write_text(json.dumps(meta))
    blocks = make_blocks(load_run(root))
    assert [m.policies[0] for m in blocks[1].methods] == ["base", "a-seed0@20", "b-seed0"]


def test_latex_has_booktabs_bold_marks_and_escapes(three_seeds):
    run, results = three_seeds
    text = latex.to_latex(run.title, results, costs(run), {"α": "Alpha-GRPO"})
    for part in (
        r"\toprule", r"\midrule", r"\bottomrule", r"\textbf{0.", r"a\_b\&c", "single object", "Alpha-GRPO $-$ base",
        r"\label{tab:geneval-main-", "embedded world",
    ):  # fmt: skip
        assert part in text
    scores = {name: score.headline.estimate for name, score in results[0].scores.items()}
    first, second, _ = sorted(scores, key=scores.get, reverse=True)
    assert rf"\textbf{{{scores[first]:.3f}}}" in text and rf"\underline{{{scores[second]:.3f}}}" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2 * len(results) + len(run.views)
    assert r"\approx" in latex.to_latex("", [results[0]], [], {})


def test_csv_is_tidy(three_seeds):
    run, results = three_seeds
    rows = list(csv.DictReader(io.StringIO(csv_table.to_csv(results, costs(run)))))
    assert list(rows[0]) == csv_table.FIELDS and {r["kind"] for r in rows} == {"score", "difference", "cost"}
    assert {r["claim"] for r in rows if r["kind"] == "difference"} == {"checkpoints", "methods"}


def test_small_category_prints_no_interval(tmp_path):
    root = write_run(tmp_path, {"a": 0.1}, seeds=1, prompts=19, images=False)
    result = analyse(make_blocks(load_run(root))[0])
    score = result.scores["a"]
    assert score.headline.known and not any(cell.known for cell in score.columns.values())
    assert "fewer than 20 prompts" in notes.score_note(result)


SVG = "http://www.w3.org/2000/svg"  # a name, which nothing fetches


def quick(root: Path, allow_incomplete: bool = False) -> tuple[str, list[dict]]:
    """The terminal text and the CSV rows of a run, without drawing."""
    run = load_run(root)
    results = [analyse(block, allow_incomplete) for block in make_blocks(run)]
    rows = list(csv.DictReader(io.StringIO(csv_table.to_csv(results, []))))
    return tables.terminal(run.title, results, [], ""), rows


def test_failed_images_withhold_the_headline_unless_allowed(tmp_path):
    effects = {"a": 0.1, "b": 0.2}
    root = write_run(tmp_path, effects, seeds=1, prompts=20, samples=1, fail=("b-seed0", 3), images=False)
    text, rows = quick(root)
    assert "b: 117/120 images judged; headline withheld" in text
    assert [row["kind"] for row in rows if row["method"] == "b"] == ["coverage"]
    assert any(row["kind"] == "score" for row in rows if row["method"] == "a")
    text, rows = quick(root, allow_incomplete=True)
    assert "117/120" in text and "117 of 120 prompts" in re.sub(r"\s+", " ", text)
    (row,) = [r for r in rows if r["kind"] == "score" and r["method"] == "b" and r["column"] == "headline"]
    cells = by_hand([r for r in raw(root, "b-seed0") if r["status"] == "ok"])
    assert float(row["estimate"]) == pytest.approx(sum(cells.values()) / len(cells))


def test_missing_images_and_unscored_seeds_count_against_coverage(tmp_path):
    root = write_run(tmp_path, {"a": 0.1, "b": 0.2, "c": 0.0}, seeds=2, prompts=20, samples=1, images=False)
    folder = root / "verdicts" / "geneval" / "main"
    path = folder / "a-seed0.jsonl"
    path.write_text("".join(line + "\n" for line in path.read_text().splitlines()[:-1]))
    rehash(path)
    for name in (
        "b-seed1.jsonl", "b-seed1.meta.json", "c-seed0.jsonl", "c-seed0.meta.json", "c-seed1.jsonl",
        "c-seed1.meta.json",
    ):  # fmt: skip
        (folder / name).unlink()
    withheld = analyse(make_blocks(load_run(root))[0]).withheld
    assert withheld["a"].startswith("239/240") and withheld["b"].startswith("120/240") and withheld["c"] == "not scored"


def test_lower_is_better_turns_the_verdict(tmp_path):
    root = write_run(tmp_path, {"a": 0.4}, seeds=1, images=False)
    for path in (root / "verdicts" / "geneval" / "main").glob("*.meta.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "higher_is_better": False}))
    result = analyse(make_blocks(load_run(root))[0])
    assert result.best == "base" and "base is better than a" in sentences.pair_sentences([result])[0]


def test_random_weights_are_labelled(tmp_path):
    root = write_run(tmp_path, {"a": 0.1}, seeds=1, images=False)
    path = root / "verdicts" / "geneval" / "main" / "a-seed0.meta.json"
    meta = json.loads(path.read_text())
    meta["policy"]["random_weights"] = True
    path.write_text(json.dumps(meta))
    text, _ = quick(root)
    title = "GenEval (embedded world), some policies with random weights"
    assert "a (from random weights)" in text and f"## {title}" in text
    assert text.splitlines()[0] == "# Comparison (embedded world, some policies with random weights)"
    run = load_run(root)
    results, spent = [analyse(block) for block in make_blocks(run)], costs(run)
    rows = list(csv.DictReader(io.StringIO(csv_table.to_csv(results, spent))))
    assert {row["weights"] for row in rows if row["method"] == "a" and row["kind"] != "difference"} == {
        "from random weights"
    }
    assert {row["weights"] for row in rows if row["method"] == "base"} == {""}
    for written in (
        tables.markdown(run.title, results, spent),
        latex.to_latex(run.title, results, spent, {}),
        html.page(run, results, spent, {}),
    ):
        assert title in written and written.count("a (from random weights)") >= 2
    base = root / "verdicts" / "geneval" / "main" / "base.meta.json"
    meta = json.loads(base.read_text())
    meta["policy"]["random_weights"] = True
    base.write_text(json.dumps(meta))
    assert "base (random weights)" in quick(root)[0] and load_run(root).title == "embedded world, random weights"


def test_same_files_give_the_same_bytes_and_an_unchanged_run_is_not_redone(two_seeds):
    folder = two_seeds / "report"
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert not build(two_seeds).fresh
    (folder / "table.md").write_text("touched")
    again = build(two_seeds)
    assert again.fresh and {path.name: path.read_bytes() for path in folder.iterdir()} == first
    assert {path.name for path in again.files} | {"files.json"} == set(first)
    expected = {
        "table.md", "table.csv", "table.tex", "index.html", "contact_sheet.png", "categories.svg", "categories.pdf",
        "quality.csv", "curves.csv", "differences.svg",
    }  # fmt: skip
    assert expected | {
        f"{name}_{axis}.{kind}"
        for name in ("quality", "curves")
        for axis in ("iterations", "forwards", "seconds")
        for kind in ("svg", "pdf")
    } <= set(first)


def test_html_is_self_contained(two_seeds):
    text = (two_seeds / "report" / "index.html").read_text()
    assert text.count("<svg") >= 9 and 'src="data:image/webp;base64,' in text
    markup = re.sub(
        r"data:image/(?:png|webp);base64,[\sA-Za-z0-9+/=]+|/\*!.*?\*/", "", text
    )  # pictures; a library's banner
    assert not re.search(r"https?://|<script [^>]*src|<link|@import|url\((?!#)|fetch\(", markup.replace(SVG, ""))
    assert not re.search(r'src="(?!")', markup)
    beside = set(re.findall(r'href="(?!["#])([^"]*)"', markup))
    assert beside and beside <= {path.name for path in (two_seeds / "report").iterdir()}, "only files of the report"


def test_pictures_hold_no_dates(two_seeds):
    for path in (two_seeds / "report").glob("*.[ps]??"):
        assert not re.search(rb"CreationDate|ModDate|tIME|dc:date", path.read_bytes())


def test_run_without_training_or_pictures(tmp_path, plain_figures):
    """Given checkpoints: no training files, no training seeds, no images."""
    root = write_run(tmp_path, {"a": 0.3}, seeds=1, prompts=20, images=False)
    for path in (root / "train").rglob("*.jsonl"):
        path.unlink()
    path = root / "verdicts" / "geneval" / "main" / "a-seed0.meta.json"
    meta = json.loads(path.read_text())
    meta["policy"].update(train_seed=None, iteration=None, forwards=None)
    path.write_text(json.dumps(meta))
    report = build(root)
    assert "a − base" in report.terminal and "Cost" not in report.terminal
    assert not any(path.name.startswith(("curves", "contact")) for path in report.files)
