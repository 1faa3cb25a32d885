"""What the embedded world is made of: shapes, fills, colours, sizes, and the 48 pixel templates.

A class is a fill and a shape ("striped heart"). Every object is a crisp 16 x 16 px template in one palette colour, set
on an 8-px lattice, so that a picture is exactly a 6 x 6 grid of 8 x 8 px patches.
"""

from functools import cache

import numpy as np

# 6 x 6 patches: with 8 x 8 a sequence is 1.5 times as long, and 45,000 pre-training pictures gave GenEval 0.08, where
# 32,000 of these gave 0.25 (clean captions, same network).
IMAGE, OBJECT, LATTICE = 48, 16, 8  # px
GRID = IMAGE // LATTICE  # patches along one side of a picture
CELLS = GRID - OBJECT // LATTICE + 1  # lattice positions of an object along one axis: 0 .. CELLS - 1

BACKGROUND = (247, 244, 237)
COLOURS = {  # names from GenEval's ten
    "red": (219, 58, 52), "yellow": (244, 180, 26), "green": (46, 156, 92), "blue": (44, 103, 211),
    "purple": (142, 68, 190), "black": (38, 40, 52),
}  # fmt: skip
COLOUR_NAMES = tuple(COLOURS)

FILLS = ("solid", "hollow", "striped", "checked")
_DRAWINGS = {  # 16 rows of 16; '#' is foreground
    "circle":    "................ ................ .....######..... ....########.... "
                 "...##########... ..############.. ..############.. ..############.. "
                 "..############.. ..############.. ..############.. ...##########... "
                 "....########.... .....######..... ................ ................",
    "square":    "################ ################ ################ ################ "
                 "################ ################ ################ ################ "
                 "################ ################ ################ ################ "
                 "################ ################ ################ ################",
    "triangle":  "................ .......##....... .......##....... ......####...... "
                 "......####...... .....######..... .....######..... ....########.... "
                 "....########.... ...##########... ...##########... ..############.. "
                 "..############.. .##############. .##############. ................",
    "cross":     "......####...... ......####...... ......####...... ......####...... "
                 "......####...... ......####...... ################ ################ "
                 "################ ################ ......####...... ......####...... "
                 "......####...... ......####...... ......####...... ......####......",
    "heart":     "................ ..####....####.. .######..######. .##############. "
                 ".##############. .##############. .##############. .##############. "
                 "..############.. ...##########... ....########.... .....######..... "
                 "......####...... .......##....... ................ ................",
    "moon":      "......######.... ....######...... ...######....... ..######........ "
                 ".######......... .######......... .#####.......... .#####.......... "
                 ".#####.......... .#####.......... .######......... .######......... "
                 "..######......## ...############. ....##########.. ......######....",
    "arrow":     ".........#...... .........##..... .........###.... .........####... "
                 ".........#####.. ##############.. ###############. ################ "
                 "################ ###############. ##############.. .........#####.. "
                 ".........####... .........###.... .........##..... .........#......",
    "hourglass": "################ ################ .##############. ..############.. "
                 "...##########... ....########.... .....######..... ......####...... "
                 "......####...... .....######..... ....########.... ...##########... "
                 "..############.. .##############. ################ ################",
    "house":     ".......##....... ......####...... .....######..... ....########.... "
                 "...##########... ..############.. .##############. ################ "
                 "################ .######..######. .#####....#####. .#####....#####. "
                 ".#####....#####. .#####....#####. .#####....#####. .#####....#####.",
    "bolt":      "......########.. .....########... .....#######.... ....#######..... "
                 "....######...... ...###########.. ...##########... ..##########.... "
                 "......#######... .....######..... .....#####...... ....#####....... "
                 "....####........ ...###.......... ...##........... ..##............",
    "tree":      ".......##....... .......##....... ......####...... .....######..... "
                 "....########.... ......####...... .....######..... ....########.... "
                 "...##########... ..############.. .##############. ################ "
                 "......####...... ......####...... ......####...... ......####......",
    "flag":      "##.............. ###########..... #############... ###############. "
                 "################ ###############. #############... ###########..... "
                 "########........ ###............. ###............. ###............. "
                 "###............. ###............. ###............. ###.............",
}  # fmt: skip
RELATIONS = ("left of", "right of", "above", "below")
INVERSE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}

SHAPES = tuple(_DRAWINGS)
CLASSES = tuple(f"{fill} {shape}" for fill in FILLS for shape in SHAPES)
CLASS_INDEX = {name: index for index, name in enumerate(CLASSES)}
COLOUR_INDEX = {name: index for index, name in enumerate(COLOUR_NAMES)}


def palette() -> np.ndarray:
    """uint8 [1 + colours, 3]: the background, then the colours in order."""
    return np.array([BACKGROUND, *COLOURS.values()], np.uint8)


def shape_of(name: str) -> str:
    """The shape of a class: "striped heart" -> "heart"."""
    return name.split()[1]


def plural(name: str) -> str:
    """The plural of a class name: "striped cross" -> "striped crosses"."""
    return name + ("es" if name.endswith("s") else "s")


def _outline(mask: np.ndarray) -> np.ndarray:
    """The pixels of `mask` with at least one of their eight neighbours outside it."""
    padded = np.pad(mask, 1)
    inside = mask.copy()
    for dy in range(3):
        for dx in range(3):
            inside &= padded[dy : dy + OBJECT, dx : dx + OBJECT]
    return mask & ~inside


@cache
def templates() -> np.ndarray:
    """bool [48, 16, 16]: the foreground pixels of every class, in the order of CLASSES. Read-only."""
    y, x = np.mgrid[:OBJECT, :OBJECT]
    masks = []
    for fill in FILLS:
        for drawing in _DRAWINGS.values():
            body = np.array([[pixel == "#" for pixel in row] for row in drawing.split()])
            pattern = {
                "solid": body,
                "hollow": _outline(body),
                "striped": body & (y // 2 % 2 == 0),
                "checked": body & ((x // 2 + y // 2) % 2 == 0),
            }[fill]
            masks.append(pattern)
    result = np.stack(masks)
    result.setflags(write=False)
    return result
