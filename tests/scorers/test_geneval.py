"""GenEval, the benchmark around the rule."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from bench.benchmarks.geneval import GenEval
from bench.scorers.geneval.pixels import as_array
from bench.scorers.geneval.rule import COLOURS
from htgrpo.base.errors import UserError
from htgrpo.base.pictures import as_pictures
from htgrpo.base.prompts import Prompt
from tests.scorers.geneval_made import BOTH, CUP, ONE, RED, Names, Sees, box, judged


def test_records_carry_the_fields_of_upstreams_results():
    record = judged([CUP, box("cup", 90, 50, 0.4), box("dog", 0, 0, 0.2)], BOTH, Names(x50="green"))
    seen = record["evidence"]
    assert json.loads(seen["metadata"]) == BOTH
    assert json.loads(seen["details"]) == {"cup": [[40, 40, 60, 60, 0.95], [80, 40, 100, 60, 0.4]]}
    assert seen["colours"] == [["cup", [40, 40, 60, 60, 0.95], "green"]]


def test_pictures_reach_the_detector_as_they_are_saved():
    seen = []

    class Looks(Sees):
        def detect(self, images, floor):
            seen.extend(images)
            return [[CUP]] * len(images)

    images = torch.linspace(0, 1, 2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    prompts = [Prompt(str(i), "p", "single_object", ONE) for i in range(2)]
    assert [one["score"] for one in GenEval(Looks(), Names()).judge(as_pictures(images), prompts)] == [1.0, 1.0]
    assert seen[0].shape == (4, 5, 3) and seen[0].dtype == np.uint8
    assert np.array_equal(seen[1][..., 2], (images[1, 2] * 255).round().byte().numpy())
    assert np.array_equal(as_array(as_pictures(images)[0]), seen[0])
    with pytest.raises(UserError, match="2 images for 1 prompts"):
        GenEval(Looks(), Names()).judge(as_pictures(images), prompts[:1])


def test_a_different_detector_is_named_in_the_title():
    official, other = Sees(), Sees()
    other.identity = Sees.identity | {"official": False, "detector_revision": "2"}
    assert GenEval(official, Names()).title == "GenEval"
    assert GenEval(other, Names()).title == "GenEval (different detector)"
    identities = [GenEval(one, Names()).scorer_identity() for one in (official, other)]
    assert identities[0] != identities[1] and identities[0]["weights_revision"] == "1 1"
    assert identities[0]["name"] == "geneval"


def test_without_weights_it_says_which_command_to_run(monkeypatch, tmp_path):
    for name in ("HTGRPO_ASSETS", "HTGRPO_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTGRPO_CACHE", str(tmp_path))
    monkeypatch.setattr("bench.scorers.weights._snapshots", lambda repository: [])
    benchmark = GenEval()
    assert benchmark.title == "GenEval"
    for call in (
        benchmark.scorer_identity,
        lambda: benchmark.judge([Image.new("RGB", (4, 4))], [Prompt("0", "p", "colors", RED)]),
    ):
        with pytest.raises(UserError, match="python -m bench.fetch geneval_detector"):
            call()
    with pytest.raises(UserError, match="python -m bench.fetch geneval_metadata"):
        benchmark.prompts("heldout")
    with pytest.raises(UserError, match="no 'validation' prompts"):
        benchmark.prompts("validation")


def test_official_prompts(assets, monkeypatch):
    monkeypatch.setenv("HTGRPO_ASSETS", str(assets))
    prompts = GenEval(Sees(), Names()).prompts("heldout")
    assert Counter(prompt.category for prompt in prompts) == {
        "single_object": 80, "two_object": 99, "counting": 80, "colors": 94, "position": 100, "color_attr": 100,
    }  # fmt: skip
    assert len(prompts) == len({prompt.text for prompt in prompts}) == 553
    assert [prompt.id for prompt in prompts[::552]] == ["00000", "00552"]
    counts, relations = Counter(), Counter()
    for prompt in prompts:
        assert prompt.spec["tag"] == prompt.category and prompt.spec["prompt"] == prompt.text
        for clause in prompt.spec["include"]:
            assert clause.get("color", "red") in COLOURS
            if prompt.category == "counting":
                counts[clause["count"]] += 1
                assert prompt.spec["exclude"] == [{"class": clause["class"], "count": clause["count"] + 1}]
            else:
                assert clause["count"] == 1 and not prompt.spec.get("exclude")
            if "position" in clause:
                relations[clause["position"][0]] += 1
                assert clause["position"][1] == 0 and clause is prompt.spec["include"][1]
    assert counts == {2: 26, 3: 28, 4: 26}
    assert relations == {"left of": 19, "right of": 27, "above": 26, "below": 28}
