"""Checkpoints in the published layouts: made, loaded to the bit from any kind of file, and written again."""

import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bench.ask.weights import check_same_shape, inspect
from htgrpo.base.errors import UserError
from htgrpo.policies import weights as weight_files
from htgrpo.policies.model_files import SIDECAR
from htgrpo.policies.random import make
from htgrpo.policies.storage import load_policy, save_policy
from htgrpo.policies.weights import load_weights
from tests.policies.conftest import BACKBONES

ROWS = {"mmada": 134656, "lumina-dimoo": 134548}


def state_of(folder):
    """All tensors of a folder's weight files."""
    return {key: value for file in folder.glob("model*.safetensors") for key, value in load_file(file).items()}


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", BACKBONES)
def test_a_made_checkpoint_loads(name, made, loaded):
    """Published key names, vocabulary, layout and codec; the sidecar's size; marked as random; the identity bench
    sees."""
    policy, folder = loaded[name], made[name]
    stored = state_of(folder)
    assert policy.net.state_dict().keys() == stored.keys() and len(stored) == 9 * 2 + 3
    assert all(value.dtype == torch.bfloat16 for value in stored.values())
    assert all(torch.equal(value, stored[key].double()) for key, value in policy.net.state_dict().items())
    assert all(weight.requires_grad for weight in policy.net.parameters())
    size = policy.net.size
    assert (size.d_model, size.n_layers, size.n_heads, size.mlp_hidden_size, size.embedding_size) == (
        8, 2, 2, 24, ROWS[name],
    )  # fmt: skip
    assert policy.backbone.name == name and policy.backbone.codebook_size == len(policy.codec) == 8192
    assert policy.backbone.grid == {"mmada": (4, 4), "lumina-dimoo": (2, 3)}[name] == policy.grid_of("")
    assert policy.random_weights and policy.source.name == str(folder)
    seen = inspect(str(folder))
    assert (seen.sha256, seen.backbone, seen.random_weights, seen.source) == (policy.sha256, name, True, str(folder))
    with safe_open(folder / "model-00001-of-00003.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}, "transformers loads no other"


def test_a_made_checkpoint_depends_on_its_seed_alone(made, tmp_path):
    make("mmada", tmp_path / "same", resolution="64x64")
    make("mmada", tmp_path / "other", seed=1, sizes={"d_model": 12, "n_heads": 3, "n_layers": 1, "mlp_hidden_size": 4})
    names = sorted(path.relative_to(made["mmada"]) for path in made["mmada"].rglob("*") if path.is_file())
    assert names
    assert all((made["mmada"] / name).read_bytes() == (tmp_path / "same" / name).read_bytes() for name in names)
    other = inspect(str(tmp_path / "other"))
    assert other.sha256 != inspect(str(made["mmada"])).sha256
    with pytest.raises(UserError, match="another shape than the policy .*d_model 12 and 8"):
        check_same_shape(str(tmp_path / "other"), str(made["mmada"]))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_dtypes(dtype, made, loaded):
    policy = load_policy(str(made["mmada"]), dtype=dtype)
    assert all(weight.dtype == getattr(torch, dtype) for weight in policy.net.parameters())
    assert all(
        torch.equal(a.double(), b)
        for a, b in zip(policy.net.parameters(), loaded["mmada"].net.parameters(), strict=True)
    )
    assert policy.codec.dtype == torch.float32


@pytest.mark.parametrize("fast", [True, False])
def test_auto_is_bfloat16_where_the_hardware_has_it(fast, made, monkeypatch):
    monkeypatch.setattr("htgrpo.base.cpu.fast_bfloat16", lambda: fast)
    policy = load_policy(str(made["mmada"]))
    assert next(policy.net.parameters()).dtype == (torch.bfloat16 if fast else torch.float32)
    assert next(load_policy("embedded").net.parameters()).dtype == torch.float32


def test_embedded_weights_have_the_asked_dtype():
    wide, plain = load_policy(dtype="float64"), load_policy()
    assert all(torch.equal(a, b.double()) for a, b in zip(wide.net.parameters(), plain.net.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin", "shards of pytorch_model.bin"])
def test_any_kind_of_file_holds_the_same_weights(kind, copy_of, loaded):
    checkpoint = copy_of("mmada")
    state = state_of(checkpoint.folder)
    for file in checkpoint.folder.glob("model*"):
        file.unlink()
    if kind == "model.safetensors":
        save_file(state, checkpoint.folder / kind, {"format": "pt"})
    elif kind == "pytorch_model.bin":
        torch.save(state, checkpoint.folder / kind)
    else:
        keys = sorted(state)
        parts = {"pytorch_model-00001-of-00002.bin": keys[:9], "pytorch_model-00002-of-00002.bin": keys[9:]}
        for file, part in parts.items():
            torch.save({key: state[key] for key in part}, checkpoint.folder / file)
        index = {"weight_map": {key: file for file, part in parts.items() for key in part}}
        checkpoint.put("pytorch_model.bin.index.json", json.dumps(index))
    policy = checkpoint.load()
    assert same(policy.net, loaded["mmada"].net)
    assert policy.sha256 == inspect(str(checkpoint.folder)).sha256 != loaded["mmada"].sha256


@pytest.mark.parametrize("name", BACKBONES)
def test_written_and_loaded_again_is_the_same_to_the_bit(name, made, tmp_path, monkeypatch):
    """Weights in their dtype, tokenizer and configuration as they came, codec, size and label; in one file and in
    shards."""
    policy = load_policy(str(made[name]), dtype="bfloat16")
    save_policy(policy, tmp_path / "one")
    monkeypatch.setattr(weight_files, "SHARD_SIZE", "1MB")
    save_policy(policy, tmp_path / "shards")
    assert not (tmp_path / "one" / "model.safetensors.index.json").exists()
    assert (tmp_path / "shards" / "model.safetensors.index.json").exists()
    codes = torch.arange(2 * 24).reshape(2, -1)[:, : policy.backbone.grid[0] * policy.backbone.grid[1]] * 7
    for folder in ("one", "shards"):
        again = load_policy(str(tmp_path / folder), dtype="bfloat16")
        assert same(policy.net, again.net) and again.random_weights
        assert again.backbone == policy.backbone and again.source.config == policy.source.config
        assert torch.equal(again.decode(codes), policy.decode(codes))
        for file in ("tokenizer.json", "tokenizer_config.json", "config.json"):
            assert json.loads((tmp_path / folder / file).read_text()) == json.loads((made[name] / file).read_text())
        assert json.loads((tmp_path / folder / SIDECAR).read_text()) == json.loads((made[name] / SIDECAR).read_text())
    assert load_policy(str(tmp_path / "one")).sha256 == inspect(str(tmp_path / "one")).sha256


def test_the_configuration_says_the_dtype_that_is_written(copy_of, tmp_path):
    policy = copy_of("mmada").load(dtype="float32")
    save_policy(policy, tmp_path / "written")
    assert json.loads((tmp_path / "written" / "config.json").read_text())["torch_dtype"] == "float32"
    assert all(value.dtype == torch.float32 for value in state_of(tmp_path / "written").values())


def test_a_codec_from_elsewhere_is_referred_to(copy_of, tmp_path, loaded):
    """A folder outside the policy's, and a subfolder that is too large to be copied with every checkpoint."""
    checkpoint = copy_of("mmada")
    shutil.move(checkpoint.folder / "vq", tmp_path / "elsewhere")
    sidecar = json.loads((checkpoint.folder / SIDECAR).read_text())
    checkpoint.put(SIDECAR, json.dumps({**sidecar, "codec": str(tmp_path / "elsewhere")}))
    save_policy(checkpoint.load(), tmp_path / "written")
    assert json.loads((tmp_path / "written" / SIDECAR).read_text())["codec"] == str(tmp_path / "elsewhere")
    codes = torch.arange(16)[None]
    assert torch.equal(load_policy(str(tmp_path / "written")).decode(codes), loaded["mmada"].decode(codes))


def test_a_large_codec_is_not_copied(copy_of, monkeypatch):
    monkeypatch.setattr("htgrpo.policies.published.SMALL_CODEC", 1000)
    checkpoint = copy_of("mmada")
    assert checkpoint.load().source.codec == str(checkpoint.folder / "vq")


@pytest.mark.parametrize("kind", ["one", "shards"])
def test_weights_are_copied_into_a_network_that_exists(kind, made, loaded, tmp_path, monkeypatch):
    """As training checkpoints are: from a folder in shards or not, in the network's own dtype."""
    monkeypatch.setattr(weight_files, "SHARD_SIZE", {"one": "5GB", "shards": "1MB"}[kind])
    save_policy(loaded["mmada"], tmp_path / "saved")
    policy = load_policy(str(made["mmada"]), dtype="float32")
    before = next(policy.net.parameters())
    with torch.no_grad():
        before += 1
    load_weights(policy.net, tmp_path / "saved")
    assert before is next(policy.net.parameters()) and before.dtype == torch.float32
    assert all(
        torch.equal(a.double(), b)
        for a, b in zip(policy.net.parameters(), loaded["mmada"].net.parameters(), strict=True)
    )


def test_nothing_is_read_before_it_is_known_to_fit(copy_of):
    """A sparse file that claims 4 GB is refused by its shapes, in no time and without memory."""
    checkpoint = copy_of("mmada")
    header = {
        "model.transformer.wte.weight": {"dtype": "F32", "shape": [134656, 8000], "data_offsets": [0, 134656 * 32000]}
    }
    text = json.dumps(header).encode()
    for file in checkpoint.folder.glob("model*"):
        file.unlink()
    with open(checkpoint.folder / "model.safetensors", "wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + 134656 * 32000)
    with pytest.raises(UserError, match="lacks key 'model.transformer.blocks.0.ff_proj.weight'"):
        checkpoint.load()
