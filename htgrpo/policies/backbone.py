"""What differs between backbones: token ids, prompt layout and image block, as one small record."""

from dataclasses import dataclass

import torch
from torch import Tensor

from htgrpo.interface import HIDDEN


@dataclass(frozen=True)
class Backbone:
    """The MMaDA prompt layout: `<|t2i|> bos text eos | <|soi|> image slots <|eoi|>` (upstream left-pads it to a fixed length).

    All ids are rows of the embedding. Image code c is id `image_offset + c`. `max_text` bounds the ids before the image
    block, task token included; longer texts keep their first ids and end in eos. `patch`: pixels per slot and side.
    """

    name: str
    bos: int
    eos: int
    pad: int
    task: int
    image_start: int
    image_end: int
    mask: int
    image_offset: int
    codebook_size: int
    max_text: int
    patch: int
    grid: tuple[int, int]

    @property
    def image_columns(self) -> slice:
        """Rows of the head that are image codes."""
        return slice(self.image_offset, self.image_offset + self.codebook_size)

    def prompt(self, text_ids: list[int], pads: str = "strip") -> tuple[int, ...]:
        """Ids before the image block. pads="attend" keeps upstream's left pads as attended tokens (MaskGRPO parity)."""
        body = text_ids if text_ids[:1] == [self.bos] else [self.bos, *text_ids]
        body = [*body, self.eos]
        if len(body) + 1 > self.max_text:
            body = [*body[: self.max_text - 2], self.eos]
        ids = [self.task, *body]
        left = [self.pad] * (self.max_text - len(ids)) if pads == "attend" else []
        return (*left, *ids)

    def image_block(self, grid: tuple[int, int]) -> Tensor:
        """int64 [B]: the ids after the prompt, HIDDEN at the N image slots in raster order."""
        slots = torch.full((grid[0] * grid[1],), HIDDEN)
        return torch.cat([torch.tensor([self.image_start]), slots, torch.tensor([self.image_end])])

    def to_ids(self, codes: Tensor) -> Tensor:
        """Image codes to ids, HIDDEN to the mask id."""
        return torch.where(codes == HIDDEN, self.mask, codes + self.image_offset)
