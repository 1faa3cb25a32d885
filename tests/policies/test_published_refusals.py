"""Every way in which published weights can disagree with their files, their configuration or their backbone is one
sentence."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.ask.weights import inspect
from htgrpo.base.errors import UserError
from htgrpo.policies.model_files import SIDECAR
from htgrpo.policies.storage import load_policy, save_policy

WTE, HEAD, FIRST = "model.transformer.wte.weight", "model.transformer.ff_out.weight", "model-00001-of-00003.safetensors"
INDEX, CONFIG = "model.safetensors.index.json", "config.json"
UP = "model.transformer.blocks.0.up_proj.weight"


@pytest.fixture
def mmada(copy_of):
    return copy_of("mmada")


def change(checkpoint, key, value):
    """Replaces a tensor (None: takes it out) in the file that holds it, and in the index."""
    index = json.loads((checkpoint.folder / INDEX).read_text())
    file = index["weight_map"].setdefault(key, FIRST)
    state = load_file(checkpoint.folder / file)
    state.pop(key, None)
    if value is None:
        del index["weight_map"][key]
    else:
        state[key] = value
    checkpoint.drop(file)
    save_file(state, checkpoint.folder / file)
    checkpoint.put(INDEX, json.dumps(index))


# ---- which backbone


def test_a_backbone_must_be_said_once(mmada):
    mmada.refused("is of the backbone 'mmada', not 'lumina-dimoo'", backbone="lumina-dimoo")
    mmada.drop(SIDECAR)
    mmada.refused("nothing in it says of which backbone: add --backbone .*mmada")
    mmada.refused(r"image codec 'showlab/magvitv2' is neither", backbone="mmada")
    mmada.refused("unknown backbone 'mmda': did you mean 'mmada'", backbone="mmda")
    mmada.refused("has 134656 rows, but lumina-dimoo has 134548", backbone="lumina-dimoo")
    with pytest.raises(UserError, match="add --backbone"):
        inspect(str(mmada.folder))


def test_an_embedded_folder_is_of_its_own_backbone(tmp_path):
    save_policy(load_policy("embedded", backbone="embedded"), tmp_path / "policy")
    with pytest.raises(UserError, match="is of the backbone 'embedded', not 'mmada'"):
        load_policy(str(tmp_path / "policy"), backbone="mmada")


def test_options_that_do_not_exist(mmada):
    mmada.refused("unknown dtype of the weights 'float16': did you mean", dtype="float16")
    mmada.refused("only models of the hub have revisions", revision="main")


@pytest.mark.parametrize("name", ["nowhere", "/nowhere", "a/b/c", "./a/b", "a/../b", "", "a/.b", "ünï/çode"])
def test_names_that_are_neither_folder_nor_hub_id(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for look in (load_policy, inspect):
        with pytest.raises(UserError, match="is not a folder|has no config.json|is neither a folder nor"):
            look(name)


# ---- files


def test_a_missing_shard_is_named(mmada):
    mmada.drop("model-00002-of-00003.safetensors")
    mmada.refused("lacks the shard 'model-00002-of-00003.safetensors' that model.safetensors.index.json names")


@pytest.mark.parametrize("name", ["../copy/" + FIRST, "/etc/passwd", "vq"])
def test_an_index_names_files_of_its_folder_only(name, mmada):
    mmada.edit(INDEX, weight_map={WTE: name})
    mmada.refused("lacks the shard")


@pytest.mark.parametrize("text", ["{}", '{"weight_map": {}}', '{"weight_map": [1]}', '{"weight_map": {"a": 3}}'])
def test_an_index_without_a_map(text, mmada):
    mmada.put(INDEX, text)
    mmada.refused('has no "weight_map"')


def test_an_index_that_is_not_json(mmada):
    mmada.put(INDEX, "{")
    mmada.refused("model.safetensors.index.json' is not JSON")


def test_a_key_the_index_places_wrongly(mmada):
    index = json.loads((mmada.folder / INDEX).read_text())["weight_map"]
    mmada.edit(INDEX, weight_map=index | {HEAD: FIRST})
    mmada.refused(f"{FIRST}' lacks key '{HEAD}', which the index")


@pytest.mark.parametrize("keep", [0, 5, 200, 10_000])
def test_a_shard_that_was_cut_off(keep, mmada):
    mmada.put(FIRST, (mmada.folder / FIRST).read_bytes()[:keep])
    mmada.refused(f"{FIRST}' cannot be read as safetensors")
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        inspect(str(mmada.folder))


def test_no_weights_at_all(mmada):
    for file in mmada.folder.glob("model*"):
        file.unlink()
    mmada.refused("has no model.safetensors")


class Evil:
    def __reduce__(self):
        return print, ("this must not run",)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(pickle.dumps({WTE: Evil()})),
        lambda path: torch.save({WTE: Evil()}, path),
        lambda path: torch.save([torch.ones(1)], path),
        lambda path: torch.save({WTE: 3}, path),
    ],
    ids=["pickle", "code", "list", "number"],
)
def test_a_legacy_file_that_is_not_just_tensors(write, mmada, capsys):
    for file in mmada.folder.glob("model*"):
        file.unlink()
    write(mmada.folder / "pytorch_model.bin")
    mmada.refused("cannot be read as a file of tensors|is not a plain dictionary of tensors")
    assert "must not run" not in capsys.readouterr().out


# ---- tensors


def test_missing_and_unexpected_keys(mmada):
    change(mmada, UP, None)
    mmada.refused(f"lacks key '{UP}'")
    change(mmada, UP, torch.zeros(24, 8))
    change(mmada, "model.transformer.blocks.0.q_proj.bias", torch.zeros(8))
    mmada.refused("has the unexpected key 'model.transformer.blocks.0.q_proj.bias'")


def test_a_gap_between_blocks(mmada):
    change(mmada, "model.transformer.blocks.7.q_proj.weight", torch.zeros(8, 8))
    mmada.edit(CONFIG, n_layers=8)
    mmada.refused("lacks key 'model.transformer.blocks.2.attn_norm.weight'")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (UP, torch.zeros(23, 8),
         rf"'{UP}' in .* has shape \[23, 8\], but the network of the other tensors' sizes has \[24, 8\]"),
        (HEAD, torch.zeros(134655, 8),
         r"has shape \[134655, 8\], but the network of the other tensors' sizes has \[134656, 8\]"),
        (WTE, torch.zeros(3), r"has shape \[3\], but it must be a matrix"),
        (WTE, torch.zeros(134548, 8), "embedding_size is 134656 in .*, but the weights beside it have 134548"),
        (UP, torch.zeros(24, 8, dtype=torch.int8), "is torch.int8: only floating-point weights"),
    ],
    ids=["up", "head", "vector", "rows", "int8"],
)  # fmt: skip
def test_tensors_of_another_shape_or_kind(key, value, message, mmada):
    change(mmada, key, value)
    mmada.refused(message)


# ---- config.json


@pytest.mark.parametrize("name", ["d_model", "n_layers", "mlp_hidden_size", "embedding_size"])
def test_sizes_that_are_not_the_tensors(name, mmada):
    mmada.edit(CONFIG, **{name: 4096})
    mmada.refused(rf"{name} is 4096 in .*config.json', but the weights beside it have \d+")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_heads": 3, "n_kv_heads": 3}, "n_heads is 3 in .*, but a width of 8 cannot be divided"),
        (
            {"n_heads": 8, "n_kv_heads": 8},
            "n_heads is 8 in .*, but a width of 8 cannot be divided into as many heads of even width",
        ),
        ({"n_heads": None, "n_kv_heads": None}, "n_heads is 32 in"),
        ({"n_kv_heads": 1}, "n_kv_heads is 1 and n_heads 2"),
        ({"n_heads": "2"}, "n_heads is '2' in .*, but it must be a number above 0"),
        ({"n_heads": True}, "n_heads is True"),
        ({"n_heads": 0}, "n_heads is 0"),
        ({"d_model": [8]}, r"d_model is \[8\]"),
        ({"rope_theta": -1.0}, "rope_theta is -1.0"),
        ({"block_type": "sequential"}, "block_type is 'sequential' in .*, but only networks with 'llama'"),
        ({"activation_type": "gelu"}, "activation_type is 'gelu'"),
        ({"layer_norm_type": "default"}, "layer_norm_type is 'default'"),
        ({"weight_tying": True}, "weight_tying is True"),
        ({"include_qkv_bias": True}, "include_qkv_bias is True"),
        ({"attention_layer_norm": True}, "attention_layer_norm is True"),
        ({"alibi": True}, "alibi is True"),
        ({"rope_full_precision": False}, "rope_full_precision is False"),
        ({"block_group_size": 2}, "block_group_size is 2"),
        ({"scale_logits": True}, "scale_logits is True"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_another_kind_of_network(changes, message, mmada):
    mmada.edit(CONFIG, **changes)
    mmada.refused(message)


def test_unknown_fields_are_ignored_and_missing_ones_have_defaults(mmada, loaded):
    mmada.put(CONFIG, json.dumps({"n_heads": 2, "something": {"new": 1}, "num_vq_tokens": 256, "vocab_size": 126464}))
    policy = mmada.load()
    assert policy.net.size == loaded["mmada"].net.size


def test_the_rotary_base_is_the_configs(mmada):
    mmada.edit(CONFIG, rope_theta=10000, rms_norm_eps=1e-6)
    assert (mmada.load().net.size.rope_theta, mmada.load().net.size.rms_norm_eps) == (10000.0, 1e-6)


@pytest.mark.parametrize("text", ["{", "[]", "3", ""])
def test_a_config_that_is_no_object(text, mmada):
    mmada.put(CONFIG, text)
    mmada.refused("config.json' is not")
    mmada.drop(CONFIG)
    mmada.refused("has no config.json")


def test_a_config_of_another_family(mmada):
    mmada.put(CONFIG, json.dumps({"model_type": "llama", "hidden_size": 8}))
    mmada.drop(SIDECAR)
    mmada.refused("is not a policy configuration", backbone="mmada")
