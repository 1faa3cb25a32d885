"""Checkpoints: a policy folder and the trainer's state, and one sentence for each way in which they can be wrong."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.ask.weights import inspect
from htgrpo.base.errors import UserError
from htgrpo.base.folders import read_seal
from htgrpo.policies.storage import load_policy, save_policy
from htgrpo.policies.weights import load_weights
from htgrpo.training import checkpoints
from htgrpo.training.adamw import AdamW
from htgrpo.training.checkpoints import Progress
from htgrpo.training.train_config import TrainConfig
from htgrpo.training.tuning import Full
from tests.htgrpo.tiny import tiny_policy
from tests.sealing import flip, reseal


def optimizer_of(policy, steps=0):
    """AdamW on the policy, with `steps` taken along random gradients."""
    optimizer = AdamW(list(policy.net.parameters()), 0.01, (0.9, 0.99))
    for step in range(steps):
        g = torch.Generator().manual_seed(step)
        for weight in optimizer.weights:
            weight.grad = torch.randn(weight.shape, generator=g).to(weight.dtype)
        optimizer.step()
    return optimizer


def full(policy):
    """The tuning whose checkpoints these are."""
    return Full(policy, TrainConfig(beta=0.0))


@pytest.fixture
def run(tmp_path):
    """A run with one checkpoint at iteration 7."""
    policy = tiny_policy(8, dtype=torch.float32)
    checkpoints.save(tmp_path, full(policy), optimizer_of(policy, 3), Progress(7, 100, 15, 2.5), "id")
    return tmp_path


def resume(run, policy=None, identity="id"):
    policy = policy or tiny_policy(9, dtype=torch.float32)
    return checkpoints.resume(run, full(policy), optimizer_of(policy), identity)


def refused(run, message, **given):
    with pytest.raises(UserError, match=message) as error:
        resume(run, **given)
    assert "\n" not in str(error.value)


def folder(run):
    return run / "checkpoints" / "step_000007"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_saved_and_resumed_is_bit_identical(dtype, tmp_path):
    """Weights, moments and step counts; the next step is then the same as without the interruption."""
    policy, other = tiny_policy(8, dtype=dtype), tiny_policy(9, dtype=dtype)
    optimizer = optimizer_of(policy, 3)
    checkpoints.save(tmp_path, full(policy), optimizer, Progress(7, 100, 15, 2.5), "id")
    fresh = optimizer_of(other)
    assert checkpoints.resume(tmp_path, full(other), fresh, "id") == Progress(7, 100, 15, 2.5)
    for one in (optimizer, fresh):
        for weight in one.weights:
            weight.grad = torch.full_like(weight, 0.3)
        one.step()
    for number, (a, b) in enumerate(zip(policy.net.parameters(), other.net.parameters(), strict=True)):
        assert a.dtype == b.dtype == dtype and torch.equal(a, b)
        names = ("step", "exp_avg", "exp_avg_sq", *(["master"] if dtype == torch.bfloat16 else []))
        assert optimizer.moments[number].keys() == fresh.moments[number].keys() == set(names)
        for name in names:
            assert torch.equal(optimizer.moments[number][name], fresh.moments[number][name])


def test_a_checkpoint_is_a_policy_any_loader_reads(run):
    """Published key names in safetensors; the trainer's own files stay apart."""
    names = {p.relative_to(folder(run)).as_posix() for p in folder(run).rglob("*") if p.is_file()}
    assert names == {
        "model.safetensors", "config.json", "tokenizer.json", "vq/codebook.safetensors", "files.json",
        "trainer_state/optimizer.safetensors", "trainer_state/state.json", "trainer_state/files.json",
    }  # fmt: skip
    loaded = load_policy(str(folder(run)))
    state = load_file(folder(run) / "model.safetensors")
    assert state.keys() == loaded.net.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in loaded.net.state_dict().items())
    assert loaded.prompt("red circle") == tiny_policy().prompt("red circle")
    assert loaded.backbone == tiny_policy().backbone and len(loaded.sha256) == 64


