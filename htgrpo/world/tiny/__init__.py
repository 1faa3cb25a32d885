"""The tiny world: 6 x 6 codes, 1 to 4 objects of 2 x 2 codes; the default, for a laptop and a few minutes."""

from htgrpo.world.drawings import DRAWINGS
from htgrpo.world.world import Misreading, World

_CATEGORIES = ("single_object", "two_object", "counting", "colors", "position", "color_attr", "dense")

WORLD = World(
    name="tiny",
    title="embedded world",
    policy="embedded",
    # 6 x 6 patches: with 8 x 8 a sequence is 1.5 times as long, and 45,000 pre-training pictures gave GenEval 0.08, where
    # 32,000 of these gave 0.25 (clean captions, same network).
    image=48,
    object=16,
    lattice=8,
    patch=8,
    background=(247, 244, 237),
    colours={  # names from GenEval's ten
        "red": (219, 58, 52), "yellow": (244, 180, 26), "green": (46, 156, 92), "blue": (44, 103, 211),
        "purple": (142, 68, 190), "black": (38, 40, 52),
    },
    fills=("solid", "hollow", "striped", "checked"),
    drawings=DRAWINGS,
    links=(((0, 1), (0, 2)), ((0, 1), (2, 3)), ((0, 1), (0, 2), (0, 3))),
    counts=(2, 3, 4),
    misreading=Misreading(fill=0.25, colour=0.25, count=0.25, inverse=0.25),
    confused_fill={"solid": "checked", "checked": "solid", "hollow": "striped", "striped": "hollow"},
    confused_colour={
        "red": "purple", "purple": "red", "blue": "black", "black": "blue", "yellow": "green", "green": "yellow",
    },
    heldout=dict.fromkeys(_CATEGORIES, 36) | {"single_object": 30, "dense": 40},
    validation=dict.fromkeys(_CATEGORIES, 12) | {"single_object": 10, "dense": 20},
    train_at_most=200,
    network=(64, 4, 4, 256),
    steps=9000,
)  # fmt: skip
