"""`python -m bench.text` from end to end and offline, on the tiny policies."""

import json
import os
import random
import subprocess
import sys

import pytest

from bench.benchmarks.text.evaluation import Tasks
from bench.text import main
from htgrpo.base.errors import UserError
from htgrpo.base.files import read_jsonl
from htgrpo.policies.random import make
from tests.text.toys import use_one_task_of_the_library

SMALL = ["--gen-length", "8", "--samples", "8", "--limit", "3", "--device", "cpu"]


def run(out, *arguments: str) -> dict:
    assert main(["--out", str(out), *SMALL, *arguments]) == 0
    return json.loads((out / "results.json").read_text("utf-8"))


def test_help_is_quick():
    before = os.times()
    command = [sys.executable, "-X", "importtime", "-m", "bench.text", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert os.times().children_user - before.children_user < 5.0 and "low_confidence" in done.stdout
    assert not any(f" {name}\n" in done.stderr for name in ("torch", "lm_eval", "numpy"))


def test_local_tasks_run_offline(tmp_path, capsys):
    """lm-eval's schema, our label, the same numbers whatever the batch, and nothing done twice."""
    results = run(tmp_path / "a")
    shown = capsys.readouterr().out
    assert set(results["results"]) == {"embedded_choice", "embedded_write"}
    named = "configs versions n-shot higher_is_better n-samples config task_hashes model_name"
    assert set(named.split()) <= set(results)
    assert results["n-samples"]["embedded_choice"] == {"original": 40, "effective": 3}
    assert results["config"]["world"] == "embedded" and len(results["config"]["model_sha"]) == 64
    assert "embedded_choice" in shown and "prove the path and say nothing about language" in shown.replace("\n", " ")
    samples = read_jsonl(tmp_path / "a" / "samples_embedded_choice.jsonl")
    assert [s["doc_id"] for s in samples] == [0, 1, 2] and len(samples[0]["resps"]) == 4
    mean = sum(s["acc"] for s in samples) / 3
    assert results["results"]["embedded_choice"]["acc,none"] == pytest.approx(mean)
    for sample in samples:
        likelihoods = [float(resp[0][0]) for resp in sample["resps"]]
        assert sample["acc"] == float(max(range(4), key=likelihoods.__getitem__) == int(sample["target"]))

    stamp = (tmp_path / "a" / "results.json").stat().st_mtime_ns
    run(tmp_path / "a", "--batch", "1")
    assert (tmp_path / "a" / "results.json").stat().st_mtime_ns == stamp and "nothing to do" in capsys.readouterr().err
    again = run(tmp_path / "b", "--batch", "1")
    assert again["results"] == results["results"] and again["task_hashes"] == results["task_hashes"]
    written = [read_jsonl(tmp_path / name / "samples_embedded_write.jsonl") for name in "ab"]
    assert [s["resps"] for s in written[0]] == [s["resps"] for s in written[1]]


def test_a_chat_with_a_made_checkpoint(tmp_path, capsys):
    make("mmada", tmp_path / "mmada")
    results = run(
        tmp_path / "out", "--checkpoint", str(tmp_path / "mmada"), "--chat", "--tasks", "embedded_write", "--json"
    )
    shown = json.loads(capsys.readouterr().out)
    assert shown["results"] == results["results"] and list(results["results"]) == ["embedded_write"]
    assert results["config"]["random_weights"] and results["config"]["world"] == "natural"
    assert "eot_id" in results["chat_template"]
    (first, *_) = read_jsonl(tmp_path / "out" / "samples_embedded_write.jsonl")
    context = first["arguments"]["gen_args_0"]["arg_0"]
    assert context.startswith("<|startoftext|><|start_header_id|>user<|end_header_id|>\none heart, two hearts")


def test_global_generators_are_left_alone(tmp_path):
    import torch

    before = random.getstate(), torch.get_rng_state()
    run(tmp_path / "a", "--tasks", "embedded_choice")
    assert random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[1])


def test_what_a_user_can_mend(tmp_path):
    out = tmp_path / "out"
    run(out, "--tasks", "embedded_choice")
    for arguments, sentence in [
        (["--tasks", "embedded_write"], "holds other results"),
        (["--tasks", ","], "--tasks is ','"),
        (["--checkpoint", "x", "--policy", "y"], "name the weights once"),
        (["--head", "image"], "did you mean|unknown value of --head 'image'"),
        (["--remasking", "low"], "low_confidence"),
        (["--block-length", "3"], "gen_length is 8"),
        (["--max-length", "8"], "max_length is 8"),
        (["--limit", "0"], "--limit is '0'"),
        (["--device", "tpu"], "device 'tpu'"),
    ]:
        folder = out if "other" in sentence else tmp_path / "none"
        with pytest.raises(UserError, match=sentence):
            main(["--out", str(folder), *SMALL, *arguments])
    assert not (tmp_path / "none").exists()
    assert list(run(out, "--tasks", "embedded_write", "--overwrite")["results"]) == ["embedded_write"]


def test_tasks_that_cannot_be_had(monkeypatch):
    use_one_task_of_the_library(monkeypatch)
    with pytest.raises(UserError, match="did you mean 'gsm8k'"):
        Tasks(["gsm8kk"])
    with pytest.raises(UserError, match="the data of gsm8k, embedded_text cannot be loaded"):
        Tasks(["gsm8k", "embedded_text"])
    assert Tasks(["embedded_*"]).chosen == ["embedded_choice", "embedded_text", "embedded_write"]