def test_nothing_saved_means_a_fresh_start(tmp_path):
    assert resume(tmp_path) == Progress() == resume(tmp_path / "none")


def test_the_newest_is_taken_and_older_state_dropped(run):
    policy = tiny_policy(5, dtype=torch.float32)
    checkpoints.save(run, full(policy), optimizer_of(policy, 1), Progress(12, 200, 15, 3.0), "id")
    assert [p.name for p in checkpoints.saved(run)] == ["step_000007", "step_000012"]
    assert not (folder(run) / "trainer_state").exists() and (folder(run) / "model.safetensors").exists()
    assert resume(run).iteration == 12


def test_beyond_a_million_iterations_the_order_is_numeric(tmp_path):
    for name in ("step_1000000", "step_999999", "step_x", ".step_000001.tmp"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert [p.name for p in checkpoints.saved(tmp_path)] == ["step_999999", "step_1000000"]


def test_other_settings_are_refused(run):
    refused(run, "holds a training run of other settings", identity="another")


@pytest.mark.parametrize(
    "name", ["model.safetensors", "trainer_state/optimizer.safetensors", "trainer_state/state.json"]
)
@pytest.mark.parametrize("keep", [0, 1, 20, 0.5])
def test_cut_off_files_are_refused(name, keep, run):
    path = folder(run) / name
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    refused(run, "is damaged")
    if "state" not in name:
        with pytest.raises(UserError, match="is damaged"):
            load_policy(str(folder(run)))


PARTS = [
    "model.safetensors", "config.json", "tokenizer.json", "vq/codebook.safetensors", "files.json",
    "trainer_state/optimizer.safetensors", "trainer_state/state.json", "trainer_state/files.json",
]  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
def test_one_flipped_byte_of_any_file_stops_a_training(name, run):
    flip(folder(run) / name)
    refused(run, f"{Path(name).name}' is (damaged|not JSON)")
    if "state" not in name:
        with pytest.raises(UserError, match=f"{name}' is (damaged|not JSON)"):
            inspect(str(folder(run)))


@pytest.mark.parametrize("name", PARTS[:-1])
def test_a_file_that_is_gone_or_renamed_stops_a_training(name, run):
    if name != "trainer_state/state.json":  # without it there is nothing to go on from
        path = folder(run) / name
        path.rename(path.with_name("renamed"))
        refused(run, rf"has no .*{path.name}|{path.name}' cannot be read")


def test_weights_of_another_checkpoint_do_not_slip_in(run):
    """Every list is whole, but the state belongs to other weights."""
    policy = tiny_policy(5, dtype=torch.float32)
    save_policy(policy, run / "other", checkpoints.MADE_BY)
    for path in (run / "other").rglob("*"):
        if path.is_file():
            shutil.copy(path, folder(run) / path.relative_to(run / "other"))
    refused(run, "model.safetensors' is damaged .it is not the one that the trainer's state was saved with")


@pytest.mark.parametrize("name", ["model.safetensors", "trainer_state/optimizer.safetensors"])
def test_missing_files_are_refused(name, run):
    (folder(run) / name).unlink()
    refused(run, "has no (model|optimizer).safetensors")


STATE = {"iteration": 7, "forwards": 100, "last": 15, "seconds": 2.5, "identity": "id", "policy": {}}


@pytest.mark.parametrize(
    "state",
    [
        [], {}, 3, None, {"identity": "id"}, {**STATE, "more": 2}, {**STATE, "iteration": "7"}, {**STATE, "iteration": 6},
        {**STATE, "iteration": True}, {**STATE, "seconds": None}, {**STATE, "policy": []},
        {**STATE, "identity": None},
    ],
)  # fmt: skip
def test_a_state_of_another_kind_is_refused(state, run):
    (folder(run) / "trainer_state" / "state.json").write_text(json.dumps(state))
    refused(run, "is damaged")
    reseal(folder(run))
    refused(run, "is damaged|is not JSON")


def damage_weights(run, change):
    state = load_file(folder(run) / "model.safetensors")
    change(state)
    save_file(state, folder(run) / "model.safetensors")
    agree(run)


def agree(run):
    """All lists and the trainer's state agree with what is there now."""
    reseal(folder(run))
    path = folder(run) / "trainer_state" / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "policy": read_seal(folder(run)).files}))
    reseal(folder(run))


