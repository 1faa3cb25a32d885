"""Vocabulary, scenes, prompts and codec of the embedded world."""

import json
import re

import numpy as np
import pytest
import torch

from bench.scorers.geneval.rule import relative_position
from htgrpo.base.errors import UserError
from htgrpo.base.rng import generator
from htgrpo.world import prompts as world_prompts
from htgrpo.world.codec import PatchCodec, encode_scene
from htgrpo.world.combinations import CATEGORIES, draw_combination, facts, key
from htgrpo.world.draws import Draws
from htgrpo.world.prompts import draw_training_prompt, make_prompt, split_prompts, splits, words
from htgrpo.world.scenes import Object, Scene, render, training_scenes
from htgrpo.world.vocabulary import CELLS, CLASSES, COLOUR_NAMES, GRID, templates
from tests.world.pictures import pictures, sample_scene


def test_templates_are_distinct_and_touch_every_object():
    masks = templates().reshape(48, -1).astype(float)
    shared, area = masks @ masks.T, masks.sum(1)
    iou = shared / (area[:, None] + area - shared)
    assert templates().shape == (48, 16, 16) and len(set(CLASSES)) == 48
    assert iou[~np.eye(48, dtype=bool)].max() < 0.71
    assert area.min() >= 40


@pytest.mark.parametrize("category", CATEGORIES)
def test_scene_shows_exactly_what_is_asked(category):
    draws = Draws(generator("exact", category), block=1024)
    for _ in range(60):
        prompt = make_prompt(draw_combination(category, draws))
        scene = sample_scene(prompt.spec, generator("exact", prompt.id))
        asked = [clause["class"] for clause in prompt.spec["include"] for _ in range(clause["count"])]
        assert [item.cls for item in scene.objects] == asked
        for one in scene.objects:
            assert 0 <= one.x < CELLS and 0 <= one.y < CELLS
            others = [other for other in scene.objects if other is not one]
            assert all(max(abs(one.x - other.x), abs(one.y - other.y)) >= 2 for other in others)


def test_scenes_repeat_with_the_generator_and_vary_without():
    spec = split_prompts("train", "dense")[0].spec
    assert sample_scene(spec, generator(1)) == sample_scene(spec, generator(1))
    assert len({sample_scene(spec, generator(seed)) for seed in range(20)}) > 15


def test_impossible_scene_is_refused():
    spec = {"tag": "counting", "include": [{"class": "solid heart", "count": 10}], "exclude": []}
    with pytest.raises(UserError, match="fewer objects"):
        sample_scene(spec, generator(0))


def test_relations_hold_clearly_and_along_one_axis_only():
    for prompt in split_prompts("train", "position")[:80]:
        scene = sample_scene(prompt.spec, generator("relation", prompt.id))
        boxes = [(8 * o.x, 8 * o.y, 8 * o.x + 16, 8 * o.y + 16) for o in scene.objects]
        relation, target = prompt.spec["include"][1]["position"]
        assert relative_position(boxes[1], boxes[target]) == {relation}


# --- prompts ---


def test_splits_have_their_sizes_and_unique_ids():
    sizes = {split: {c: len(split_prompts(split, c)) for c in CATEGORIES} for split in splits()}
    assert sizes["heldout"] == dict.fromkeys(CATEGORIES, 36) | {"single_object": 30, "dense": 40}
    assert sizes["validation"] == dict.fromkeys(CATEGORIES, 12) | {"single_object": 10, "dense": 20}
    assert sizes["train"] == dict.fromkeys(CATEGORIES, 200) | {"single_object": 8, "counting": 96}
    ids = [prompt.id for prompts in splits().values() for prompt in prompts]
    assert len(ids) == len(set(ids))


def test_splits_share_no_combination_not_even_in_part():
    recorded = world_prompts.split_combinations()
    keys = {split: [key(c) for c in combinations] for split, combinations in recorded.items()}
    for split in keys:
        assert len(set(keys[split])) == len(keys[split])
    assert set(keys["validation"]).isdisjoint(keys["heldout"])
    reserved = set(keys["validation"]) | set(keys["heldout"])
    assert all(reserved.isdisjoint(facts(combination)) for combination in recorded["train"])
    texts = {split: {prompt.text for prompt in prompts} for split, prompts in splits().items()}
    assert texts["train"].isdisjoint(texts["heldout"] | texts["validation"])


def test_pretraining_prompts_keep_clear_of_reserved_combinations():
    kept = {p.text for split in ("validation", "heldout") for p in split_prompts(split)}
    drawn, _ = training_scenes(3000, generator("clear"))
    assert kept.isdisjoint(prompt.text for prompt in drawn)
    reserved_colours = {fact[1:] for fact in world_prompts.reserved() if fact[0] == "colour"}
    stated = {(c["class"], c.get("color")) for prompt in drawn for c in prompt.spec["include"]}
    assert reserved_colours.isdisjoint(stated)
    assert {prompt.category for prompt in drawn} == set(CATEGORIES)


