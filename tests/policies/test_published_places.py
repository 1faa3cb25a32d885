"""Where published policies are found: in the hub's cache, and as adapters on other weights."""

import json

import pytest
import torch

from bench.ask.weights import NotHere, check_same_shape, inspect
from htgrpo.base.errors import UserError
from htgrpo.base.folders import FILE, seal
from htgrpo.base.rng import generator
from htgrpo.interface import HIDDEN
from htgrpo.policies import lora
from htgrpo.policies.model_files import SIDECAR
from htgrpo.policies.policy import pack
from htgrpo.policies.random import make
from htgrpo.policies.storage import load_policy

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


# ---- the hub's cache


@pytest.fixture
def hub(made, tmp_path, monkeypatch):
    """A hub cache as huggingface_hub makes it: blobs named by their sha256 (here a made-up one), snapshots of links to
    them."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def store(repository, source):
        root = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        snapshot = root / "snapshots" / COMMIT
        ours = (SIDECAR, FILE)
        for number, file in enumerate(
            sorted(path for path in source.rglob("*") if path.is_file() and path.name not in ours)
        ):
            blob = root / "blobs" / (f"{number:064x}" if file.suffix == ".safetensors" else f"{number:040x}")
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.hardlink_to(file)
            link = snapshot / file.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(blob)
        (root / "refs").mkdir()
        (root / "refs" / "main").write_text(COMMIT)
        return snapshot

    return store


def test_hub_ids_are_found_in_the_cache(hub, made, loaded):
    """By id, by revision and by backbone; the codec under its own id; blobs are not read to be identified."""
    hub("Gen-Verse/MMaDA-8B-MixCoT", made["mmada"])
    with pytest.raises(
        UserError, match="image codec 'showlab/magvitv2' is neither .* run `hf download showlab/magvitv2`"
    ):
        load_policy("Gen-Verse/MMaDA-8B-MixCoT", backbone="mmada")
    hub("showlab/magvitv2", made["mmada"] / "vq")
    by_id = load_policy("Gen-Verse/MMaDA-8B-MixCoT", backbone="mmada", dtype="float64")
    by_backbone = load_policy(backbone="mmada", revision=COMMIT, dtype="float64")
    assert same(by_id.net, loaded["mmada"].net) and same(by_backbone.net, by_id.net)
    assert by_id.source.name == "Gen-Verse/MMaDA-8B-MixCoT" and by_id.source.revision == COMMIT
    assert by_id.source.codec == "showlab/magvitv2" and not by_id.random_weights
    assert by_id.backbone.grid == (32, 32), "the published size, as no sidecar says another"
    seen = inspect("embedded", "mmada", COMMIT)
    assert seen.sha256 == by_id.sha256 != loaded["mmada"].sha256
    assert (seen.source, seen.revision, seen.backbone) == ("Gen-Verse/MMaDA-8B-MixCoT", COMMIT, "mmada")
    check_same_shape(str(made["mmada"]), "Gen-Verse/MMaDA-8B-MixCoT")


def test_luminas_codec_comes_with_it(hub, made, loaded):
    hub("Alpha-VLLM/Lumina-DiMOO", made["lumina-dimoo"])
    policy = load_policy("Alpha-VLLM/Lumina-DiMOO", backbone="lumina-dimoo", dtype="float64")
    assert same(policy.net, loaded["lumina-dimoo"].net) and policy.source.codec == "vqvae"
    assert policy.backbone.grid == (64, 64)


def test_what_is_not_in_the_cache_is_one_sentence(hub, made):
    with pytest.raises(NotHere, match="run `hf download Gen-Verse/MMaDA-8B-MixCoT`") as error:
        inspect("embedded", "mmada")
    assert error.value.weights.source == "Gen-Verse/MMaDA-8B-MixCoT" and error.value.weights.sha256 == ""
    with pytest.raises(UserError, match="run `hf download a/b --revision v2`"):
        load_policy("a/b", backbone="mmada", revision="v2")
    snapshot = hub("Gen-Verse/MMaDA-8B-MixCoT", made["mmada"])
    with pytest.raises(UserError, match="--backbone"):
        load_policy("Gen-Verse/MMaDA-8B-MixCoT")
    (snapshot / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(UserError, match="lacks the shard 'model-00002-of-00003.safetensors'"):
        inspect("Gen-Verse/MMaDA-8B-MixCoT", "mmada")


# ---- adapters


@pytest.fixture
def adapter(made, tmp_path):
    """An adapter folder on the made MMaDA checkpoint, and the policy that it makes of it."""
    policy = load_policy(str(made["mmada"]), dtype="float32")
    lora.add_adapters(policy.net, 2, 4.0, 0.0, generator("adapter"))
    with torch.no_grad():
        for _, layer in lora.adapted(policy.net):
            layer.lora_B["default"].weight.copy_(
                torch.randn(layer.lora_B["default"].weight.shape, generator=generator("B"))
            )
    folder = tmp_path / "step_000003"
    folder.mkdir()
    lora.write_adapters(policy.net, folder)
    sidecar = {
        "backbone": "mmada",
        "base": {"source": policy.source.name, "revision": "", "sha256": policy.sha256},
        "random_weights": True,
        "resolution": "32x32",
    }
    (folder / SIDECAR).write_text(json.dumps(sidecar))
    seal(folder, "training")
    return folder, policy


@torch.no_grad()
def test_an_adapter_is_loaded_on_its_base(adapter, made):
    folder, trained = adapter
    policy, bare = (load_policy(str(source), dtype="float32") for source in (folder, made["mmada"]))
    packed, slots = pack(policy, [policy.prompt("a red circle")], torch.full((1, 4), HIDDEN), (2, 2))
    found, wanted, base = (p.net(packed, slots[0], policy.backbone.image_columns) for p in (policy, trained, bare))
    assert torch.equal(found, wanted) and float((found - base).abs().max()) > 0.1
    assert policy.backbone.grid == (2, 2) and policy.random_weights and policy.source.name == str(folder)
    seen = inspect(str(folder))
    assert seen.sha256 == policy.sha256 != trained.sha256 and seen.iteration == 3 and seen.backbone == "mmada"
    check_same_shape(str(folder), str(made["mmada"]))
    with pytest.raises(UserError, match="embedding_size 134656 and 134548"):
        check_same_shape(str(folder), str(made["lumina-dimoo"]))


def test_an_adapter_of_other_weights_is_refused(adapter, tmp_path):
    folder, _ = adapter
    make("mmada", tmp_path / "other", seed=1)
    sidecar = json.loads((folder / SIDECAR).read_text())
    sidecar["base"]["source"] = str(tmp_path / "other")
    (folder / SIDECAR).write_text(json.dumps(sidecar))
    seal(folder, "training")
    with pytest.raises(UserError, match="are not those that the adapter .* was trained on"):
        load_policy(str(folder))


def test_an_adapter_on_an_adapter_is_refused(adapter):
    """Be it on itself."""
    folder, _ = adapter
    (folder / SIDECAR).write_text(json.dumps({"backbone": "mmada", "base": {"source": str(folder), "sha256": "0"}}))
    seal(folder, "training")
    for look in (load_policy, lambda source: check_same_shape(source, "embedded")):
        with pytest.raises(UserError, match="names another adapter"):
            look(str(folder))


@pytest.mark.parametrize("base", [None, {}, {"source": "x"}, {"source": 1, "sha256": "a"}, [1]])
def test_an_adapter_that_names_no_base_is_refused(base, adapter):
    folder, _ = adapter
    (folder / SIDECAR).write_text(json.dumps({"backbone": "mmada", "base": base}))
    seal(folder, "training")
    for look in (load_policy, inspect):
        with pytest.raises(UserError, match="does not say which weights it belongs to"):
            look(str(folder))
