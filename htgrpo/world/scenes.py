"""Scenes: objects on the lattice, drawn at random so as to satisfy a prompt, and rendered to pixels."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt
from htgrpo.world.combinations import CATEGORIES
from htgrpo.world.draws import Draws
from htgrpo.world.noise import misread
from htgrpo.world.prompts import draw_training_prompt
from htgrpo.world.vocabulary import (
    CELLS,
    CLASS_INDEX,
    COLOUR_INDEX,
    COLOUR_NAMES,
    IMAGE,
    INVERSE,
    LATTICE,
    OBJECT,
    RELATIONS,
    palette,
    templates,
)

_TRIES = 2000  # whole layouts tried before a specification is called impossible


@dataclass(frozen=True)
class Object:
    """One object: its class, its palette colour, and the lattice cell (0..4, x to the right, y down) of its top-left
    patch.
    """

    cls: str
    colour: str
    x: int
    y: int


@dataclass(frozen=True)
class Scene:
    """A picture's contents; boxes never overlap."""

    objects: tuple[Object, ...]


def relations_of(spec: dict) -> list[tuple[int, str, int]]:
    """(subject, relation, target) of a specification, as indices into its `include` list."""
    stated = [(index, *clause["position"]) for index, clause in enumerate(spec["include"]) if "position" in clause]
    return stated + [tuple(item) for item in spec.get("relations", [])]


@cache
def _tables() -> tuple[list[int], dict[str, list[int]]]:
    """For each of the 25 lattice cells a bit set of the cells an object may take so that (first) the two boxes are
    disjoint, (second, by relation) it also stands in that relation to the first.

    A relation asks for two cells or more along its axis and at most half as many across, so that GenEval's position
    rule holds with a margin and holds along one axis only.
    """
    free: list = []
    related: dict[str, list] = {name: [] for name in RELATIONS}
    for here in range(CELLS * CELLS):
        hy, hx = divmod(here, CELLS)
        open_bits, bits = 0, dict.fromkeys(RELATIONS, 0)
        for there in range(CELLS * CELLS):
            ty, tx = divmod(there, CELLS)
            dx, dy, bit = tx - hx, ty - hy, 1 << there
            if max(abs(dx), abs(dy)) < OBJECT // LATTICE:
                continue
            open_bits |= bit
            if abs(dx) >= 2 * abs(dy):
                bits["right of" if dx > 0 else "left of"] |= bit
            elif abs(dy) >= 2 * abs(dx):
                bits["below" if dy > 0 else "above"] |= bit
        free.append(open_bits)
        for name in RELATIONS:
            related[name].append(bits[name])
    return free, related


def _place(count: int, relations: list[tuple[int, str, int]], draws: Draws) -> list[int] | None:
    """One random layout of `count` objects (cell numbers, row-major), or None where the draw ran into a dead end."""
    free, related = _tables()
    cells: list[int] = []
    for index in range(count):
        allowed = (1 << CELLS * CELLS) - 1
        for cell in cells:
            allowed &= free[cell]
        for subject, relation, target in relations:
            if subject == index and target < index:
                allowed &= related[relation][cells[target]]
            elif target == index and subject < index:
                allowed &= related[INVERSE[relation]][cells[subject]]
        if not allowed:
            return None
        cells.append(draws.choice([cell for cell in range(CELLS * CELLS) if allowed >> cell & 1]))
    return cells


def draw_scene(spec: dict, draws: Draws) -> Scene:
    """A random scene showing exactly what `spec` (GenEval's metadata shape) asks for and nothing else.

    Colours and places the specification leaves free are drawn uniformly, place by place among those still possible.
    Relations hold between clauses of count 1. Raises UserError when the requested objects do not fit.
    """
    clause_of = [index for index, clause in enumerate(spec["include"]) for _ in range(clause["count"])]
    first = {clause: index for index, clause in reversed(list(enumerate(clause_of)))}
    relations = [(first[subject], relation, first[target]) for subject, relation, target in relations_of(spec)]
    for _ in range(_TRIES):
        cells = _place(len(clause_of), relations, draws)
        if cells is not None:
            break
    else:
        raise UserError(f"no layout of {IMAGE} x {IMAGE} px satisfies specification {spec!r}: ask for fewer objects")
    objects = []
    for clause, cell in zip(clause_of, cells, strict=True):
        wanted = spec["include"][clause]
        colour = wanted.get("color") or draws.choice(COLOUR_NAMES)
        objects.append(Object(wanted["class"], colour, cell % CELLS, cell // CELLS))
    return Scene(tuple(objects))


@cache
def sprites() -> np.ndarray:
    """uint8 [classes, colours, 16, 16, 3]: every object on the background."""
    colours = palette()
    index = templates()[:, None] * np.arange(1, len(colours))[None, :, None, None]
    return colours[index]


def render(scene: Scene) -> np.ndarray:
    """The picture of a scene, uint8 [48, 48, 3]."""
    picture = np.empty((IMAGE, IMAGE, 3), np.uint8)
    picture[:] = palette()[0]
    pictures = sprites()
    for item in scene.objects:
        x, y = item.x * LATTICE, item.y * LATTICE
        picture[y : y + OBJECT, x : x + OBJECT] = pictures[CLASS_INDEX[item.cls], COLOUR_INDEX[item.colour]]
    return picture


def training_scenes(
    count: int, generator: torch.Generator, categories: tuple[str, ...] = CATEGORIES, noise: float = 0.0
) -> tuple[list[Prompt], list[Scene]]:
    """(prompts, scenes): `count` random training prompts (see `draw_training_prompt`) and a scene for each, drawn
    from a misreading of the prompt at rate `noise` (see htgrpo.world.noise)."""
    draws = Draws(generator, block=4096)
    prompts = [draw_training_prompt(draws, categories) for _ in range(count)]
    return prompts, [
        draw_scene(misread(prompt.spec, draws, noise) if noise else prompt.spec, draws) for prompt in prompts
    ]
