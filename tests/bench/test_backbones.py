"""The published backbones in every command, on random weights in their exact layouts, and what --dry-run says of the
real ones."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from bench import compare, generate, score, train
from htgrpo.base.errors import EXIT_OK
from htgrpo.policies import random
from htgrpo.training.compressibility import jpeg
from reports.findings.analysis import analyse
from reports.run.blocks import make_blocks
from reports.run.load import load_run
from reports.tables.notes import protocol
from tests.bench.tiny_runs import leave, print_quickly, records, tree

METHODS = ["mask", "trace", "ht", "uni"]
SIZES = {"mmada": "64x64", "lumina-dimoo": "32x64"}
SMALL = [
    "group_size=3", "prompts_per_iteration=2", "steps=3", "lora_rank=2", "main.steps=3", "main.samples=1",
    "uni.tuning=full",
]  # fmt: skip
SMALL = [
    "--budget", "iterations:1", "--limit", "6", "--jobs", "0", *(part for text in SMALL for part in ("--set", text)),
]  # fmt: skip


def argv(backbone: str, policy: Path, out: Path, *more: str) -> list[str]:
    return [
        "--backbone", backbone, "--policy", str(policy), "--resolution", SIZES[backbone], "--out", str(out), *SMALL,
        *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def policies(tmp_path_factory) -> dict[str, Path]:
    """A random policy of each backbone; its own pictures have 64 x 64 pixels."""
    folders = {name: tmp_path_factory.mktemp("policies") / name for name in SIZES}
    for name, folder in folders.items():
        random.make(name, folder)
    return folders


@pytest.fixture(scope="module")
def runs(policies, tmp_path_factory) -> dict[str, Path]:
    """A finished run of each backbone. Do not change them."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.ask.machine.cores", lambda: 1)
        patch.setattr("bench.run.ending.print_report", print_quickly)
        for name, policy in policies.items():
            found[name] = tmp_path_factory.mktemp("runs") / name
            assert compare.main(argv(name, policy, found[name], "--methods", ",".join(METHODS))) == EXIT_OK
    return found


@pytest.fixture(autouse=True)
def quick_report(monkeypatch):
    monkeypatch.setattr("bench.run.ending.print_report", print_quickly)


@pytest.mark.parametrize("backbone", SIZES)
def test_every_method_trains_on_a_published_backbone(backbone, policies, runs):
    run, resolution = runs[backbone], SIZES[backbone]
    config = json.loads((run / "config.json").read_text())
    assert (config["backbone"], config["policy"], config["revision"]) == (
        backbone,
        str(policies[backbone].resolve()),
        "",
    )
    assert config["train"]["ht"]["resolution"] == config["settings"]["main"]["resolution"] == resolution
    for method in METHODS:
        (line,) = records(run / f"train/{method}/seed0/metrics.jsonl")
        assert line["groups"] == 2 and line["groups_without_spread"] == 0 and line["reward_std"] > 0
        assert line["reward_mean"] < 0 and line["grad_norm"] > 0
        folder = run / f"train/{method}/seed0/checkpoints/step_000001"
        sidecar = json.loads((folder / "htgrpo.json").read_text())
        assert (sidecar["backbone"], sidecar["random_weights"], sidecar["resolution"]) == (backbone, True, resolution)
        if method == "uni":  # all weights learn
            assert not (folder / "adapter_config.json").exists()
            before, after = (
                load_file(file)
                for file in (next(policies[backbone].glob("*.safetensors")), next(folder.glob("*.safetensors")))
            )
            assert any(not torch.equal(before[key].to(after[key].dtype), after[key]) for key in before if key in after)
        else:
            adapters = load_file(folder / "adapter_model.safetensors")
            moved = [bool(value.any()) for key, value in adapters.items() if ".lora_B." in key]
            assert len(moved) == 14 and all(moved)


@pytest.mark.parametrize("backbone", SIZES)
def test_pictures_have_the_resolution_and_verdicts_say_so(backbone, runs):
    run = runs[backbone]
    height, width = map(int, SIZES[backbone].split("x"))
    pictures = sorted(run.glob("images/*/*/main/*.png"))
    assert len(pictures) == 5 * 12 and len({path.read_bytes() for path in pictures[:12]}) > 6
    assert {Image.open(path).size for path in pictures} == {(width, height)}
    for path in run.glob("verdicts/*/main/*.jsonl"):
        verdicts = records(path)
        assert len(verdicts) == 6 and all(v["evidence"]["resized_from"] == [height, width] for v in verdicts)
        meta = json.loads(path.with_suffix(".meta.json").read_text())
        assert meta["setting"]["resolution"] == SIZES[backbone] and meta["policy"]["random_weights"]


