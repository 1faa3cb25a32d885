"""Lumina-DiMOO's codec against the library's raw calls, as upstream makes them, and what its folders must hold."""

import json

import pytest
import torch

from htgrpo.base.rng import generator
from htgrpo.policies import vqmodel
from htgrpo.policies.vqmodel import VQModelCodec, tiny_vqmodel
from tests.policies.codecs import draw, gap, refusal


def test_vqmodel_equals_raw_calls():
    codec, grid = tiny_vqmodel(generator("raw")), (2, 3)
    codes = draw(codec, 1, grid)
    raw = codec.net.decode(
        codes.view(1, *grid), force_not_quantize=True, shape=(1, *grid, codec.net.config.latent_channels)
    ).sample
    assert gap(codec.decode(codes, grid), raw.clip(0, 1)) == 0.0
    assert gap(raw, raw.clip(0, 1)) > 0, "the clip is seen"
    images = torch.rand(1, 3, 32, 48, generator=generator("images"))
    latents = codec.net.encode(images).latents
    assert torch.equal(codec.encode(images)[0], codec.net.quantize(latents)[2][2])
    nearest = (
        (latents.permute(0, 2, 3, 1).reshape(-1, 1, 8) - codec.net.quantize.embedding.weight).square().sum(-1).argmin(1)
    )
    assert torch.equal(codec.encode(images)[0], nearest)


def test_vqmodel_folders_are_the_librarys(tmp_path):
    """Ours opens in diffusers, and diffusers' opens in ours."""
    codec = tiny_vqmodel(generator("folder"), codes=64)
    codec.save(tmp_path / "ours")
    theirs = vqmodel.VQModel.from_pretrained(tmp_path / "ours", local_files_only=True)
    assert all(torch.equal(value, codec.net.state_dict()[key]) for key, value in theirs.state_dict().items())
    theirs.save_pretrained(tmp_path / "theirs")
    again, codes = VQModelCodec.load(tmp_path / "theirs"), draw(codec, 2, (2, 2))
    assert len(again) == 64 and torch.equal(again.decode(codes, (2, 2)), codec.decode(codes, (2, 2)))


def test_vqmodel_half_precision_is_refused_by_the_model_itself(tmp_path):
    weights = tiny_vqmodel(generator("half"), codes=8).save(tmp_path)
    assert VQModelCodec.load(tmp_path, dtype=torch.float16).dtype == torch.float32
    assert VQModelCodec.load(tmp_path, dtype=torch.bfloat16).dtype == torch.bfloat16
    config = json.loads((tmp_path / "config.json").read_text())
    (weights.parent / "config.json").write_text(json.dumps(config | {"force_upcast": False}))
    assert VQModelCodec.load(tmp_path, dtype=torch.float16).dtype == torch.float16


@pytest.mark.parametrize(
    "change, part",
    [
        ({"lookup_from_codebook": False}, "'lookup_from_codebook'"),
        ({"out_channels": 1}, "'out_channels'"),
        ({"latent_channels": 16}, "has shape"),
        ({"num_vq_embeddings": 9}, "'quantize.embedding.weight'"),
        ({"layers_per_block": 2}, "lacks key 'decoder.up_blocks.0.resnets.2.conv1.bias'"),
        ({"mid_block_add_attention": True}, "lacks key"),
        ({"block_out_channels": [8, 8]}, "describes no VQModel"),
        ({"up_block_types": ["Nothing"] * 5}, "describes no VQModel"),
        ({"block_out_channels": "8"}, "describes no VQModel"),
    ],
    ids=str,
)
def test_vqmodel_configuration_that_disagrees(tmp_path, change, part):
    tiny_vqmodel(generator("config"), codes=8).save(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    refusal(part, VQModelCodec.load, tmp_path)


def test_vqmodel_without_a_configuration(tmp_path):
    tiny_vqmodel(generator("config"), codes=8).save(tmp_path)
    for text in ("{", "[]"):
        (tmp_path / "config.json").write_text(text)
        refusal("config.json", VQModelCodec.load, tmp_path)
    (tmp_path / "config.json").unlink()
    refusal("config.json", VQModelCodec.load, tmp_path)


def test_published_sizes():
    """Parameters and tensors of the published codec, without memory."""
    net = vqmodel.build(vqmodel.PUBLISHED)
    assert sum(w.numel() for w in net.parameters()) == 146_244_675 and len(net.state_dict()) == 277
    assert net.state_dict()["quantize.embedding.weight"].shape == (8192, 64)
