"""bench.compare and its stages, end to end on a tiny random policy."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench import compare, generate, score, train
from bench.benchmarks.registry import make
from reports.pages.build import build
from tests.bench.tiny_runs import arguments, leave, records, run_compare, tree

ROOT = Path(__file__).resolve().parent.parent.parent


def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def verdict_files(run: Path) -> dict[str, bytes]:
    return {str(p.relative_to(run)): p.read_bytes() for p in run.glob("verdicts/*/*/*")}


def test_a_run_holds_what_was_asked_for(finished):
    config = json.loads((finished / "config.json").read_text())
    assert config["methods"] == ["ht", "pretrain"] and config["seeds"] == [0] and config["title"] == "embedded world"
    assert config["train"]["ht"]["group_size"] == 2 and config["settings"]["main"]["samples"] == 1
    assert set(config["prompt_sets"]) == {"embedded_geneval", "embedded_dpg"}
    assert len(config["selections"]["embedded_geneval"]) == 7
    for name, method, seed in (("base", "base", None), ("ht-seed0", "ht", 0), ("pretrain-seed0", "pretrain", 0)):
        verdicts = records(finished / f"verdicts/embedded_geneval/main/{name}.jsonl")
        assert len(verdicts) == 7 and all(v["status"] == "ok" and v["score"] in (0.0, 1.0) for v in verdicts)
        assert all((finished / v["image"]).is_file() for v in verdicts)
        meta = json.loads((finished / f"verdicts/embedded_geneval/main/{name}.meta.json").read_text())
        assert meta["expected_images"] == 7 and meta["setting"]["steps"] == 2 and meta["setting"]["dtype"] != "auto"
        assert (meta["policy"]["method"], meta["policy"]["train_seed"], meta["policy"]["milestone"]) == (
            method,
            seed,
            "final",
        )
    assert meta["policy"]["checkpoint"] == "train/pretrain/seed0/checkpoints/step_000002"
    assert meta["policy"]["iteration"] == 2 and meta["policy"]["forwards"] == 2 * 3 * 4
    assert (finished / "report" / "index.html").is_file()
    whole = len(make("embedded_geneval").prompts("heldout"))
    table, latex, page = ((finished / "report" / name).read_text() for name in ("table.md", "table.tex", "index.html"))
    told = f"GenEval (embedded world), 7 of {whole} prompts"
    assert told in table and told in latex and told in page, "a part of a benchmark is never called by its bare name"
    assert re.search(r"\| +7/7 \|", table)


def test_an_unchanged_run_is_recognised_without_torch(policy, finished):
    build(finished)  # a copy of a run has its report anew, which tells where it lies
    before = tree(finished)
    argv = arguments(policy, finished, "--methods", "ht,pretrain")
    code = f"import sys; from bench.compare import main; assert main({argv!r}) == 0; assert 'torch' not in sys.modules"
    started = os.times()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stderr and "Comparison (embedded world)" in done.stdout
    assert os.times().children_user - started.children_user < 20  # 5 s on most machines
    assert tree(finished) == before


def test_methods_and_seeds_are_added_and_nothing_is_done_twice(policy, finished, tmp_path, no_report):
    run = copy(finished, tmp_path)
    kept = {name: stamp for name, stamp in tree(run).items() if name.startswith(("train/", "images/", "verdicts/"))}
    run_compare(policy, run, "--methods", "mask", "--seeds", "1,")
    config = json.loads((run / "config.json").read_text())
    assert config["methods"] == ["ht", "pretrain", "mask"] and config["seeds"] == [0, 1]
    after = tree(run)
    assert {name: after[name] for name in kept} == kept
    assert (run / "verdicts/embedded_dpg/main/mask-seed1.jsonl").is_file()
    run_compare(policy, run, "--methods", "ht,pretrain")
    assert tree(run).items() >= after.items() - {("complete.json", after["complete.json"])}


def test_two_fresh_runs_agree_bit_for_bit(policy, finished, tmp_path, no_report):
    run_compare(policy, tmp_path / "a", "--methods", "ht,pretrain")
    ours, theirs = verdict_files(tmp_path / "a"), verdict_files(finished)
    assert len(ours) == 12 and ours == theirs
    for method in ("ht", "pretrain"):
        log = f"train/{method}/seed0/metrics.jsonl"
        assert (tmp_path / "a" / log).read_bytes() == (finished / log).read_bytes()


def test_a_dry_run_writes_nothing(policy, tmp_path, capsys):
    run_compare(policy, tmp_path / "run", "--methods", "ht,uni", "--seeds", "2", "--dry-run")
    plan = capsys.readouterr().out
    assert "train uni seed 1, iterations:2" in plan and "base: 7 pictures for embedded_dpg (main)" in plan
    assert "expected time: about" in plan and "rough" in plan
    run_compare(policy, tmp_path / "run", "--methods", "ht", "--dry-run", "--json")
    plan = json.loads(capsys.readouterr().out)
    assert [job["job"] for job in plan["jobs"]] == ["base", "ht seed 0"] and plan["expected_seconds"] > 0
    assert not (tmp_path / "run").exists()


def test_a_dry_run_of_a_finished_run_finds_nothing_to_do(policy, finished, capsys):
    before = tree(finished)
    run_compare(policy, finished, "--methods", "ht,pretrain", "--dry-run")
    assert "nothing to do" in capsys.readouterr().out and tree(finished) == before


def test_json_prints_one_object(policy, finished, capsys):
    run_compare(policy, finished, "--methods", "ht,pretrain", "--json")
    result = json.loads(capsys.readouterr().out)
    assert result["status"] == "unchanged" and result["failed"] == {}
    assert any(row["kind"] == "score" and row["method"] == "ht" for row in result["rows"])


def test_given_checkpoints_are_scored_and_not_trained(policy, finished, tmp_path, capsys, no_report):
    trained = finished / "train/ht/seed0/checkpoints/step_000002"
    run_compare(policy, tmp_path / "run", "--checkpoint", f"ht={trained}", "--checkpoint", f"twin={policy}")
    assert not (tmp_path / "run" / "train").exists()
    main = tmp_path / "run/verdicts/embedded_geneval/main"
    assert (main / "ht-seed0.jsonl").read_text() == (
        finished / "verdicts/embedded_geneval/main/ht-seed0.jsonl"
    ).read_text()
    record = json.loads((main / "ht-seed0.meta.json").read_text())["policy"]
    assert (record["iteration"], record["train_seed"], record["checkpoint"]) == (2, 0, str(trained.resolve()))
    # The same weights under another name make the same pictures: the noise belongs to prompt and sample alone.
    for benchmark in ("embedded_geneval", "embedded_dpg"):
        twin, base = (
            tmp_path / f"run/images/{name}/{benchmark}/main/manifest.jsonl" for name in ("twin-seed0", "base")
        )
        assert twin.read_text() == base.read_text()
    capsys.readouterr()
    compare.main(
        [*arguments(policy, tmp_path / "other", "--dry-run", "--methods", "base")[2:], "--checkpoint", str(trained)]
    )
    assert f"taken as --policy {trained}" in capsys.readouterr().err


def test_the_views_of_a_run_come_from_the_same_trainings(policy, tmp_path, no_report):
    """Equal iterations under every setting, equal forwards and equal seconds under the main one; a control without
    rollouts only where its forwards can be compared; and what was chosen by the clock stays as it was chosen."""
    more = ["--preset", "full", "--methods", "ht,mask,pretrain", "--seeds", "1", "--set", "save_every=1"]
    more += ["--benchmarks", "embedded_geneval"]
    for name in ("other_sampler", "guided"):
        more += ["--set", f"{name}.steps=2", "--set", f"{name}.samples=1"]
    budget = "iterations:2,forwards:300,seconds"
    run = tmp_path / "run"
    run_compare(policy, run, *more, budget=budget)
    logs = {m: records(run / f"train/{m}/seed0/metrics.jsonl") for m in ("ht", "mask", "pretrain")}
    nearest = {m: min(log, key=lambda r: abs(r["forwards_total"] - 300))["iteration"] for m, log in logs.items()}
    assert {m: len(log) for m, log in logs.items()} == {
        m: max(n, 2 if m != "pretrain" else n) for m, n in nearest.items()
    }
    for setting in ("other_sampler", "guided"):
        names = {path.name for path in run.glob(f"verdicts/embedded_geneval/{setting}/*.jsonl")}
        assert names == {"base.jsonl", "ht-seed0.jsonl", "mask-seed0.jsonl"}
    folder = run / "verdicts/embedded_geneval/main"
    told = {
        path.name.removesuffix(".meta.json"): json.loads(path.read_text())["policy"]
        for path in folder.glob("*.meta.json")
    }
    assert told["ht-seed0"]["iteration"] == told["mask-seed0"]["iteration"] == 2
    assert told["ht-seed0"]["milestone"] == "final"
    assert nearest["mask"] == 2 < nearest["ht"], "a checkpoint that two views show is scored once"
    for method, iteration in (("ht", nearest["ht"]), ("pretrain", nearest["pretrain"])):
        assert told[f"{method}-seed0@{iteration}"]["milestone"] == "milestone"
    chosen = json.loads((run / "equal_seconds.json").read_text())
    clock = {
        m: {r["iteration"]: r["seconds_total"] for r in records(run / f"train/{m}/seed0/timing.jsonl")} for m in logs
    }
    assert chosen["limit"] == min(max(times.values()) for times in clock.values())
    for method, times in clock.items():
        within = max((i for i, seconds in times.items() if seconds <= chosen["limit"]), default=0)
        assert chosen["checkpoints"][f"{method} seed 0"]["iteration"] == within
    config = json.loads((run / "config.json").read_text())
    assert config["claim"] == {"benchmark": "embedded_geneval", "setting": "main", "milestone": "iterations:2"}
    assert config["train"]["ht"]["budget"] == "iterations:2,forwards:300"
    before = tree(run)
    run_compare(policy, run, *more, budget=budget)
    assert tree(run) == before
    (run / "complete.json").unlink()
    (run / "train/ht/seed0/timing.jsonl").write_text((run / "train/mask/seed0/timing.jsonl").read_text())
    run_compare(policy, run, *more, budget=budget)
    assert json.loads((run / "equal_seconds.json").read_text()) == chosen


def test_a_read_out_is_never_the_main_claim(policy, tmp_path, no_report, capsys):
    """And it reads the pictures of the benchmark that it stands beside, which are made once."""
    run, benchmarks = tmp_path / "run", ["--benchmarks", "embedded_geneval_soft,embedded_geneval"]
    asked = arguments(policy, run, "--methods", "ht", *benchmarks, "--claim", "embedded_geneval_soft")
    assert leave(compare.main, asked) == 2
    assert "read-out beside a headline" in capsys.readouterr().err and not run.exists()
    run_compare(policy, run, "--methods", "ht", *benchmarks)
    assert json.loads((run / "config.json").read_text())["claim"]["benchmark"] == "embedded_geneval"
    assert {folder.name for folder in run.glob("images/*/*")} == {"embedded_geneval"}
    judged = sorted((run / "verdicts/embedded_geneval/main").glob("*.jsonl"))
    assert len(judged) == 2
    for hard in judged:
        soft = run / "verdicts/embedded_geneval_soft/main" / hard.name
        assert [one["score"] > 0.5 for one in records(soft)] == [one["score"] == 1.0 for one in records(hard)]


def test_a_claim_is_named_before_the_run_and_stays(policy, tmp_path, no_report, capsys):
    more = ["--methods", "ht", "--benchmarks", "embedded_geneval,embedded_dpg"]
    run, budget = tmp_path / "run", "iterations:1,forwards:90"
    run_compare(policy, run, *more, "--claim", "embedded_dpg/forwards:90", budget=budget)
    claim = {"benchmark": "embedded_dpg", "setting": "main", "milestone": "forwards:90"}
    assert json.loads((run / "config.json").read_text())["claim"] == claim
    run_compare(policy, run, "--methods", "mask", "--benchmarks", "embedded_geneval", budget=budget)  # keeps it
    assert json.loads((run / "config.json").read_text())["claim"] == claim
    assert leave(compare.main, arguments(policy, run, *more, "--claim", "embedded_geneval", budget=budget)) == 2
    assert "is a run with claim.benchmark = 'embedded_dpg'" in capsys.readouterr().err
    wrong = {
        "geneval_embedded": "benchmark of this run in --claim",
        "embedded_dpg/seconds": "view of --budget in --claim",
    }
    for text, told in wrong.items():
        assert leave(compare.main, arguments(policy, tmp_path / "new", *more, "--claim", text, budget=budget)) == 2
        assert told in capsys.readouterr().err and not (tmp_path / "new").exists()
    assert leave(compare.main, arguments(policy, tmp_path / "new", *more, budget="seconds")) == 2
    assert "name it once and not first" in capsys.readouterr().err


def test_a_damaged_picture_is_failed_and_never_a_zero(policy, tmp_path, capsys, no_report):
    run = tmp_path / "run"
    argv = [
        *arguments(policy, run)[:4], "--jobs", "0", "--benchmarks", "embedded_geneval", "--limit", "7", "--set",
        "main.steps=2",
    ]  # fmt: skip
    assert generate.main([*argv, "--set", "main.samples=1"]) == 0
    pictures = sorted((run / "images/base/embedded_geneval/main").glob("*.png"))
    pictures[0].write_bytes(pictures[0].read_bytes()[:40])
    pictures[1].unlink()
    assert score.main([str(run), "--jobs", "0"]) == 3
    assert "2 of 7 pictures have no verdict" in capsys.readouterr().err
    verdicts = {v["image"].split("/")[-1]: v for v in records(run / "verdicts/embedded_geneval/main/base.jsonl")}
    for picture, reason in ((pictures[0], "cut off"), (pictures[1], "cannot be read")):
        bad = verdicts[picture.name]
        assert (bad["status"], bad["score"]) == ("failed", None) and reason in bad["evidence"]["reason"]
    untouched = {p: p.stat().st_mtime_ns for p in pictures[2:]}
    assert generate.main([str(run), "--jobs", "0"]) == 0
    assert len(untouched) == 5 and pictures[1].is_file()
    assert score.main([str(run), "--jobs", "0"]) == 0
    assert all(v["status"] == "ok" for v in records(run / "verdicts/embedded_geneval/main/base.jsonl"))


def test_a_failing_job_leaves_the_others_alone(policy, tmp_path, capsys, no_report):
    broken = ["--set", "trace.rewards=tests.bench.tiny_runs:fail=1", "--benchmarks", "embedded_dpg"]
    run_compare(policy, tmp_path / "run", "--methods", "ht,trace", *broken, expect=3)
    told = capsys.readouterr().err
    assert told.count("failed: trace seed 0: unexpected RuntimeError: the scorer fell over") == 1
    assert "the same command does what is left" in told
    assert "Traceback" in (tmp_path / "run/logs/trace-seed-0.txt").read_text()
    assert (tmp_path / "run/verdicts/embedded_dpg/main/ht-seed0.jsonl").is_file()


def start(module: str, argv: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", module, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=_one_core,
    )


def _one_core() -> None:
    """One compute thread in a process of its own too, which Ctrl-C ends even where the suite runs in the background of
    a shell."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def wait_for_lines(path: Path, count: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 600
    while not path.is_file() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.02)


