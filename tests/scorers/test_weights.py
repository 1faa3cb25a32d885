"""Where weights are looked for, and how they get into a network that was built without them."""

import json

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bench.scorers.clip_score import ClipScore
from bench.scorers.hpsv3 import HPSv3
from bench.scorers.imagereward import ImageReward
from bench.scorers.native import dtype_of
from bench.scorers.unipercept import UniPercept
from bench.scorers.weights import Repository, build, fill, locate, open_shards, renaming, revision
from htgrpo.base.errors import UserError
from htgrpo.policies.weights import TensorFiles

OWN = Repository("maker/model", ("config.json",), ("own.safetensors", "own.pt"))
BASE = Repository("other/base", ("vocab.txt",))
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache of the hub, and no folder of the user's."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.delenv("HTGRPO_WEIGHTS", raising=False)
    return folder


def place(folder, *names):
    """Files of these names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(name)
    return folder


def snapshot(cache, repository, *names):
    """A snapshot in the hub's cache."""
    home = cache / ("models--" + repository.id.replace("/", "--"))
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    return place(home / "snapshots" / COMMIT, *names)


def refusal(action, *parts):
    with pytest.raises(UserError) as caught:
        action()
    assert "\n" not in caught.value.message and all(part in caught.value.message for part in parts), (
        caught.value.message
    )


@pytest.mark.parametrize(
    "scorer,command",
    [
        (ClipScore, "`hf download openai/clip-vit-large-patch14 config.json vocab.json merges.txt model.safetensors`"),
        (ImageReward, "`hf download THUDM/ImageReward med_config.json ImageReward.pt`"),
        (HPSv3, "`hf download MizzenAI/HPSv3 HPSv3.safetensors`"),
        (UniPercept, "`hf download Thunderbolt215215/UniPercept` (after accepting its terms"),
    ],
)
def test_absent_weights_are_named_with_their_command(scorer, command, tmp_path):
    start = f"weights not found: run {command}"
    refusal(scorer.load, start, "$HTGRPO_WEIGHTS/" + scorer.name, "not in the hub's cache")
    refusal(lambda: scorer.load(place(tmp_path / "empty")), start, "empty' lacks")
    refusal(lambda: scorer.load(tmp_path / "nowhere"), "weights not found", "is not a folder")


def test_given_folder_then_variable_then_cache(cache, monkeypatch, tmp_path):
    files = ("config.json", "own.pt")
    cached = snapshot(cache, OWN, *files)
    assert locate("x", (OWN,), None) == [cached]
    shared = place(tmp_path / "shared" / "x", *files)
    monkeypatch.setenv("HTGRPO_WEIGHTS", str(tmp_path / "shared"))
    assert locate("x", (OWN,), None) == [shared]
    assert locate("y", (OWN,), None) == [cached]
    given = place(tmp_path / "given", *files)
    assert locate("x", (OWN,), given) == [given]
    (given / "own.pt").unlink()
    refusal(lambda: locate("x", (OWN,), given), "given' lacks own.pt")  # never the cache's weights instead


def test_base_models_are_looked_for_in_the_folder_first(cache, tmp_path):
    given = place(tmp_path / "given", "config.json", "own.safetensors")
    refusal(lambda: locate("x", (OWN, BASE), given), "`hf download other/base vocab.txt`")
    cached = snapshot(cache, BASE, "vocab.txt")
    assert locate("x", (OWN, BASE), given) == [given, cached]
    inside = place(given / "base", "vocab.txt")
    assert locate("x", (OWN, BASE), given) == [given, inside]
    place(given, "vocab.txt")
    assert locate("x", (OWN, BASE), given) == [given, given]


def test_half_a_snapshot_is_not_found(cache):
    snapshot(cache, OWN, "config.json")
    refusal(
        lambda: locate("x", (OWN,), None), f"{COMMIT}' lacks own.pt", "`hf download maker/model config.json own.pt`"
    )


def test_revisions(cache, tmp_path):
    assert revision(snapshot(cache, OWN, "config.json", "own.pt"), OWN) == COMMIT
    folder = place(tmp_path / "folder", "config.json", "own.pt", "readme")
    first = revision(folder, OWN)
    assert first.startswith("sha256:") and first == revision(place(tmp_path / "copy", "config.json", "own.pt"), OWN)
    (folder / "own.pt").write_text("other")
    assert revision(folder, OWN) != first


