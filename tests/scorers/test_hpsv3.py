"""HPSv3's port against the package, and the traps on the way from one transformers to the next."""

import inspect

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from bench.scorers import hpsv3
from bench.scorers.base import Unscorable
from bench.scorers.hpsv3 import PIXELS, HPSv3
from bench.scorers.qwen2vl import patches, smart_size
from htgrpo.base.errors import UserError
from tests.scorers import tiny
from tests.scorers.ports import alone, gap, golden, rounding, seeded, use_stand_ins
from tests.scorers.tiny_hpsv3 import VOCAB, tiny_checkpoint

WANTED = golden("hpsv3")
ALONE = {"float32": "rounded, one by one", "bfloat16": "bfloat16, one by one"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hpsv3")
    tiny_checkpoint(folder, seeded())
    return folder


@pytest.fixture
def load(folder, monkeypatch, tmp_path):
    use_stand_ins(monkeypatch, tmp_path)
    return lambda dtype="float32": HPSv3.load(folder, dtype=dtype)


@pytest.mark.parametrize("dtype,beyond", [("float32", 2e-6), ("bfloat16", 0.02)])
def test_scores_are_the_packages(load, dtype, beyond):
    wanted = [mu for mu, _ in WANTED["stand-in"][ALONE[dtype]]]
    assert gap(alone(load(dtype), *tiny.pairs()), wanted) <= rounding(WANTED["origin"], beyond)


@pytest.mark.parametrize("dtype,beyond", [("float32", 2e-6), ("bfloat16", 0.02)])
def test_scores_are_the_packages_with_the_official_instruction(folder, assets, dtype, beyond):
    wanted = [mu for mu, _ in WANTED["official"][ALONE[dtype]]]
    assert gap(alone(HPSv3.load(folder, dtype=dtype), *tiny.pairs()), wanted) <= rounding(WANTED["origin"], beyond)


def test_sigma_is_the_packages(load):
    judged = load().score(*tiny.pairs())
    wanted = torch.tensor([s for _, s in WANTED["stand-in"]["rounded"]]).exp().tolist()
    assert gap([one.evidence["sigma"] for one in judged], wanted) <= 1e-6


def test_positions_are_counted_one_by_one(load, monkeypatch):
    """Qwen2VLModel left to itself counts in M-RoPE's three axes, for which the weights were not trained."""
    scorer = load()
    right = alone(scorer, *tiny.pairs())
    forward = scorer.net.backbone.forward

    def by_default(*, position_ids, input_ids, **others):
        assert torch.equal(position_ids, torch.arange(input_ids.shape[1]).expand(3, *input_ids.shape))
        if "mm_token_type_ids" in inspect.signature(forward).parameters:
            others["mm_token_type_ids"] = (input_ids == scorer.image).int()
        return forward(input_ids=input_ids, **others)

    monkeypatch.setattr(scorer.net.backbone, "forward", by_default)
    assert all(abs(wrong - score) > 1e-4 for wrong, score in zip(alone(scorer, *tiny.pairs()), right))


def test_frequencies_are_rounded_as_in_training(load, monkeypatch):
    """The package casts the whole model to bf16, rotary frequencies included; without that its float32 scores are
    others, and ours are those to the last bit."""
    monkeypatch.setattr(hpsv3, "round_frequencies", lambda net: None)
    plain = [mu for mu, _ in WANTED["stand-in"]["plain"]]
    assert gap(alone(load(), *tiny.pairs()), plain) <= 2e-6
    assert all(abs(mu - other) > 1e-4 for mu, (other, _) in zip(plain, WANTED["stand-in"]["rounded"]))


def test_the_head_stays_float32_and_every_weight_is_read(load, folder):
    scorer, state = load("bfloat16"), load_file(folder / "HPSv3.safetensors")
    assert {value.dtype for value in scorer.net.rm_head.parameters()} == {torch.float32}
    assert {value.dtype for value in scorer.net.backbone.parameters()} == {torch.bfloat16}
    assert torch.equal(
        scorer.net.backbone.language_model.embed_tokens.weight.float(), state["model.embed_tokens.weight"]
    )
    assert len(scorer.net.state_dict()) == len(state) - 1  # all but lm_head.weight


def test_reward_token(load):
    scorer = load()
    assert scorer.reward == VOCAB == len(scorer.tokenizer) - 1
    item = scorer.prepare(tiny.picture(1, 512, 512), "a cat")
    assert item.ids.count(scorer.reward) == 1 and item.ids.count(scorer.image) == 256 and item.grid == (1, 32, 32)
    text = scorer.tokenizer.decode(item.ids)
    assert text.startswith(
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
    )
    assert text.endswith(
        "<|vision_end|>\nHow good is it?\nPrompt - a cat\n\n\nIt is: <|Reward|>\n\nEND\n<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_prompts_cannot_control_the_model(load):
    scorer = load()
    prompts = ["a <|Reward|> cat", "a cat", "<|image_pad|>", "{text_prompt} {0} %s {{"]
    judged = scorer.score([tiny.picture(1, 64, 64)] * 4, prompts)
    assert [one.error is None for one in judged] == [False, True, False, True]
    assert "<|Reward|>" in judged[0].error


def test_picture_sizes_are_the_packages():
    for height, width, tall, wide in WANTED["sizes"]:
        assert smart_size(height, width, PIXELS) == (wide, tall)
    with pytest.raises(Unscorable, match="factor of 200"):
        smart_size(1, 201, PIXELS)


def test_too_long_pictures_fail_alone(load):
    judged = load().score([Image.new("RGB", (1000, 2)), tiny.picture(1, 64, 64)], ["a", "a"])
    assert "1000 x 2" in judged[0].error and judged[1].error is None


def test_patches():
    """A patch is one 14 x 14 square, shown twice; those of one 2 x 2 square are neighbours."""
    image = tiny.picture(1, 56, 28)
    flat, grid = patches(image)
    assert flat.shape == (8, 3 * 2 * 14 * 14) and grid == (1, 2, 4)
    first = flat.view(8, 3, 2, 14, 14)
    assert torch.equal(first[:, :, 0], first[:, :, 1])
    corners = {place: image.getpixel(place) for place in ((0, 0), (14, 0), (0, 14), (14, 14), (28, 0))}
    for number, place in enumerate(corners):
        value = (torch.tensor(corners[place]) / 255 - torch.tensor([0.48145466, 0.4578275, 0.40821073])) / torch.tensor(
            [0.26862954, 0.26130258, 0.27577711]
        )
        assert torch.allclose(first[number, :, 0, 0, 0], value, atol=1e-5)


def test_another_base_model_is_refused(load, folder):
    config = folder / "Qwen2-VL-7B-Instruct" / "config.json"
    whole = config.read_text()
    config.write_text(whole.replace('"image_token_id": 261', '"image_token_id": 9'))
    with pytest.raises(UserError, match="disagree on the id"):
        load()
    config.write_text(whole)


def test_a_prompt_of_ten_thousand_letters_is_read_whole(load):
    assert len(load().prepare(tiny.picture(1, 64, 64), "x" * 10_000).ids) > 10_000
