"""Misread captions: each fact is swapped at the stated rate, for its counterpart, and the result can always be
drawn."""

from collections import Counter

from htgrpo.base.rng import generator
from htgrpo.world.draws import Draws
from htgrpo.world.noise import COLOUR, FILL, misread
from htgrpo.world.prompts import draw_training_prompt
from htgrpo.world.scenes import draw_scene
from htgrpo.world.vocabulary import COLOUR_NAMES, FILLS, INVERSE, shape_of


def test_counterparts_are_pairs():
    assert set(FILL) == set(FILLS) and set(COLOUR) == set(COLOUR_NAMES)
    for table in (FILL, COLOUR, INVERSE):
        assert all(table[table[name]] == name != table[name] for name in table)


def test_no_noise_changes_nothing_and_full_noise_every_fact():
    draws = Draws(generator("noise", 1))
    for _ in range(100):
        spec = draw_training_prompt(Draws(generator("noise", "prompt", _))).spec
        assert misread(spec, draws, 0.0) == spec
        seen = misread(spec, draws, 1.0)
        for before, after in zip(spec["include"], seen["include"], strict=True):
            assert after["class"] != before["class"] and shape_of(after["class"]) == shape_of(before["class"])
            assert "color" not in before or after["color"] == COLOUR[before["color"]]
            assert "position" not in before or after["position"][0] == INVERSE[before["position"][0]]
            moved = abs(after["count"] - before["count"])
            assert moved == (spec["tag"] == "counting") and 1 <= after["count"] <= 4


def test_the_rate_is_the_rate():
    draws, hits, facts = Draws(generator("noise", 2)), Counter(), 2000
    spec = {"tag": "colors", "include": [{"class": "solid circle", "count": 1, "color": "red"}]}
    for _ in range(facts):
        seen = misread(spec, draws, 0.35)["include"][0]
        hits["fill"] += seen["class"] != "solid circle"
        hits["colour"] += seen["color"] != "red"
    for count in hits.values():
        assert abs(count / facts - 0.35) < 4 * (0.35 * 0.65 / facts) ** 0.5


def test_every_misreading_can_be_drawn():
    draws = Draws(generator("noise", 3), block=512)
    for index in range(300):
        draw_scene(misread(draw_training_prompt(Draws(generator("noise", "draw", index))).spec, draws, 0.5), draws)