def test_training_goes_on_after_a_kill_as_if_nothing_had_been(policy, tmp_path, no_report):
    def argv(out: Path) -> list[str]:
        return [
            "--method", "ht", "--policy", str(policy), "--out", str(out), "--budget", "iterations:12", "--set",
            "save_every=3", *SMALL_TRAINING,
        ]  # fmt: skip

    process = start("bench.train", argv(tmp_path / "killed"))
    log = tmp_path / "killed/train/ht/seed0/metrics.jsonl"
    wait_for_lines(log, 4, process)
    process.kill()
    process.communicate()
    assert 4 <= len(records(log)) < 12
    assert train.main([*argv(tmp_path / "killed"), "--resume"]) == 0
    assert train.main(argv(tmp_path / "whole")) == 0
    for name in ("metrics.jsonl", "checkpoints/step_000012/model.safetensors"):
        one, two = ((tmp_path / run / "train/ht/seed0" / name).read_bytes() for run in ("killed", "whole"))
        assert one == two
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".lock"]


SMALL_TRAINING = ["--set", "group_size=2", "--set", "prompts_per_iteration=2", "--set", "steps=2"]


def test_ctrl_c_stops_the_workers_and_leaves_nothing_half_written(policy, tmp_path):
    run = tmp_path / "run"
    process = start("bench.compare", arguments(policy, run, "--methods", "ht", jobs=1, budget="iterations:100000"))
    wait_for_lines(run / "train/ht/seed0/metrics.jsonl", 2, process)
    second = subprocess.run([sys.executable, "-m", "bench.report", str(run)], capture_output=True, text=True, cwd=ROOT)
    assert second.returncode == 2 and "another command is working in" in second.stderr
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=600)  # workers hold the pipe as long as they live
    assert process.returncode == 3 and "Traceback" not in told
    assert told.strip().splitlines()[-1] == "interrupted: finished work is kept; run the same command again to go on"
    assert not [path for path in run.rglob(".*") if path.name != ".lock"]