@pytest.mark.parametrize("backbone", SIZES)
def test_an_unchanged_run_is_kept_and_its_table_says_random_weights(backbone, policies, runs, capsys):
    before = tree(runs[backbone])
    again = argv(backbone, policies[backbone], runs[backbone], "--methods", ",".join(METHODS))
    assert compare.main(again) == EXIT_OK
    told = capsys.readouterr()
    assert "nothing to do" in told.err and tree(runs[backbone]) == before
    assert f"# Comparison ({backbone} on prompts and judges of the embedded world, random weights)" in told.out
    for heading in (
        "## GenEval (embedded world), 6 of",
        "## DPG-Bench (embedded world), ",
        "## Cost and end of training, random weights",
    ):
        assert heading in told.out
    assert "| base (random weights) " in told.out
    assert all(told.out.count(f"| {method} (from random weights) ") == 2 for method in METHODS)
    assert (
        generate.main([str(runs[backbone]), "--jobs", "0"])
        == score.main([str(runs[backbone]), "--jobs", "0"])
        == EXIT_OK
    )
    assert {k: v for k, v in tree(runs[backbone]).items() if k != "complete.json"}.items() <= before.items()


def test_an_adapter_is_scored_as_it_was_in_its_run(policies, runs, tmp_path):
    run = runs["mmada"]
    trained = run / "train/ht/seed0/checkpoints/step_000001"
    flags = ["--benchmarks", "embedded_dpg", "--checkpoint", f"ht={trained}", "--methods", "base"]
    assert compare.main(argv("mmada", policies["mmada"], tmp_path / "run", *flags)) == EXIT_OK
    one, two = (folder / "verdicts/embedded_dpg/main/ht-seed0.jsonl" for folder in (run, tmp_path / "run"))
    assert one.read_text() == two.read_text()


CACHE = {"cache": "ml", "cache_ratio": 0.5, "warmup_ratio": 0.0, "refresh_interval": 2}


def test_pictures_out_of_a_cache_are_others_and_say_so(policies, runs, tmp_path):
    """One setting more, which is in no identity, no record and no sentence while it is off."""
    plain, out = runs["lumina-dimoo"], tmp_path / "run"
    flags = [part for name, value in CACHE.items() for part in ("--set", f"main.{name}={value}")]
    flags += ["--methods", "base", "--benchmarks", "embedded_dpg"]
    assert compare.main(argv("lumina-dimoo", policies["lumina-dimoo"], out, *flags)) == EXIT_OK
    assert not CACHE.keys() & json.loads((plain / "config.json").read_text())["settings"]["main"].keys()
    folders = [run / "images/base/embedded_dpg/main" for run in (plain, out)]
    metas = [json.loads((folder / "meta.json").read_text()) for folder in folders]
    assert metas[1]["setting"] == metas[0]["setting"] | CACHE and metas[0]["identity"] != metas[1]["identity"]
    before, after = ([path.read_bytes() for path in sorted(folder.glob("*.png"))] for folder in folders)
    assert len(before) == len(after) == 6 and before != after
    assert ", cache ml, cache_ratio 0.5, warmup_ratio 0.0, refresh_interval 2;" in protocol_of(out)
    assert "cache" not in protocol_of(plain)


def test_pictures_with_attended_pads_are_others_and_say_so(policies, runs, tmp_path):
    """As MaskGRPO makes them: the pads before both prompts are tokens like others."""
    out = tmp_path / "run"
    flags = ["--methods", "base", "--benchmarks", "embedded_dpg", "--limit", "2", "--set", "main.pads=attend"]
    assert compare.main(argv("mmada", policies["mmada"], out, *flags)) == EXIT_OK
    meta = json.loads((out / "images/base/embedded_dpg/main/meta.json").read_text())
    assert meta["setting"]["pads"] == "attend" and ", pads attend;" in protocol_of(out)
    for picture in (out / "images/base/embedded_dpg/main").glob("*.png"):
        assert picture.read_bytes() != (runs["mmada"] / "images/base/embedded_dpg/main" / picture.name).read_bytes()


