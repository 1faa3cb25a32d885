"""What every port of a published scorer must do, on tiny checkpoints of it: one contract for all of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.scorers.clip_h import HPSv2, HPSv2Aliased, PickScore
from bench.scorers.clip_score import ClipScore
from bench.scorers.hpsv3 import HPSv3
from bench.scorers.imagereward import ImageReward
from bench.scorers.registry import SCORERS
from bench.scorers.unifiedreward import UnifiedReward
from bench.scorers.unipercept import UniPercept
from bench.scorers.weights import FOLDERS
from tests.scorers import (
    tiny,
    tiny_clip,
    tiny_clip_h,
    tiny_hpsv3,
    tiny_imagereward,
    tiny_unifiedreward,
    tiny_unipercept,
)
from tests.scorers.ports import check_batches, check_keys, check_modes, seeded, use_stand_ins


@dataclass(frozen=True)
class Port:
    """write: a tiny checkpoint into a folder. keys: some of its weights' `file`. close: how far batches and order may
    move a score."""

    kind: Any
    write: Callable
    file: str
    keys: tuple[str, ...]
    bases: tuple[str, ...] = ()
    close: float = 1e-6
    options: dict = field(default_factory=dict)


def unipercept_in_one_file(folder, generator):
    """Without the index, which would notice some of what is wrong first."""
    tiny_unipercept.tiny_checkpoint(folder, generator)
    parts = list(folder.glob("model-*.safetensors"))
    save_file({name: value for part in parts for name, value in load_file(part).items()}, folder / "model.safetensors")


PORTS = {
    port.kind.name: port
    for port in (
        Port(ClipScore, tiny_clip.tiny_checkpoint, "model.safetensors",
             ("text_model.encoder.layers.1.self_attn.k_proj.weight",)),
        Port(PickScore, tiny_clip_h.tiny_pickscore, "model.safetensors",
             ("vision_model.encoder.layers.1.self_attn.k_proj.weight",), ("laion/CLIP-ViT-H-14-laion2B-s32B-b79K",),
             close=1e-4),
        *(Port(kind, tiny_clip_h.tiny_hpsv2, "HPS_v2.1_compressed.pt",
               ("transformer.resblocks.1.attn.in_proj_weight", "visual.conv1.weight"),
               options={"sizes": tiny_clip_h.SIZES})
          for kind in (HPSv2, HPSv2Aliased)),
        Port(ImageReward, tiny_imagereward.tiny_checkpoint, "ImageReward.pt",
             ("blip.text_encoder.encoder.layer.1.crossattention.self.key.weight",), ("google-bert/bert-base-uncased",),
             options={"vision": tiny_imagereward.VISION}),
        Port(HPSv3, tiny_hpsv3.tiny_checkpoint, "HPSv3.safetensors",
             ("visual.blocks.1.attn.qkv.weight", "rm_head.3.bias", "model.embed_tokens.weight"),
             ("Qwen/Qwen2-VL-7B-Instruct",)),
        Port(UniPercept, unipercept_in_one_file, "model.safetensors",
             ("vision_model.encoder.layers.1.attn.qkv.weight", "language_model.model.layers.2.self_attn.o_proj.weight"),
             close=5e-5),
        Port(UnifiedReward,
             lambda folder, generator: tiny_unifiedreward.write_checkpoint(folder, "qwen3_vl", tied=True, penalty=1.2),
             "model.safetensors", ("model.language_model.layers.1.mlp.up_proj.weight",)),
    )
}  # fmt: skip
WRITES = "unifiedreward"
"""Writes its judgement, which a random network cannot: no score of it can be compared."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The folder of all checkpoints, each in a subfolder of its scorer's name."""
    root = tmp_path_factory.mktemp("ports")
    for name, port in PORTS.items():
        (root / name).mkdir()
        port.write(root / name, seeded())
    return root


@pytest.fixture
def load(root, monkeypatch, tmp_path):
    """load(name, **options) of the ports' tiny checkpoints, with stand-ins for the instructions."""
    use_stand_ins(monkeypatch, tmp_path)
    monkeypatch.setenv(FOLDERS, str(root))
    return lambda name, **options: PORTS[name].kind.load(**PORTS[name].options, **options)


@pytest.mark.parametrize("name", PORTS)
def test_the_plan_is_the_identity_of_what_is_loaded(name, load):
    port, before = PORTS[name], torch.get_rng_state()
    identity = load(name).identity()
    assert torch.equal(before, torch.get_rng_state()), "global random numbers are left alone"
    assert identity == port.kind.planned_identity() and SCORERS.get(name) is port.kind
    assert identity["name"] == name and identity["weights_revision"].startswith("sha256:")
    assert identity["dtype"] == str(port.kind.official_dtype).removeprefix("torch.")
    assert tuple(identity.get("base_revisions", ())) == port.bases
    other = load(name, dtype="float16").identity()
    assert {key for key in identity if identity[key] != other[key]} == {"dtype"}


@pytest.mark.parametrize("name", [name for name in PORTS if name != WRITES])
def test_batches_order_modes_and_broken_pictures(name, load):
    scorer = load(name, dtype="float32")
    check_batches(scorer, PORTS[name].close)
    check_modes(scorer)
    assert (scorer.score([tiny.picture(1, 64, 64)], [None])[0].error is None) is not scorer.needs_prompt


@pytest.mark.parametrize("name, key", [(name, key) for name, port in PORTS.items() for key in port.keys])
def test_weights_must_fit_to_the_last_key(name, key, load, root):
    check_keys(lambda: load(name), root / name / PORTS[name].file, key)
