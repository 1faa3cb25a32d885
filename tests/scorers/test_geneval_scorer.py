"""GenEval as a reward: the rule of reward-servers on what the detector finds, under specifications as JSON."""

import json

import pytest
from PIL import Image

from bench.scorers import opening
from bench.scorers.base import Unscorable
from bench.scorers.geneval.scorer import GenEvalScorer, read_spec
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt
from htgrpo.training.rewards import WeightedReward
from tests.scorers.geneval_made import Names, Sees, box, spec, want

CATS = (box("cat", 10, 10), box("cat", 40, 10))


@pytest.fixture(autouse=True)
def classes(monkeypatch):
    monkeypatch.setattr("bench.scorers.geneval.scorer._classes", lambda: frozenset({"cat", "dog"}))


def judged(requirements, *found, **colours):
    scorer = GenEvalScorer(Sees(*found), Names(**colours))
    return scorer.score([Image.new("RGB", (64, 64))], [json.dumps(requirements)])[0]


def test_partial_and_strict():
    two = judged(spec("counting", want("cat", 2)), *CATS)
    assert (two.score, two.evidence) == (1.0, {"strict": 1.0, "parts": [1.0]})
    three = judged(spec("counting", want("cat", 3)), *CATS)
    assert three.score == pytest.approx(2 / 3) and three.evidence["strict"] == 0.0
    coloured = judged(spec("colors", want("cat", color="red")), CATS[0], x10="blue")
    assert coloured.score == 0.5 and coloured.evidence == {"strict": 0.0, "parts": [1.0, 0.0]}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a photo of a cat", "no GenEval specification"),
        ("[]", "no GenEval specification"),
        ('{"tag": "counting"}', "no GenEval"),
        (json.dumps(spec("counting", want("circle"))), "'circle', which is none of GenEval's 80 classes"),
        (json.dumps(spec("dense", want("cat"))), "tag is 'dense'"),
        (json.dumps(spec("counting")), "includes nothing"),
        (json.dumps(spec("counting", want("cat", 0))), "a count is a whole number"),
        (json.dumps(spec("colors", want("cat", color="beige"))), "'beige'"),
        (json.dumps(spec("position", want("cat", position=["left of", 0]))), "earlier clause"),
        (json.dumps(spec("position", want("cat"), want("dog", position=["inside", 0]))), "earlier clause"),
    ],
)
def test_specifications_that_are_none(text, why):
    with pytest.raises(Unscorable, match=why):
        read_spec(text)
    failed, fine = GenEvalScorer(Sees(*CATS), Names()).score(
        [Image.new("RGB", (8, 8))] * 2, [text, json.dumps(spec("counting", want("cat", 2)))]
    )
    assert failed.score is None and why.split(",")[0] in failed.error and fine.score == 1.0


def test_training_is_refused_before_it_starts(monkeypatch):
    monkeypatch.setattr(opening, "check", lambda name: None)
    fine = Prompt("a", "a photo of a cat", "counting", spec("counting", want("cat")))
    WeightedReward("geneval,geneval_strict").check([fine])
    with pytest.raises(
        UserError, match="'geneval' cannot judge pictures of the training prompt 'b', 'a dog': it has no GenEval"
    ):
        WeightedReward("geneval_strict").check([fine, Prompt("b", "a dog", "", {})])


def test_broken_pictures_fail_alone(tmp_path):
    Image.effect_noise((64, 64), 80).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:90])
    text = json.dumps(spec("counting", want("cat", 2)))
    bad, good = GenEvalScorer(Sees(*CATS), Names()).score(
        [Image.open(tmp_path / "a.png"), Image.new("RGB", (8, 8))], [text] * 2
    )
    assert "cannot be decoded" in bad.error and good.score == 1.0
