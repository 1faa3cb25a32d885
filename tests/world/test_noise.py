"""Misread captions: each fact is swapped at the stated rate, for its counterpart, and the result can always be
drawn."""

from collections import Counter
from dataclasses import replace

from htgrpo.base.rng import generator
from htgrpo.world.draws import Draws
from htgrpo.world.noise import misread
from htgrpo.world.prompts import draw_training_prompt
from htgrpo.world.scenes import draw_scene
from htgrpo.world.world import INVERSE, RELATIONS, Misreading, find, shape_of

TINY, LARGE = find("tiny"), find("large")


def at(rate, world=TINY, **more):
    """The world with its captions misread at `rate` in fills, colours, counts and relations."""
    return replace(world, misreading=Misreading(fill=rate, colour=rate, count=rate, inverse=rate, **more))


def test_counterparts_are_pairs():
    assert all(INVERSE[INVERSE[name]] == name for name in INVERSE)
    for world in (TINY, LARGE):
        assert set(world.confused_fill) == set(world.fills) and set(world.confused_colour) == set(world.colour_names)
        for table in (world.confused_fill, world.confused_colour):
            assert sorted(table) == sorted(table.values()) and all(table[name] != name for name in table)


def test_no_noise_changes_nothing_and_full_noise_every_fact():
    draws = Draws(generator("noise", 1))
    for _ in range(100):
        spec = draw_training_prompt(TINY, Draws(generator("noise", "prompt", _))).spec
        assert misread(at(0.0), spec, draws) == spec
        seen = misread(at(1.0), spec, draws)
        for before, after in zip(spec["include"], seen["include"], strict=True):
            assert after["class"] != before["class"] and shape_of(after["class"]) == shape_of(before["class"])
            assert "color" not in before or after["color"] == TINY.confused_colour[before["color"]]
            assert "position" not in before or after["position"][0] == INVERSE[before["position"][0]]
            moved = abs(after["count"] - before["count"])
            assert moved == (spec["tag"] == "counting") and 1 <= after["count"] <= 4


def test_the_rate_is_the_rate():
    world, draws, hits, facts = at(0.35), Draws(generator("noise", 2)), Counter(), 2000
    spec = {"tag": "colors", "include": [{"class": "solid circle", "count": 1, "color": "red"}]}
    for _ in range(facts):
        seen = misread(world, spec, draws)["include"][0]
        hits["fill"] += seen["class"] != "solid circle"
        hits["colour"] += seen["color"] != "red"
    for count in hits.values():
        assert abs(count / facts - 0.35) < 4 * (0.35 * 0.65 / facts) ** 0.5


def test_every_misreading_can_be_drawn():
    draws = Draws(generator("noise", 3), block=512)
    for world in (at(0.5), LARGE):
        for index in range(300):
            spec = draw_training_prompt(world, Draws(generator("noise", "draw", index))).spec
            draw_scene(world, misread(world, spec, draws), draws)


def test_two_objects_change_colours_lose_one_or_stand_anywhere():
    """Binding and position go wrong as whole facts: the colours that were said are there, on the other object."""
    draws = Draws(generator("noise", 4))
    pair = {"tag": "color_attr", "include": [{"class": "solid circle", "count": 1, "color": "red"}]}
    pair["include"].append({"class": "solid heart", "count": 1, "color": "blue"})
    swapped = misread(replace(LARGE, misreading=Misreading(swap=1.0)), pair, draws)["include"]
    assert [(one["class"], one["color"]) for one in swapped] == [("solid circle", "blue"), ("solid heart", "red")]
    assert misread(replace(LARGE, misreading=Misreading(drop=1.0)), pair, draws)["include"] == pair["include"][:1]
    placed = {"tag": "position", "include": [{"class": "solid circle", "count": 1}]}
    placed["include"].append({"class": "solid heart", "count": 1, "position": ["above", 0]})
    anywhere = replace(LARGE, misreading=Misreading(anywhere=1.0))
    seen = Counter(misread(anywhere, placed, draws)["include"][1]["position"][0] for _ in range(800))
    assert set(seen) == set(RELATIONS) and all(abs(count / 800 - 0.25) < 0.07 for count in seen.values())
