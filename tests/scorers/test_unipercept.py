"""UniPercept's port against the package, its answers, and the rounding of its official last step."""

import pytest
import torch
from transformers import Qwen2Tokenizer

from bench.scorers.unipercept import ANSWERS, UniPercept, expectation
from htgrpo.base.errors import UserError
from tests.scorers import tiny
from tests.scorers.ports import golden, rounding, seeded, use_stand_ins
from tests.scorers.tiny_unipercept import tiny_checkpoint

WANTED = golden("unipercept")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unipercept")
    tiny_checkpoint(folder, seeded())
    return folder


@pytest.fixture
def load(folder, monkeypatch, tmp_path):
    use_stand_ins(monkeypatch, tmp_path)
    return lambda dtype="float32": UniPercept.load(folder, dtype=dtype)


def test_logits_are_the_packages(load):
    scorer = load()
    with torch.inference_mode():
        for image, wanted in zip(tiny.pairs()[0], WANTED["logits"]):
            seen = scorer.net.get_image_features(pixel_values=scorer.prepare(image, "")[None])
            found = scorer.logits(getattr(seen, "pooler_output", seen), scorer.questions[1])[0]
            assert (found - torch.tensor(wanted)).abs().max() <= 1e-5


@pytest.mark.parametrize("dtype,close,beyond", [("float32", 5e-5, 5e-5), ("bfloat16", 0.0, 0.5)])
def test_scores_are_the_packages_with_the_official_question(folder, assets, dtype, close, beyond):
    """5e-5 of scores near 44, which are sums of 101 logits' exponentials, is 1e-6 of them."""
    scorer = UniPercept.load(folder, dtype=dtype)
    for image, wanted in zip(tiny.pairs()[0], WANTED[dtype]):
        found = scorer.score([image], [""])[0].evidence
        assert max(abs(found[axis] - wanted[axis]) for axis in scorer.axes) <= max(
            close, rounding(WANTED["origin"], beyond)
        )


def test_evidence_has_every_axis(load):
    judged = load().score([tiny.picture(1, 64, 64)], [""])[0]
    assert set(judged.evidence) == set(UniPercept.axes) and len(set(judged.evidence.values())) == 3
    assert judged.score == pytest.approx(sum(judged.evidence.values()) / 3) and 0 <= judged.score <= 100


def test_official_last_step_moves_in_steps(load):
    """In bf16: 0.25 between 32 and 64, 0.5 above."""
    scorer = load("bfloat16")
    values = [value for one in scorer.score(*tiny.pairs()) for value in one.evidence.values()]
    assert all(32 <= value < 64 and value % 0.25 == 0 for value in values)
    assert scorer.identity()["last_step"] == "official"


def test_expectation():
    logits = torch.full((101,), -20.0)
    logits[[70, 71]] = 2.0
    assert expectation(logits) == pytest.approx(70.5)
    high = torch.linspace(-9, 3, 101)
    high[77] = 4.3
    rounded, precise = expectation(high.bfloat16()), expectation(high.bfloat16().float())
    assert rounded % 0.5 == 0 and precise % 0.5 and abs(rounded - precise) <= 0.5 and precise > 64


def test_answers():
    assert len(set(ANSWERS)) == 101
    assert [ANSWERS[score] for score in (0, 25, 26, 50, 51, 75, 76, 100)] == [
        "aa",
        "az",
        "ca",
        "cy",
        "da",
        "dy",
        "ea",
        "ey",
    ]


def test_every_answer_must_be_one_token(monkeypatch, tmp_path):
    use_stand_ins(monkeypatch, tmp_path)
    tiny_checkpoint(tmp_path, seeded(), answers=[*ANSWERS[:60], "zz", *ANSWERS[61:]])
    with pytest.raises(UserError, match="token 'dj'"):
        UniPercept.load(tmp_path)


def test_parts_of_weights_are_checked(load, folder):
    part = sorted(folder.glob("*.safetensors"))[1]
    part.rename(part.with_suffix(".away"))
    with pytest.raises(UserError, match="lacks the shard 'model-00002-of-00002.safetensors'"):
        load()
    part.with_suffix(".away").rename(part)


@pytest.mark.parametrize(
    "old,new,part",
    [
        ('"internvl2_5"', '"phi3-chat"', "template 'phi3-chat'"),
        ('"select_layer": -1', '"select_layer": -4', "select_layer -4"),
        ('"ps_version": "v2"', '"ps_version": "v1"', "ps_version 'v1'"),
        ('"force_image_size": 56', '"force_image_size": 448', "force_image_size 448"),
        ("Qwen2ForCausalLM", "LlamaForCausalLM", "LlamaForCausalLM"),
        ('"qkv_bias"', '"bias"', "'qkv_bias'"),
    ],
)
def test_other_configurations_are_refused(load, folder, old, new, part):
    whole = (folder / "config.json").read_text()
    assert old in whole
    (folder / "config.json").write_text(whole.replace(old, new))
    with pytest.raises(UserError) as caught:
        load()
    (folder / "config.json").write_text(whole)
    assert part in caught.value.message and "\n" not in caught.value.message


def test_system_message_of_the_configuration_wins(load, folder):
    whole = (folder / "config.json").read_text()
    usual = load().questions[0]
    (folder / "config.json").write_text(
        whole.replace('{"architectures"', '{"system_message": "Be brief.", "architectures"', 1)
    )
    other = load().questions[0]
    (folder / "config.json").write_text(whole)
    assert "Be brief." in Qwen2Tokenizer.from_pretrained(folder).decode(other[0]) and usual.shape != other.shape
