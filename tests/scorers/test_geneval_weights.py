"""GenEval's detector weights: MMDetection's names to the last key and back, strict loading, and where they are
found."""

import hashlib
import pickle

import pytest
import torch

from bench.scorers.geneval import network
from bench.scorers.geneval.convert import convert
from htgrpo.base.errors import UserError
from tests.scorers import tiny_mask2former as tiny
from tests.scorers.made_assets import put

OFFICIAL_KEYS = "123ba754dd32d4d41685fafcf4135b1dda0f6a96e102994dc38958346884443d"
"""sha256 of the 649 "key shape" lines, sorted, of mmdet 2.27.0's class for
mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco.py."""


@pytest.fixture(scope="module")
def state() -> dict:
    return tiny.weights(tiny.GOLDEN["shapes"])


@pytest.fixture(scope="module")
def net(state):
    net = network.make_network(tiny.config())
    network.fill_from(net, convert(state, "the test"), "the test", "cpu", torch.float32)
    return net


def test_official_keys_and_shapes_convert_to_the_last_one():
    net = network.make_network(network.official_config())
    meta = {
        network.published_name(key): torch.empty(value.shape, device="meta") for key, value in net.state_dict().items()
    }
    official = tiny.to_mmdet(meta, window=7)
    lines = sorted(f"{key} {list(value.shape)}" for key, value in official.items())
    assert len(lines) == 649 and hashlib.sha256("\n".join(lines).encode()).hexdigest() == OFFICIAL_KEYS
    converted = convert(official, "the test")
    assert {key: value.shape for key, value in converted.items()} == {key: value.shape for key, value in meta.items()}


def test_conversion_round_trip(net, state):
    published = {network.published_name(key): value for key, value in net.state_dict().items()}
    back = tiny.to_mmdet(published, window=3)
    assert back.keys() == state.keys()
    for key in state:
        assert torch.equal(back[key], state[key]), key
    again = convert(back, "the test")
    assert again.keys() == published.keys() and all(torch.equal(again[key], published[key]) for key in again)


def test_a_checkpoint_file_loads_and_says_whose_it_is(tmp_path, state, monkeypatch):
    path = tmp_path / "detector.pth"
    torch.save({"meta": {"CLASSES": tuple(tiny.NAMES), "epoch": 50}, "state_dict": state}, path)
    net = network.load_network(path, "cpu", config=tiny.config())
    assert torch.equal(net.class_predictor.weight, state["panoptic_head.cls_embed.weight"])
    assert not net.training and not any(value.requires_grad for value in net.parameters())
    identity = network.identity_of(path)
    assert identity["official"] is False and "different detector" in identity["detector"]
    put(monkeypatch, tmp_path, geneval_detector=path.read_bytes())
    assert network.identity_of(path)["official"] is True and "different" not in network.identity_of(path)["detector"]


def test_loading_leaves_the_global_generator_alone(tmp_path, state):
    torch.save({"state_dict": state}, tmp_path / "detector.pth")
    before = torch.random.get_rng_state()
    network.load_network(tmp_path / "detector.pth", "cpu", config=tiny.config())
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (lambda state: state.pop("panoptic_head.mask_embed.2.bias"), "lacks key 'model.*mask_embedder.1.0.bias'"),
        (lambda state: state.update({"bbox_head.fc.weight": torch.zeros(1)}), "unexpected key 'bbox_head.fc.weight'"),
        (lambda state: state.update({"panoptic_head.cls_embed.bias": torch.zeros(9)}), r"shape \[9\].*has \[6\]"),
        (lambda state: state.update({"backbone.norm3.extra": torch.zeros(9)}), "unexpected key .*stage4.extra"),
        (lambda state: state["backbone.stages.1.blocks.0.attn.w_msa.relative_position_index"].add_(1), "another order"),
        (lambda state: state.update({"panoptic_head.query_feat.weight": "text"}), "holds other things than tensors"),
    ],
)
def test_other_weights_are_refused_by_key(tmp_path, state, spoil, sentence):
    spoilt = {key: value.clone() for key, value in state.items()}
    spoil(spoilt)
    torch.save({"state_dict": spoilt}, tmp_path / "detector.pth")
    with pytest.raises(UserError, match=sentence):
        network.load_network(tmp_path / "detector.pth", "cpu", config=tiny.config())


class Trap:
    def __reduce__(self):
        return open, ("ran", "w")


def test_files_that_are_no_checkpoint_run_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "detector.pth"
    torch.save({"state_dict": {"weight": Trap()}}, path)
    spoilt = [path.read_bytes(), b"text", b"", pickle.dumps(Trap(), protocol=2)]
    torch.save({"weights": {}}, path)
    for data in [*spoilt, path.read_bytes()]:
        path.write_bytes(data)
        with pytest.raises(UserError, match="is not an MMDetection checkpoint"):
            network.load_network(path, "cpu", config=tiny.config())
    assert not (tmp_path / "ran").exists()


def test_the_hubs_format_loads_as_another_detector(tmp_path, state, net):
    from safetensors.torch import save_file

    save_file(convert(state, "the test") | {"criterion.empty_weight": torch.ones(6)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(tiny.config().to_json_string())
    assert network.locate_detector(tmp_path) == tmp_path
    loaded = network.load_network(tmp_path, "cpu")
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in loaded.state_dict().items())
    identity = network.identity_of(tmp_path)
    assert identity["official"] is False and "different detector" in identity["detector"]


def test_what_transformers_writes_loads_too(tmp_path, net):
    from transformers import Mask2FormerForUniversalSegmentation

    with torch.random.fork_rng():
        made = Mask2FormerForUniversalSegmentation(tiny.config())
    made.save_pretrained(tmp_path)
    loaded = network.load_network(tmp_path, "cpu")
    picture = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        classes = [one(pixel_values=picture).class_queries_logits for one in (loaded, made.eval())]
    assert torch.equal(*classes)


def test_detectors_are_found_in_their_places(tmp_path, monkeypatch):
    for name in (network.FOLDERS, "HTGRPO_ASSETS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTGRPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("bench.scorers.weights._snapshots", lambda repository: [])
    with pytest.raises(
        UserError, match=r"not found: run `python -m bench.fetch geneval_detector`.*`hf download facebook/mask2"
    ):
        network.locate_detector(None)
    put(monkeypatch, tmp_path, geneval_detector=b"as fetched")
    assert network.locate_detector(None) == tmp_path / "geneval_detector.file"
    own = tmp_path / "weights" / "geneval"
    own.mkdir(parents=True)
    (own / "mine.pth").write_bytes(b"own")
    monkeypatch.setenv(network.FOLDERS, str(tmp_path / "weights"))
    assert network.locate_detector(None) == own / "mine.pth" == network.locate_detector(own / "mine.pth")
    (own / "second.pth").write_bytes(b"own")
    with pytest.raises(UserError, match="holds 2 .pth files"):
        network.locate_detector(None)
    with pytest.raises(UserError, match="neither a file nor a folder"):
        network.locate_detector(tmp_path / "nowhere")
    with pytest.raises(UserError, match="lacks config.json"):
        network.locate_detector(tmp_path)
