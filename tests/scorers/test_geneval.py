"""GenEval's decisions: a table of constructed detections over every branch of the rule, and the benchmark around it."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from bench.benchmarks.geneval import GenEval, result_lines
from bench.scorers.geneval.pixels import as_array
from bench.scorers.geneval.rule import COLOURS, TASKS, aggregate
from bench.scorers.pixels import as_pictures
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt
from tests.scorers.geneval_made import (
    BOTH,
    CHAIN,
    CUP,
    DOG,
    LEFT,
    ONE,
    PAIRS,
    RED,
    THREE,
    TWO,
    Names,
    Sees,
    box,
    judged,
    row,
    spec,
    want,
)

TABLE = [
    # presence and its threshold: strictly more than 0.3
    ("found", [CUP], ONE, 1, ""),
    ("nothing found", [], ONE, 0, "0 of 1 cup"),
    ("another class", [DOG], ONE, 0, "0 of 1 cup"),
    ("at the threshold", [box("cup", 50, 50, 0.3)], ONE, 0, "0 of 1 cup"),
    ("just above it", [box("cup", 50, 50, 0.3 + 1e-6)], ONE, 1, ""),
    ("more than wanted", row(5), ONE, 1, ""),
    ("both", [CUP, DOG], TWO, 1, ""),
    ("one of two", [CUP], TWO, 0, "0 of 1 dog"),
    ("neither", [], TWO, 0, "0 of 1 cup; 0 of 1 dog"),
    # counting: strictly more than 0.9, exactly so many
    ("three", row(3), THREE, 1, ""),
    ("two", row(2), THREE, 0, "2 of 3 cup"),
    ("four", row(4), THREE, 0, "4 cup where fewer than 4 are allowed"),
    ("three and weak ones", [*row(3), box("cup", 200, 0, 0.9), box("cup", 230, 0, 0.5)], THREE, 1, ""),
    ("two and weak ones", [*row(2), box("cup", 200, 0, 0.9)], THREE, 0, "2 of 3 cup"),
    ("three and others", [*row(3), *row(9, cls="dog")], THREE, 1, ""),
    ("cap of 16 under the limit", row(17), spec("counting", want("cup", 16), exclude=[want("cup", 17)]), 1, ""),
    (
        "cap of 16 at the limit",
        row(17),
        spec("counting", want("cup", 16), exclude=[want("cup", 16)]),
        0,
        "16 cup where",
    ),
    ("cap of 16 below the number", row(17), spec("counting", want("cup", 17)), 0, "16 of 17 cup"),
    ("exclude alone", [CUP], spec("counting", exclude=[want("cup", 2)]), 1, ""),
    ("excluded alone", row(2), spec("counting", exclude=[want("cup", 2)]), 0, "2 cup where"),
    ("exclude of another class", [CUP, DOG], spec("counting", want("cup"), exclude=[want("dog", 1)]), 0, "1 dog where"),
    # relations: strictly more than half of the offset after a tenth of both sides
    ("left", [CUP, DOG], LEFT, 1, ""),
    ("mirrored", [box("cup", 250, 50), DOG], LEFT, 0, "cup is not left of its target"),
    ("on top of each other", [box("cup", 150, 50), DOG], LEFT, 0, "cup is not left of"),
    ("within the margin", [box("cup", 146, 50), DOG], LEFT, 0, "cup is not left of"),
    ("half is left", [box("cup", 142, 50), DOG], LEFT, 0, "cup is not left of"),
    ("more than half is left", [box("cup", 141.9, 50), DOG], LEFT, 1, ""),
    ("diagonal holds", [box("cup", 50, 150), DOG], LEFT, 1, ""),
    ("mostly below", [box("cup", 120, 150), DOG], LEFT, 0, "cup is not left of"),
    ("no target", [CUP], LEFT, 0, "0 of 1 dog; no target for cup to be left of"),
    ("best box only", [box("cup", 250, 50, 0.9), box("cup", 50, 50, 0.8), DOG], LEFT, 0, "cup is not left of"),
    ("every pair", [box("cup", 0, 0), box("cup", 30, 0), box("dog", 100, 0), box("dog", 130, 0)], PAIRS, 1, ""),
    (
        "one pair fails",
        [box("cup", 0, 0), box("cup", 115, 0), box("dog", 100, 0), box("dog", 130, 0)],
        PAIRS,
        0,
        "not left of",
    ),
    (
        "one target fails",
        [box("cup", 0, 0), box("cup", 30, 0), box("dog", 100, 0), box("dog", 15, 0)],
        PAIRS,
        0,
        "not left of",
    ),
]


@pytest.mark.parametrize(
    "found, requirements, score, reason", [case[1:] for case in TABLE], ids=[case[0] for case in TABLE]
)
def test_decisions(found, requirements, score, reason):
    record = judged(found, requirements)
    assert record["score"] == score
    assert (reason in record["evidence"]["reason"]) if reason else record["evidence"]["reason"] == ""
    assert record["evidence"]["colours"] == []


@pytest.mark.parametrize(
    "relation, x, y", [("left of", -100, 0), ("right of", 100, 0), ("above", 0, -100), ("below", 0, 100)], ids=str
)
def test_every_relation(relation, x, y):
    found = [box("cup", 150 + x, 150 + y), box("dog", 150, 150)]
    for asked in ("left of", "right of", "above", "below"):
        requirements = spec("position", want("dog"), want("cup", position=[asked, 0]))
        assert judged(found, requirements)["score"] == (asked == relation)


COLOUR_TABLE = [
    ("right", [CUP], RED, {"x50": "red"}, 1, 1),
    ("wrong", [CUP], RED, {"x50": "blue"}, 0, 1),
    ("best only", [box("cup", 50, 0, 0.9), box("cup", 80, 0, 0.8)], RED, {"x50": "blue"}, 0, 1),
    ("missing", [DOG], RED, {}, 0, 0),
    ("both", [CUP, DOG], BOTH, {"x50": "red", "x150": "blue"}, 1, 2),
    ("swapped", [CUP, DOG], BOTH, {"x50": "blue", "x150": "red"}, 0, 2),
    ("one of each", [CUP, DOG], BOTH, {"x50": "red", "x150": "red"}, 0, 2),
    ("two of two", row(2), spec("colors", want("cup", 2, color="red")), {"x0": "red", "x30": "red"}, 1, 2),
    ("one of two", row(2), spec("colors", want("cup", 2, color="red")), {"x0": "red", "x30": "pink"}, 0, 2),
    ("target matched", [CUP, DOG], CHAIN, {"x150": "blue"}, 1, 1),
    ("target of another colour", [CUP, DOG], CHAIN, {"x150": "red"}, 0, 1),
]


@pytest.mark.parametrize(
    "found, requirements, by_place, score, asked",
    [case[1:] for case in COLOUR_TABLE],
    ids=[case[0] for case in COLOUR_TABLE],
)
def test_colours_decide(found, requirements, by_place, score, asked):
    names = Names(**by_place)
    record = judged(found, requirements, names)
    assert record["score"] == score and len(names.asked) == asked
    assert [colour for _, _, colour in record["evidence"]["colours"]] == list(by_place.values())[:asked]


def test_a_target_of_the_wrong_colour_is_no_target():
    assert "no target for cup" in judged([CUP, DOG], CHAIN, Names(x150="red"))["evidence"]["reason"]


# --- the benchmark around the rule ---


def test_records_carry_upstreams_result_line():
    record = judged([CUP, box("cup", 90, 50, 0.4), box("dog", 0, 0, 0.2)], BOTH, Names(x50="green"))
    seen = record["evidence"]
    assert json.loads(seen["metadata"]) == BOTH
    assert json.loads(seen["details"]) == {"cup": [[40, 40, 60, 60, 0.95], [80, 40, 100, 60, 0.4]]}
    assert seen["colours"] == [["cup", [40, 40, 60, 60, 0.95], "green"]]
    verdict = {"image": "images/a.png", "category": "color_attr", "prompt": "a prompt", "status": "ok", **record}
    failed = {
        "image": "",
        "category": "colors",
        "prompt": "b",
        "status": "failed",
        "score": None,
        "evidence": {"reason": "torn"},
    }
    (line,) = result_lines([verdict, failed]).splitlines()
    assert list(json.loads(line)) == ["filename", "tag", "prompt", "correct", "reason", "metadata", "details"]
    assert json.loads(line)["correct"] is False and json.loads(line)["filename"] == "images/a.png"


def test_pictures_reach_the_detector_as_they_are_saved():
    seen = []

    class Looks(Sees):
        def detect(self, images):
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
    assert (
        identities[0] != identities[1]
        and identities[0]["weights_revision"] == "1 1"
        and identities[0]["name"] == "geneval"
    )


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
        "single_object": 80,
        "two_object": 99,
        "counting": 80,
        "colors": 94,
        "position": 100,
        "color_attr": 100,
    }
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


def test_the_headline_is_the_mean_of_tasks_over_the_official_prompts(assets, monkeypatch):
    monkeypatch.setenv("HTGRPO_ASSETS", str(assets))
    prompts = GenEval(Sees(), Names()).prompts("heldout")
    records = [
        {"prompt_id": p.id, "category": p.category, "score": float(p.category == "counting" and sample == 0)}
        for p in prompts
        for sample in range(4)
    ]
    summary = aggregate(records)
    assert list(summary.tasks) == list(TASKS) and summary.tasks["counting"] == 0.25
    assert summary.overall == 0.25 / 6 and summary.images == 80 / (4 * 553) and summary.prompts == 80 / 553
