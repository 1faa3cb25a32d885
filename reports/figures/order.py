"""In which order a picture's slots were revealed, as the manifests of generation tell it, and that order as a small
picture."""

import base64
import io
import math
import zlib

import numpy as np
from matplotlib import colormaps
from PIL import Image

from htgrpo.base.errors import UserError
from reports.run.blocks import Block
from reports.run.load import Run

ALPHA = 0.3
"""HT-GRPO's own share of structure tokens, where no method of the run sets another."""
COLOURS = "RdYlBu"
"""Early is red and late is blue, as in the paper's Figure 2."""
SHADES, SIDE = 24, 120
INK = (20, 20, 20)
Orders = dict[str, dict[str, np.ndarray]]
"""Method -> prompt -> rank, int [h, w]."""


def structure_share(run: Run) -> float:
    """alpha: the share of slots that count as structure, from the options of the run's methods."""
    options = (train.get("method_options") or {} for train in run.config.get("train", {}).values())
    return next((float(o["alpha"]) for o in options if "alpha" in o), ALPHA)


def orders(run: Run, policy: str, block: Block) -> dict[str, np.ndarray]:
    """Prompt id -> rank of every slot of its first picture, int [h, w] from 1 (first) to h w; empty where none was
    recorded.

    Raises UserError for a record that is no order.
    """
    found = {}
    for record in run.manifest(policy, block.picture_set, block.setting).values():
        if "rank" in record:
            try:
                ranks = np.frombuffer(zlib.decompress(base64.b64decode(record["rank"], validate=True)), "<u2")
                found[record["prompt_id"]] = ranks.astype(int).reshape(record["grid"])
            except (ValueError, KeyError, TypeError, zlib.error) as error:
                raise UserError(
                    f"the order of {record.get('file')!r} in the manifest of {policy} ({block.picture_set}, {block.setting}) "
                    f"cannot be read ({error}): generate these pictures again"
                ) from error
    return found


def all_equal(by_method: Orders) -> bool:
    """Whether several methods revealed every picture in the very same order, as where the noise alone sets it."""
    first, *rest = by_method.values()
    return bool(rest) and all(o.keys() == first.keys() and all((o[p] == first[p]).all() for p in o) for o in rest)


def structure(rank: np.ndarray, alpha: float) -> np.ndarray:
    """bool [h, w]: the first floor(alpha N) slots of `rank`, int [h, w]."""
    return rank <= math.floor(alpha * rank.size)


def heat_map(rank: np.ndarray, alpha: float) -> bytes:
    """A PNG of `rank`, int [h, w]: red early, blue late, the structure slots outlined in black."""
    height, width = rank.shape
    cell = max(3, SIDE // max(height, width))
    shade = np.minimum((rank - 1) * SHADES // rank.size, SHADES - 1)
    pixels = np.kron(shade, np.ones((cell, cell), dtype=int))
    pixels[outline(structure(rank, alpha), cell)] = SHADES
    palette = (colormaps[COLOURS](np.linspace(0.03, 0.97, SHADES))[:, :3] * 255).round().astype(np.uint8)
    image = Image.fromarray(pixels.astype(np.uint8), "P")
    image.putpalette([*palette.ravel().tolist(), *INK])
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def outline(inside: np.ndarray, cell: int) -> np.ndarray:
    """bool [h cell, w cell]: pixels of `inside` cells (bool [h, w]) that touch a cell which is not, or the border."""
    padded = np.pad(inside, 1)
    marked = np.zeros((inside.shape[0] * cell, inside.shape[1] * cell), dtype=bool)
    for row, column in np.argwhere(inside):
        y, x = row * cell, column * cell
        block = marked[y : y + cell, x : x + cell]
        block[0] |= not padded[row, column + 1]
        block[-1] |= not padded[row + 2, column + 1]
        block[:, 0] |= not padded[row + 1, column]
        block[:, -1] |= not padded[row + 1, column + 2]
    return marked
