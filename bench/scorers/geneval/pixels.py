"""Pictures as MMDetection hands them to GenEval's detector.

mask2former_r50_lsj_8x2_50e_coco-panoptic.py's test pipeline (mmdet 2.27.0): resize, pad with 128, normalise - in this
order, so that the padding is a shade of grey near the mean, not zero.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from htgrpo.base.pictures import turned

SHORT, LONG, DIVISOR, PADDING = 800, 1333, 32, 128
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_BITS = 11  # of OpenCV's fixed-point weights


def resized_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) after the largest resize that keeps the proportions, the short side within 800 and the long one
    in 1333."""
    scale = min(LONG / max(height, width), SHORT / min(height, width))
    return int(height * scale + 0.5), int(width * scale + 0.5)


def _taps(size: int, wanted: int, edges: bool) -> tuple[np.ndarray, ...]:
    """For every output position the two input positions and their weights int64, in 1 / 2 ** 11. edges: beyond the
    first and last pixel the weights stay (so that both fall on one pixel, rounded apart), as OpenCV has it for rows;
    for columns it has not."""
    at = ((np.arange(wanted) + 0.5) * (size / wanted) - 0.5).astype(np.float32)
    first = np.floor(at).astype(np.int64)
    share = (at - first).astype(np.float32)
    if not edges:
        share[(first < 0) | (first >= size - 1)] = 0
    one = np.float32(1 << _BITS)
    low, high = (np.rint(part * one).astype(np.int64) for part in (np.float32(1) - share, share))
    return np.clip(first, 0, size - 1), np.clip(first + 1, 0, size - 1), low, high


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """OpenCV's bilinear resize (INTER_LINEAR) of uint8 [H, W, C] to the bit: no antialiasing, fixed-point weights."""
    pixels = image.astype(np.int64)
    left, right, low, high = _taps(image.shape[1], width, edges=False)
    rows = pixels[:, left] * low[:, None] + pixels[:, right] * high[:, None]
    top, bottom, low, high = _taps(image.shape[0], height, edges=True)
    upper, lower = ((rows[index] >> 4) * weight[:, None, None] >> 16 for index, weight in ((top, low), (bottom, high)))
    return ((upper + lower + 2) >> 2).astype(np.uint8)


def prepare(image: np.ndarray) -> tuple[Tensor, tuple[int, int]]:
    """uint8 RGB [H, W, 3] -> network input float32 [3, h, w], h and w multiples of 32, and the (height, width) that is
    picture."""
    size = resized_size(*image.shape[:2])
    padded = [-(-side // DIVISOR) * DIVISOR for side in size]
    canvas = np.full((*padded, 3), PADDING, np.uint8)
    canvas[: size[0], : size[1]] = resize(image, *size)
    inverse = (1 / np.asarray(STD)).astype(np.float32)
    pixels = (canvas.astype(np.float32) - np.asarray(MEAN, np.float32)) * inverse
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), size


def as_array(picture: Image.Image) -> np.ndarray:
    """uint8 RGB [H, W, 3] of a picture of any mode, turned as its EXIF data say, as upstream's two readers do."""
    return np.array(turned(picture).convert("RGB"))
