"""ImageReward's port against the package, and what it reads of pictures and prompts."""

import pytest
import torch
from safetensors.torch import save_file

from bench.scorers.imagereward import ImageReward
from htgrpo.base.errors import UserError
from tests.scorers import tiny
from tests.scorers.ports import alone, gap, golden, rounding, seeded
from tests.scorers.tiny_imagereward import MED, VISION, tiny_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imagereward")
    tiny_checkpoint(folder, seeded())
    return folder


@pytest.fixture
def scorer(folder):
    return ImageReward.load(folder, vision=VISION)


def test_scores_are_the_packages(scorer):
    wanted = golden("imagereward")
    assert gap(alone(scorer, *tiny.pairs()), wanted["scores"]) <= rounding(wanted["origin"], 2e-6)


def test_the_published_picture_encoder_is_larger(folder):
    with pytest.raises(UserError, match="lacks key 'blip.visual_encoder.blocks"):
        ImageReward.load(folder)


def test_only_the_first_35_tokens_are_read(scorer):
    image = tiny.picture(1, 64, 64)
    short, long = " ".join(["red"] * 32), " ".join(["red"] * 33)
    scores = [scorer.score([image], [prompt])[0] for prompt in (short, long, long + " cat dog", "blue " + long)]
    assert [one.evidence["prompt_cut"] for one in scores] == [False, False, True, True]
    assert scores[1].score == scores[2].score and len({one.score for one in scores}) == 3


def test_sides_of_wide_pictures_are_not_seen(scorer):
    wide = tiny.picture(1, 200, 64)
    changed = wide.copy()
    changed.paste((255, 255, 255), (0, 0, 60, 64))
    assert alone(scorer, [wide], ["a cat"]) == alone(scorer, [changed], ["a cat"])
    changed.paste((255, 255, 255), (60, 0, 90, 64))
    assert alone(scorer, [wide], ["a cat"]) != alone(scorer, [changed], ["a cat"])


def test_prompt_and_picture_both_count(scorer):
    images = [tiny.picture(seed, 64, 64) for seed in (1, 2)]
    scores = [alone(scorer, [image], [prompt])[0] for image in images for prompt in ("a cat", "a dog")]
    assert len(set(scores)) == 4


def test_safetensors_are_read_too(folder, tmp_path, scorer):
    state = torch.load(folder / "ImageReward.pt", weights_only=True)
    save_file(state, tmp_path / "ImageReward.safetensors")
    for name in ("med_config.json", "vocab.txt"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    other = ImageReward.load(tmp_path, vision=VISION)
    assert alone(other, *tiny.pairs()) == alone(scorer, *tiny.pairs())
    assert other.identity()["weights_revision"] != scorer.identity()["weights_revision"]


def test_a_pickle_that_runs_code_is_refused(tmp_path, folder):
    class Hostile:
        def __reduce__(self):
            return open, (str(tmp_path / "run"), "w")

    for name in ("med_config.json", "vocab.txt"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    torch.save({"blip": Hostile()}, tmp_path / "ImageReward.pt")
    with pytest.raises(UserError, match="cannot be read"):
        ImageReward.load(tmp_path, vision=VISION)
    assert not (tmp_path / "run").exists()


def test_tokens(scorer):
    assert len(scorer.tokenizer) == MED["vocab_size"]
    assert scorer.tokenizer.convert_tokens_to_ids(["[DEC]", "[ENC]"]) == [MED["vocab_size"] - 2, MED["vocab_size"] - 1]


def test_a_prompt_of_ten_thousand_letters_is_cut_like_any_other(scorer):
    long = "a red square " * 800
    (judged, short) = scorer.score([tiny.picture(1, 64, 64)] * 2, [long, " ".join(long.split()[:33])])
    assert len(long) > 10_000 and judged.score == pytest.approx(short.score, abs=1e-6) and judged.evidence["prompt_cut"]
    assert scorer.score([tiny.picture(1, 64, 64)], ["x" * 10_000])[0].error is None
