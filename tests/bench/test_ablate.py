"""bench.ablate: the studies as data, one training per variant, and numbers recomputed by hand."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import ablate
from bench.ask.presets import PRESETS, read
from htgrpo.base.errors import EXIT_OK, EXIT_USAGE, UserError
from htgrpo.base.options import build
from htgrpo.ht import HT
from reports.ablations.build import build as build_report
from reports.ablations.studies import blocks_of, load_variants, read_record, studies
from reports.statistics.power import detectable
from tests import drawing
from tests.bench.tiny_runs import SMALL, leave, records, tree
from tests.reports.ablation_runs import write_ablations

DATA = read("ablations")
BUDGET = f"iterations:{DATA['iterations']['quick']}"
GENEVAL = read("quick")["benchmarks"][0]


def method_of(options: dict) -> HT:
    return build(HT, options, "ht")


def request_of(*argv: str):
    args = ablate.parser().parse_args(list(argv))
    return ablate.make_requests(args, DATA, ablate.chosen(args.studies, DATA, args.variants))


def by_hand(root: Path, variant: str, seed: int) -> float:
    """The mean of category means from the verdict file, in plain Python."""
    by_category: dict[str, list[float]] = {}
    for record in records(root / "variants" / variant / f"verdicts/geneval/main/ht-seed{seed}.jsonl"):
        by_category.setdefault(record["category"], []).append(record["score"])
    return sum(sum(scores) / len(scores) for scores in by_category.values()) / len(by_category)


# --- the data -------------------------------------------------------------------------------------------------------------------


def test_the_default_is_the_methods_own_and_variants_are_distinct():
    options = ablate.variants_of(DATA, list(DATA["studies"]))
    assert next(iter(options)) == "default" and len(options) == len(DATA["variants"]) + 1 == 18
    assert method_of(options["default"]) == HT()
    assert len({method_of(o) for o in options.values()}) == 18
    assert all(sum(method_of(o).stages) == 8 for o in options.values()), "every variant makes eight updates"


def test_the_studies_are_the_papers():
    variants = ablate.variants_of(DATA, list(DATA["studies"]))
    stages = {":".join(map(str, method_of(variants[v]).stages)) for v in DATA["studies"]["A1"]["variants"]}
    assert stages == {"2:4:2", "8:0:0", "0:8:0", "0:0:8", "4:4:0", "4:0:4", "0:4:4"}
    assert method_of(variants["reversed"]) == replace(HT(), order=("refinement", "structure", "global"))
    assert {method_of(variants[v]).stages for v in DATA["studies"]["A2"]["variants"]} == {
        (2, 4, 2),
        (2, 2, 4),
        (4, 2, 2),
    }
    rates = {
        v: [round(rate, 3) for _, rate in method_of(variants[v]).rates()] for v in DATA["studies"]["A3"]["variants"]
    }
    assert rates["default"] == [1, 0.5, 1, 0.833, 0.667, 0.5, 1, 0.5]
    assert rates["gamma_up"] == [0.5, 1, 0.5, 0.667, 0.833, 1, 0.5, 1]
    assert rates["gamma_full"] == [1] * 8 and rates["gamma_sparse"] == [0.2] * 8
    assert {method_of(variants[v]).alpha for v in DATA["studies"]["A4"]["variants"]} == {0.1, 0.3, 0.5}
    assert {method_of(variants[v]).credit for v in DATA["studies"]["A5"]["variants"]} == {
        "constant",
        "none",
        "stage_mean",
    }


def test_every_preset_has_its_seeds_and_iterations():
    assert set(DATA["seeds"]) == set(DATA["iterations"]) == set(PRESETS)


def test_findings_compare_variants_of_their_study():
    for study in DATA["studies"].values():
        known = study["variants"]
        assert "default" in known and set(known) <= {"default", *DATA["variants"]}
        assert all({a, b} <= set(known) and a != b for finding in study["findings"] for a, b in finding["pairs"])


# --- requests -------------------------------------------------------------------------------------------------------------------


def test_variants_differ_in_the_methods_options_only():
    _, requests = request_of("--set", "ht.loss_norm=token_mean", "--set", "lr=5e-5")
    assert len(requests) == 18 and all(r.seeds == [0, 1] and r.budget == BUDGET for r in requests.values())
    settings = [{k: v for k, v in r.train["ht"].items() if k != "method_options"} for r in requests.values()]
    assert all(s == settings[0] for s in settings) and settings[0]["lr"] == 5e-5 and settings[0]["budget"] == BUDGET
    assert all(r.train["ht"]["method_options"]["loss_norm"] == "token_mean" for r in requests.values())
    assert requests["alpha_broad"].train["ht"]["method_options"]["alpha"] == 0.5
    base = replace(requests["default"], train={})
    assert all(replace(r, train={}) == base for r in requests.values())


def test_a_budget_is_taken_as_given_and_changes_the_folder():
    name, requests = request_of("A4", "--budget", "forwards:700")
    other, _ = request_of("A4")
    assert list(requests) == ["default", "alpha_narrow", "alpha_broad"]
    assert requests["default"].budget == requests["default"].train["ht"]["budget"] == "forwards:700" and name != other
    assert request_of("A1", "--seeds", "3")[0] == other, "studies and seeds may be added to a folder"


def test_some_variants_are_run_beside_the_default():
    """The folder is the same, so that others can be added."""
    name, requests = request_of("--variants", "no_credit,default,reversed,no_credit")
    assert list(requests) == ["default", "reversed", "no_credit"] and name == request_of()[0]
    assert list(request_of("A1", "--variants", "reversed")[1]) == ["default", "reversed"]
    assert ablate.chosen([], DATA, ["no_credit", "default", "reversed"]) == ["A1", "A5"]
    assert ablate.chosen(["a4"], DATA, ["reversed"]) == ["A4"] and len(ablate.chosen([], DATA, ["default"])) == 5


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["A7"], "accepted: A1, A2"),
        (["--set", "ht.alpha=0.4"], "the studies themselves set"),
        (["A1", "--variants", "no_credit"], "accepted: default, global_only"),
        (["--variants", "reverse"], "did you mean 'reversed'?"),
    ],
)
def test_what_cannot_be_is_said(argv, word, capsys):
    assert leave(ablate.main, argv) == EXIT_USAGE
    assert word in capsys.readouterr().err


# --- a tiny run -----------------------------------------------------------------------------------------------------------------


def run(policy: Path, out: Path, *more: str) -> int:
    common = [
        "--policy", str(policy), "--budget", "iterations:1", "--seeds", "1", "--jobs", "0", "--benchmarks", GENEVAL,
    ]  # fmt: skip
    small = [word for pair in zip(SMALL[::2], SMALL[1::2], strict=True) if "pretrain." not in pair[1] for word in pair]
    return ablate.main([*more, "--out", str(out), *common, *small])


def test_a_dry_run_writes_nothing(policy, tmp_path, capsys):
    assert run(policy, tmp_path / "run", "A2", "A4", "--dry-run") == EXIT_OK
    out = capsys.readouterr().out
    assert "5 runs, 6 jobs" in out and "expected time" in out and "alpha_narrow seed 0" in out
    assert not (tmp_path / "run").exists()


def test_each_variant_is_trained_once_and_studies_can_be_added(policy, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(policy, out, "A4", "--variants", "alpha_broad", "--json") == EXIT_OK
    printed = json.loads(capsys.readouterr().out)
    assert printed["status"] == "complete" and {row["study"] for row in printed["rows"]} == {"A4"}
    assert {path.name for path in (out / "variants").iterdir()} == {"default", "alpha_broad"}
    assert [p.parent.parent.parent.parent.name for p in out.glob("variants/*/verdicts/*/*/base.jsonl")] == ["default"]
    config = json.loads((out / "variants/alpha_broad/config.json").read_text())
    assert config["methods"] == ["ht"] and config["train"]["ht"]["method_options"]["alpha"] == 0.5
    text = (out / "report/ablations.md").read_text()
    assert (out / "report/A4.svg").is_file() and "α = 0.1" in text and "not run here" in text
    assert "NOT MEASURED: α = 0.3 beats 0.1 and 0.5" in text

    assert run(policy, out, "A4") == EXIT_OK
    assert "1 job," in capsys.readouterr().err, "the one that was left out"
    text = (out / "report/ablations.md").read_text()
    assert "not run here" not in text and "NO CLAIM" in text and "fewer than 20 prompts" in text

    before = tree(out)
    assert run(policy, out, "A4") == EXIT_OK
    assert "nothing to do" in capsys.readouterr().err and tree(out) == before

    (out / f"variants/alpha_broad/verdicts/{GENEVAL}/main/ht-seed0.jsonl").unlink()
    assert run(policy, out, "A2", "A4") == EXIT_OK
    assert "3 jobs" in capsys.readouterr().err, "the broken one and the two new ones"
    after = tree(out)
    trained = {name for name in before if "/train/" in name and name.startswith("variants/")}
    assert trained and all(after[name] == before[name] for name in trained), "what was trained is not trained again"
    assert (out / f"variants/alpha_broad/verdicts/{GENEVAL}/main/ht-seed0.jsonl").is_file()
    assert list(read_record(out)["studies"]) == ["A2", "A4"] and (out / "report/A2.pdf").is_file()


def test_a_strange_folder_is_refused(policy, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        run(policy, tmp_path, "A4")


# --- the numbers ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three seeds: narrow is far worse, broad is better."""
    root = tmp_path_factory.mktemp("ablations") / "run"
    return write_ablations(root, {"default": 0.2, "alpha_narrow": -0.1, "alpha_broad": 0.35}, seeds=3)


