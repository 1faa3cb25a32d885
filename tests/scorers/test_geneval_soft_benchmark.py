"""GenEval read continuously, as a benchmark on GenEval's own detector and colours, against the hard one."""

import json
import random

import numpy as np
import pytest
import torch
from PIL import Image

from bench.benchmarks.geneval import CAUTION, GenEval
from bench.benchmarks.geneval_soft import GenEvalSoft
from bench.scorers.geneval import soft
from bench.scorers.geneval.detector import Detection, post_process
from bench.scorers.geneval.rule import COLOURS, THRESHOLD
from htgrpo.base.prompts import Prompt
from tests.scorers.geneval_made import EMPTY, Names, Sees, box, spec, want
from tests.scorers.test_geneval_colours import classifier, painted, tiny_clip
from tests.scorers.test_geneval_soft import Found, detection, specification

PICTURE = Image.new("RGB", (4, 4))


class ByScore(Names):
    """Colours with logits in steps of fp16's, so that some are equal; the detection's score decides which."""

    def logits(self, image, found):
        draw = random.Random(found.score)
        return {colour: round(draw.gauss(20, 0.5) * 4) / 4 for colour in COLOURS}

    def of(self, image, found):
        """Upstream's argmax."""
        return COLOURS[int(np.argmax(list(self.logits(image, found).values())))]


def as_detection(found):
    return Detection(found.cls, found.score, found.box, EMPTY)


def test_above_one_half_exactly_where_geneval_calls_a_picture_right():
    """On 50,000 random detections, with equal logits among them."""
    draw, by, seen, right, ties, pictures = random.Random(1), ByScore(), 0, 0, 0, 0
    while seen < 50_000:
        found = [as_detection(detection(draw)) for _ in range(draw.randint(1, 8))]
        for one in found:
            best = sorted(by.logits(None, one).values())[-2:]
            ties += best[0] == best[1]
        wanted = specification(
            draw, [Found(one.cls, one.score, one.box, tuple(by.logits(0, one).values())) for one in found]
        )
        prompt = Prompt("0", "p", wanted["tag"], wanted)
        sees = Sees(*sorted(found, key=lambda one: -one.score))
        (hard,) = GenEval(sees, by).judge([PICTURE], [prompt])
        (record,) = GenEvalSoft(sees, by).judge([PICTURE], [prompt])
        assert (record["score"] > 0.5) is (hard["score"] == 1.0), (wanted, found, record, hard)
        assert record["evidence"]["reason"] == hard["evidence"]["reason"]
        seen, right, pictures = seen + len(found), right + hard["score"], pictures + 1
    assert 0.1 < right / pictures < 0.9 and ties > 1000


def test_objects_below_the_threshold_count_for_something_and_are_kept_as_evidence():
    asked = []

    class Looks(Sees):
        def detect(self, images, floor):
            asked.append(floor)
            return super().detect(images, floor)

    prompt = Prompt("0", "p", "color_attr", spec("color_attr", want("cup", color="red"), want("dog", color="blue")))
    scores = {}
    for score in (0.02001, 0.1, 0.29, 0.31):
        sees = Looks(box("cup", 50, 50), box("dog", 90, 50, score), box("cat", 0, 0, 0.9))
        by = ByScore()
        by.logits = lambda image, one: dict.fromkeys(COLOURS, 20.0) | {"red" if one.cls == "cup" else "blue": 25.0}
        (record,) = GenEvalSoft(sees, by).judge([PICTURE], [prompt])
        scores[score] = record["score"]
        seen = record["evidence"]
        assert json.loads(seen["found"]) == {"cup": [[40, 40, 60, 60, 0.95]], "dog": [[80, 40, 100, 60, score]]}
        assert [one[0] for one in seen["colours"]] == ["cup", "dog"] and seen["colours"][0][2]["red"] == 25.0
        assert seen["soft"] == record["score"] == min(seen["clauses"]) <= seen["gm"]
        json.dumps(record, allow_nan=False)
    assert asked == [soft.FLOOR] * 4
    assert list(scores.values()) == sorted(scores.values()) and scores[0.29] < 0.5 < scores[0.31]


def test_what_the_detector_gives_above_its_threshold_does_not_depend_on_the_floor():
    """The hard verdict of the second detection pass is that of the first."""
    draw = torch.Generator().manual_seed(0)
    logits, masks = torch.randn(20, 6, generator=draw) * 3, torch.randn(20, 8, 8, generator=draw) * 4
    low, high = (
        post_process(logits, masks, (32, 32), (32, 24), (40, 30), list("abcde"), floor)
        for floor in (soft.FLOOR, THRESHOLD)
    )
    assert 0 < len(high) < len(low)
    assert [(one.cls, one.score, one.box) for one in low[: len(high)]] == [
        (one.cls, one.score, one.box) for one in high
    ]


def test_a_colour_is_that_of_the_greatest_logit():
    judge, (image, found) = classifier(tiny_clip()), painted()
    logits = judge.logits(image, found)
    assert list(logits) == list(COLOURS) and judge.of(image, found) == max(logits, key=logits.get)
    assert judge.logits(image, Detection("cup", 0.9, (5.0, 5.0, 5.0, 9.0), found.mask)) == {}
    assert soft.coloured({"red": 20.0, "blue": 20.0}, "red") > 0.5 == soft.coloured({"red": 20.0, "blue": 20.0}, "blue")


def test_a_record_on_which_the_two_readings_differ_is_no_record(monkeypatch):
    monkeypatch.setattr("bench.scorers.geneval.soft.THRESHOLD", 0.99)
    prompt = Prompt("0", "p", "single_object", spec("single_object", want("cup")))
    with pytest.raises(RuntimeError, match="geneval_soft: a picture of 0 gets .* the hard rule says right: the two"):
        GenEvalSoft(Sees(box("cup", 50, 50, 0.5)), ByScore()).judge([PICTURE], [prompt])


def test_it_judges_genevals_pictures_and_never_makes_the_claim():
    hard, gradual = GenEval(Sees(), Names()), GenEvalSoft(Sees(), Names())
    assert gradual.picture_set == hard.picture_set == "geneval" and gradual.noise == hard.noise
    assert gradual.diagnostic and not hard.diagnostic and gradual.title == "GenEval, soft"
    assert gradual.scorer_identity() == hard.scorer_identity() | soft.CONSTANTS
    assert hard.note == CAUTION and CAUTION in gradual.note and "17.7" in CAUTION
