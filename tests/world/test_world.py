"""Vocabulary, scenes, prompts and codec of the embedded world."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.scorers.geneval.rule import relative_position
from htgrpo.base.errors import UserError
from htgrpo.base.rng import generator
from htgrpo.world import prompts as world_prompts
from htgrpo.world.codec import PatchCodec, encode_scene
from htgrpo.world.combinations import CATEGORIES, draw_combination, facts, key
from htgrpo.world.detector import detect
from htgrpo.world.draws import Draws
from htgrpo.world.make_splits import draw_splits
from htgrpo.world.prompts import draw_training_prompt, make_prompt, split_prompts, splits, words
from htgrpo.world.scenes import Object, Scene, render, training_scenes
from htgrpo.world.world import World, find, names, world_of
from tests.world.pictures import pictures, sample_scene

TINY, LARGE = find("tiny"), find("large")
both = pytest.mark.parametrize("world", [TINY, LARGE], ids=lambda world: world.name)


@both
def test_templates_are_distinct_and_touch_every_object(world):
    count = {"tiny": 48, "large": 30}[world.name]
    masks = world.templates.reshape(count, -1).astype(float)
    shared, area = masks @ masks.T, masks.sum(1)
    iou = shared / (area[:, None] + area - shared)
    assert world.templates.shape == (count, 16, 16) and len(set(world.classes)) == count
    assert iou[~np.eye(count, dtype=bool)].max() < 0.71
    assert area.min() >= 40


@both
@pytest.mark.parametrize("category", CATEGORIES)
def test_scene_shows_exactly_what_is_asked(world, category):
    draws = Draws(generator("exact", category), block=1024)
    for _ in range(60):
        prompt = make_prompt(world, draw_combination(world, category, draws))
        assert world_of(prompt.spec) is world
        scene = sample_scene(world, prompt.spec, generator("exact", prompt.id))
        asked = [clause["class"] for clause in prompt.spec["include"] for _ in range(clause["count"])]
        assert [item.cls for item in scene.objects] == asked
        for one in scene.objects:
            assert 0 <= one.x < world.cells and 0 <= one.y < world.cells
            others = [other for other in scene.objects if other is not one]
            assert all(max(abs(one.x - other.x), abs(one.y - other.y)) >= 2 for other in others)


@both
def test_scenes_repeat_with_the_generator_and_vary_without(world):
    spec = split_prompts(world, "train", "dense")[0].spec
    assert sample_scene(world, spec, generator(1)) == sample_scene(world, spec, generator(1))
    assert len({sample_scene(world, spec, generator(seed)) for seed in range(20)}) > 15


def test_impossible_scene_is_refused():
    spec = {"tag": "counting", "include": [{"class": "solid heart", "count": 10}], "exclude": []}
    with pytest.raises(UserError, match="fewer objects"):
        sample_scene(TINY, spec, generator(0))


def test_relations_hold_clearly_and_along_one_axis_only():
    for prompt in split_prompts(TINY, "train", "position")[:80]:
        scene = sample_scene(TINY, prompt.spec, generator("relation", prompt.id))
        boxes = [(8 * o.x, 8 * o.y, 8 * o.x + 16, 8 * o.y + 16) for o in scene.objects]
        relation, target = prompt.spec["include"][1]["position"]
        assert relative_position(boxes[1], boxes[target]) == {relation}


# --- prompts ---


def test_splits_have_their_sizes_and_unique_ids():
    sizes = {split: {c: len(split_prompts(TINY, split, c)) for c in CATEGORIES} for split in splits(TINY)}
    assert sizes["heldout"] == dict.fromkeys(CATEGORIES, 36) | {"single_object": 30, "dense": 40}
    assert sizes["validation"] == dict.fromkeys(CATEGORIES, 12) | {"single_object": 10, "dense": 20}
    assert sizes["train"] == dict.fromkeys(CATEGORIES, 200) | {"single_object": 8, "counting": 96}
    ids = [prompt.id for prompts in splits(TINY).values() for prompt in prompts]
    assert len(ids) == len(set(ids))


def test_the_large_world_has_prompts_enough_for_a_study():
    sizes = {split: {c: len(split_prompts(LARGE, split, c)) for c in CATEGORIES} for split in splits(LARGE)}
    assert sizes["heldout"] == LARGE.heldout and 1000 <= sum(LARGE.heldout.values()) <= 3000
    assert sizes["validation"] == LARGE.validation and min(sizes["train"].values()) >= 10
    assert {prompt.spec["world"] for prompts in splits(LARGE).values() for prompt in prompts} == {"large"}
    assert max(len(prompt.spec["include"]) for prompt in split_prompts(LARGE, "heldout", "dense")) == 5


@both
def test_splits_share_no_combination_not_even_in_part(world):
    recorded = world_prompts.split_combinations(world)
    keys = {split: [key(c) for c in combinations] for split, combinations in recorded.items()}
    for split in keys:
        assert len(set(keys[split])) == len(keys[split])
    assert set(keys["validation"]).isdisjoint(keys["heldout"])
    reserved = set(keys["validation"]) | set(keys["heldout"])
    assert all(reserved.isdisjoint(facts(combination)) for combination in recorded["train"])
    texts = {split: {prompt.text for prompt in prompts} for split, prompts in splits(world).items()}
    assert texts["train"].isdisjoint(texts["heldout"] | texts["validation"])


@both
def test_pretraining_prompts_keep_clear_of_reserved_combinations(world):
    kept = {p.text for split in ("validation", "heldout") for p in split_prompts(world, split)}
    drawn, _ = training_scenes(world, 3000, generator("clear"))
    assert kept.isdisjoint(prompt.text for prompt in drawn)
    reserved_colours = {fact[1:] for fact in world_prompts.reserved(world) if fact[0] == "colour"}
    stated = {(c["class"], c.get("color")) for prompt in drawn for c in prompt.spec["include"]}
    assert reserved_colours.isdisjoint(stated)
    assert {prompt.category for prompt in drawn} == set(CATEGORIES)


@pytest.mark.parametrize(
    "field, value", [("sha256", "0" * 64), ("combinations", [["single_object", [["solid heart", None]], 1, []]])]
)
def test_changed_splits_are_noticed(tmp_path, monkeypatch, field, value):
    recorded = json.loads((TINY.assets / "splits.json").read_text())
    recorded["splits"]["heldout"][field] = value
    (tmp_path / "splits.json").write_text(json.dumps(recorded))
    monkeypatch.setattr(World, "assets", tmp_path)
    with pytest.raises(UserError, match="heldout"):
        splits(replace(TINY))  # a world that nobody has read yet


@both
def test_recorded_splits_are_what_the_seeded_draw_gives(world):
    assert draw_splits(world) == world_prompts.split_combinations(world)


@both
def test_every_prompt_is_made_of_known_words(world):
    known = words(world)
    assert known == sorted(set(known))
    texts = [prompt.text for prompts in splits(world).values() for prompt in prompts]
    texts += [draw_training_prompt(world, Draws(generator("words", i))).text for i in range(300)]
    used = [re.findall(r"[.,]|[^\s.,]+", text.lower()) for text in texts]
    assert set().union(*used) <= set(known) and max(map(len, used)) <= 40


def test_wording_follows_geneval():
    texts = {c: split_prompts(TINY, "heldout", c)[0] for c in CATEGORIES}
    position = texts["position"].spec["include"]
    relation, target = position[1]["position"]
    assert texts["position"].text == f"a photo of a {position[1]['class']} {relation} a {position[target]['class']}"
    counting = texts["counting"].spec
    assert counting["exclude"] == [{**counting["include"][0], "count": counting["include"][0]["count"] + 1}]
    for prompt in split_prompts(TINY, "heldout", "dense"):
        assert len(prompt.spec["relations"]) >= 2 and prompt.spec["questions"]


def test_question_graphs_list_parents_first():
    for prompt in split_prompts(TINY, "train", "dense"):
        seen = set()
        for question in prompt.spec["questions"]:
            assert set(question["parents"]) <= seen
            seen.add(question["id"])


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="heldout"):
        split_prompts(TINY, "held-out")
    with pytest.raises(UserError, match="position"):
        split_prompts(TINY, "train", "positions")


# --- codec ---


@both
def test_codec_round_trip_is_exact_and_the_table_agrees(world):
    codec, grid = PatchCodec.build(world), (world.grid, world.grid)
    _, scenes = training_scenes(world, 300, generator("codec"))
    images = np.stack([render(world, scene) for scene in scenes])
    codes = codec.encode(images)
    assert np.array_equal(codes.numpy(), np.stack([encode_scene(world, scene) for scene in scenes]))
    assert torch.equal((codec.decode(codes, grid) * 255).round().byte().permute(0, 2, 3, 1), torch.from_numpy(images))
    assert len(codec) == len(np.unique(codec.codebook.reshape(len(codec), -1).numpy(), axis=0))


@both
def test_every_object_at_every_place_round_trips(world):
    codec, cells = PatchCodec.build(world), world.cells
    scenes = [
        Scene((Object(cls, colour, (i * 3 + j) % cells, (i + j * 2) % cells, (i + j) % len(world.looks)),))
        for i, cls in enumerate(world.classes)
        for j, colour in enumerate(world.colour_names)
    ]
    codes = torch.from_numpy(np.stack([encode_scene(world, scene) for scene in scenes]))
    assert torch.equal(codec.decode(codes, (world.grid, world.grid)), pictures(scenes, world))


def test_detail_must_agree_across_the_codes_of_an_object():
    """One code of another look costs what it covers; the ground is no object whatever its pattern."""
    scenes = [
        Scene((Object("solid square", "red", 2, 2, look),), (ground,) * 144) for ground in (0, 3) for look in (0, 3)
    ]
    assert all(found[0].score == 1.0 and len(found) == 1 for found in detect(LARGE, pictures(scenes, LARGE)))
    plain, shaded = (torch.from_numpy(encode_scene(LARGE, scenes[look])) for look in (0, 1))
    mixed = torch.where(torch.arange(144) % 12 < 6, plain, shaded)  # the left half in one look, the right in the other
    codec = PatchCodec.build(LARGE)
    (found,) = detect(LARGE, codec.decode(mixed[None], (12, 12)))[0]
    assert found.cls == "solid square" and 0.6 <= found.score < 0.9


def test_worlds_are_found_by_name_and_by_what_a_prompt_says():
    assert names() == ("large", "tiny") and find() is TINY and world_of({}) is TINY
    with pytest.raises(UserError, match="did you mean 'large'"):
        find("larg")


def test_codec_takes_the_nearest_patch_and_other_grids():
    codec = PatchCodec.build(TINY)
    images = np.stack([render(TINY, scene) for scene in training_scenes(TINY, 20, generator("noise"))[1]])
    noise = np.random.default_rng(0).integers(-9, 10, images.shape)
    noisy = np.clip(images + noise, 0, 255).astype(np.uint8)
    assert torch.equal(codec.encode(noisy), codec.encode(images))
    assert torch.equal(codec.encode(images[:, :24]), codec.encode(images)[:, : 3 * TINY.grid])
    assert codec.decode(torch.zeros(2, 32, dtype=torch.int64), (4, 8)).shape == (2, 3, 32, 64)


def test_codec_saves_loads_and_refuses(tmp_path):
    codec = PatchCodec.build(TINY)
    assert torch.equal(PatchCodec.load(codec.save(tmp_path)).codebook, codec.codebook)
    assert torch.equal(PatchCodec.load(tmp_path).codebook, codec.codebook)
    with pytest.raises(UserError, match=f"0..{len(codec) - 1}"):
        codec.decode(torch.full((1, TINY.grid**2), len(codec)), (TINY.grid, TINY.grid))
    with pytest.raises(UserError, match="codebook"):
        PatchCodec(torch.zeros(4, 3))


def test_pca_keeps_the_distances_it_can():
    codec = PatchCodec.build(TINY)
    full, reduced = codec.codebook.reshape(len(codec), -1)[:200].double(), codec.pca(192)
    pairwise = [(points[:, None] - points).norm(dim=2) for points in (full, reduced[:200].double())]
    assert torch.allclose(*pairwise, atol=1e-5)
    assert torch.equal(codec.pca(8), reduced[:, :8])
    assert codec.pca(200)[:, 192:].abs().max() == 0
