"""Detector and rewards of the embedded world: what is drawn is found again, exactly, and graded smoothly."""

import numpy as np
import pytest
import torch

from bench.benchmarks.embedded_geneval import EmbeddedGenEval
from htgrpo.base.errors import UserError
from htgrpo.base.pictures import as_pictures
from htgrpo.base.rng import generator
from htgrpo.world import rewards
from htgrpo.world.codec import PatchCodec, encode_scene
from htgrpo.world.detector import detect, measure, world_sized
from htgrpo.world.prompts import split_prompts
from htgrpo.world.scenes import Object, Scene, training_scenes
from htgrpo.world.world import find
from tests.world.pictures import clean, pictures, sample_scene

TINY, LARGE = find("tiny"), find("large")
GRID, IMAGE = (TINY.grid, TINY.grid), TINY.image
both = pytest.mark.parametrize("world", [TINY, LARGE], ids=lambda world: world.name)

REWARDS = (rewards.objects, rewards.attributes, rewards.relations, rewards.tidiness)


def reward_of(fn, prompt, picture):
    return fn(prompts=[prompt.text], completions=picture[None], specs=[prompt.spec])[0]


@both
def test_detector_finds_every_object_and_nothing_else(world):
    _, scenes = training_scenes(world, 400, generator("detector"))
    for scene, found in zip(scenes, detect(world, pictures(scenes, world)), strict=True):
        drawn = {(o.cls, o.colour, (8 * o.x, 8 * o.y, 8 * o.x + 16, 8 * o.y + 16)) for o in scene.objects}
        assert {(item.cls, item.colour, item.box) for item in found} == drawn
        assert all(item.score == 1.0 for item in found)


def test_verdicts_and_rewards_do_not_depend_on_the_batch():
    codec, prompts = PatchCodec.build(TINY), split_prompts(TINY, "heldout", "color_attr")
    images = clean(prompts)
    codes = codec.encode((images * 255).round().byte().permute(0, 2, 3, 1).contiguous())
    spoilt = torch.rand(codes.shape, generator=generator("spoil")) < 0.05
    images = codec.decode(
        torch.where(spoilt, torch.randint(len(codec), codes.shape, generator=generator("r")), codes), GRID
    )
    together = measure(TINY, images)
    for i in (0, 7, 20, len(images) - 1):
        alone = measure(TINY, images[i : i + 1])
        assert torch.equal(alone.iou[0], together.iou[i])
        assert detect(TINY, images[i : i + 1])[0] == detect(TINY, images)[i]
    for fn in REWARDS:
        batch = fn([p.text for p in prompts], images, [p.spec for p in prompts])
        assert batch == [reward_of(fn, prompt, image) for prompt, image in zip(prompts, images, strict=True)]


def test_empty_and_wrong_batches():
    assert detect(TINY, torch.zeros(0, 3, IMAGE, IMAGE)) == []
    for bad in (torch.zeros(1, 4, IMAGE, IMAGE), torch.zeros(3, IMAGE, IMAGE), torch.zeros(1, 3, 0, IMAGE)):
        with pytest.raises(UserError, match="must be"):
            detect(TINY, bad)
    with pytest.raises(UserError, match="NaN"):
        detect(TINY, torch.full((1, 3, IMAGE, IMAGE), float("nan")))


def test_pictures_of_another_size_are_judged_by_their_areas():
    images = clean(split_prompts(TINY, "heldout", "two_object")[:4])
    twice = images.repeat_interleave(2, 2).repeat_interleave(4, 3)
    assert detect(TINY, twice) == detect(TINY, images)
    assert torch.equal(measure(TINY, twice).iou, measure(TINY, images).iou)
    assert torch.allclose(world_sized(TINY, twice), images, atol=1e-6)
    assert world_sized(TINY, twice[:, :, :33, :40]).shape == images.shape and torch.equal(
        world_sized(TINY, images), images
    )