def test_weights_of_another_shape_are_refused(run):
    name = "model.transformer.ln_f.weight"
    damage_weights(run, lambda state: state.update({name: torch.ones(9)}))
    refused(run, rf"'{name}' in .*model.safetensors' has shape \[9\].* has \[8\]")
    with pytest.raises(UserError, match=r"has shape \[9\]"):
        load_policy(str(folder(run)))


def test_missing_and_unexpected_keys_are_refused(run):
    name = "model.transformer.blocks.0.up_proj.weight"
    damage_weights(run, lambda state: state.pop(name))
    refused(run, f"lacks key '{name}'")
    damage_weights(run, lambda state: state.update({name: torch.ones(12, 8), "lm_head.weight": torch.ones(1)}))
    with pytest.raises(UserError, match="has the unexpected key 'lm_head.weight'"):
        load_weights(tiny_policy().net, folder(run) / "model.safetensors")


def test_an_optimiser_of_another_network_is_refused(run):
    path = folder(run) / "trainer_state" / "optimizer.safetensors"
    state = load_file(path)
    save_file({**state, "0.exp_avg": torch.ones(2, 2)}, path)
    agree(run)
    refused(run, "is damaged")
    save_file({k: v for k, v in state.items() if not k.startswith("3.")}, path)
    agree(run)
    refused(run, "is damaged")
    save_file({**state, "nonsense": torch.ones(1)}, path)
    agree(run)
    refused(run, "is damaged")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "vq/codebook.safetensors"])
def test_a_policy_folder_without_a_part_is_refused(name, run):
    (folder(run) / name).unlink()
    with pytest.raises(UserError, match=f"has no {name}"):
        load_policy(str(folder(run)))
    reseal(folder(run))
    with pytest.raises(UserError, match=f"has no {name}"):
        load_policy(str(folder(run)))


def test_a_policy_that_is_none_is_refused(run, tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        load_policy(str(tmp_path / "nowhere"))
    for text in (
        "{", "[]", "{}", '{"size": {}, "backbone": {}}', '{"size": [], "backbone": []}',
        '{"size": 3, "backbone": null}',
    ):  # fmt: skip
        (folder(run) / "config.json").write_text(text)
        reseal(folder(run))
        with pytest.raises(UserError, match="is not a policy configuration|is not JSON"):
            load_policy(str(folder(run)))


@pytest.mark.parametrize(
    ("name", "data"), [("tokenizer.json", b"{}"), ("tokenizer.json", b"\xff"), ("vq/codebook.safetensors", b"junk")]
)
def test_damaged_parts_of_a_policy_are_refused(name, data, run):
    (folder(run) / name).write_bytes(data)
    reseal(folder(run))
    with pytest.raises(UserError) as error:
        load_policy(str(folder(run)))
    assert "\n" not in str(error.value)


def test_a_codebook_of_another_size_is_refused(run):
    save_file({"codebook": torch.rand(7, 8, 8, 3)}, folder(run) / "vq" / "codebook.safetensors")
    reseal(folder(run))
    with pytest.raises(UserError, match="has 7 codes, but its config says 6"):
        load_policy(str(folder(run)))


def test_a_saved_policy_round_trips(tmp_path):
    policy = tiny_policy(4, dtype=torch.float32)
    save_policy(policy, tmp_path / "policy")
    again = load_policy(str(tmp_path / "policy"))
    assert all(torch.equal(a, b) for a, b in zip(policy.net.parameters(), again.net.parameters(), strict=True))
    assert torch.equal(policy.codec.codebook, again.codec.codebook)
    assert again.prompt("red zebra") == policy.prompt("red zebra")
    codes = torch.arange(6)[None]
    assert again.decode(codes).shape == (1, 3, 16, 24) and torch.equal(again.decode(codes), policy.decode(codes))
    shutil.rmtree(tmp_path / "policy")