def test_split_weights(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "one.safetensors")
    save_file({"b": torch.ones(2)}, tmp_path / "two.safetensors")
    index = tmp_path / "own.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    assert TensorFiles(open_shards(tmp_path, OWN)).keys() == {"a", "b"}
    index.write_text(json.dumps({"weight_map": {"a": "../one.safetensors"}}))
    refusal(lambda: open_shards(tmp_path, OWN), "lacks the shard '../one.safetensors'")
    index.write_text("[]")
    refusal(lambda: open_shards(tmp_path, OWN), "index.json")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(3, 2)
        self.two = nn.Linear(3, 2, bias=False)
        self.scale = nn.Parameter(0.5 * torch.ones(2))
        self.steps = nn.Buffer(1.0 / torch.arange(1, 4).float(), persistent=False)


def origin(key):
    halves = {"one.weight": ("both", 0, 2), "two.weight": ("both", 1, 2)}
    return halves.get(key) or renaming((r"^one\.", "first."))(key)


def write(folder, **changes):
    state = {
        "both": torch.arange(12.0).view(4, 3),
        "first.bias": torch.ones(2),
        "scale": torch.ones(2),
        "spare.a": torch.ones(1),
    }
    save_file({key: value for key, value in (state | changes).items() if value is not None}, folder / "own.safetensors")
    return TensorFiles(open_shards(folder, OWN))


def test_networks_are_built_without_weights_and_without_chance(tmp_path):
    before = torch.get_rng_state()
    net = build(Net)
    assert torch.equal(before, torch.get_rng_state())
    assert all(value.is_meta and not value.requires_grad for value in net.parameters()) and not net.training
    assert net.steps.tolist() == pytest.approx([1, 1 / 2, 1 / 3])
    fill(
        net,
        write(tmp_path),
        origin,
        "cpu",
        lambda key: torch.bfloat16 if key == "scale" else torch.float32,
        ignore=r"spare\..*",
    )
    assert torch.equal(torch.cat([net.one.weight, net.two.weight]), torch.arange(12.0).view(4, 3))
    assert net.scale.dtype == torch.bfloat16 and net.steps.dtype == torch.float32
    assert net.one(torch.ones(1, 3)).tolist() == [[4.0, 13.0]]


def test_keys_must_fit_to_the_last(tmp_path):
    def filled(ignore=r"spare\..*", **changes):
        tensors = write(tmp_path, **changes)
        return lambda: fill(build(Net), tensors, origin, "cpu", lambda key: torch.float32, ignore)

    filled()()
    refusal(filled(both=None), "lacks key 'both'")
    refusal(filled(ignore=r"spare"), "unexpected key 'spare.a'")
    refusal(filled(both=torch.zeros(2, 3)), "'both'", "has shape [2, 3]", "has [4, 3]")
    refusal(filled(scale=torch.zeros(2, dtype=torch.int8)), "'scale'", "int8")


def test_what_no_file_gives_is_noticed(tmp_path):
    class Gap(Net):
        def __init__(self):
            super().__init__()
            self.lost = nn.Buffer(torch.zeros(2), persistent=False)

    with pytest.raises(RuntimeError, match="lost has no value"):
        fill(build(Gap), write(tmp_path), origin, "cpu", lambda key: torch.float32, r"spare\..*")


def test_damaged_files(tmp_path):
    write(tmp_path)
    file = tmp_path / "own.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    refusal(lambda: TensorFiles(open_shards(tmp_path, OWN)), "own.safetensors", "damaged or cut off")


def test_dtypes():
    assert dtype_of(None, torch.bfloat16) == torch.bfloat16
    assert dtype_of("float16", torch.bfloat16) == dtype_of(torch.float16, torch.bfloat16) == torch.float16


@pytest.mark.parametrize("wrong", ["int8", "nn", "half a byte", torch.int64, 7])
def test_no_dtypes(wrong):
    refusal(lambda: dtype_of(wrong, torch.float32), "unknown dtype")
