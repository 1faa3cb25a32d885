"""The large world: 12 x 12 codes, 1 to 5 objects of 4 x 4 codes with a rim and a shade, on patterned grounds.

Structure is what and where things are; detail is how they are drawn, which no prompt says: rim, shade and ground must
agree across the codes of an object or picture. Captions are mostly right about single objects and mostly wrong about how
things go together, as the published backbones are (docs/world.md).
"""

from htgrpo.world.drawings import DRAWINGS
from htgrpo.world.world import Look, Misreading, World

_SHAPES = ("circle", "square", "triangle", "cross", "heart", "moon", "arrow", "hourglass", "house", "tree")

WORLD = World(
    name="large",
    title="large embedded world",
    policy="embedded_large",
    image=48,
    object=16,
    lattice=8,
    patch=4,
    background=(247, 244, 237),
    accent=(226, 221, 209),
    grounds=(
        ("....|....|....|....",),
        ("....|.#..|....|....", "....|....|....|..#."),
        ("####|....|....|....", "....|....|####|...."),
        ("#...|#...|#...|#...", "..#.|..#.|..#.|..#."),
    ),
    colours={
        "red": (219, 58, 52), "yellow": (244, 180, 26), "green": (46, 156, 92), "blue": (44, 103, 211),
        "purple": (142, 68, 190), "black": (72, 76, 94),
    },
    shade={
        "red": (142, 24, 30), "yellow": (178, 118, 0), "green": (16, 92, 50), "blue": (14, 52, 132),
        "purple": (84, 26, 122), "black": (20, 20, 28),
    },
    looks=(Look(), Look(rim=True), Look(shaded=True), Look(rim=True, shaded=True)),
    fills=("solid", "striped", "checked"),
    drawings={shape: DRAWINGS[shape] for shape in _SHAPES},
    links=(
        ((0, 1), (0, 2)),
        ((0, 1), (2, 3)),
        ((0, 1), (0, 2), (0, 3)),
        ((0, 1), (2, 3), (0, 4)),
    ),
    counts=(2, 3, 4, 5),
    misreading=Misreading(fill=0.03, colour=0.1, count=0.35, swap=0.35, drop=0.2, anywhere=0.7),
    confused_fill={"solid": "checked", "striped": "solid", "checked": "striped"},
    confused_colour={
        "red": "purple", "purple": "red", "blue": "black", "black": "blue", "yellow": "green", "green": "yellow",
    },
    heldout={
        "single_object": 14, "two_object": 150, "counting": 50, "colors": 80, "position": 300, "color_attr": 300,
        "dense": 300,
    },
    validation={
        "single_object": 6, "two_object": 30, "counting": 12, "colors": 20, "position": 30, "color_attr": 30,
        "dense": 30,
    },
    train_at_most=200,
    network=(96, 6, 4, 384),
    steps=8000,
    lr=6e-3,
    muon=8e-3,
    products="bfloat16",
    rope_theta=100.0,
)  # fmt: skip
