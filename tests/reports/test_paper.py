"""The paper's numbers, its tables filled from made-up runs, its settings, and how small a difference can be seen."""

import csv
import json
import math
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench import compare, paper
from bench.ask.asked import from_arguments
from bench.ask.paper_settings import APART, of_paper, of_run
from bench.ask.presets import Setting, read
from bench.ask.request import Request
from htgrpo.base.errors import EXIT_OK, UserError
from htgrpo.base.registry import METHODS
from htgrpo.training.train_config import TrainConfig
from reports.findings.pairs import ALPHA
from reports.paper import tables as paper_tables
from reports.paper.published import mark, published
from reports.paper.settings import CHOSEN, DIFFERS, SAME, SILENT, UNKNOWN, compared, entry_of, settings_markdown, shown
from reports.run.load import Run
from reports.statistics import stats as stats_of_reports
from reports.statistics.power import detectable
from reports.statistics.stats import Interval
from tests.bench.tiny_runs import records
from tests.reports.ablation_runs import write_ablations
from tests.reports.synthetic import write_run

ROOT = Path(__file__).resolve().parent.parent.parent
NUMBERS = {
    "1": "0.56 0.63 0.80 0.79 0.83 0.83 0.88 0.87 0.92 0.82",
    "2": "70.51 75.81 74.37 81.09 82.24 82.62 84.47 83.84 83.50", "4a": "83.3 78.3 80.2", "4b": "80.2 83.3",
    "4c": "83.3 80.8 80.6", "5": "79.82 80.43 82.41 83.31",
}  # fmt: skip


def on_mmada(root: Path, title: str = "", **train) -> Path:
    """A made-up run that says it was made with MMaDA."""
    write_run(root, {"ht": 0.2, "coupled": 0.1}, seeds=3, images=False, dense=30)
    config = json.loads((root / "config.json").read_text())
    common = {"group_size": 9, "guidance": 3.5, "rewards": "hpsv3=1,clip=1,unifiedreward=1", "lr": 3e-6, **train}
    config |= {"backbone": "mmada", "title": title, "train": {m: {"method": m, **common} for m in config["methods"]}}
    (root / "config.json").write_text(json.dumps(config))
    return root


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


# --- settings and the full-size presets -----------------------------------------------------------------------------------------


def beside(run, backbone="mmada"):
    """Settings of a run beside the paper's, by name."""
    wanted = of_paper(backbone, list(run.config["train"]), compare.parser())
    return {s.name: s for s in compared(of_run(run, backbone), wanted, read(f"paper_{backbone}"))}


def names(found, *verdicts):
    return {s.name for s in found.values() if s.verdict in verdicts}


@pytest.fixture
def exact(tmp_path):
    """Writes a made-up run whose config.json is that of `--preset paper`, with other settings where they are given."""

    def make(*flags: str, prompts: str = "geneval_train") -> Run:
        root = on_mmada(tmp_path / "exact")
        argv = ["--preset", "paper", "--backbone", "mmada", "--methods", "ht,mask,trace", "--dry-run", *flags]
        request = asdict(from_arguments(compare.parser().parse_args(argv)).request)
        more = {"train_prompts": {"source": prompts, "sha256": "0" * 64}, "machine": {"device": "cuda", "processes": 8}}
        (root / "config.json").write_text(json.dumps(json.loads((root / "config.json").read_text()) | request | more))
        judges = read("paper_mmada")["judges"]
        for name, benchmark in (("geneval", "geneval"), ("dpg", "dpg")):
            for path in root.glob(f"verdicts/{benchmark}/*/*.meta.json"):
                title = {"geneval": "GenEval", "dpg": "DPG-Bench"}[name]
                path.write_text(
                    json.dumps(json.loads(path.read_text()) | {"title": title, "scorer": judges[f"scorer.{name}"]})
                )
        for method in ("ht", "mask", "trace"):
            folder = root / "train" / method / "seed0"
            folder.mkdir(parents=True, exist_ok=True)
            said = {name: judges[f"reward.{name}"] for name in ("hpsv3", "clip", "unifiedreward")}
            (folder / "rewards.json").write_text(json.dumps(said))
        return paper_tables.open_source(root).run

    return make


