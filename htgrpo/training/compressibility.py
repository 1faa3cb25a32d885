"""A reward that needs no weights: how well a picture compresses.

Source: DDPO (Black et al., arXiv 2305.13301, section 5) and its published code: the size of the picture as a JPEG of
quality 95, in units of 1000 bytes, with a minus sign. It says nothing about the prompt; it is here so that RL on the
published backbones can be run, and shown to learn, before any scorer's weights are there.
"""

import io
import math
from collections.abc import Sequence

import torch
from torch import Tensor

QUALITY = 95


def jpeg(prompts: Sequence[str], completions: Tensor, **_) -> list[float]:
    """Minus the size in kB of each picture as a JPEG: float < 0, NaN for a picture that is not finite.

    completions: float [B, 3, H, W] in [0, 1]. The same picture has the same reward whatever the rest of the batch;
    pictures of different sizes are not comparable.
    """
    return [
        -_kilobytes(image) if bool(torch.isfinite(image).all()) else math.nan for image in completions.detach().cpu()
    ]


def _kilobytes(image: Tensor) -> float:
    from htgrpo.base.pictures import as_pictures

    stream = io.BytesIO()
    as_pictures(image[None].float())[0].save(stream, format="JPEG", quality=QUALITY)
    return stream.tell() / 1000