def test_differences_are_those_of_the_records(folder):
    record = read_record(folder)
    (study,) = studies(blocks_of(load_variants(folder, record), record), record)
    rows = {row.name: row for row in study.rows}
    assert list(rows) == ["alpha_narrow", "default", "alpha_broad"] and rows["default"].gap is None
    for name in ("alpha_narrow", "alpha_broad"):
        gap = rows[name].gap
        wanted = [by_hand(folder, name, seed) - by_hand(folder, "default", seed) for seed in range(3)]
        assert np.allclose(gap.per_seed, wanted, atol=1e-12)
        assert math.isclose(gap.interval().estimate, sum(wanted) / 3, abs_tol=1e-12)
        assert gap.level == "methods" and gap.interval().low < gap.interval().estimate < gap.interval().high
        assert gap.sees() == detectable(gap.interval(), comparisons=2)
    p = [rows[name].gap.interval().p for name in ("alpha_narrow", "alpha_broad")]
    small, large = min(p) * 2, max(max(p), min(p) * 2)
    assert sorted(rows[name].gap.holm() for name in ("alpha_narrow", "alpha_broad")) == pytest.approx([small, large])
    scatter = math.sqrt(np.mean([np.var(rows[n].gap.per_seed, ddof=1) for n in ("alpha_narrow", "alpha_broad")]))
    assert math.isclose(study.scatter, scatter)
    assert {name: row.gap.verdict() for name, row in rows.items() if row.gap} == {
        "alpha_narrow": "worse",
        "alpha_broad": "better",
    }
    (finding,) = study.findings
    assert finding.status == "fails" and (finding.weakest.a, finding.weakest.b) == ("default", "alpha_broad")
    assert math.isclose(finding.weakest.interval().estimate, -rows["alpha_broad"].gap.interval().estimate)


