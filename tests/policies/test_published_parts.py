"""What a published checkpoint has beside its weights must fit them: tokenizer, codec, sidecar; and what cannot be made
at all."""

import json
import re

import pytest

from bench.make_checkpoint import main
from htgrpo.base.errors import UserError
from htgrpo.base.rng import generator
from htgrpo.policies.magvit import tiny_magvit
from htgrpo.policies.model_files import SIDECAR, open_model
from htgrpo.policies.storage import load_policy

TOKENIZER = "tokenizer.json"


@pytest.fixture
def mmada(copy_of):
    return copy_of("mmada")


# ---- tokenizer


def special(checkpoint, change):
    """Changes the list of special strings of a made tokenizer."""
    value = json.loads((checkpoint.folder / TOKENIZER).read_text())
    change(value["added_tokens"])
    checkpoint.put(TOKENIZER, json.dumps(value))


def rename(text, to):
    def change(added):
        next(token for token in added if token["content"] == text)["content"] = to

    return change


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mmada", "<|startoftext|>"), ("mmada", "<|endoftext|>"), ("mmada", "<|mdm_mask|>"),
        ("mmada", "<|start_header_id|>"), ("mmada", "<|end_header_id|>"), ("mmada", "<|eot_id|>"),
        ("lumina-dimoo", "<|mdm_mask|>"), ("lumina-dimoo", "<uncondition>"),
    ],
)  # fmt: skip
def test_special_strings_must_be_one_token(name, text, copy_of):
    checkpoint = copy_of(name)
    special(checkpoint, rename(text, "<|something|>"))
    checkpoint.edit("tokenizer_config.json", bos_token=None, eos_token=None, pad_token=None)
    checkpoint.refused(
        rf"'{re.escape(text)}' is \[.*\] to the tokenizer of policy .*, but must be the one token \d+ of {name}"
    )


def test_special_strings_must_have_their_ids(copy_of):
    checkpoint = copy_of("lumina-dimoo")

    def swap(added):
        for old, new in (("<uncondition>", "-"), ("<IMAGE>", "<uncondition>"), ("-", "<IMAGE>")):
            rename(old, new)(added)

    special(checkpoint, swap)
    checkpoint.refused(r"'<uncondition>' is \[126349\] to the tokenizer .*, but must be the one token 126351")


@pytest.mark.parametrize(("name", "wanted"), [("mmada", "126349"), ("lumina-dimoo", "126352 to 126356")])
def test_a_tokenizer_that_reaches_into_the_image_ids(name, wanted, copy_of):
    checkpoint = copy_of(name)
    special(checkpoint, lambda added: added.append({**added[-1], "id": added[-1]["id"] + 1, "content": "<|one_more|>"}))
    checkpoint.refused(rf"the tokenizer of policy .* has \d+ ids, but that of {name} has {wanted}")


def test_a_tokenizer_that_is_too_short(mmada):
    special(mmada, lambda added: added.pop())
    mmada.refused(r"'<\|eot_id\|>' is \[")


@pytest.mark.parametrize("name", [TOKENIZER, "tokenizer_config.json"])
def test_a_tokenizer_that_is_missing_or_damaged(name, mmada):
    mmada.put(name, "{" if name == TOKENIZER else "[]")
    mmada.refused("the tokenizer in .* cannot be read|is not a policy configuration|is not JSON")
    mmada.drop(name)
    mmada.refused(f"has no {name}: copy the tokenizer's files")


def test_a_tokenizer_with_code_of_its_own_is_refused(mmada):
    mmada.edit("tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization.Evil", None]})
    mmada.refused("asks for code of its own")


# ---- codec and sidecar


def test_a_codec_that_is_missing(mmada, copy_of):
    mmada.edit(SIDECAR, codec="vq2")
    mmada.refused("lacks the folder 'vq2' of its image codec")
    lumina = copy_of("lumina-dimoo", "lumina")
    for file in lumina.folder.glob("vqvae/*"):
        file.unlink()
    lumina.refused("no image codec in")


def test_a_codec_of_another_size(mmada):
    for file in (mmada.folder / "vq").iterdir():
        file.unlink()
    tiny_magvit(generator("small"), bits=6).save(mmada.folder / "vq")
    mmada.refused("has 64 codes for 16 pixels a side, but mmada has 8192 for 16")


@pytest.mark.parametrize(
    ("name", "resolution", "message"),
    [
        ("mmada", "64x32", "mmada makes square pictures only"), ("mmada", "100", "multiples of 16"),
        ("mmada", "0", "HEIGHTxWIDTH"), ("lumina-dimoo", "64x100", "multiples of 16 for lumina-dimoo"),
        ("lumina-dimoo", "big", "HEIGHTxWIDTH"), ("lumina-dimoo", "64x", "HEIGHTxWIDTH"),
        ("lumina-dimoo", "-64", "HEIGHTxWIDTH"), ("lumina-dimoo", "٦٤", "HEIGHTxWIDTH"),
    ],
)  # fmt: skip
def test_resolutions_without_a_grid(name, resolution, message, copy_of, loaded):
    checkpoint = copy_of(name)
    checkpoint.edit(SIDECAR, resolution=resolution)
    checkpoint.refused(f"resolution is '{resolution}'.*{message}")
    with pytest.raises(UserError, match=message):
        loaded[name].grid_of(resolution)


def test_resolutions_with_a_grid(loaded):
    assert loaded["mmada"].grid_of("512") == (32, 32) == loaded["mmada"].grid_of("512x512")
    assert loaded["lumina-dimoo"].grid_of("768x1536") == (48, 96)
    assert loaded["mmada"].backbone.resolution == "64x64" and loaded["lumina-dimoo"].backbone.resolution == "32x48"


def test_a_sidecar_that_is_damaged(mmada):
    mmada.put(SIDECAR, "{")
    mmada.refused("htgrpo.json' is not JSON")
    assert open_model("embedded").sidecar == {}


# ---- bench.make_checkpoint


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backbone", "mmda"], "unknown backbone 'mmda' in --backbone: did you mean 'mmada'"),
        (["--backbone", "mmada", "--d-model", "6"], "--d-model is 6, but it must be a multiple of twice --n-heads, 4"),
        (["--backbone", "mmada", "--n-layers", "0"], "--n-layers is '0', but it takes a whole number from 1"),
        (["--backbone", "mmada", "--resolution", "64x32"], "square pictures only"),
    ],
)
def test_what_cannot_be_made(arguments, message, tmp_path):
    with pytest.raises(UserError, match=message):
        main([*arguments, "--tiny", "--out", str(tmp_path / "out")])
    assert not list(tmp_path.iterdir())


def test_making_is_a_command(tmp_path, capsys):
    assert main(["--backbone", "mmada", "--tiny", "--n-layers", "1", "--out", str(tmp_path / "out")]) == 0
    assert "random weights of mmada" in capsys.readouterr().out
    policy = load_policy(str(tmp_path / "out"))
    assert policy.net.size.n_layers == 1 and policy.backbone.resolution == "64x64"
