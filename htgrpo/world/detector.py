"""The embedded world's exact detector: which class stands in which colour at which lattice cell, and how well it fits.

Every pixel gets the nearest palette colour; the mask of each colour is compared with the 48 templates at each of the 25
places an object can take; the fit is the intersection over union (IoU). Objects are then taken greedily, best first.
"""

from dataclasses import dataclass
from functools import cache, reduce

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from htgrpo.base.errors import UserError
from htgrpo.world.vocabulary import CELLS, CLASSES, COLOUR_NAMES, GRID, IMAGE, LATTICE, OBJECT, palette, templates

FLOOR = 0.6  # an object is reported from this IoU on; no template reaches more than 0.7 with another
PLACES = CELLS * CELLS
_CHUNK = 16  # images measured at once: what fits the cache; changes nothing else
_HALF = OBJECT // LATTICE


@dataclass(frozen=True)
class Detection:
    """One object found: class, palette colour, score = IoU in (0, 1], box (x1, y1, x2, y2) in px: its 16 x 16
    window."""

    cls: str
    colour: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Fits:
    """What was measured on a batch, before any decision. Places are row-major, colours and classes in vocabulary order.

    iou: float32 [B, colours, 25, classes].
    area: float32 [B, colours, 25], pixels of the colour in each window (0..256).
    foreground: float32 [B], pixels that are not background (0..2304).
    """

    iou: Tensor
    area: Tensor
    foreground: Tensor


@cache
def place_overlaps() -> np.ndarray:
    """bool [25, 25]: whether the windows at two places share pixels (a window overlaps itself)."""
    y, x = np.divmod(np.arange(PLACES), CELLS)
    return (abs(y[:, None] - y) < _HALF) & (abs(x[:, None] - x) < _HALF)


@cache
def _template_quarters() -> tuple[Tensor, Tensor]:
    """(float32 [64, 4 * classes]: the quarter templates as columns, quarters row-major; float32 [classes]: template
    areas).
    """
    masks = torch.from_numpy(templates().astype(np.float32))
    quarters = masks.reshape(len(masks), _HALF, LATTICE, _HALF, LATTICE).permute(2, 4, 1, 3, 0)
    return quarters.reshape(LATTICE * LATTICE, -1).contiguous(), masks.sum((1, 2))


def nearest_colours(images: Tensor) -> Tensor:
    """float [B, 3, H, W] in 0..1 -> uint8 [B, H, W]: 0 = background, 1.. = palette colours; ties go to the first."""
    red, green, blue = images.to(torch.float32).unbind(1)
    labels = torch.zeros(red.shape, dtype=torch.uint8)
    nearest = torch.full(red.shape, torch.inf)
    for number, (r, g, b) in enumerate((palette() / 255).tolist()):
        distance = (red - r).square_() + (green - g).square_() + (blue - b).square_()
        labels.masked_fill_(distance < nearest, number)
        torch.minimum(nearest, distance, out=nearest)
    return labels


def _windows(patches: Tensor) -> Tensor:
    """[M, 6, 6, 4, ...] values of the four quarters at every patch -> [M, 25, ...] sums over each window."""
    corners = [(row, column) for row in range(_HALF) for column in range(_HALF)]
    quarters = (patches[:, r : r + CELLS, c : c + CELLS, q] for q, (r, c) in enumerate(corners))
    summed = reduce(torch.add, quarters)
    return summed.reshape(len(patches), PLACES, *summed.shape[3:])


