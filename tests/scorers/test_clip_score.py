"""The CLIP score against its package, and what it does where the package fails."""

import threading
from importlib.metadata import version
from types import SimpleNamespace

import pytest
import torch

from bench.scorers.clip_score import ClipScore, features, unit
from bench.scorers.pixels import centre, shorter_side
from tests.scorers import tiny
from tests.scorers.ports import alone, gap, golden, seeded, version_5
from tests.scorers.tiny_clip import tiny_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    tiny_checkpoint(folder, seeded())
    return folder


@pytest.fixture(scope="module")
def scorer(folder):
    return ClipScore.load(folder)


def test_scores_are_the_packages(scorer):
    wanted = golden("clip")
    assert gap(alone(scorer, tiny.pairs()[0], wanted["prompts"]), wanted["scores"]) <= 2e-7


def test_features_are_the_projected_ones(scorer):
    """transformers 5 returns an object whose first field is not the features."""
    pixels = scorer.prepare(tiny.picture(1, 64, 64), "a")[0][None]
    with torch.inference_mode():
        output = scorer.net.get_image_features(pixel_values=pixels)
        wanted = scorer.net.visual_projection(scorer.net.vision_model(pixel_values=pixels).pooler_output)
    assert features(output).shape == (1, 48) and torch.equal(features(output), wanted)
    assert not isinstance(output, torch.Tensor) or not version_5()
    tensor = torch.ones(2, 3)
    assert features(tensor) is tensor and features(SimpleNamespace(last_hidden_state=0, pooler_output=tensor)) is tensor
    assert torch.allclose(unit(tensor * 7).norm(dim=1), torch.ones(2))


def test_prompts_are_cut_at_77_tokens(scorer):
    image = tiny.picture(1, 64, 64)
    longest = " ".join(["a"] * 75)  # one token each, and those of start and end
    judged = [scorer.score([image], [prompt])[0] for prompt in (longest[2:], longest, longest + " b c", "b " + longest)]
    assert [one.evidence["prompt_cut"] for one in judged] == [False, False, True, True]
    assert judged[1].score == judged[2].score and len({one.score for one in judged}) == 3
    ids = scorer.prepare(image, longest + " b c")[1]
    assert len(ids) == 77 and ids[-1] == scorer.tokenizer.eos_token_id


def test_scores_are_cosines(scorer):
    """Not times 100, not cut at zero."""
    scores = [one.score for one in scorer.score(*tiny.pairs())]
    assert all(-1 <= score <= 1 for score in scores) and min(scores) < 0
    assert len({round(score, 6) for score in scores}) == 3


def test_crops_round_to_the_upper_left():
    image = shorter_side(tiny.picture(1, 97, 64), 70)
    assert image.size == (106, 70) and shorter_side(tiny.picture(1, 64, 97), 70).size == (70, 106)
    odd = tiny.picture(1, 73, 70)
    assert centre(odd, 70).tobytes() == odd.crop((1, 0, 71, 70)).tobytes() != odd.crop((2, 0, 72, 70)).tobytes()


def test_the_next_batch_is_made_ready_while_the_network_is_at_this_one(folder, monkeypatch):
    """One thread prepares one batch ahead, no more, and the scores are those of the pictures one by one."""
    scorer = ClipScore.load(folder)
    scorer.batch_size, seen, judge, prepare = 1, [], scorer.judge, scorer.prepare
    alone = [scorer.score([image], [prompt])[0].score for image, prompt in zip(*tiny.pairs())]
    second = threading.Event()

    def preparing(image, prompt):
        seen.append(prompt)
        if len(seen) == 2:
            second.set()
        return prepare(image, prompt)

    def judging(items):
        assert second.wait(10) and len(seen) <= 3
        return judge(items)

    monkeypatch.setattr(scorer, "prepare", preparing)
    monkeypatch.setattr(scorer, "judge", judging)
    images, prompts = tiny.pairs()
    assert [one.score for one in scorer.score(images, prompts)] == alone and seen == prompts


def test_a_prompt_of_ten_thousand_letters_is_cut_like_any_other(scorer):
    judged = scorer.score([tiny.picture(1, 64, 64)] * 2, ["a red square " * 800, "x" * 10_000])
    assert all(one.error is None and one.evidence["prompt_cut"] for one in judged)
    assert judged[0].score != judged[1].score


def test_another_version_of_the_library_that_runs_it_is_another_scorer(scorer, monkeypatch):
    before = scorer.identity()
    assert before["libraries"]["transformers"] == version("transformers") and "+" not in before["libraries"]["torch"]
    monkeypatch.setattr(
        "htgrpo.base.versions.version", lambda name: {"transformers": "9.0", "torch": "2.15.0+cu130"}.get(name, "1")
    )
    after = scorer.identity()
    assert after["libraries"]["transformers"] == "9.0" and after["libraries"]["torch"] == "2.15.0"
    assert {key for key in before if before[key] != after[key]} == {"libraries"}
