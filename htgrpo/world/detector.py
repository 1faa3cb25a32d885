"""The embedded worlds' exact detector: which class stands in which colour at which lattice cell, and how well it fits.

Every pixel gets the nearest palette colour; the mask of each colour is compared with the templates at each of the places
an object can take; the fit is the intersection over union (IoU), where only pixels in the tone of the look that fits best
count as shared. Objects are then taken greedily, best first.
"""

from dataclasses import dataclass
from functools import cache, reduce

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from htgrpo.base.errors import UserError
from htgrpo.world.world import World

FLOOR = 0.6  # an object is reported from this IoU on; no template reaches more than 0.7 with another
_CHUNK = 16  # images measured at once: what fits the cache; changes nothing else


@dataclass(frozen=True)
class Detection:
    """One object found: class, palette colour, score = IoU in (0, 1], box (x1, y1, x2, y2) in px: its window."""

    cls: str
    colour: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Fits:
    """What was measured on a batch, before any decision. Places are row-major, colours and classes in vocabulary order.

    iou: float32 [B, colours, places, classes].
    area: float32 [B, colours, places], pixels of the colour in each window, in any of its tones.
    foreground: float32 [B], pixels that are not background.
    """

    iou: Tensor
    area: Tensor
    foreground: Tensor


@cache
def place_overlaps(world: World) -> np.ndarray:
    """bool [places, places]: whether the windows at two places share pixels (a window overlaps itself)."""
    y, x = np.divmod(np.arange(world.cells**2), world.cells)
    return (abs(y[:, None] - y) < world.span) & (abs(x[:, None] - x) < world.span)


@cache
def _template_parts(world: World) -> tuple[Tensor, Tensor, Tensor]:
    """(float32 [tones, tile px, parts * classes * looks]: the parts of every look's pixels in each tone as columns, parts
    row-major; the same of the templates, [tile px, parts * classes]; float32 [classes]: template areas)."""
    span, tile = world.span, world.lattice

    def parts(masks: np.ndarray) -> Tensor:
        """[M, object, object] -> [tile px, parts * M]"""
        cut = torch.from_numpy(masks.astype(np.float32)).reshape(-1, span, tile, span, tile).permute(2, 4, 1, 3, 0)
        return cut.reshape(tile * tile, -1).contiguous()

    shades = world.shades
    tones = (world.templates[:, None] & ~shades, shades)[: world.tones]
    return (
        torch.stack([parts(tone) for tone in tones]),
        parts(world.templates),
        torch.from_numpy(world.templates.sum((1, 2)).astype(np.float32)),
    )


def nearest_colours(world: World, images: Tensor) -> Tensor:
    """float [B, 3, H, W] in 0..1 -> uint8 [B, H, W]: 0 = background, its accent included, 1.. = the other palette colours;
    ties go to the first."""
    red, green, blue = images.to(torch.float32).unbind(1)
    labels = torch.zeros(red.shape, dtype=torch.uint8)
    nearest = torch.full(red.shape, torch.inf)
    for number, (r, g, b) in enumerate((world.palette / 255).tolist()):
        distance = (red - r).square_() + (green - g).square_() + (blue - b).square_()
        labels.masked_fill_(distance < nearest, number)
        torch.minimum(nearest, distance, out=nearest)
    return labels.masked_fill_(labels > world.tones * len(world.colours), 0)


def _windows(world: World, tiles: Tensor) -> Tensor:
    """[M, h, w, parts, ...] values of an object's parts at every tile -> [M, places, ...] sums over each window."""
    corners = [(row, column) for row in range(world.span) for column in range(world.span)]
    parts = (tiles[:, r : r + world.cells, c : c + world.cells, q] for q, (r, c) in enumerate(corners))
    summed = reduce(torch.add, parts)
    return summed.reshape(len(tiles), world.cells**2, *summed.shape[3:])