def test_a_damaged_object_scores_less_and_a_ruined_one_vanishes():
    scene = Scene((Object("solid square", "red", 2, 2),))
    whole = pictures([scene])
    damaged = whole.clone()
    damaged[:, :, 16:24, 16:24] = (torch.tensor(TINY.background) / 255)[:, None, None]  # a quarter is missing
    assert [item.score for item in detect(TINY, damaged)[0]] == [0.75]
    damaged[:, :, 24:32, 16:24] = (torch.tensor(TINY.background) / 255)[:, None, None]
    assert detect(TINY, damaged)[0] == []


# --- rewards ---


@both
def test_rewards_of_clean_pictures_are_full_and_apply_where_they_should(world):
    prompts = split_prompts(world, "validation")
    images = clean(prompts, world=world)
    values = {fn.__name__: fn([p.text for p in prompts], images, [p.spec for p in prompts]) for fn in REWARDS}
    assert set(values) == {"objects", "attributes", "relations", "tidiness"}
    assert set(values["objects"]) == {1.0} == set(values["tidiness"])
    for prompt, colour, relation in zip(prompts, values["attributes"], values["relations"], strict=True):
        assert colour == (1.0 if prompt.category in ("colors", "color_attr", "dense") else None)
        assert (relation is None) == (prompt.category not in ("position", "dense"))
        assert relation is None or 0.9 < relation <= 1.0


def test_rewards_stay_in_range_on_noise_and_empty_pictures():
    codec, prompts = PatchCodec.build(TINY), split_prompts(TINY, "validation")
    noise = codec.decode(torch.randint(len(codec), (len(prompts), 36), generator=generator("noise")), GRID)
    empty = codec.decode(torch.zeros(len(prompts), 36, dtype=torch.int64), GRID)
    for fn in REWARDS:
        for images in (noise, empty, torch.rand(noise.shape, generator=generator("pixels"))):
            values = fn([p.text for p in prompts], images, [p.spec for p in prompts])
            assert all(0.0 <= value <= 1.0 for value in values if value is not None)
        blank = fn([p.text for p in prompts], empty, [p.spec for p in prompts])
        assert {value for value in blank if value is not None} == {0.0}


def test_rewards_rise_as_a_picture_is_completed():
    codec, rising = PatchCodec.build(TINY), {fn.__name__: 0 for fn in REWARDS}
    for prompt in split_prompts(TINY, "validation", "dense"):
        goal = torch.from_numpy(encode_scene(TINY, sample_scene(TINY, prompt.spec, generator("rise", prompt.id))))
        drawn = goal.nonzero()[:, 0]
        order = drawn[torch.randperm(len(drawn), generator=generator("order", prompt.id))]
        steps = [torch.zeros_like(goal)]
        for place in order:
            steps.append(steps[-1].clone())
            steps[-1][place] = goal[place]
        images = codec.decode(torch.stack(steps), GRID)
        for fn in REWARDS:
            values = fn([prompt.text] * len(steps), images, [prompt.spec] * len(steps))
            assert values[0] == 0 and values[-1] == max(values) > 0.9
            rising[fn.__name__] += sum(b > a for a, b in zip(values, values[1:], strict=False)) / (len(steps) - 1)
    assert all(share / 20 > 0.5 for share in rising.values()), rising


def scored(fn, spec, *objects):
    """The reward of a scene made of (class, colour, x, y)."""
    picture = pictures([Scene(tuple(Object(*item) for item in objects))])
    return fn(prompts=["x"], completions=picture, specs=[spec])[0]


def test_counting_reward_counts_both_ways():
    spec = {"tag": "counting", "include": [{"class": "solid heart", "count": 2}], "exclude": []}
    hearts = [("solid heart", "red", x, 0) for x in (0, 2, 4)] + [("solid heart", "blue", 2, 2)]
    values = [scored(rewards.objects, spec, *hearts[:n]) for n in range(5)]
    assert values[0] == 0.0 and values[1] == 0.5 and values[2] == 1.0
    assert 1.0 > values[3] > values[4] > 0.0
    tidy = [scored(rewards.tidiness, spec, *hearts[:n]) for n in (2, 3, 4)]
    assert tidy[0] == 1.0 > tidy[1] > tidy[2] == 0.5


