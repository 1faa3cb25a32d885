"""Qwen2-VL's inputs and rotary embeddings, as transformers 4.45.2 and the package hpsv3 have them."""

import math
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from bench.scorers.base import Unscorable
from bench.scorers.pixels import CLIP_MEAN, CLIP_STD, normalised
from htgrpo.base.errors import UserError
from htgrpo.policies.model_files import read_json

PATCH, MERGE, FRAMES = 14, 2, 2
SIDE = PATCH * MERGE
"""Pixels of a picture's side that one token sees."""


def smart_size(height: int, width: int, pixels: int) -> tuple[int, int]:
    """(width, height), multiples of 28, for a picture to be brought near `pixels` in its own proportions.

    Raises Unscorable beyond 200 : 1. After qwen-vl-utils' smart_resize with equal limits.
    """
    if max(height, width) > 200 * min(height, width):
        raise Unscorable(f"the picture is {width} x {height}: its sides may differ by a factor of 200 at most")
    tall, wide = max(SIDE, round(height / SIDE) * SIDE), max(SIDE, round(width / SIDE) * SIDE)
    if tall * wide > pixels:
        beta = math.sqrt(height * width / pixels)
        tall, wide = math.floor(height / beta / SIDE) * SIDE, math.floor(width / beta / SIDE) * SIDE
    elif tall * wide < pixels:
        beta = math.sqrt(pixels / (height * width))
        tall, wide = math.ceil(height * beta / SIDE) * SIDE, math.ceil(width * beta / SIDE) * SIDE
    if not tall or not wide:
        raise Unscorable(
            f"the picture is {width} x {height}: too narrow for a model that looks at squares of {SIDE} pixels"
        )
    return wide, tall


def patches(image: Image.Image) -> tuple[Tensor, tuple[int, int, int]]:
    """An RGB picture with sides in multiples of 28 -> float32 [rows * columns, 3 * 2 * 14 * 14] and (1, rows, columns)
    of patches, those of one 2 x 2 square together, each shown as two equal frames."""
    pixels = normalised(image, CLIP_MEAN, CLIP_STD)
    rows, columns = pixels.shape[1] // PATCH, pixels.shape[2] // PATCH
    pixels = pixels.view(3, rows // MERGE, MERGE, PATCH, columns // MERGE, MERGE, PATCH).permute(1, 4, 2, 5, 0, 3, 6)
    frames = pixels.unsqueeze(5).expand(*pixels.shape[:5], FRAMES, PATCH, PATCH)
    return frames.reshape(rows * columns, -1), (1, rows, columns)


def chat_template(folder: Path, tokenizer: Any) -> str:
    """The chat template in a folder of Qwen-VL: the processor's, else the tokenizer's. Raises UserError without one."""
    file, bare = folder / "chat_template.json", folder / "chat_template.jinja"
    if bare.is_file():
        return bare.read_text("utf-8")
    template = read_json(file).get("chat_template") if file.is_file() else tokenizer.chat_template
    if not isinstance(template, str):
        raise UserError(f"{str(folder)!r} has no chat template: download its chat_template.json again")
    return template


def round_frequencies(net: nn.Module) -> None:
    """Rounds every rotary frequency of `net` to bf16, as casting a whole model does."""
    for module in net.modules():
        if isinstance(frequencies := getattr(module, "inv_freq", None), Tensor):
            module.inv_freq = frequencies.to(torch.bfloat16).float()


class VisionRotary(nn.Module):
    """The picture encoder's rotary embedding in the dtype of its states, as of 4.45.2: transformers 5 computes it in
    float32."""

    inv_freq: Tensor

    def __init__(self, frequencies: Tensor, dtype: torch.dtype):
        super().__init__()
        self.inv_freq = nn.Buffer(frequencies.to(dtype), persistent=False)

    def forward(self, states: Any, positions: Tensor | None = None) -> tuple[Tensor, Tensor] | Tensor:
        """positions int64 [patches, 2], (row, column) -> cosines and sines [patches, head size].

        states: not looked at. transformers 4 gives no positions: it asks for the angles of the first `states` (a number)
        of them, and turns them into cosines itself.
        """
        if positions is None:
            return torch.outer(
                torch.arange(states, device=self.inv_freq.device, dtype=self.inv_freq.dtype), self.inv_freq
            )
        angles = (positions[..., None].to(self.inv_freq.dtype) * self.inv_freq).flatten(1)
        return torch.cat([angles.cos()] * 2, -1), torch.cat([angles.sin()] * 2, -1)
