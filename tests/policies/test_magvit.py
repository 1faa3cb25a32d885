"""MAGVIT-v2 against numbers recorded from upstream, and what its folders must hold."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from htgrpo.base.rng import generator
from htgrpo.policies import magvit_net
from htgrpo.policies.magvit import WEIGHTS, Magvit, MagvitCodec, SignBits, read_size, tiny_magvit
from tests.policies.codecs import draw, gap, refusal

GOLDEN = Path(__file__).parents[1] / "golden" / "codecs"


@pytest.fixture(scope="module")
def recorded():
    return load_file(GOLDEN / "magvit.safetensors")


@pytest.fixture
def upstream(tmp_path):
    """Our codec with the recorded weights, whose file has no quantiser tables."""
    weights = {key: value.float() for key, value in load_file(GOLDEN / "magvit_weights.safetensors").items()}
    save_file(weights, tmp_path / "model.safetensors")
    return MagvitCodec.load(tmp_path)


def test_magvit_equals_upstream(upstream, recorded):
    assert upstream.patch == 4 and len(upstream) == 8192
    assert torch.equal(upstream.encode(recorded["images"]), recorded["indices"])
    assert gap(upstream.decode(recorded["codes"], (4, 6)), ((recorded["pixels"] + 1) / 2).clamp(0, 1)) <= 1e-5
    with torch.no_grad():
        assert gap(upstream.net.encoder(recorded["images"] * 2 - 1), recorded["latents"]) <= 1e-5
        bits = upstream.net.quantize.bits(recorded["codes"].view(2, 4, 6))
        assert gap(upstream.net.decoder(bits), recorded["pixels"]) <= 1e-5, "also where the picture is clamped"


@pytest.mark.parametrize("wrong", ["padding", "grid", "range", "epsilon"])
def test_controls_that_must_differ(upstream, recorded, monkeypatch, wrong):
    codes, images = recorded["codes"], recorded["images"]
    if wrong == "padding":
        monkeypatch.setattr(
            magvit_net.Halve, "forward", lambda self, x: self.conv(torch.nn.functional.pad(x, (1, 0, 1, 0)))
        )
        assert (upstream.encode(images) != recorded["indices"]).any()
    elif wrong == "grid":
        assert (
            gap(
                upstream.decode(codes, (6, 4)).reshape(2, -1), ((recorded["pixels"] + 1) / 2).clamp(0, 1).reshape(2, -1)
            )
            > 0.1
        )
    elif wrong == "range":
        assert (upstream.encode((images + 1) / 2) != recorded["indices"]).any()
    else:
        for module in upstream.net.decoder.modules():
            if isinstance(module, torch.nn.GroupNorm):
                module.eps = 1e-2
        assert gap(upstream.decode(codes, (4, 6)), ((recorded["pixels"] + 1) / 2).clamp(0, 1)) > 1e-4


def test_sign_bits(recorded):
    """Channel 0 is the most significant bit; zero counts as -1."""
    rule = SignBits(13)
    assert rule.embedding.shape == (8192, 13) and rule.power_vals.dtype == torch.int64
    assert rule.embedding[0].tolist() == [-1.0] * 13 and rule.embedding[4096].tolist() == [1.0] + [-1.0] * 12
    assert torch.equal(rule.embedding[[0, 1, 4096, 8191]], recorded["embedding"])
    assert torch.equal(rule.power_vals, recorded["power_vals"])
    assert rule.codes(torch.zeros(2, 13, 3, 1)).tolist() == [[[0]] * 3] * 2
    everything = torch.arange(8192).view(2, 64, 64)
    assert torch.equal(rule.codes(rule.bits(everything) * 1e-6), everything)
    latent = torch.zeros(1, 13, 1, 1)
    latent[0, 12], latent[0, 3] = 0.1, -5.0
    assert rule.codes(latent).item() == 1


def test_published_sizes():
    """Parameters, tensors and key names of the published codec, without memory."""
    with torch.device("meta"):
        net = Magvit(magvit_net.PUBLISHED)
    state = net.state_dict()
    count = {name: sum(w.numel() for w in part.parameters()) for name, part in net.named_children()}
    assert count == {"encoder": 55_439_171, "decoder": 39_947_833, "quantize": 0} and sum(count.values()) == 95_387_004
    assert len(state) == 382 and len(list(net.parameters())) == 380
    assert read_size(state, Path("x")) == magvit_net.PUBLISHED
    for key in (
        "down.0.downsample.conv.bias",
        "down.1.block.0.nin_shortcut.weight",
        "mid.attn_1.proj_out.bias",
        "quant_conv.bias",
    ):
        assert f"encoder.{key}" in state
    for key in (
        "up.4.upsample.conv.weight", "up.2.block.0.norm1.weight", "mid.attn_1.norm.bias", "post_quant_conv.weight",
    ):  # fmt: skip
        assert f"decoder.{key}" in state
    assert "encoder.down.4.downsample.conv.bias" not in state and "decoder.up.0.upsample.conv.weight" not in state


def test_magvit_file_names(tmp_path):
    """Any of the published names; a legacy .bin is read as tensors only."""
    codec = tiny_magvit(generator("names"), bits=6)
    first, codes = codec.save(tmp_path), draw(codec, 1, (1, 2))
    assert first.name == "pytorch_model.safetensors"
    assert json.loads((tmp_path / "config.json").read_text()) == {"_class_name": "MAGVITv2"}
    state, expected = load_file(first), codec.decode(codes, (1, 2))
    assert state.keys() == codec.net.state_dict().keys()
    for name in WEIGHTS:
        for old in tmp_path.iterdir():
            old.unlink()
        path = tmp_path / name
        torch.save(state, path) if path.suffix == ".bin" else save_file(state, path)
        assert torch.equal(MagvitCodec.load(tmp_path).decode(codes, (1, 2)), expected)


class Hostile:
    """Pickled, it would call a function when it is read."""

    def __reduce__(self):
        return Path.touch, (Path("hostile"),)


def test_a_pickle_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"encoder.conv_in.weight": Hostile()}, tmp_path / "pytorch_model.bin")
    refusal("cannot be read", MagvitCodec.load, tmp_path)
    assert not (tmp_path / "hostile").exists()
    torch.save({"state_dict": {}}, tmp_path / "pytorch_model.bin")
    refusal("plain dictionary", MagvitCodec.load, tmp_path)


@pytest.mark.parametrize(
    "key, value, part",
    [
        ("encoder.down.2.block.0.norm1.bias", None, "lacks key 'encoder.down.2.block.0.norm1.bias'"),
        ("encoder.conv_in.weight", None, "lacks key 'encoder.conv_in.weight'"),
        ("decoder.up.1.block.0.conv1.weight", None, "lacks key 'decoder.up.1.block.0.conv1.weight'"),
        ("encoder.down.4.block.0.conv1.weight", None, "levels"),
        ("encoder.down.0.attn.0.q.weight", torch.zeros(2), "unexpected key 'encoder.down.0.attn.0.q.weight'"),
        ("decoder.conv_out.weight", torch.zeros(4, 64, 3, 3), "'decoder.conv_out.weight'"),
        ("encoder.conv_in.weight", torch.zeros(40, 3, 3, 3), "multiple of 32"),
        ("decoder.post_quant_conv.weight", torch.zeros(6), "'decoder.post_quant_conv.weight'"),
        ("decoder.post_quant_conv.weight", torch.zeros(32, 32, 1, 1), "32 bits"),
        ("decoder.conv_out.bias", torch.zeros(3, dtype=torch.int8), "torch.int8"),
        ("quantize.power_vals", 2 ** torch.arange(6), "'quantize.power_vals'"),
        ("quantize.embedding", torch.ones(64, 6), "'quantize.embedding'"),
    ],
    ids=str,
)
def test_magvit_tensors_that_disagree(tmp_path, key, value, part):
    path = tiny_magvit(generator("keys"), bits=6).save(tmp_path)
    state = load_file(path)
    state.pop(key, None)
    save_file(state if value is None else state | {key: value}, path)
    refusal(part, MagvitCodec.load, tmp_path)