def test_relation_reward_grades_the_direction():
    clauses = [{"class": "solid moon", "count": 1}, {"class": "solid tree", "count": 1, "position": ["left of", 0]}]
    spec = {"tag": "position", "include": clauses, "exclude": []}
    places = [(0, 2), (0, 1), (2, 0), (4, 1), (4, 2)]
    values = [scored(rewards.relations, spec, ("solid moon", "red", 2, 2), ("solid tree", "red", *p)) for p in places]
    assert values == sorted(values, reverse=True) and values[0] == 1.0 and values[2] == 0.5 and values[-1] == 0.0


def test_attribute_reward_grades_the_colour_and_differs_from_the_verdict():
    spec = {"tag": "colors", "include": [{"class": "solid square", "count": 1, "color": "red"}], "exclude": []}
    assert scored(rewards.attributes, spec, ("solid square", "red", 1, 1)) == 1.0
    assert scored(rewards.attributes, spec, ("solid square", "blue", 1, 1)) == 0.0
    mixed = pictures([Scene((Object("solid square", "red", 1, 1),))])
    mixed[:, :, 8:16, 8:16] = pictures([Scene((Object("solid square", "blue", 1, 1),))])[:, :, 8:16, 8:16]
    value = rewards.attributes(["x"], mixed, [spec])[0]
    assert 0.3 < value < 0.6  # three quarters of the object, three quarters of it red: neither right nor wrong


def test_rewards_are_not_the_verdict():
    prompts, codec = split_prompts(TINY, "validation", "two_object"), PatchCodec.build(TINY)
    images = clean(prompts)
    images[..., : IMAGE // 2] = codec.decode(torch.zeros(1, 36, dtype=torch.int64), GRID)[..., : IMAGE // 2]
    values = rewards.objects([p.text for p in prompts], images, [p.spec for p in prompts])
    verdicts = [record["score"] for record in EmbeddedGenEval().judge(as_pictures(images), prompts)]
    assert set(verdicts) <= {0.0, 1.0} and len(set(values) - {0.0, 1.0}) >= 3


def test_pictures_are_measured_once_for_all_rewards(monkeypatch):
    calls = []
    monkeypatch.setattr(rewards, "measure", lambda world, images: calls.append(len(images)) or measure(world, images))
    prompts = split_prompts(TINY, "validation", "color_attr")
    images = clean(prompts, "once")
    for fn in REWARDS:
        fn([p.text for p in prompts], images, [p.spec for p in prompts])
    assert calls == [len(prompts)]
    images[0] = images[1]  # same tensor, other content: must be measured again
    before = rewards.objects([p.text for p in prompts], images, [p.spec for p in prompts])
    assert calls == [len(prompts)] * 2 and before[0] < 1.0


def test_a_picture_with_nan_fails_alone():
    prompts = split_prompts(TINY, "validation", "colors")
    images = clean(prompts)
    images[2, 0, 5, 5] = float("nan")
    values = rewards.objects([p.text for p in prompts], images, [p.spec for p in prompts])
    assert np.isnan(values[2]) and sum(np.isnan(values)) == 1


def test_reward_refuses_mismatched_batches_and_unknown_classes():
    images = clean(split_prompts(TINY, "validation", "colors")[:1])
    with pytest.raises(UserError, match="2 prompts"):
        rewards.objects(["a", "b"], images, [{}])
    with pytest.raises(UserError, match="solid heart"):
        rewards.objects(["a"], images, [{"include": [{"class": "solid hart", "count": 1}]}])
    assert rewards.objects([], images[:0], []) == []
    with pytest.raises(UserError, match="two embedded worlds"):
        rewards.objects(["a", "b"], images.repeat(2, 1, 1, 1), [{}, {"world": "large"}])