@pytest.mark.parametrize(
    ("gains", "status"),
    [
        ({"default": 0.35, "alpha_narrow": 0.0, "alpha_broad": -0.1}, "holds"),
        ({"default": 0.2, "alpha_narrow": 0.2, "alpha_broad": -0.1}, "unresolved"),
        ({"default": 0.35, "alpha_narrow": 0.0}, "not measured"),
    ],
)
def test_what_becomes_of_a_finding(tmp_path, gains, status):
    root = write_ablations(tmp_path, gains)
    record = read_record(root)
    run = load_variants(root, record)
    if status == "unresolved":  # equal pictures up to one prompt: too little to tell apart
        run.records.loc[run.records["policy"] == "alpha_narrow-seed0", "score"] = run.records.loc[
            run.records["policy"] == "default-seed0", "score"
        ].to_numpy()
        run.records.loc[run.records[run.records["policy"] == "alpha_narrow-seed0"].index[0], "score"] = 1.0
    (study,) = studies(blocks_of(run, record), record)
    assert study.findings[0].status == status and study.level == "checkpoints"


def test_the_report_repeats_itself_and_its_csv_holds_the_numbers(folder, monkeypatch):
    monkeypatch.setattr(drawing.style, "rendered", drawing.REAL)
    first = build_report(folder)
    before = tree(folder / "report")
    assert build_report(folder).rows == first.rows and tree(folder / "report") == before, (
        "nothing changed, nothing is written"
    )
    contents = {path.name: path.read_bytes() for path in (folder / "report").iterdir()}
    (folder / "report/ablations.csv").write_text("edited")
    build_report(folder)
    assert {path.name: path.read_bytes() for path in (folder / "report").iterdir()} == contents, (
        "same files in, same bytes out"
    )
    lines = list(csv.DictReader(contents["ablations.csv"].decode().splitlines()))
    difference = next(row for row in lines if row["kind"] == "difference" and row["variant"] == "alpha_narrow")
    wanted = np.mean([by_hand(folder, "alpha_narrow", s) - by_hand(folder, "default", s) for s in range(3)])
    assert float(difference["estimate"]) == pytest.approx(wanted, abs=1e-9) and difference["claim"] == "methods"
    score = next(row for row in lines if row["kind"] == "score" and row["variant"] == "alpha_broad")
    assert score["paper"] == "lower" and score["seeds"] == "3" and float(score["forwards"]) > 0
    text = contents["ablations.md"].decode()
    assert "FAILS: α = 0.3 beats 0.1 and 0.5" in text and "another model and benchmark scale" in text
    assert all(contents[f"A4.{kind}"] for kind in ("svg", "pdf"))


def test_variants_that_differ_in_more_are_refused(tmp_path):
    root = write_ablations(tmp_path, {"default": 0.2, "alpha_narrow": 0.1})
    path = root / "variants/alpha_narrow/config.json"
    config = json.loads(path.read_text())
    config["train"]["ht"]["lr"] = 1e-3
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"differ in train\.lr"):
        load_variants(root, read_record(root))
    with pytest.raises(UserError, match=r"holds no ablations\.json"):
        read_record(tmp_path / "variants")
