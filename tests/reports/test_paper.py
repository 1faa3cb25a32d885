"""The paper's numbers, and its tables filled from made-up runs."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from bench import paper
from bench.ask.presets import read
from htgrpo.base.errors import EXIT_OK, UserError
from reports.paper import tables as paper_tables
from reports.paper.published import mark, published
from tests.bench.tiny_runs import records
from tests.reports.ablation_runs import write_ablations
from tests.reports.paper_runs import on_mmada
from tests.reports.synthetic import write_run

ROOT = Path(__file__).resolve().parent.parent.parent
NUMBERS = {
    "1": "0.56 0.63 0.80 0.79 0.83 0.83 0.88 0.87 0.92 0.82",
    "2": "70.51 75.81 74.37 81.09 82.24 82.62 84.47 83.84 83.50", "4a": "83.3 78.3 80.2", "4b": "80.2 83.3",
    "4c": "83.3 80.8 80.6", "5": "79.82 80.43 82.41 83.31",
}  # fmt: skip


@pytest.fixture(scope="module")
def mmada(tmp_path_factory) -> paper_tables.Source:
    return paper_tables.open_source(on_mmada(tmp_path_factory.mktemp("runs") / "mmada"))


def line_of(laid: paper_tables.PaperTable, group: str, method: str, benchmark: str = "") -> paper_tables.Line:
    wanted = (group, method, benchmark or laid.lines[0].benchmark)
    return next(line for line in laid.lines if (line.group, line.method, line.benchmark) == wanted)


# --- the numbers ----------------------------------------------------------------------------------------------------------------


def test_every_number_of_the_paper_is_there_with_its_section():
    for table, numbers in NUMBERS.items():
        assert [row.value for row in published() if row.table == table and row.value] == numbers.split()
    assert {row.table for row in published()} == {*NUMBERS, "3"}
    assert all(row.section for row in published()) and not any(row.value for row in published() if row.table == "3")


def test_variants_have_the_papers_marks():
    known = read("ablations")
    names = {name for row in published() for name in row.variants}
    assert names <= {"default", *known["variants"]}
    assert {name for s in known["studies"].values() for name in s["variants"]} - names == {"stage_mean_credit"}, "ours"
    assert mark("A4", "alpha_narrow").text == "80.2" and mark("A4", "alpha_broad").text == "lower"
    assert (mark("A1", "no_global").low, mark("A1", "no_global").high) == (78.3, 80.2)
    assert mark("A1", "reversed").text == "order matters" and mark("A2", "global_biased").text == "lower"
    assert mark("A5", "stage_mean_credit") is None and mark("A3", "default").low == 83.31


# --- tables ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["1", "2", "3"])
def test_rows_have_a_number_and_the_others_are_named_once(table, mmada):
    for sources in ([], [mmada]):
        laid = paper_tables.layout(table, sources, ["mmada", "lumina-dimoo"])
        assert all(line.printed or line.ours for line in laid.lines)
        there = {line.name for line in laid.lines if line.section} | set(laid.left_out)
        assert there == {row.row for row in published() if row.table == table}
        text = paper_tables.markdown(laid)
        measured = bool(sources) and table != "3"
        assert ("half of the 95%" if measured else "Nothing of this table was measured") in text
        assert ("Rows without a number" in text) == bool(laid.left_out)
        assert all(len(line) <= 80 for line in text.splitlines())
    assert ("has no imagereward, hpsv3, deqa" in text) == (table == "3")


def test_a_run_fills_the_rows_of_its_backbone(mmada):
    laid = paper_tables.layout("1", [mmada], ["mmada", "lumina-dimoo"])
    line = line_of(laid, "mmada", "ht")
    per_seed = []
    for seed in range(3):
        by_category: dict[str, list[float]] = {}
        for record in records(mmada.root / f"verdicts/geneval/main/ht-seed{seed}.jsonl"):
            by_category.setdefault(record["category"], []).append(record["score"])
        per_seed.append(np.mean([np.mean(scores) for scores in by_category.values()]))
    assert line.ours.interval.estimate == pytest.approx(np.mean(per_seed)) and line.ours.claim == "methods"
    assert line.printed == "0.83" and line.ours.note == "GenEval (embedded world)"
    assert line_of(laid, "mmada", "uni").ours is None and line_of(laid, "lumina-dimoo", "ht").ours is None
    assert line_of(laid, "mmada", "coupled").printed == "" and line_of(laid, "mmada", "coupled").ours
    assert "none may be set against" in paper_tables.markdown(laid)


def test_two_runs_of_a_backbone_stand_in_rows_of_their_own(mmada, tmp_path):
    second = paper_tables.open_source(on_mmada(tmp_path / "second"))
    laid = paper_tables.layout("2", [mmada, second], ["mmada"])
    names = [line.name for line in laid.lines if line.method == "ht"]
    assert names == ["+ HT-GRPO (run mmada)", "+ HT-GRPO (run second)"]


def rename(root: Path, old: str, new: str, title: str) -> Path:
    """The run in `root` with benchmark `old` scored as `new`."""
    (root / "verdicts" / old).rename(root / "verdicts" / new)
    for path in root.glob(f"verdicts/{new}/*/*.meta.json"):
        path.write_text(
            json.dumps({**json.loads(path.read_text()), "benchmark": new, "title": title, "published": {"prompts": 1}})
        )
    return root


def test_only_the_published_benchmark_stands_in_a_row_without_a_note(tmp_path):
    root = rename(on_mmada(tmp_path / "a"), "geneval", "embedded_geneval", "GenEval (embedded world)")
    laid = paper_tables.layout("1", [paper_tables.open_source(root)], ["mmada"])
    assert line_of(laid, "mmada", "ht").ours.note == "GenEval (embedded world)"
    assert "of GenEval (embedded world), which is not" in paper_tables.markdown(laid).replace("\n", " ")
    rename(root, "embedded_geneval", "geneval", "GenEval")
    laid = paper_tables.layout("1", [paper_tables.open_source(root)], ["mmada"])
    assert line_of(laid, "mmada", "ht").ours.note == "" and "none may be set" not in paper_tables.markdown(laid)
    rename(root, "dpg", "hpsv3", "HPSv3 on DPG-Bench prompts")
    laid = paper_tables.layout("3", [paper_tables.open_source(root)], ["mmada"])
    assert line_of(laid, "mmada", "ht", "hpsv3").ours and {line.benchmark for line in laid.lines} == {"hpsv3"}
    assert laid.remarks == ["The run a has no imagereward, deqa, unipercept.iaa, unipercept.iqa, unipercept.ista."]


@pytest.mark.parametrize(
    "whole, told",
    [
        ({"prompts": 553, "pictures": 4}, "GenEval, 144 of 553 prompts, 2 of 4 pictures each"),
        ({"prompts": 144, "pictures": 4}, "GenEval, 2 of 4 pictures each"),
        ({"prompts": 144, "pictures": 2}, ""),
    ],
)
def test_a_part_of_the_benchmark_is_marked_in_its_row_and_said(tmp_path, whole, told):
    root = on_mmada(tmp_path / "a")
    for path in root.glob("verdicts/geneval/*/*.meta.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "title": "GenEval", "published": whole}))
    laid = paper_tables.layout("1", [paper_tables.open_source(root)], ["mmada"])
    ours, text = line_of(laid, "mmada", "ht").ours, paper_tables.markdown(laid).replace("\n", " ")
    assert ours.note == told and ours.size.endswith("pictures each, 864/864 judged"), (
        "prompts, pictures and coverage in every row"
    )
    assert ("†" in text) == bool(told) and ("none may be set against its numbers" in text) == bool(told)
    sizes = (whole["prompts"], whole["pictures"])
    row = " × ".join(f"{n} of {of}" if n < of else f"{n}" for n, of in zip((144, 2), sizes, strict=True))
    assert told in text and f"{row}, 864/864 |" in text and ours.size in paper_tables.to_csv(laid)


def test_a_run_that_does_not_record_how_much_it_measured_is_marked(tmp_path):
    root = on_mmada(tmp_path / "a")
    for path in root.glob("verdicts/geneval/*/*.meta.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "title": "GenEval"}))
    laid = paper_tables.layout("1", [paper_tables.open_source(root)], ["mmada"])
    assert line_of(laid, "mmada", "ht").ours.note == "GenEval, of how many prompts is not recorded"


def test_random_weights_never_fill_the_papers_rows(tmp_path):
    root = on_mmada(tmp_path / "tiny")
    for path in root.glob("verdicts/*/*/*.meta.json"):
        meta = json.loads(path.read_text())
        path.write_text(json.dumps({**meta, "policy": {**meta["policy"], "random_weights": True}}))
    laid = paper_tables.layout("1", [paper_tables.open_source(root)], ["mmada"])
    assert all(line.ours is None for line in laid.lines if line.group == "mmada")
    assert any("random weights" in line.group for line in laid.lines)


def test_another_policy_never_fills_the_papers_rows(tmp_path):
    source = paper_tables.open_source(write_run(tmp_path / "small", {"ht": 0.2}, images=False))
    laid = paper_tables.layout("1", [source], ["mmada"])
    assert all(line.ours is None for line in laid.lines if line.group == "mmada")
    own = [line for line in laid.lines if line.group == "embedded world, run small"]
    assert [line.name for line in own] == ["starting policy", "+ ht"]
    assert own[1].ours.claim == "checkpoints" and not own[1].printed
    assert paper_tables.to_csv(laid).count("embedded world, run small") == 2


def test_table_5_and_figure_4_take_a_folder_of_ablations(tmp_path, capsys, plain_figures):
    gains = {"default": 0.3, "gamma_up": 0.2, "gamma_full": 0.0, "alpha_narrow": 0.1}
    root = write_ablations(tmp_path / "ab", gains, studies=("A3", "A4"), seeds=2)
    out = tmp_path / "out"
    assert paper.main(["--table", "5", "--figure", "4", "--run", str(root), "--out", str(out)]) == EXIT_OK
    text = capsys.readouterr().out
    assert "A4 NOT MEASURED" in text and "A1 NOT MEASURED" in text and "Settings of the run ab" in text
    assert {path.name for path in out.iterdir()} == {
        "table5.md", "table5.csv", "figure4.png", "figure4.pdf", "files.json",
    }  # fmt: skip
    lines = {(row["group"], row["method"]): row for row in csv.DictReader((out / "table5.csv").open())}
    mine = {method for group, method in lines if group == "embedded world, run ab"}
    assert mine == {"default", "gamma_up", "gamma_full"} and "gamma_sparse: not scored" in text
    assert all(bool(row["paper"]) == (group == "mmada") == (not row["estimate"]) for (group, _), row in lines.items())
    assert [row["paper"] for row in lines.values()][:4] == NUMBERS["5"].split()


def test_the_command_line(tmp_path, capsys):
    assert paper.main(["--table", "2", "--backbone", "mmada", "--out", str(tmp_path), "--json"]) == EXIT_OK
    assert {Path(name).name for name in json.loads(capsys.readouterr().out)["files"]} == {"table2.md", "table2.csv"}
    assert "82.62" not in (tmp_path / "table2.md").read_text() and "81.09" in (tmp_path / "table2.md").read_text()
    for argv in (["--table", "6"], ["--figure", "3"], ["--backbone", "llada"]):
        with pytest.raises(UserError, match="accepted"):
            paper.main([*argv, "--out", str(tmp_path)])
