"""bench.export: what adapters learnt becomes plain weights, in the layout the training started from."""

import json

import pytest
import torch
from safetensors.torch import load_file

from bench import __main__ as commands
from bench.export import main
from htgrpo.base.errors import UserError
from htgrpo.base.folders import seal
from htgrpo.interface import HIDDEN
from htgrpo.policies import lora
from htgrpo.policies.policy import pack
from htgrpo.policies.random import make
from htgrpo.policies.storage import load_policy
from htgrpo.training.checkpoints import MADE_BY
from htgrpo.training.train_config import TrainConfig
from htgrpo.training.tuning import TUNINGS
from tests.htgrpo.test_lora import shake
from tests.sealing import reseal


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Policies that training may start from: the shipped one, and tiny ones of both published kinds."""
    folder = tmp_path_factory.mktemp("sources")
    for backbone in ("mmada", "lumina-dimoo"):
        make(backbone, folder / backbone)
    return {"embedded": "embedded", **{name: str(folder / name) for name in ("mmada", "lumina-dimoo")}}


def checkpoint_of(source, out, tuning="lora", dtype="float32", scale=0.02):
    """A checkpoint as training writes it, of weights that have moved."""
    policy = load_policy(source, dtype=dtype)
    trained = TUNINGS[tuning](policy, TrainConfig(tuning=tuning, lora_rank=4, beta=0.0))
    if tuning == "lora":
        shake(policy.net, scale)
    else:
        with torch.no_grad():
            policy.net.trunk.ln_f.weight.mul_(1.5)
    out.mkdir()
    trained.write(out)
    seal(out, MADE_BY)
    return str(out)


def logits(policy):
    """Image logits of a half hidden picture after a prompt."""
    rows, columns = policy.backbone.grid
    codes = torch.arange(rows * columns)[None] % policy.backbone.codebook_size
    codes[:, ::2] = HIDDEN
    packed, slots = pack(policy, [policy.prompt("a red square")], codes, policy.backbone.grid)
    with torch.no_grad():
        return policy.net(packed, slots[0], policy.backbone.image_columns)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("name", ["embedded", "mmada", "lumina-dimoo"])
def test_an_exported_adapter_says_what_it_said(name, dtype, tolerance, sources, tmp_path, capsys):
    """Logits of the network with adapters on, published keys in the export, its layout that of the start."""
    checkpoint = checkpoint_of(sources[name], tmp_path / "step_000001", dtype=dtype)
    assert main([checkpoint, "--out", str(tmp_path / "out"), "--dtype", dtype]) == 0
    adapted, plain = load_policy(checkpoint, dtype=dtype), load_policy(str(tmp_path / "out"), dtype=dtype)
    start = load_policy(sources[name], dtype=dtype)
    assert lora.has_adapters(adapted.net) and not lora.has_adapters(plain.net)
    on = logits(adapted)
    assert (logits(plain) - on).norm() < tolerance * on.norm() < 0.01 * on.norm() < (logits(start) - on).norm()
    assert plain.net.state_dict().keys() == start.net.state_dict().keys()
    assert (plain.backbone, plain.random_weights) == (start.backbone, start.random_weights)
    assert plain.sha256 != start.sha256
    assert f"({dtype}, {7 * start.net.size.n_layers} adapters merged" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["mmada", "lumina-dimoo"])
def test_the_export_has_every_file_that_upstream_code_reads(name, sources, tmp_path):
    """config.json and tokenizer as they came, weights in the published dtype by default, the codec, and our sidecar."""
    checkpoint = checkpoint_of(sources[name], tmp_path / "step")
    main([checkpoint, "--out", str(tmp_path / "out")])
    start, out = tmp_path.parent / sources[name], tmp_path / "out"
    for file in ("config.json", "htgrpo.json"):
        assert json.loads((out / file).read_text()) == json.loads((start / file).read_text())
    assert (out / "tokenizer.json").read_bytes() == (start / "tokenizer.json").read_bytes()
    weights = load_file(out / "model.safetensors")
    assert all(value.dtype == torch.bfloat16 for value in weights.values())
    assert set(weights) == set(json.loads((start / "model.safetensors.index.json").read_text())["weight_map"])


def test_bf16_says_how_much_of_the_change_is_lost(sources, tmp_path, capsys):
    checkpoint = checkpoint_of(sources["mmada"], tmp_path / "step", scale=1e-5)
    main([checkpoint, "--out", str(tmp_path / "half")])
    share = float(capsys.readouterr().out.split("lost ")[1].split(" %")[0])
    assert 20 < share < 300, "a change this small is mostly rounded away"
    main([checkpoint, "--out", str(tmp_path / "single"), "--dtype", "float32"])
    assert "lost 0 %" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["embedded", "mmada"])
def test_a_checkpoint_of_all_weights_is_copied(name, sources, tmp_path, capsys):
    checkpoint = checkpoint_of(sources[name], tmp_path / "step", tuning="full")
    (tmp_path / "step" / "trainer_state").mkdir()
    main([checkpoint, "--out", str(tmp_path / "out")])
    assert "merged" not in capsys.readouterr().out and not (tmp_path / "out" / "trainer_state").exists()
    trained, exported = load_policy(checkpoint), load_policy(str(tmp_path / "out"))
    assert all(torch.equal(a, b) for a, b in zip(trained.net.parameters(), exported.net.parameters(), strict=True))
    assert trained.sha256 == exported.sha256


def test_training_goes_on_from_an_export_and_not_from_an_adapter(sources, tmp_path):
    checkpoint = checkpoint_of("embedded", tmp_path / "step")
    config = TrainConfig(tuning="lora", lora_rank=2)
    with pytest.raises(UserError, match="merge the two with `python -m bench.export CHECKPOINT --out FOLDER`"):
        TUNINGS["lora"](load_policy(checkpoint), config)
    main([checkpoint, "--out", str(tmp_path / "out")])
    TUNINGS["lora"](load_policy(str(tmp_path / "out")), config)


def test_what_cannot_be_exported_is_refused(sources, tmp_path):
    """An existing folder is never written over; a base that changed since is no base."""
    checkpoint = checkpoint_of(sources["mmada"], tmp_path / "step")
    with pytest.raises(UserError, match="holds files that this command did not make"):
        main([checkpoint, "--out", str(tmp_path)])
    with pytest.raises(UserError, match="is not a folder"):
        main([str(tmp_path / "none"), "--out", str(tmp_path / "out")])
    sidecar = json.loads((tmp_path / "step" / "htgrpo.json").read_text())
    assert sidecar["base"]["source"] == sources["mmada"] and sidecar["resolution"] == "64x64"
    assert sidecar["random_weights"]
    sidecar["base"]["sha256"] = "0" * 64
    (tmp_path / "step" / "htgrpo.json").write_text(json.dumps(sidecar))
    reseal(tmp_path / "step")
    with pytest.raises(UserError, match="are not those that the adapter"):
        main([checkpoint, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_it_is_listed():
    assert "export" in commands.COMMANDS
