"""No command removes what it did not write, loses what it has made, or leaves rubbish beside it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import card, compare, export, make_checkpoint, paper, pretrain, score, speed, train, tune
from bench.campaign import killing
from bench.campaign.killing import contents
from bench.checking.findings import Findings
from bench.checking.seal import check_complete
from bench.record.rundir import RunDir
from bench.scorers.serving import ScoringServer
from htgrpo.base.folders import FILE, read_seal, verify
from htgrpo.policies import random, storage
from htgrpo.policies.policy import Policy
from tests.bench.tiny_runs import arguments, leave
from tests.scorers.brightness import Brightness
from tests.sealing import flip

TINY = [
    "--steps", "1", "--batch", "2", "--d-model", "16", "--n-layers", "1", "--n-heads", "2", "--mlp-hidden-size", "32",
]  # fmt: skip


def commands(policy: Path) -> dict:
    """Commands that make a folder, as (main, arguments but --out)."""
    return {
        "pretrain": (pretrain.main, TINY),
        "export": (export.main, [str(policy)]),
        "make_checkpoint": (make_checkpoint.main, ["--backbone", "mmada", "--tiny"]),
    }


@pytest.mark.parametrize("name", ["pretrain", "export", "make_checkpoint"])
def test_a_folder_of_somebody_else_is_never_replaced(name, policy, tmp_path, monkeypatch, capsys):
    main, argv = commands(policy)[name]
    work = tmp_path / "work"
    (work / "deep").mkdir(parents=True)
    (work / "deep/thesis.tex").write_text("all of it")
    (tmp_path / "link").symlink_to(work)
    monkeypatch.chdir(work)
    before = contents(tmp_path)
    for out in (
        "", ".", "..", "/", "~", str(work), str(tmp_path), str(tmp_path / "link"), str(work / "deep"),
        str(work / "deep/thesis.tex"),
    ):  # fmt: skip
        for more in ([], ["--overwrite"]):
            assert leave(main, [*argv, "--out", os.path.expanduser(out), *more]) == 2
            told = capsys.readouterr().err.strip().splitlines()
            assert len(told) == 1 and told[0].startswith("error: --out is "), told
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["pretrain", "export", "make_checkpoint"])
def test_only_its_own_folder_is_replaced_and_only_when_asked(name, policy, tmp_path, capsys):
    main, argv = commands(policy)[name]
    out = tmp_path / "out"
    assert leave(main, [*argv, "--out", str(out)]) == 0
    before = contents(out)
    assert read_seal(out).made_by == f"python -m bench.{name}" and verify(out)
    assert leave(main, [*argv, "--out", str(out)]) == 2 and "add --overwrite" in capsys.readouterr().err
    (out / "notes.txt").write_text("mine")
    assert leave(main, [*argv, "--out", str(out), "--overwrite"]) == 2
    assert "holds 'notes.txt'" in capsys.readouterr().err
    (out / "notes.txt").unlink()
    assert contents(out) == before
    assert leave(main, [*argv, "--out", str(out), "--overwrite"]) == 0
    assert contents(out).keys() == before.keys() and [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_policy_that_does_not_fit_on_the_disk_is_kept_elsewhere(tmp_path, monkeypatch, capsys):
    whole, elsewhere = storage.write_policy, tmp_path / "elsewhere"
    elsewhere.mkdir()

    def write(policy: Policy, folder: Path) -> None:
        if elsewhere not in folder.parents:
            (folder / "model.safetensors").write_bytes(b"half")
            raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
        whole(policy, folder)

    monkeypatch.setattr(storage, "write_policy", write)
    monkeypatch.setattr("bench.pretrain.gettempdir", lambda: str(elsewhere))
    assert leave(pretrain.main, [*TINY, "--out", str(tmp_path / "out")]) == 3
    (kept,) = elsewhere.iterdir()
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert "the disk is full" in told and str(kept) in told and verify(kept)
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]


@pytest.mark.parametrize("name", ["make_checkpoint", "export"])
def test_a_full_disk_is_explained(name, policy, tmp_path, monkeypatch, capsys):
    def refuse(*given, **named):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    main, argv = commands(policy)[name]
    monkeypatch.setattr(
        *((random, "write_weights") if name == "make_checkpoint" else (storage, "write_policy")), refuse
    )
    assert leave(main, [*argv, "--out", str(tmp_path / "out")]) == 2
    assert "the disk is full; free some space" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_files_that_commands_write_replace_no_others(finished, tmp_path, capsys):
    thesis = tmp_path / "thesis.json"
    thesis.write_text(json.dumps({"chapter": 1}))
    assert leave(speed.main, ["--out", str(thesis)]) == 2 and "did not write" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/table1.md").write_text("mine")
    assert leave(paper.main, ["--table", "1", "--out", str(tmp_path / "mine")]) == 2
    assert "holds 'table1.md' that this command did not write" in capsys.readouterr().err
    for _ in range(2):
        assert leave(paper.main, ["--table", "1", "--out", str(tmp_path / "paper")]) == 0
    assert leave(tune.main, ["--dry-run", "--out", str(tmp_path / "mine")]) == 2
    assert (tmp_path / "mine/table1.md").read_text() == "mine" and json.loads(thesis.read_text()) == {"chapter": 1}


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "config.json", "vq/codebook.safetensors", FILE]
)
def test_damaged_policies_are_refused_by_whoever_reads_them(name, finished, tmp_path, capsys):
    policy = Path(shutil.copytree(finished / "train/ht/seed0/checkpoints/step_000002", tmp_path / "step_000002"))
    flip(policy / name)
    out = str(tmp_path / "out")
    for main, argv in (
        (export.main, [str(policy), "--out", out]),
        (card.main, [str(policy), "--out", f"{out}.md"]),
        (compare.main, ["--policy", str(policy), "--out", out]),
        (train.main, ["--method", "ht", "--policy", str(policy), "--out", out]),
        (compare.main, ["--checkpoint", f"ht={policy}", "--out", out]),
    ):
        assert leave(main, argv) == 2
        told = capsys.readouterr().err.strip().splitlines()
        assert len(told) == 1 and name in told[0] and "damaged" in told[0]
    assert [path.name for path in tmp_path.iterdir()] == ["step_000002"]


def test_a_card_belongs_to_its_checkpoint(finished, tmp_path):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    checkpoint = run / "train/ht/seed0/checkpoints/step_000002"
    assert leave(card.main, [str(checkpoint)]) == 0 and verify(checkpoint)
    findings = Findings()
    check_complete(RunDir(run), findings)
    assert findings.status == "ok"
    flip(checkpoint / "README.md")
    check_complete(RunDir(run), findings)
    assert [line for line in findings.mismatches if "README.md" in line]


def test_a_second_scoring_is_refused_before_anything_is_judged(tmp_path, finished, monkeypatch, capsys):
    source, out = finished / "images/base/embedded_geneval/main", tmp_path / "out"
    prompts = tmp_path / "prompts.jsonl"
    lines = [
        json.loads(line) for line in (finished / "verdicts/embedded_geneval/main/base.jsonl").read_text().splitlines()
    ]
    prompts.write_text(
        "".join(json.dumps({"image": Path(one["image"]).name, "prompt": one["prompt"]}) + "\n" for one in lines)
    )
    pictures = tmp_path / "one"
    pictures.mkdir()
    for path in source.glob("*.png"):
        (pictures / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr("bench.judge.judging.score", lambda *_: pytest.fail("it was judged"))
    argv = ["--images", str(pictures), "--prompts", str(prompts), "--benchmarks", "embedded_geneval", "--out", str(out)]
    with RunDir(out).locked():
        assert leave(score.main, argv) == 2
    assert "another command is working in" in capsys.readouterr().err


def test_a_worker_ends_without_a_word_when_its_parent_is_killed(policy, tmp_path):
    run = tmp_path / "run"
    argv = arguments(policy, run, "--methods", "ht", jobs=1, budget="iterations:100000")
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.compare", *argv],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    log = run / "train/ht/seed0/metrics.jsonl"
    deadline = time.monotonic() + 600
    while not log.is_file() or log.read_bytes().count(b"\n") < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    told = process.communicate(timeout=600)[1]  # the worker holds the pipe as long as it lives
    assert "Traceback" not in told and not (run / "logs").exists()


def test_fifty_clients_may_knock_at_once():
    server = ScoringServer(Brightness())
    try:  # nobody accepts: all of them have to wait in the queue
        knocking = [socket.create_connection(("127.0.0.1", server.server_port), timeout=2) for _ in range(60)]
        for one in knocking:
            one.close()
    finally:
        server.server_close()


def test_a_killed_export_is_finished_by_the_same_command(policy, tmp_path):
    """One kill late, between the last two changes; the campaign has all of them."""
    out = tmp_path / "place"
    out.mkdir()
    command = ["bench.make_checkpoint", "--backbone", "mmada", "--tiny", "--out", str(out / "made")]
    random.make("mmada", tmp_path / "whole" / "made")
    killed, again = (killing.run(command, out, at=point) for point in (6, 0))
    assert killed.returncode == -signal.SIGKILL and again.returncode == 0, again.stderr
    assert "Traceback" not in killed.stderr + again.stderr and contents(out) == contents(tmp_path / "whole")
