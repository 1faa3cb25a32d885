"""Colours of objects: cut out as PIL does it, named as clip_benchmark does it, never with plain GELU."""

import json

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from PIL import Image

from bench.scorers.geneval import colours
from bench.scorers.geneval.detector import Detection
from bench.scorers.geneval.rule import COLOURS
from htgrpo.base.errors import UserError

TEMPLATES = ["a picture of a {color} {classname}", "one {color}-ish {classname}", "some {color} thing"]


def tiny_clip(quick=True):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return open_clip.CLIP(
            embed_dim=16,
            vision_cfg={"layers": 1, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32},
            text_cfg={"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
            quick_gelu=quick,
        ).eval()


def classifier(net):
    return colours.Colours(
        net, open_clip.SimpleTokenizer(), open_clip.image_transform(32, is_train=False), TEMPLATES, {}, "cpu"
    )


def painted():
    """A picture and an object in it."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[..., 2] = np.arange(60)
    image[10:30, 20:50] = (200, 30, 40)
    mask = np.zeros((40, 60), bool)
    mask[12:28, 22:45] = True
    return image, Detection("cup", 0.9, (22.0, 12.0, 45.0, 28.0), mask)


def test_an_object_is_cut_out_as_pil_does_it():
    image, found = painted()
    picture = Image.fromarray(image)
    expected = Image.composite(picture, Image.new("RGB", picture.size, color="#999"), Image.fromarray(found.mask)).crop(
        found.box
    )
    assert np.array_equal(np.asarray(colours.cut_out(image, found)), np.asarray(expected))
    wider = Detection("cup", 0.9, (20.0, 10.0, 50.0, 30.0), found.mask)
    cut = np.asarray(colours.cut_out(image, wider))
    assert cut.shape == (20, 30, 3) and (cut[0] == 0x99).all() and tuple(cut[5, 5]) == (200, 30, 40)


def test_colours_are_clip_benchmarks_zero_shot_classes():
    net, (image, found) = tiny_clip(), painted()
    tokenizer, transform = open_clip.SimpleTokenizer(), open_clip.image_transform(32, is_train=False)
    with torch.no_grad():
        weights = []
        for colour in COLOURS:
            texts = net.encode_text(tokenizer([t.format(color=colour, classname="cup") for t in TEMPLATES]))
            mean = (texts / texts.norm(dim=1, keepdim=True)).mean(0)
            weights.append(mean / mean.norm())
        pixels = net.encode_image(transform(colours.cut_out(image, found))[None])
        logits = 100 * (pixels / pixels.norm()) @ torch.stack(weights).T
    judge = classifier(net)
    assert judge.of(image, found) == COLOURS[int(logits.argmax())] == judge.of(image, found)
    assert torch.allclose(judge._texts["cup"].T, torch.stack(weights), atol=1e-6)
    with pytest.raises(ValueError, match="no pixel"):
        judge.of(image, Detection("cup", 0.9, (5.0, 5.0, 5.0, 9.0), found.mask))


def test_plain_gelu_is_refused():
    colours.check_activation(tiny_clip())
    with pytest.raises(UserError, match="activation GELU instead of QuickGELU"):
        classifier(tiny_clip(quick=False))
    with pytest.raises(UserError, match="activation none"):
        colours.check_activation(torch.nn.Linear(1, 1))


def test_open_clips_two_spellings_differ_in_the_activation():
    with torch.device("meta"), torch.random.fork_rng():
        plain, quick = (
            open_clip.create_model(name, pretrained=None, device="meta") for name in ("ViT-L-14", colours.ARCHITECTURE)
        )
    colours.check_activation(quick)
    assert any(isinstance(module, QuickGELU) for module in quick.modules())
    with pytest.raises(UserError, match="GELU"):
        colours.check_activation(plain)


@pytest.fixture
def tiny_architecture(tmp_path, monkeypatch):
    """open_clip knows a tiny network by the name that Colours.load builds."""
    config = {
        "embed_dim": 16,
        "quick_gelu": True,
        "vision_cfg": {"layers": 1, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    (tmp_path / "tiny-quickgelu.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-quickgelu.json")
    monkeypatch.setattr(colours, "ARCHITECTURE", "tiny-quickgelu")
    monkeypatch.setattr(colours, "instruction", lambda key: TEMPLATES)


def test_weights_are_loaded_to_the_last_key(tmp_path, tiny_architecture, monkeypatch):
    from safetensors.torch import save_file

    net, (image, found) = tiny_clip(), painted()
    state = {key: value.clone() for key, value in net.state_dict().items()}
    save_file(state, tmp_path / "open_clip_model.safetensors")
    before = torch.random.get_rng_state()
    loaded = colours.Colours.load(tmp_path)
    assert torch.equal(before, torch.random.get_rng_state())
    assert loaded.of(image, found) == classifier(net).of(image, found)
    assert loaded.identity["colours_revision"].startswith("sha256:") and "float32" in loaded.identity["colours_dtype"]
    state.pop("visual.proj")
    save_file(state, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(UserError, match=r"visual.proj.*hf download timm/vit_large_patch14_clip_224.openai"):
        colours.Colours.load(tmp_path)
    monkeypatch.setattr("bench.scorers.weights._snapshots", lambda repository: [])
    monkeypatch.delenv("HTGRPO_WEIGHTS", raising=False)
    with pytest.raises(
        UserError, match="hf download timm/vit_large_patch14_clip_224.openai open_clip_pytorch_model.bin"
    ):
        colours.Colours.load()