@pytest.mark.parametrize(
    "field, value", [("sha256", "0" * 64), ("combinations", [["single_object", [["solid heart", None]], 1, []]])]
)
def test_changed_splits_are_noticed(tmp_path, monkeypatch, field, value):
    recorded = json.loads(world_prompts.SPLITS_FILE.read_text())
    recorded["splits"]["heldout"][field] = value
    changed = tmp_path / "splits.json"
    changed.write_text(json.dumps(recorded))
    monkeypatch.setattr(world_prompts, "SPLITS_FILE", changed)
    world_prompts.splits.cache_clear()
    world_prompts.split_combinations.cache_clear()
    try:
        with pytest.raises(UserError, match="heldout"):
            splits()
    finally:
        monkeypatch.undo()
        world_prompts.splits.cache_clear()
        world_prompts.split_combinations.cache_clear()


def test_recorded_splits_are_what_the_seeded_draw_gives():
    from htgrpo.world.make_splits import draw_splits

    assert draw_splits() == world_prompts.split_combinations()


def test_every_prompt_is_made_of_known_words():
    known = words()
    assert known == sorted(set(known))
    texts = [prompt.text for prompts in splits().values() for prompt in prompts]
    texts += [draw_training_prompt(Draws(generator("words", i))).text for i in range(300)]
    used = [re.findall(r"[.,]|[^\s.,]+", text.lower()) for text in texts]
    assert set().union(*used) <= set(known) and max(map(len, used)) <= 40


def test_wording_follows_geneval():
    texts = {c: split_prompts("heldout", c)[0] for c in CATEGORIES}
    position = texts["position"].spec["include"]
    relation, target = position[1]["position"]
    assert texts["position"].text == f"a photo of a {position[1]['class']} {relation} a {position[target]['class']}"
    counting = texts["counting"].spec
    assert counting["exclude"] == [{**counting["include"][0], "count": counting["include"][0]["count"] + 1}]
    for prompt in split_prompts("heldout", "dense"):
        assert len(prompt.spec["relations"]) >= 2 and prompt.spec["questions"]


def test_question_graphs_list_parents_first():
    for prompt in split_prompts("train", "dense"):
        seen = set()
        for question in prompt.spec["questions"]:
            assert set(question["parents"]) <= seen
            seen.add(question["id"])


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="heldout"):
        split_prompts("held-out")
    with pytest.raises(UserError, match="position"):
        split_prompts("train", "positions")


# --- codec ---


def test_codec_round_trip_is_exact_and_the_table_agrees():
    codec = PatchCodec.build()
    _, scenes = training_scenes(300, generator("codec"))
    images = np.stack([render(scene) for scene in scenes])
    codes = codec.encode(images)
    assert np.array_equal(codes.numpy(), np.stack([encode_scene(scene) for scene in scenes]))
    assert torch.equal((codec.decode(codes) * 255).round().byte().permute(0, 2, 3, 1), torch.from_numpy(images))
    assert len(codec) == len(np.unique(codec.codebook.reshape(len(codec), -1).numpy(), axis=0))


def test_every_object_at_every_place_round_trips():
    codec = PatchCodec.build()
    scenes = [
        Scene((Object(cls, colour, (i * 3 + j) % CELLS, (i + j * 2) % CELLS),))
        for i, cls in enumerate(CLASSES)
        for j, colour in enumerate(COLOUR_NAMES)
    ]
    decoded = codec.decode(torch.from_numpy(np.stack([encode_scene(scene) for scene in scenes])))
    assert torch.equal(decoded, pictures(scenes))


def test_codec_takes_the_nearest_patch_and_other_grids():
    codec = PatchCodec.build()
    images = np.stack([render(scene) for scene in training_scenes(20, generator("noise"))[1]])
    noise = np.random.default_rng(0).integers(-9, 10, images.shape)
    noisy = np.clip(images + noise, 0, 255).astype(np.uint8)
    assert torch.equal(codec.encode(noisy), codec.encode(images))
    assert torch.equal(codec.encode(images[:, :24]), codec.encode(images)[:, : 3 * GRID])
    assert codec.decode(torch.zeros(2, 32, dtype=torch.int64), (4, 8)).shape == (2, 3, 32, 64)


def test_codec_saves_loads_and_refuses(tmp_path):
    codec = PatchCodec.build()
    assert torch.equal(PatchCodec.load(codec.save(tmp_path)).codebook, codec.codebook)
    assert torch.equal(PatchCodec.load(tmp_path).codebook, codec.codebook)
    with pytest.raises(UserError, match=f"0..{len(codec) - 1}"):
        codec.decode(torch.full((1, GRID * GRID), len(codec)))
    with pytest.raises(UserError, match="codebook"):
        PatchCodec(torch.zeros(4, 3))


def test_pca_keeps_the_distances_it_can():
    codec = PatchCodec.build()
    full, reduced = codec.codebook.reshape(len(codec), -1)[:200].double(), codec.pca(192)
    pairwise = [(points[:, None] - points).norm(dim=2) for points in (full, reduced[:200].double())]
    assert torch.allclose(*pairwise, atol=1e-5)
    assert torch.equal(codec.pca(8), reduced[:, :8])
    assert codec.pca(200)[:, 192:].abs().max() == 0
