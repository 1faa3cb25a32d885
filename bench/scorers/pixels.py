"""Pictures as files hold them (PIL, 8 bits a channel), as networks take them (float tensors), and as the official
preprocessing makes them: to the last bit, since a network amplifies what an approximation changes."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from htgrpo.base.pictures import eight_bits

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalised(image: Image.Image, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """An RGB picture -> float32 [3, H, W], by the arithmetic of transformers' processors on numpy arrays: 1/255 is
    rounded before it multiplies, so that some values differ from torchvision's in the last bit."""
    pixels = (np.asarray(image, dtype=np.uint8) * (1 / 255)).astype(np.float32)
    pixels -= np.asarray(mean, np.float32)
    pixels /= np.asarray(std, np.float32)
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def shorter_side(image: Image.Image, size: int) -> Image.Image:
    """The picture with its shorter side at `size`, its other side in proportion (rounded down), bicubic."""
    short, long = sorted(image.size)
    other = int(size * long / short)
    width, height = (size, other) if image.width <= image.height else (other, size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def centre(image: Image.Image, size: int) -> Image.Image:
    """The central square of `size`, rounded to the upper left as transformers does (torchvision rounds halves to
    even)."""
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def as_tensor(picture: Image.Image) -> Tensor:
    """float [3, H, W] in 0..1 of a picture of any mode."""
    pixels = np.array(eight_bits(picture).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255.0


def by_size(pictures: Sequence[Image.Image]) -> list[tuple[list[int], Tensor]]:
    """(places, float [n, 3, H, W] in 0..1) of the pictures of each size, so that each lot can be judged at once."""
    places: dict[tuple[int, int], list[int]] = {}
    for place, picture in enumerate(pictures):
        places.setdefault(picture.size, []).append(place)
    return [(lot, torch.stack([as_tensor(pictures[place]) for place in lot])) for lot in places.values()]