def test_the_papers_experiment_differs_in_nothing_and_another_one_in_exactly_what_was_changed(exact):
    found = beside(exact())
    assert names(found, DIFFERS, CHOSEN, UNKNOWN) == set()
    assert "None differs." in settings_markdown("x", list(found.values()))
    assert {"train.lr", "mask.min_rate", "trace.shrink", "ht.ties", "policy", "reward.unifiedreward"} <= names(
        found, SILENT
    )
    sets = ("mask.lr=3e-4", "mask.min_rate=.1", "mask.mask_agg=all_iterations", "trace.shrink=4")
    flags = [flag for one in sets for flag in ("--set", one)]
    found = beside(exact(*flags, prompts="/home/me/others.txt"))
    assert names(found, DIFFERS, CHOSEN, UNKNOWN) == {
        "mask.lr", "mask.min_rate", "mask.mask_agg", "trace.shrink", "train_prompts",
    }  # fmt: skip
    assert "100" not in found["ht.lr"].paper and found["mask.lr"].here == "0.0003" and "3e-06" in found["mask.lr"].paper
    assert found["train_prompts"].here == "others.txt (000000000000)", "a file's folder is nobody's business"
    text = settings_markdown("x", list(found.values()))
    assert "None" not in text and text.count("\n- mask.") == 3


@pytest.mark.parametrize(
    "flags, name",
    [
        (["--set", "tuning=full"], "train.tuning"),
        (["--set", "ht.lora_rank=8"], "ht.lora_rank"),
        (["--limit", "24"], "limit"),
        (["--subset", "geneval:60"], "subset"),
        (["--seeds", "3"], "seeds"),
        (["--budget", "iterations:7"], "budget"),
        (["--set", "main.samples=1"], "main.samples"),
        (["--set", "main.cache=ml"], "main.cache"),
        (["--reward", "clip=1"], "train.rewards"),
        (["--set", "uni.spacing=stride", "--methods", "ht,uni"], "uni.spacing"),
        (["--set", "ht.subset=bernoulli"], "ht.subset"),
    ],
)
def test_every_kind_of_setting_is_seen(exact, flags, name):
    assert names(beside(exact(*flags)), DIFFERS, CHOSEN) == {name}


def test_another_judge_is_seen_and_a_missing_record_is_no_agreement(exact):
    run = exact()
    for path in run.root.glob("train/mask/seed0/rewards.json"):
        said = json.loads(path.read_text())
        said["unifiedreward"] |= {"model": "qwen2_5_vl", "width": 3584}
        path.write_text(json.dumps(said))
    found = beside(run)
    assert names(found, DIFFERS, CHOSEN) == {"reward.unifiedreward"} and " or " in found["reward.unifiedreward"].here
    for path in run.root.glob("train/*/seed0/rewards.json"):
        path.unlink()
    del run.config["split"], run.config["train"]["ht"]["beta"]
    found = beside(run)
    assert names(found, UNKNOWN) == {"reward.hpsv3", "reward.clip", "reward.unifiedreward", "split", "ht.beta"}
    text = settings_markdown("x", list(found.values()))
    assert "None of those recorded differs." in text and "split" in text.partition("Not recorded")[2]


def test_settings_of_a_run_on_another_policy_are_shown_as_they_are(mmada):
    found = beside(mmada.run)
    assert found["train.group_size"].verdict == SAME and found["ht.alpha"].verdict == SAME, (
        "left at the method's default"
    )
    assert found["train.lr"].verdict == SILENT and found["train.lr"].here == "3e-06"
    assert found["seeds"].verdict == CHOSEN
    assert found["scorer.geneval"].here == "rule" and found["benchmarks.geneval"].verdict == DIFFERS
    assert found["train.beta"].verdict == UNKNOWN and next(iter(found.values())).verdict == DIFFERS, (
        "what differs comes first"
    )


@pytest.mark.parametrize("backbone", ["mmada", "lumina-dimoo"])
def test_the_full_size_presets_say_where_every_setting_is_from(backbone):
    preset, words = read(f"paper_{backbone}"), paper.command(backbone)
    assert words[:2] == ["accelerate", "launch"] and (ROOT / words[3]).is_file()
    argv = words[words.index("bench.compare") + 1 :]
    assert argv == ["--preset", "paper", "--backbone", backbone]
    request = from_arguments(compare.parser().parse_args([*argv, "--dry-run"])).request
    assert request.methods == preset["methods"] and request.seeds == [0] and request.backbone == backbone
    given, ours, wanted = preset["given"], preset["ours"], of_paper(backbone, request.methods, compare.parser())
    entries = {entry_of(name, preset) for name in wanted}
    assert None not in entries, [name for name in wanted if entry_of(name, preset) is None]
    judged = {f"benchmarks.{name}" for name in ("geneval", "dpg", "imagereward", "deqa", "hpsv3", "unipercept")}
    assert not given.keys() & ours.keys() and given.keys() | ours.keys() == entries | {"gpus", "revision"} | judged
    for name, value in wanted.items():
        if entry := given.get(entry_of(name, preset)):
            assert shown(value) == shown(entry["value"]), name
    assert all(given[name]["where"] for name in given) and all(ours.values())
    assert "Our choice" in paper.command_text(backbone, as_json=False)


