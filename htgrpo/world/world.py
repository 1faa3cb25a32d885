"""What an embedded world is made of. A world is a folder beside this file whose __init__ holds WORLD, and whose assets
are its splits and its policy; everything else is shared.

A class is a fill and a shape ("striped heart"). Every object is a crisp template in one palette colour, set on a
lattice, so that a picture is exactly a grid of patches, each of which is one code.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

from htgrpo.base.errors import UserError, suggest

if TYPE_CHECKING:
    import numpy as np

RELATIONS = ("left of", "right of", "above", "below")
INVERSE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}
TINY = "tiny"

Colour = tuple[int, int, int]
Links = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Misreading:
    """Probabilities that a fact of a pre-training caption is not true of its picture (htgrpo.world.noise).

    fill, colour, count: replaced by what it is easily confused with. swap: two coloured objects have each other's
    colours. drop: the second of two objects is missing. inverse: a stated position is turned round. anywhere: a stated
    position is any of the four.
    """

    fill: float = 0.0
    colour: float = 0.0
    count: float = 0.0
    swap: float = 0.0
    drop: float = 0.0
    inverse: float = 0.0
    anywhere: float = 0.0


@dataclass(frozen=True)
class Look:
    """How an object may be drawn where no prompt says it: with a darker rim, shaded below its diagonal."""

    rim: bool = False
    shaded: bool = False


@dataclass(frozen=True, eq=False)
class World:
    """The data of a world. policy: the name its shipped policy is asked for by, which is its backbone's too. image,
    object, lattice, patch: sizes in px of a picture, an object, the steps between its possible places, and a code.
    drawings: rows of an object's pixels by shape. links: (subject, target) pairs of relations a dense prompt may
    have. looks, grounds: one of each is drawn for every object and every picture, unsaid by any prompt, and its
    patches must agree on it; a ground is patterns of a patch in which '#' is the accent, any of which a background
    patch may show. shade: the darker tone of each colour, where looks need one. heldout, validation: prompts of each
    category; train_at_most: likewise. network: width, layers, heads and feed-forward width of its policy; steps, lr,
    muon, products: of its pre-training, as bench.pretrain says; rope_theta: base of its rotary embedding, where a small
    one tells so few positions apart best."""

    name: str
    title: str
    policy: str
    image: int
    object: int
    lattice: int
    patch: int
    background: Colour
    colours: Mapping[str, Colour]
    fills: tuple[str, ...]
    drawings: Mapping[str, str]
    links: tuple[Links, ...]
    counts: tuple[int, ...]
    misreading: Misreading
    confused_fill: Mapping[str, str]
    confused_colour: Mapping[str, str]
    heldout: Mapping[str, int]
    validation: Mapping[str, int]
    train_at_most: int
    network: tuple[int, int, int, int]
    steps: int
    lr: float = 2e-3
    muon: float = 0.0
    products: str = "float32"
    rope_theta: float = 500_000.0
    looks: tuple[Look, ...] = (Look(),)
    shade: Mapping[str, Colour] = field(default_factory=dict)
    grounds: tuple[tuple[str, ...], ...] = (("",),)
    accent: Colour | None = None

    @property
    def assets(self) -> Traversable:
        """The folder of splits.json and the shipped policy."""
        return files(f"{__package__}.{self.name}") / "assets"

    @property
    def shipped(self) -> Traversable:
        """The folder of the policy that ships with the package, if one does."""
        return self.assets / "policy"

    @property
    def grid(self) -> int:
        """Codes along one side of a picture."""
        return self.image // self.patch

    @property
    def cells(self) -> int:
        """Places of an object along one axis; they are numbered row by row."""
        return (self.image - self.object) // self.lattice + 1

    @property
    def span(self) -> int:
        """Lattice steps along one side of an object."""
        return self.object // self.lattice

    @property
    def tones(self) -> int:
        """Tones of every colour: 1, or 2 with the shade."""
        return 2 if self.shade else 1

    @cached_property
    def shapes(self) -> tuple[str, ...]:
        return tuple(self.drawings)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return tuple(f"{fill} {shape}" for fill in self.fills for shape in self.shapes)

    @cached_property
    def colour_names(self) -> tuple[str, ...]:
        return tuple(self.colours)

    @cached_property
    def class_index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.classes)}

    @cached_property
    def colour_index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.colour_names)}

    @cached_property
    def palette(self) -> np.ndarray:
        """uint8 [1 + colours x tones + accents, 3]: the background, the colours in order, their shades, and the
        background's accent where there is one."""
        import numpy as np

        rows = [self.background, *self.colours.values(), *self.shade.values(), *([self.accent] if self.accent else [])]
        return np.array(rows, np.uint8)

    @cached_property
    def bodies(self) -> np.ndarray:
        """bool [classes, object, object]: the filled outline of every class's shape."""
        import numpy as np

        bodies = [[[pixel == "#" for pixel in row] for row in drawing.split()] for drawing in self.drawings.values()]
        return np.tile(np.array(bodies), (len(self.fills), 1, 1))

    @cached_property
    def templates(self) -> np.ndarray:
        """bool [classes, object, object]: the foreground pixels of every class, in the order of `classes`."""
        import numpy as np

        y, x = np.mgrid[: self.object, : self.object]
        patterns = {
            "solid": np.ones_like(y, bool),
            "hollow": None,
            "striped": y // 2 % 2 == 0,
            "checked": (x // 2 + y // 2) % 2 == 0,
        }
        masks = []
        for name, body in zip(self.classes, self.bodies, strict=True):
            pattern = patterns[name.split()[0]]
            masks.append(_outline(body) if pattern is None else body & pattern)
        return np.stack(masks)

    @cached_property
    def shades(self) -> np.ndarray:
        """bool [classes, looks, object, object]: the pixels of every template that each look draws in the shade."""
        import numpy as np

        y, x = np.mgrid[: self.object, : self.object]
        below, found = x + y >= self.object, []
        for body, template in zip(self.bodies, self.templates, strict=True):
            rim = _outline(body)
            found.append([template & ((look.rim & rim) | (look.shaded & below)) for look in self.looks])
        return np.array(found)

    def clause_of(self, text: str) -> str:
        """`text` where it names a class. Raises UserError with the nearest otherwise."""
        if text not in self.class_index:
            raise suggest(text, self.classes, f"class of the {self.title}")
        return text


def shape_of(name: str) -> str:
    """The shape of a class: "striped heart" -> "heart"."""
    return name.split()[1]


def plural(name: str) -> str:
    """The plural of a class name: "striped cross" -> "striped crosses"."""
    return name + ("es" if name.endswith("s") else "s")


def _outline(mask: np.ndarray) -> np.ndarray:
    """The pixels of `mask` with at least one of their eight neighbours outside it."""
    import numpy as np

    height, width = mask.shape
    padded = np.pad(mask, 1)
    inside = mask.copy()
    for dy in range(3):
        for dx in range(3):
            inside &= padded[dy : dy + height, dx : dx + width]
    return mask & ~inside


@cache
def names() -> tuple[str, ...]:
    """The worlds there are."""
    package = import_module(__package__)
    return tuple(sorted(found.name for found in pkgutil.iter_modules(package.__path__) if found.ispkg))


@cache
def find(name: str = TINY) -> World:
    """The world of this name. Raises UserError for another."""
    if name not in names():
        raise suggest(name, names(), "world")
    return import_module(f"{__package__}.{name}").WORLD


def policies() -> list[str]:
    """The names of the worlds' shipped policies, that of the tiny one first."""
    worlds = sorted(map(find, names()), key=lambda world: world.name != TINY)
    return [world.policy for world in worlds if world.shipped.is_dir()]


@cache
def by_policy(policy: str) -> World | None:
    """The world whose policies are called so, None where none is."""
    return next((world for world in map(find, names()) if world.policy == policy), None)


def of_policy(backbone: str, source: str, why: str) -> World:
    """The world of a policy that was given as `source`. Raises UserError where it has none, and needs one for `why`."""
    world = by_policy(backbone)
    if world is None:
        raise UserError(
            f"the policy {source!r} is of the backbone {backbone!r}, but {why}: give {' or '.join(policies())}, or a "
            "policy that was made or trained in such a world"
        )
    return world


def world_of(spec: Mapping[str, Any]) -> World:
    """The world that a prompt's specification belongs to."""
    name = spec.get("world", TINY)
    if not isinstance(name, str):
        raise UserError(f"a prompt's world is {name!r}, which is no name: accepted {', '.join(names())}")
    return find(name)
