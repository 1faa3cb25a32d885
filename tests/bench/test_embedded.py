"""The benchmarks of the embedded world, on right and wrong pictures."""

import json

import pytest

from bench.benchmarks.embedded_dpg import EmbeddedDPG, answer
from bench.benchmarks.embedded_geneval import EmbeddedGenEval
from htgrpo.base.errors import UserError
from htgrpo.base.pictures import as_pictures
from htgrpo.base.rng import generator
from htgrpo.world.combinations import CATEGORIES
from htgrpo.world.detector import Detection
from htgrpo.world.prompts import split_prompts
from htgrpo.world.scenes import Scene
from htgrpo.world.world import find
from tests.world.pictures import clean, pictures, sample_scene


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("split", ["validation", "heldout"])
def test_clean_pictures_are_all_correct(category, split):
    prompts = split_prompts(find(), split, category)
    benchmark = EmbeddedDPG() if category == "dense" else EmbeddedGenEval()
    for seed in range(3):
        assert [record["score"] for record in benchmark.judge(as_pictures(clean(prompts, seed)), prompts)] == [
            1.0
        ] * len(prompts)


def test_wrong_pictures_fail_with_a_reason():
    for category in ("single_object", "two_object", "counting", "colors", "position", "color_attr"):
        prompts = split_prompts(find(), "heldout", category)
        shifted = clean(prompts).roll(1, 0)
        records = EmbeddedGenEval().judge(as_pictures(shifted), prompts)
        assert sum(record["score"] for record in records) <= 0.1 * len(records)
        assert all(bool(record["evidence"]["reason"]) == (record["score"] == 0.0) for record in records)
        json.dumps(records, allow_nan=False)


def test_missing_object_zeroes_its_dependents():
    prompt = split_prompts(find(), "heldout", "dense")[0]
    scene = sample_scene(find(), prompt.spec, generator(3))
    (record,) = EmbeddedDPG().judge(as_pictures(pictures([Scene(scene.objects[1:])])), [prompt])
    rows = record["evidence"]["questions"]
    assert [row["id"] for row in rows] == [question["id"] for question in prompt.spec["questions"]]
    assert {row["category"] for row in rows} == {"entity", "attribute", "relation", "other"}
    gone = {1}
    for question, row in zip(prompt.spec["questions"], rows, strict=True):
        if gone & set(question["parents"]):
            gone.add(question["id"])
        expected = question["id"] not in gone and question["check"]["kind"] != "count"
        assert row["score"] == float(expected)
    assert record["score"] == sum(row["score"] for row in rows) / len(rows)
    json.dumps(record, allow_nan=False)


def test_answers_of_every_kind():
    found = [
        Detection("solid heart", "red", 1.0, (0, 0, 16, 16)),
        Detection("striped moon", "blue", 0.9, (32, 0, 48, 16)),
    ]
    yes = [
        {"kind": "shape", "shape": "heart"},
        {"kind": "fill", "shape": "moon", "fill": "striped"},
        {"kind": "colour", "shape": "heart", "colour": "red"},
        {"kind": "relation", "subject": "heart", "relation": "left of", "target": "moon"},
        {"kind": "count", "count": 2},
    ]
    no = [
        {"kind": "shape", "shape": "tree"},
        {"kind": "fill", "shape": "moon", "fill": "solid"},
        {"kind": "colour", "shape": "heart", "colour": "blue"},
        {"kind": "relation", "subject": "moon", "relation": "left of", "target": "heart"},
        {"kind": "relation", "subject": "heart", "relation": "left of", "target": "tree"},
        {"kind": "count", "count": 3},
    ]
    assert [answer(check, found) for check in yes] == ["yes"] * len(yes)
    assert [answer(check, found) for check in no] == ["no"] * len(no)
    with pytest.raises(UserError, match="size"):
        answer({"kind": "size"}, found)


@pytest.mark.parametrize("benchmark", [EmbeddedGenEval(), EmbeddedDPG()])
def test_benchmark_contract(benchmark):
    prompts = benchmark.prompts("heldout")
    assert {prompt.category for prompt in prompts} == set(benchmark.categories)
    assert "embedded world" in benchmark.title
    assert set(benchmark.scorer_identity()) == {"name", "version", "weights_revision"}
    assert benchmark.judge([], []) == []
    with pytest.raises(UserError, match="one prompt per image"):
        benchmark.judge(as_pictures(clean(prompts[:2])), prompts[:1])
    with pytest.raises(UserError, match="split"):
        benchmark.prompts("test")