def test_no_field_of_a_request_a_training_a_method_or_a_setting_is_left_out():
    assert APART.keys() <= {f.name for f in fields(Request)} and all(APART.values())
    wanted = of_paper("mmada", METHODS.names(), compare.parser())
    assert {f.name for f in fields(Request)} - APART.keys() - {"revision"} <= wanted.keys()
    for method in METHODS.names():
        own = {f.name for f in fields(METHODS.get(method)) if f.init} | {f.name for f in fields(TrainConfig)}
        missing = {f"{method}.{name}" for name in own - {"method", "method_options", "seed"}} - wanted.keys()
        assert not missing
    assert {f"main.{f.name}" for f in fields(Setting)} <= wanted.keys()


# --- power ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("df", [math.nan, 2.0, 7.5])
@pytest.mark.parametrize("comparisons", [1, 8])
def test_a_difference_of_that_size_is_seen_four_times_in_five(df, comparisons):
    generator, error = np.random.default_rng(3), 0.01
    free = df if math.isfinite(df) else math.inf
    half = stats.t.ppf(0.975, free) * error
    size = detectable(Interval(0.3, 0.3 - half, 0.3 + half, df=df), comparisons)
    draws = generator.normal(size, error, 100_000)
    spread = error * np.sqrt(generator.chisquare(df, 100_000) / df) if math.isfinite(df) else error
    seen = np.abs(draws / spread) > stats.t.ppf(1 - 0.025 / comparisons, free)
    assert seen.mean() == pytest.approx(0.8, abs=0.005)


def test_prompts_resampled_and_adjusted_see_it_four_times_in_five():
    """The whole way from scores to Holm's p: one real difference of the detectable size in a family of two."""
    trials, family, prompts, spread = 400, 2, 60, 0.4
    generator, categories = np.random.default_rng(5), np.repeat(np.arange(2), prompts // 2)
    error = spread / math.sqrt(prompts)
    size = detectable(Interval(0.0, -1.96 * error, 1.96 * error), family)
    rows = generator.normal(0.0, spread, (trials, family, prompts))
    rows[:, 0] += size
    found = stats_of_reports.difference_intervals(
        rows.reshape(-1, prompts), categories, "category_mean", None, generator, 999
    )
    p_values = np.array([one.p for one in found]).reshape(trials, family)
    real, null = p_values.T
    seen = (real * family < ALPHA) | ((null * family < ALPHA) & (real < ALPHA))  # Holm's two steps
    assert seen.mean() == pytest.approx(0.8, abs=0.06)
    assert (null * family < ALPHA).mean() < 0.06, "and what is not there is rarely seen"


def test_training_seeds_see_it_four_times_in_five():
    """Four seeds that disagree far more than prompts do: Student's t with three degrees of freedom."""
    trials, family, seeds, spread = 1500, 3, 4, 0.05
    generator, categories = np.random.default_rng(6), np.repeat(np.arange(2), 15)
    half = stats.t.ppf(0.975, seeds - 1) * spread / math.sqrt(seeds)
    size = detectable(Interval(0.0, -half, half, df=seeds - 1), family)
    luck = generator.normal(0.0, spread, (trials, seeds, 1)) + size + generator.normal(0.0, 1e-4, (trials, seeds, 30))
    found = [
        stats_of_reports.method_difference(one, categories, "category_mean", None, generator, 999).p for one in luck
    ]
    assert (np.array(found) * family < ALPHA).mean() == pytest.approx(0.8, abs=0.04)


def test_without_an_interval_nothing_is_known():
    assert math.isnan(detectable(Interval(0.1))) and math.isnan(detectable(Interval(0.1, 0.1, 0.1)))


def test_the_reports_load_no_torch():
    code = (
        "import pkgutil, reports, sys\n"
        "for found in pkgutil.walk_packages(reports.__path__, 'reports.'): __import__(found.name)\n"
        "assert not {'torch', 'bench'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_what_a_training_needs_of_reports_draws_nothing():
    """Its page while it goes on, and what its configuration says of the method."""
    code = (
        "import sys, reports.pages.live, reports.findings.explained\n"
        "assert not {'matplotlib', 'scipy', 'statsmodels'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
