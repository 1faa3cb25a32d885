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
from htgrpo.world.world import INVERSE, RELATIONS, World

_TRIES = 2000  # whole layouts tried before a specification is called impossible


@dataclass(frozen=True)
class Object:
    """One object: its class, its palette colour, the lattice cell (x to the right, y down) of its top-left corner, and
    the look it is drawn with."""

    cls: str
    colour: str
    x: int
    y: int
    look: int = 0


@dataclass(frozen=True)
class Scene:
    """A picture's contents; boxes never overlap. ground: the code of every background patch in raster order, () where
    all are 0."""

    objects: tuple[Object, ...]
    ground: tuple[int, ...] = ()


def relations_of(spec: dict) -> list[tuple[int, str, int]]:
    """(subject, relation, target) of a specification, as indices into its `include` list."""
    stated = [(index, *clause["position"]) for index, clause in enumerate(spec["include"]) if "position" in clause]
    return stated + [tuple(item) for item in spec.get("relations", [])]


@cache
def _tables(world: World) -> tuple[list[int], dict[str, list[int]]]:
    """For each lattice cell a bit set of the cells an object may take so that (first) the two boxes are
    disjoint, (second, by relation) it also stands in that relation to the first.

    A relation asks for two cells or more along its axis and at most half as many across, so that GenEval's position
    rule holds with a margin and holds along one axis only.
    """
    free: list = []
    related: dict[str, list] = {name: [] for name in RELATIONS}
    cells = world.cells
    for here in range(cells * cells):
        hy, hx = divmod(here, cells)
        open_bits, bits = 0, dict.fromkeys(RELATIONS, 0)
        for there in range(cells * cells):
            ty, tx = divmod(there, cells)
            dx, dy, bit = tx - hx, ty - hy, 1 << there
            if max(abs(dx), abs(dy)) < world.span:
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


def _place(world: World, count: int, relations: list[tuple[int, str, int]], draws: Draws) -> list[int] | None:
    """One random layout of `count` objects (cell numbers, row-major), or None where the draw ran into a dead end."""
    free, related = _tables(world)
    cells: list[int] = []
    for index in range(count):
        allowed = (1 << len(free)) - 1
        for cell in cells:
            allowed &= free[cell]
        for subject, relation, target in relations:
            if subject == index and target < index:
                allowed &= related[relation][cells[target]]
            elif target == index and subject < index:
                allowed &= related[INVERSE[relation]][cells[subject]]
        if not allowed:
            return None
        cells.append(draws.choice([cell for cell in range(len(free)) if allowed >> cell & 1]))
    return cells


def draw_scene(world: World, spec: dict, draws: Draws) -> Scene:
    """A random scene showing exactly what `spec` (GenEval's metadata shape) asks for and nothing else.

    Colours and places the specification leaves free are drawn uniformly, place by place among those still possible.
    Relations hold between clauses of count 1. Raises UserError when the requested objects do not fit.
    """
    clause_of = [index for index, clause in enumerate(spec["include"]) for _ in range(clause["count"])]
    first = {clause: index for index, clause in reversed(list(enumerate(clause_of)))}
    relations = [(first[subject], relation, first[target]) for subject, relation, target in relations_of(spec)]
    for _ in range(_TRIES):
        cells = _place(world, len(clause_of), relations, draws)
        if cells is not None:
            break
    else:
        raise UserError(
            f"no layout of {world.image} x {world.image} px satisfies specification {spec!r}: ask for fewer objects"
        )
    objects = []
    for clause, cell in zip(clause_of, cells, strict=True):
        wanted = spec["include"][clause]
        colour = wanted.get("color") or draws.choice(world.colour_names)
        look = draws.integer(len(world.looks)) if len(world.looks) > 1 else 0
        objects.append(Object(wanted["class"], colour, cell % world.cells, cell // world.cells, look))
    return Scene(tuple(objects), _draw_ground(world, draws))


def _draw_ground(world: World, draws: Draws) -> tuple[int, ...]:
    """One of the grounds; each patch shows any of its patterns. Nothing is drawn where there is one only."""
    codes = ground_codes(world)
    if len(codes) == 1:
        return ()
    ground = draws.choice(codes)
    return tuple(draws.choice(ground) if len(ground) > 1 else ground[0] for _ in range(world.grid**2))


@cache
def sprites(world: World) -> np.ndarray:
    """uint8 [classes, colours, looks, object, object, 3]: every object on the background."""
    colour = np.arange(1, len(world.colours) + 1)[None, :, None, None, None]
    template, shade = world.templates[:, None, None], world.shades[:, None]
    return world.palette[template * colour + shade * len(world.colours)]


@cache
def ground_patches(world: World) -> np.ndarray:
    """uint8 [K, patch, patch, 3]: the background patches, each once; the first is plain."""
    plain = np.zeros((world.patch, world.patch), int)
    found = {plain.tobytes(): plain}
    for pattern in (pattern for ground in world.grounds for pattern in ground if pattern):
        marks = np.array([[pixel == "#" for pixel in row] for row in pattern.split("|")]) * (len(world.palette) - 1)
        found.setdefault(marks.tobytes(), marks)
    return world.palette[np.stack(list(found.values()))]


@cache
def ground_codes(world: World) -> tuple[tuple[int, ...], ...]:
    """The codes of every ground: of each of its patterns."""
    number = {pattern: 0 for ground in world.grounds for pattern in ground if "#" not in pattern}
    for pattern in (pattern for ground in world.grounds for pattern in ground):
        number.setdefault(pattern, len(set(number.values())))
    return tuple(tuple(number[pattern] for pattern in ground) for ground in world.grounds)


def render(world: World, scene: Scene) -> np.ndarray:
    """The picture of a scene, uint8 [image, image, 3]."""
    ground = ground_patches(world)[np.array(scene.ground or [0] * world.grid**2).reshape(world.grid, world.grid)]
    picture = ground.swapaxes(1, 2).reshape(world.image, world.image, 3)
    pictures, size = sprites(world), world.object
    for item in scene.objects:
        x, y = item.x * world.lattice, item.y * world.lattice
        own = world.class_index[item.cls], world.colour_index[item.colour], item.look
        picture[y : y + size, x : x + size] = pictures[own]
    return picture


def training_scenes(
    world: World, count: int, generator: torch.Generator, categories: tuple[str, ...] = CATEGORIES, noisy: bool = False
) -> tuple[list[Prompt], list[Scene]]:
    """(prompts, scenes): `count` random training prompts (see `draw_training_prompt`) and a scene for each; noisy:
    drawn from a misreading of the prompt (see htgrpo.world.noise)."""
    draws = Draws(generator, block=4096)
    prompts = [draw_training_prompt(world, draws, categories) for _ in range(count)]
    return prompts, [
        draw_scene(world, misread(world, prompt.spec, draws) if noisy else prompt.spec, draws) for prompt in prompts
    ]