def _measure_chunk(world: World, images: Tensor, iou: Tensor, area: Tensor) -> Tensor:
    """Fills the rows of `iou` and `area` that belong to `images`; returns their foreground. Colours not shown stay
    zero.
    """
    labels, side, tile = nearest_colours(world, images), world.image // world.lattice, world.lattice
    tiles = labels.reshape(-1, side, tile, side, tile).permute(0, 1, 3, 2, 4).reshape(len(labels), side, side, -1)
    # the numbers of every colour, one a tone
    numbers = torch.arange(1, world.tones * len(world.colours) + 1, dtype=torch.uint8).reshape(world.tones, -1)
    shown = (tiles.reshape(len(tiles), 1, 1, -1) == numbers[..., None]).any(3).any(1)
    image, colour = shown.nonzero(as_tuple=True)  # most pictures show two or three of the six colours
    masks = [(tiles[image] == tone[colour, None, None, None]).float() for tone in numbers]
    looks, templates, template_area = _template_parts(world)
    parts, columns, mask = world.span**2, len(world.looks) * len(template_area), reduce(torch.add, masks)
    window_area = _windows(world, mask.sum(-1)[..., None].expand(-1, -1, -1, parts))
    matched = reduce(torch.add, (own @ look for own, look in zip(masks, looks, strict=True)))
    shared = _windows(world, matched.reshape(len(mask), side, side, parts, columns))
    if world.tones == 1:
        union = window_area[..., None] + template_area - shared
    else:
        shared = shared.reshape(*shared.shape[:2], len(template_area), len(world.looks)).amax(-1)
        covered = _windows(world, (mask @ templates).reshape(len(mask), side, side, parts, len(template_area)))
        union = window_area[..., None] + template_area - covered
    iou[image, colour] = shared / union
    area[image, colour] = window_area
    return (labels != 0).sum((1, 2)).float()


def world_sized(world: World, images: Tensor) -> Tensor:
    """float32 [B, 3, image, image] on the CPU: images [B, 3, H, W] of another size are resized by area (each pixel is the
    mean of those it covers), which keeps neither their detail nor, where H and W differ, their proportions. This is the
    only place where pictures of other policies are made to fit this world.

    Raises UserError for another shape.
    """
    if images.dim() != 4 or images.shape[1] != 3 or not (images.shape[2] and images.shape[3]):
        raise UserError(
            f"images of shape {tuple(images.shape)} cannot be judged in an embedded world: they must be [B, 3, H, W]"
        )
    images = images.detach().to("cpu", torch.float32)
    size = (world.image, world.image)
    return images if tuple(images.shape[2:]) == size else F.interpolate(images, size, mode="area")


def measure(world: World, images: Tensor) -> Fits:
    """All fits of images float [B, 3, H, W] in 0..1 (see `world_sized`). An image's values do not depend on the others
    in its batch.

    Raises UserError for another shape or values that are not finite.
    """
    images = world_sized(world, images)
    if not torch.isfinite(images).all():
        raise UserError(
            "an image holds NaN or infinite pixels: values must lie in 0..1; look for the cause in the generation"
        )
    iou = torch.zeros(len(images), len(world.colours), world.cells**2, len(world.classes))
    area = torch.zeros(len(images), len(world.colours), world.cells**2)
    rows = zip(images.split(_CHUNK), iou.split(_CHUNK), area.split(_CHUNK), strict=True)
    return Fits(iou, area, torch.cat([_measure_chunk(world, *chunk) for chunk in rows]))


def place_box(world: World, place: int) -> tuple[float, float, float, float]:
    """(x1, y1, x2, y2) in px of the window at a place."""
    y, x = (world.lattice * cell for cell in divmod(place, world.cells))
    return (float(x), float(y), float(x + world.object), float(y + world.object))


def place_at(world: World, box: tuple[float, float, float, float]) -> int:
    """The place whose window is `box` (`place_box`)."""
    return int(box[1]) // world.lattice * world.cells + int(box[0]) // world.lattice


def pick_objects(world: World, fits: Fits, floor: float = FLOOR) -> list[list[Detection]]:
    """The objects of each image, best first: the best fit of all, then the best whose window is still free, down to
    `floor`.
    """
    by_colour, cls = fits.iou.max(3)
    best, colour = by_colour.max(1)
    cls = cls.gather(1, colour[:, None])[:, 0]
    columns, overlaps = (best.numpy(), colour.tolist(), cls.tolist()), place_overlaps(world)
    found = []
    for scores, colours, classes in zip(*columns, strict=True):
        order = [int(place) for place in np.argsort(-scores, kind="stable") if scores[place] >= floor]
        free, detections = np.ones(len(overlaps), bool), []
        for place in order:
            if free[place]:
                free &= ~overlaps[place]
                names = world.classes[classes[place]], world.colour_names[colours[place]]
                detections.append(Detection(*names, float(scores[place]), place_box(world, place)))
        found.append(detections)
    return found


def detect(world: World, images: Tensor) -> list[list[Detection]]:
    """The objects of images float [B, 3, H, W] in 0..1, one list an image, best first. Raises UserError, see
    `measure`."""
    return pick_objects(world, measure(world, images)) if len(images) else []
