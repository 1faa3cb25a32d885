"""Bad input: one sentence that says what was seen and what is accepted, the right exit code, and nothing written."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from bench import __main__ as listing
from bench import compare, generate, report, score, train
from bench.record.rundir import RunDir
from tests.bench.tiny_runs import SMALL, arguments, leave, run_compare, save_policy, tree
from tests.sealing import reseal


def refused(capsys, main, argv: list[str], *parts: str, code: int = 2) -> None:
    """Checks the exit code, and that the last line of standard error is one sentence with all of `parts`."""
    assert leave(main, argv) == code
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-1].startswith("error: ") or code != 2
    assert not any("Traceback" in line for line in told)
    for part in parts:
        assert part in told[-1], told[-1]


@pytest.mark.parametrize(
    "flags, parts",
    [
        (["--methods", "hht"], ["unknown method 'hht'", "did you mean 'ht'", "mask"]),
        (["--methods", ","], ["--methods is ','"]),
        (["--benchmarks", "genevall"], ["unknown benchmark", "'geneval'"]),
        (["--preset", "quik"], ["unknown preset 'quik'", "'quick'"]),
        (["--split", "train"], ["unknown split 'train'", "heldout, validation"]),
        (["--budget", "iterations:0"], ["budget is 'iterations:0'", "at least 1"]),
        (["--budget", "forwards:-5"], ["budget is 'forwards:-5'"]),
        (["--budget", "hours:3"], ["iterations:N or forwards:N"]),
        (["--seeds", "0"], ["--seeds is '0'", "at least 1"]),
        (["--seeds", "a,b"], ["--seeds is 'a,b'"]),
        (["--limit", "0"], ["--limit is '0'", "from 1"]),
        (["--subset", "embedded_geneval"], ["--subset is 'embedded_geneval'", "NAME:N"]),
        (["--subset", "genval:4"], ["unknown benchmark of this run", "'embedded_geneval'"]),
        (["--subset", "embedded_geneval:5000"], ["--subset embedded_geneval:5000", "210"]),
        (["--set", "group_size=1"], ["group_size is '1'", "from 2"]),
        (["--set", "lr=fast"], ["ht.lr is 'fast'", "number"]),
        (["--set", "lr=-1"], ["lr is '-1'", "greater than 0"]),
        (["--set", "lrr=1"], ["unknown setting 'lrr' in --set: did you mean 'lr'?"]),
        (["--set", "ht.alpah=0.5"], ["unknown option of ht 'alpah'", "'alpha'"]),
        (["--set", "ht.alpha=2"], ["ht.alpha is 2", "greater than 0 and less than 1"]),
        (["--set", "ht.schedule=cosin"], ["unknown value of ht.schedule 'cosin'", "'cosine'"]),
        (["--set", "hht.alpha=0.5"], ["unknown method or generation setting", "'ht'"]),
        (["--set", "main.step=2"], ["unknown key of the generation setting main 'step'", "'steps'"]),
        (["--set", "main.steps=0"], ["main.steps is '0'"]),
        (["--set", "main.sampler=emerg"], ["unknown sampler 'emerg'", "'emerge'"]),
        (["--set", "lr"], ["--set 'lr' is not understood"]),
        (["--set", "seed=3"], ["use --seeds"]),
        (["--reward", "object=1"], ["unknown reward 'object'", "'objects'"]),
        (["--reward", "objects=lots"], ["--reward has the weight 'objects=lots', which is not a number"]),
        (["--reward", "nowhere:reward=1"], ["'nowhere:reward' cannot be imported"]),
        (["--device", "gpu"], ["unknown device 'gpu'"]),
        (["--jobs", "-1"], ["--jobs is '-1'"]),
        (["--report-to", "tensorbord"], ["unknown tracker", "'tensorboard'"]),
        (["--policy", "nowhere"], ["policy 'nowhere' is not a folder", "'embedded'"]),
        (["--checkpoint", "ht=nowhere"], ["policy 'nowhere' is not a folder"]),
        (["--checkpoint", "base=nowhere"], ["write METHOD=PATH"]),
        (["--checkpoint", "nowhere"], ["names no method, and the policy is given already"]),
    ],
)
def test_a_bad_flag_is_one_sentence(policy, tmp_path, capsys, flags, parts):
    argv = [*arguments(policy, tmp_path / "run", "--methods", "ht"), *flags]
    refused(capsys, compare.main, argv, *parts)
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").glob("[!.]*"))


def test_a_missing_cuda_device_is_said(policy, tmp_path, capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    refused(capsys, compare.main, arguments(policy, tmp_path / "run", "--device", "cuda"), "no CUDA device")


def test_checkpoints_that_are_cut_off_or_of_another_shape(policy, tmp_path, capsys):
    cut = Path(shutil.copytree(policy, tmp_path / "cut"))
    whole = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    refused(capsys, compare.main, arguments(policy, tmp_path / "run", "--checkpoint", f"ht={cut}"), "is damaged")
    refused(capsys, compare.main, ["--policy", str(cut), "--out", str(tmp_path / "run")], "is damaged")
    (cut / "model.safetensors").unlink()
    refused(
        capsys,
        compare.main,
        arguments(policy, tmp_path / "run", "--checkpoint", f"ht={cut}"),
        "has no model.safetensors",
    )
    wide = save_policy(tmp_path / "wide", d_model=32)
    argv = arguments(policy, tmp_path / "run", "--checkpoint", f"ht={wide}")
    refused(capsys, compare.main, argv, "another shape", "d_model 32 and 16")
    (wide / "config.json").write_text((policy / "config.json").read_text())
    refused(capsys, compare.main, argv, "config.json", "is damaged")
    reseal(wide)
    run_compare(policy, tmp_path / "run", "--checkpoint", f"ht={wide}", "--benchmarks", "embedded_dpg", expect=3)
    assert "has shape" in capsys.readouterr().err


def test_output_folders_that_cannot_be_used(policy, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    refused(capsys, compare.main, arguments(policy, tmp_path / "file"), "is a file: give a folder")
    refused(
        capsys,
        compare.main,
        arguments(policy, tmp_path / "file" / "run"),
        "cannot write",
        "a part of the path is a file",
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("")
    refused(capsys, compare.main, arguments(policy, tmp_path / "full"), "holds 'thesis.txt' and is no run")
    refused(
        capsys, compare.main, arguments(policy, tmp_path / "full", "--overwrite"), "holds 'thesis.txt' and is no run"
    )
    assert (tmp_path / "full" / "thesis.txt").is_file()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(policy, tmp_path, capsys):
    (tmp_path / "run").mkdir(mode=0o500)
    refused(capsys, compare.main, arguments(policy, tmp_path / "run"), "permission denied")


def test_a_run_of_another_configuration_names_the_difference(policy, finished, tmp_path, capsys):
    before = tree(finished)
    common = arguments(policy, finished, "--methods", "ht,pretrain")
    for flags, parts in (
        (["--budget", "iterations:5"], ["budget = 'iterations:2'", "'iterations:5'"]),
        (["--limit", "9"], ["limit = 7", "9"]),
        (["--set", "ht.lr=0.5"], ["train.ht.lr = 3e-05", "0.5"]),
        (["--set", "ht.alpha=0.5"], ["train.ht.method_options.alpha = None", "0.5"]),
        (["--set", "main.guidance=1"], ["settings.main.guidance = 0.0", "1.0"]),
        (["--preset", "full"], ["preset = 'quick'", "'full'"]),
        (["--checkpoint", f"pretrain={policy}", "--methods", "ht"], ["'pretrain' both as a trained method and"]),
    ):
        refused(capsys, compare.main, [*common, *flags], str(finished), *parts)
    other = save_policy(tmp_path / "other", d_model=8)
    refused(capsys, compare.main, [*common, "--policy", str(other)], "policy_sha256")
    assert tree(finished) == before


def test_overwrite_starts_again(policy, finished, tmp_path, no_report):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    run_compare(policy, run, "--methods", "ht", "--overwrite", "--benchmarks", "embedded_dpg", budget="iterations:1")
    assert json.loads((run / "config.json").read_text())["methods"] == ["ht"]
    assert not (run / "train/pretrain").exists() and not (run / "verdicts/embedded_geneval").exists()


def test_two_commands_on_one_run(policy, finished, capsys):
    with RunDir(finished).locked():
        argv = arguments(policy, finished, "--methods", "trace")
        refused(capsys, compare.main, argv, "another command is working in", str(finished))
        refused(capsys, report.main, [str(finished)], "another command is working in")


def test_a_full_disk_stops_the_job_with_one_sentence(policy, tmp_path, capsys, monkeypatch, no_report):
    real, run = os.fsync, tmp_path / "run"

    def full(handle):
        if "png" in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to tell files apart")
    monkeypatch.setattr("os.fsync", full)
    argv = arguments(policy, run, "--methods", "base", "--benchmarks", "embedded_dpg")
    refused(capsys, compare.main, argv, "the same command does what is left", code=3)
    monkeypatch.undo()
    assert not list(run.rglob("*.png*")) and not list(run.rglob(".*.png*"))
    monkeypatch.setattr("bench.run.ending.print_report", lambda *_: {})
    run_compare(policy, run, "--methods", "base", "--benchmarks", "embedded_dpg")


def test_damaged_run_files_are_named(policy, finished, tmp_path, capsys):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    (run / "config.json").write_text("{")
    refused(capsys, compare.main, arguments(policy, run, "--methods", "ht"), "config.json", "is not JSON")
    (run / "config.json").write_text("{}")
    refused(capsys, report.main, [str(run)], "lacks preset, methods")


def test_stages_want_a_run_or_weights(policy, finished, tmp_path, capsys):
    refused(capsys, generate.main, [], "no run is named")
    refused(capsys, generate.main, [str(tmp_path / "nothing")], "holds no config.json")
    refused(
        capsys,
        generate.main,
        [str(finished), "--benchmarks", "embedded_dpg"],
        "--benchmarks has no effect with the run",
    )
    refused(capsys, report.main, [str(tmp_path / "nothing")], "holds no config.json")
    fresh = str(tmp_path / "fresh")
    argv = ["--policy", str(policy), "--benchmarks", "embedded_dpg", "--limit", "2", "--jobs", "0", "--out", fresh]
    assert leave(score.main, argv) == 3
    assert "there are no pictures of base for embedded_dpg (main)" in capsys.readouterr().err


def test_training_flags(policy, tmp_path, capsys):
    common = ["--policy", str(policy), "--out", str(tmp_path / "run"), "--budget", "iterations:1", *SMALL[:-2]]
    refused(capsys, train.main, ["--method", "hht", *common], "unknown method 'hht'")
    refused(capsys, train.main, ["--method", "ht", "--seed", "-1", *common], "--seed is '-1'")
    refused(capsys, train.main, ["--method", "ht", "--resume", *common], "holds no training of ht with seed 0 yet")


def test_a_training_ends_with_its_reward_its_checkpoint_and_what_to_do_next(finished):
    reward, checkpoint, _, command = train.ending(RunDir(finished).request(), finished)
    assert reward.startswith("reward: ") and reward.endswith(" in the last of 2")
    folder = Path(checkpoint.removeprefix("checkpoint: "))
    assert (folder / "model.safetensors").is_file() and folder.name == "step_000002"
    assert command.strip().startswith(f"python -m bench.compare --checkpoint ht={folder} --policy ")


def test_unknown_commands_and_the_list(capsys):
    assert leave(listing.main, []) == 0
    listed = capsys.readouterr().out
    assert all(f"\n  {name} " in listed for name in listing.COMMANDS)
    refused(capsys, listing.main, ["compair"], "unknown command 'compair'", "'compare'")


@pytest.mark.parametrize(
    "stage",
    [
        "bench.judge.images.generate", "bench.judge.judging.score", "htgrpo.training.trainer.train",
        "bench.run.plan.load_context", "bench.run.ending.print_report",
    ],
)  # fmt: skip
def test_ctrl_c_in_every_stage(policy, tmp_path, capsys, monkeypatch, stage):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    run = tmp_path / "run"
    argv = arguments(policy, run, "--methods", "ht", "--benchmarks", "embedded_dpg", budget="iterations:1")
    monkeypatch.setattr("bench.run.ending.print_report", lambda *_: {})
    with monkeypatch.context() as patch:
        patch.setattr(stage, interrupted)
        refused(capsys, compare.main, argv, "interrupted: finished work is kept", code=3)
    assert leave(compare.main, argv) == 0
    assert (run / "verdicts/embedded_dpg/main/ht-seed0.jsonl").is_file()
