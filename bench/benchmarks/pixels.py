"""Pictures as files hold them (PIL, 8 bits a channel) and as networks take them (float tensors)."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from htgrpo.pictures import eight_bits


def as_tensor(picture: Image.Image) -> Tensor:
    """float [3, H, W] in 0..1 of a picture of any mode."""
    pixels = np.array(eight_bits(picture).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255.0


def as_pictures(images: Tensor) -> list[Image.Image]:
    """Pictures float [n, 3, H, W] in 0..1, rounded to 8 bits a channel as PNG files are."""
    pixels = (images.permute(0, 2, 3, 1) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return [Image.fromarray(picture) for picture in pixels]


def by_size(pictures: Sequence[Image.Image]) -> list[tuple[list[int], Tensor]]:
    """(places, float [n, 3, H, W] in 0..1) of the pictures of each size, so that each lot can be judged at once."""
    places: dict[tuple[int, int], list[int]] = {}
    for place, picture in enumerate(pictures):
        places.setdefault(picture.size, []).append(place)
    return [(lot, torch.stack([as_tensor(pictures[place]) for place in lot])) for lot in places.values()]
