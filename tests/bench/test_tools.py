"""bench.pretrain and bench.speed do what their help says, at sizes that take seconds."""

import json
import re
from dataclasses import replace
from functools import partial

import pytest
import torch

from bench import pretrain, speed
from bench.ask import machine
from bench.cost.kernels import class_of
from bench.cost.sizes import SIZES
from bench.cost.speed import matmul_peak
from bench.cost.speed_table import render
from htgrpo.base.errors import UserError
from htgrpo.base.rng import generator
from htgrpo.interface import HIDDEN
from htgrpo.policies.llada import Size
from htgrpo.policies.model_files import open_model
from htgrpo.policies.policy import pack
from htgrpo.policies.storage import load_policy
from htgrpo.training.pretraining import TinySize, masked_backward, masked_batch, new_policy
from htgrpo.world.world import find
from tests.bench.tiny_runs import leave

SMALL = ["--d-model", "16", "--n-layers", "1", "--n-heads", "2", "--mlp-hidden-size", "16", "--batch", "4"]


@pytest.fixture(autouse=True)
def quick_speed(monkeypatch):
    """The machine's peak, which takes longer than most phases to measure, is given, and groups are of three."""
    monkeypatch.setattr("bench.cost.speed.matmul_peak", lambda *given: 1000.0)
    monkeypatch.setitem(SIZES, "embedded", replace(SIZES["embedded"], group=3))


def test_pretraining_is_repeatable_and_its_policy_loads(tmp_path):
    for name in ("a", "b"):
        assert pretrain.main(["--out", str(tmp_path / name), "--steps", "3", "--keep-every", "2", *SMALL]) == 0
    first, second = (load_policy(str(tmp_path / name)) for name in ("a", "b"))
    assert first.sha256 == second.sha256 != load_policy(str(tmp_path / "a-step2")).sha256
    header, *log = [json.loads(line) for line in (tmp_path / "a" / "pretrain.jsonl").read_text().splitlines()]
    assert header["steps"] == 3 and header["seed"] == 0 and log[-1]["step"] == 3


def test_the_shipped_policy_names_the_command_that_made_it():
    folder = open_model("embedded").path
    header = json.loads((folder / "pretrain.jsonl").read_text().splitlines()[0])
    args = pretrain.asked(["--out", "x"])
    shipped = {name: header[name] for name in ("steps", "batch", "lr", "ema", "seed", "threads", "d_model", "n_layers")}
    assert shipped == {name: getattr(args, name) for name in shipped}, (
        "bench.pretrain's defaults must remake the shipped policy"
    )
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) <= 8 * 2**20