def protocol_of(run: Path) -> str:
    """What the report says of how the pictures were made."""
    return protocol(analyse(make_blocks(load_run(run))[-1]))


def test_a_cache_is_forecast_by_what_it_computes(policies, capsys):
    flags = ["--policy", str(policies["lumina-dimoo"]), "--methods", "ht", "--set", "main.steps=10"]
    plain, cached = (
        planned(capsys, *flags, *more)["forecast"]["pictures_of_one_policy"]["embedded_dpg/main"]["pflop"]
        for more in ([], ["--set", "main.cache=ml", "--set", "main.cache_ratio=0.75", "--set", "main.warmup_ratio=0"])
    )
    assert cached == pytest.approx(plain * (2 + 8 * 0.25) / 10, rel=0.02)


def test_jpeg_rewards_what_compresses():
    noise = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    images = torch.cat([noise, torch.full((1, 3, 32, 48), 0.5), noise[:1]])
    values = jpeg(["x"] * 4, images, specs=[{}] * 4)
    assert values[0] == values[3] and max(values[:2]) < values[2] < 0 and values[1] != values[0]
    assert jpeg(["x"], images[1:2]) == [values[1]]
    images[1, 0, 0, 0] = math.nan
    assert math.isnan(jpeg(["x"] * 4, images)[1])


def planned(capsys, *flags: str) -> dict:
    """What --dry-run --json says; nothing may be written."""
    assert compare.main(["--dry-run", "--json", "--out", "nowhere", *flags]) == EXIT_OK
    assert not Path("nowhere").exists()
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("backbone, weights", [("mmada", 8_082_690_048), ("lumina-dimoo", 8_081_805_312)])
def test_a_dry_run_needs_no_weights(backbone, weights, capsys):
    plan = planned(capsys, "--backbone", backbone, "--methods", "ht,mask", "--gpu", "h200")
    cost, ht = plan["forecast"], plan["forecast"]["iteration"]["ht"]
    assert cost["weights"] == weights and "published sizes" in cost["basis"] and cost["card"] == "H200 141 GB"
    assert (ht["forwards"]["old"], ht["forwards"]["ref"], ht["forwards"]["train"]) == (8, 8, 8 * 24)
    assert ht["pflop"] < cost["iteration"]["mask"]["pflop"] and ht["fits"]
    assert ht["memory_gib"]["weights"] == pytest.approx(weights * 2 / 2**30, abs=0.01)
    # 336 M weights of adapters: in bf16; their summed gradients, masters and two moments in fp32
    adapters = 336e6 / 2**30
    assert ht["memory_gib"]["adapters_and_copies"] == pytest.approx(2 * adapters, abs=0.01)
    assert ht["memory_gib"]["gradients_and_moments"] == pytest.approx((4 + 4 + 8) * adapters, abs=0.02)
    assert cost["pictures_of_one_policy"]["geneval/main"]["resolution"] == "512x512"
    assert cost["pictures_of_one_policy"]["geneval/main"]["pictures"] == 4 * 553
    full = planned(capsys, "--backbone", backbone, "--methods", "ht", "--set", "tuning=full", "--gpu", "a100")
    assert not full["forecast"]["iteration"]["ht"]["fits"]


def test_a_dry_run_of_weights_that_are_here_asks_them(policies, capsys):
    plan = planned(capsys, "--policy", str(policies["lumina-dimoo"]), "--methods", "ht", "--budget", "iterations:3")
    assert "headers of its weights" in plan["forecast"]["basis"] and plan["forecast"]["weights"] < 3e6
    assert plan["forecast"]["pictures_of_one_policy"]["embedded_dpg/main"]["resolution"] == "64x64"
    compare.main(["--dry-run", "--policy", str(policies["mmada"]), "--methods", "ht,uni"])
    told = capsys.readouterr().out
    assert "| ht " in told and "GiB in training" in told and "pictures to be scored, of each policy" in told