def _measure_chunk(images: Tensor, iou: Tensor, area: Tensor) -> Tensor:
    """Fills the rows of `iou` and `area` that belong to `images`; returns their foreground. Colours not shown stay
    zero.
    """
    labels = nearest_colours(images)
    tiles = labels.reshape(-1, GRID, LATTICE, GRID, LATTICE).permute(0, 1, 3, 2, 4).reshape(len(labels), GRID, GRID, -1)
    numbers = torch.arange(1, len(COLOUR_NAMES) + 1, dtype=torch.uint8)
    shown = (tiles.reshape(len(tiles), 1, -1) == numbers[:, None]).any(2)
    image, colour = shown.nonzero(as_tuple=True)  # most pictures show two or three of the six colours
    masks = (tiles[image] == numbers[colour, None, None, None]).float()
    quarters, template_area = _template_quarters()
    shared = _windows((masks @ quarters).reshape(len(masks), GRID, GRID, _HALF * _HALF, len(CLASSES)))
    window_area = _windows(masks.sum(-1)[..., None].expand(-1, -1, -1, _HALF * _HALF))
    iou[image, colour] = shared / (window_area[..., None] + template_area - shared)
    area[image, colour] = window_area
    return (labels != 0).sum((1, 2)).float()


def world_sized(images: Tensor) -> Tensor:
    """float32 [B, 3, 48, 48] on the CPU: images [B, 3, H, W] of another size are resized by area (each pixel is the
    mean of those it covers), which keeps neither their detail nor, where H and W differ, their proportions. This is the
    only place where pictures of other policies are made to fit this world.

    Raises UserError for another shape.
    """
    if images.dim() != 4 or images.shape[1] != 3 or not (images.shape[2] and images.shape[3]):
        raise UserError(
            f"images of shape {tuple(images.shape)} cannot be judged in the embedded world: they must be [B, 3, H, W]"
        )
    images = images.detach().to("cpu", torch.float32)
    return images if tuple(images.shape[2:]) == (IMAGE, IMAGE) else F.interpolate(images, (IMAGE, IMAGE), mode="area")


def measure(images: Tensor) -> Fits:
    """All fits of images float [B, 3, H, W] in 0..1 (see `world_sized`). An image's values do not depend on the others
    in its batch.

    Raises UserError for another shape or values that are not finite.
    """
    images = world_sized(images)
    if not torch.isfinite(images).all():
        raise UserError(
            "an image holds NaN or infinite pixels: values must lie in 0..1; look for the cause in the generation"
        )
    iou = torch.zeros(len(images), len(COLOUR_NAMES), PLACES, len(CLASSES))
    area = torch.zeros(len(images), len(COLOUR_NAMES), PLACES)
    rows = zip(images.split(_CHUNK), iou.split(_CHUNK), area.split(_CHUNK), strict=True)
    return Fits(iou, area, torch.cat([_measure_chunk(*chunk) for chunk in rows]))


def place_box(place: int) -> tuple[float, float, float, float]:
    """(x1, y1, x2, y2) in px of the window at a place."""
    y, x = divmod(place, CELLS)
    return (float(x * LATTICE), float(y * LATTICE), float(x * LATTICE + OBJECT), float(y * LATTICE + OBJECT))


def pick_objects(fits: Fits, floor: float = FLOOR) -> list[list[Detection]]:
    """The objects of each image, best first: the best fit of all, then the best whose window is still free, down to
    `floor`.
    """
    by_colour, cls = fits.iou.max(3)
    best, colour = by_colour.max(1)
    cls = cls.gather(1, colour[:, None])[:, 0]
    columns, overlaps = (best.numpy(), colour.tolist(), cls.tolist()), place_overlaps()
    found = []
    for scores, colours, classes in zip(*columns, strict=True):
        order = [int(place) for place in np.argsort(-scores, kind="stable") if scores[place] >= floor]
        free, detections = np.ones(PLACES, bool), []
        for place in order:
            if free[place]:
                free &= ~overlaps[place]
                names = CLASSES[classes[place]], COLOUR_NAMES[colours[place]]
                detections.append(Detection(*names, float(scores[place]), place_box(place)))
        found.append(detections)
    return found


def detect(images: Tensor) -> list[list[Detection]]:
    """The objects of images float [B, 3, H, W] in 0..1, one list an image, best first. Raises UserError, see
    `measure`."""
    return pick_objects(measure(images)) if len(images) else []