def test_parts_of_a_batch_add_up_to_the_mean_cross_entropy(monkeypatch):
    policy = new_policy(find(), TinySize(16, 1, 2, 16), generator("tools"))
    batch = masked_batch(policy, find(), 6, generator("tools", "batch"))
    monkeypatch.setattr("htgrpo.training.pretraining.ROWS", 4)
    loss = masked_backward(policy, *batch)
    prompts, codes, mask = batch
    packed, slots = pack(policy, prompts, torch.where(mask, HIDDEN, codes), policy.backbone.grid)
    logits = policy.net(packed, columns=policy.backbone.image_columns)[slots]
    naive = -logits.log_softmax(-1).gather(2, codes[..., None])[..., 0][mask].mean()
    assert loss == pytest.approx(float(naive.detach()), rel=1e-5)
    got = [w.grad.clone() for w in policy.net.parameters()]
    policy.net.zero_grad()
    naive.backward()
    for ours, theirs in zip(got, (w.grad for w in policy.net.parameters()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_speed_counts_the_forwards_of_the_formula(monkeypatch, capsys):
    """And measures the peak, here by one product."""
    monkeypatch.setattr("bench.cost.speed.matmul_peak", partial(matmul_peak, repeats=0))
    assert (
        speed.main(["--methods", "ht,mask", "--dedup", "all,none", "--prompts", "1", "--threads", "1", "--json"]) == 0
    )
    rows = {(r["name"], r["phase"]): r for r in json.loads(capsys.readouterr().out)["rows"]}
    assert [rows["ht (all)", phase]["forwards"] for phase in ("old", "ref", "update")] == [1, 1, 24]
    assert [rows["mask (none)", phase]["forwards"] for phase in ("old", "ref", "update")] == [24, 24, 72]
    assert all(row["share"] is None or 0 < row["share"] <= 1 for row in rows.values())
    assert all(row["seconds"] > 0 and row["peak"] > 0 for row in rows.values())


def test_speed_never_prints_more_than_the_whole_peak(monkeypatch, capsys):
    peaks = iter([1.0, 50.0] + [1e-6] * 99)  # beside the rollout the second one is better; then the machine is busy
    monkeypatch.setattr("bench.cost.speed.matmul_peak", lambda *given: next(peaks))
    assert speed.main(["--methods", "ht", "--prompts", "1", "--threads", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    first, *others = result["rows"]
    assert first["peak"] == result["peak_gflops"] == 50.0 and first["share"] == round(first["share"], 3) <= 1
    assert [row["share"] for row in others] == [None] * 3
    table = render(result)
    assert table.count("(busy)") == 4 and "Measure again when it is idle" in table
    assert max(int(share) for share in re.findall(r"(\d+)%", table)) <= 100


def test_speed_at_tiny_size_says_all_that_it_says_at_8b(capsys, tmp_path):
    """The same command, the same record: every sampler and phase with dtype, convention, rates, memory, what a clip holds
    at the first update (nothing, on any device), and a profile whose shares add up."""
    out = tmp_path / "speed.json"
    asked = ["--size", "tiny", "--device", "cpu", "--methods", "ht,mask", "--limit-seconds", "600", "--threads", "1"]
    assert speed.main([*asked, "--out", str(out)]) == 0
    assert "matrix products" in capsys.readouterr().out
    result = json.loads(out.read_text())
    rows = {(row["name"], row["phase"]): row for row in result["rows"]}
    assert [name for name, phase in rows if phase == "rollout"] == ["emerge", "maskgit", "lumina"]
    for (_, phase), row in rows.items():
        assert row["convention"] == ("4P" if phase == "update" else "2P") and row["dtype"] == "float32"
        assert row["seconds"] > 0 and row["tokens"] > 0 and row["memory_mb"] > 0
        assert (row["pictures"] is not None) == (phase == "rollout")
        if phase == "update":
            assert row["clipped_first"] == 0 and row["old_gap"] < 1e-3
    assert set(result["kernels"]) == {"rollout", "cycle of ht"} and not result["left_out"]
    assert all(sum(shares.values()) == pytest.approx(1.0, abs=0.01) for shares in result["kernels"].values())
    # a forward is 2P and its attention and head; adapters' updates are two of them, updates of all weights three
    net, image, ht = Size(32, 2, 2, 48, 134656), 16, "ht (all)"
    once = net.forward_flops(8 + image + 2, 0, 0) + 2.0 * image * 32 * 8192
    assert rows[ht, "old"]["gflop"] == pytest.approx(rows[ht, "old"]["forwards"] * once / 1e9, abs=0.12)
    assert rows[ht, "update"]["gflop"] == pytest.approx(rows[ht, "update"]["forwards"] / 3 * 2 * once / 1e9, rel=0.4)


def test_speed_leaves_out_what_has_no_time(monkeypatch, capsys):
    monkeypatch.setattr("bench.cost.speed.time.perf_counter", iter(range(0, 10**6, 100)).__next__)
    assert speed.main(["--size", "tiny", "--device", "cpu", "--methods", "ht", "--limit-seconds", "60", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["rows"]) == 1 and result["left_out"] == [
        "rollout by maskgit", "rollout by lumina", "ht (all)", "profile",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "at_once", "threads"),
    [("", 1, 8), ("", 3, 2), ("", 20, 1), ("2", 1, 2), ("2,1", 2, 2), ("64", 2, 4), ("many", 1, 8), ("0", 1, 8)],
)
def test_compute_threads_are_the_cores_shared_out_and_no_more_than_asked_for(monkeypatch, given, at_once, threads):
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert machine.threads(at_once) == threads


def test_a_launch_sets_that_bound_itself_and_its_processes_share_the_cores(monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 8)
    for name, value in {"OMP_NUM_THREADS": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert machine.threads() == 4


def test_kernels_have_classes():
    named = {
        "nvjet_hsh_128x256": "matrix products", "flash_fwd_kernel": "attention", "triton_poi_fused_mul": "fused",
        "aten::rms_norm": "norms", "void at::native::vectorized_elementwise_kernel": "elementwise", "Memcpy HtoD": "copies",
        "ampere_bf16_s16816gemm": "matrix products", "something": "other",
    }  # fmt: skip
    assert {name: class_of(name) for name in named} == named


@pytest.mark.parametrize("option, value", [("--methods", "hat"), ("--dedup", "most"), ("--prompts", "0")])
def test_speed_explains_bad_input(option, value):
    with pytest.raises(UserError, match=value):
        speed.main([option, value])


@pytest.mark.parametrize("recipe", [[], ["--muon", "0.01", "--products", "bfloat16"]])
def test_an_interrupted_pretraining_goes_on_bit_for_bit(recipe, tmp_path, monkeypatch, capsys):
    from htgrpo.training import pretraining

    small = ["--d-model", "16", "--n-layers", "1", "--n-heads", "2", "--mlp-hidden-size", "24", "--batch", "2"]
    started, batch = [], pretraining.masked_batch

    def until_the_fifth(*given):
        started.append(given)
        if len(started) == 5:
            raise KeyboardInterrupt
        return batch(*given)

    monkeypatch.setattr(pretrain, "SAVE_EVERY", 2)
    small += ["--keep-every", "3", *recipe]
    pretrain.main([*small, "--steps", "7", "--out", str(tmp_path / "whole")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole", "whole-step3", "whole-step6"]
    monkeypatch.setattr(pretraining, "masked_batch", until_the_fifth)
    out = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        pretrain.main([*small, "--steps", "7", "--out", str(out)])
    assert not out.exists() and (tmp_path / "broken-unfinished").is_dir()
    assert leave(pretrain.main, [*small, "--steps", "8", "--out", str(out)]) == 2
    assert "steps 7 and not 8" in capsys.readouterr().err
    started.clear()
    pretrain.main([*small, "--steps", "7", "--out", str(out)])
    assert len(started) == 3  # steps 5 to 7: the state after step 4 was there
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    for step in (3, 6):
        one, other = (tmp_path / f"{name}-step{step}" / "model.safetensors" for name in ("broken", "whole"))
        assert one.read_bytes() == other.read_bytes()
    assert not list(tmp_path.glob("*unfinished*"))