def test_published_weights_are_found_in_the_hubs_cache_and_pinned(policies, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    commit = "0123456789" * 4
    home = tmp_path / "hub" / "models--Alpha-VLLM--Lumina-DiMOO"
    shutil.copytree(policies["lumina-dimoo"], home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    for revision in ([], ["--revision", "main"], ["--revision", commit]):
        flags = [
            "--backbone", "lumina-dimoo", *revision, "--methods", "base", "--benchmarks", "embedded_dpg", "--limit",
            "1",
        ]  # fmt: skip
        flags += ["--jobs", "0"]
        small = ["--set", "main.steps=2", "--set", "main.samples=1", "--out", str(tmp_path / "run")]
        assert compare.main([*flags, *small]) == EXIT_OK
        config = json.loads((tmp_path / "run" / "config.json").read_text())
        assert (config["policy"], config["revision"]) == ("Alpha-VLLM/Lumina-DiMOO", commit)


@pytest.mark.parametrize(
    "flags, parts",
    [
        (["--backbone", "mmda"], ["unknown backbone 'mmda'", "did you mean 'mmada'", "embedded"]),
        (["--backbone", "mmada"], ["Gen-Verse/MMaDA-8B-MixCoT", "hf download"]),
        (["--backbone", "mmada", "--gpu", "h1000", "--dry-run"], ["unknown card 'h1000' in --gpu", "'h100'"]),
        (["--policy", "some-one/some-weights"], ["some-one/some-weights", "hf download"]),
        (["--policy", "MMADA", "--backbone", "lumina-dimoo"], ["of the backbone 'mmada', not 'lumina-dimoo'"]),
        (["--policy", "MMADA", "--backbone", "embedded"], ["of the backbone 'mmada', not 'embedded'"]),
        (["--policy", "MMADA", "--revision", "main"], ["revision 'main'", "only models of the hub"]),
        (["--policy", "MMADA", "--resolution", "100"], ["resolution is '100'", "multiples of 16"]),
        (["--policy", "MMADA", "--resolution", "64x96"], ["resolution is '64x96'", "square pictures only"]),
        (["--policy", "MMADA", "--set", "main.resolution=large"], ["resolution is 'large'", "HEIGHTxWIDTH"]),
        (["--policy", "embedded", "--resolution", "50"], ["resolution is '50'", "multiples of 8"]),
        (["--set", "cache=ml"], ["pictures to be scored, not of training", "own log-probabilities", "main.cache=ml"]),
        (["--set", "ht.cache=ml"], ["unknown option of ht 'cache'"]),
        (["--set", "main.cache=kv"], ["unknown value of main.cache 'kv'", "ml"]),
        (["--set", "main.cache_ratio=0.5"], ["main.cache_ratio is 0.5", "it needs --set main.cache=ml"]),
        (["--set", "main.cache=ml", "--set", "main.cache_ratio=1"], ["cache_ratio is '1'", "less than 1"]),
    ],
)
def test_a_bad_flag_is_one_sentence(policies, tmp_path, capsys, flags, parts):
    flags = [str(policies["mmada"]) if flag == "MMADA" else flag for flag in flags]
    assert leave(compare.main, [*flags, "--methods", "ht", "--jobs", "0", "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("error: ") and all(part in told for part in parts), told
    assert not list(tmp_path.glob("run/[!.]*"))


def test_what_a_backbone_cannot_do_is_said(policies, runs, tmp_path, capsys):
    other = argv("lumina-dimoo", policies["lumina-dimoo"], runs["mmada"], "--methods", "ht")
    assert leave(compare.main, other) == 2
    assert "backbone = 'mmada', but this command says 'lumina-dimoo'" in capsys.readouterr().err
    adapter, tiny = str(runs["mmada"] / "train/ht/seed0/checkpoints/step_000001"), str(policies["mmada"])
    for method, policy, more, code, part in (
        ("pretrain", tiny, [], 3, "mmada has other image codes"),
        ("ht", adapter, [], 3, "is an adapter on another one"),
        ("ht", tiny, ["--set", "rollout_dtype=float64"], 2, "with tuning=lora rollouts come from the network itself"),
    ):
        flags = ["--method", method, "--policy", policy, "--budget", "iterations:1", "--set", "lora_rank=2", *more]
        assert leave(train.main, [*flags, "--out", str(tmp_path / part[:12])]) == code
        assert part in capsys.readouterr().err
