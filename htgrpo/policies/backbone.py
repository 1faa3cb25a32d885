"""What differs between backbones: token ids, prompt layout, image block and sampler, as one small record of data.

A sequence is `text_open text text_close | image_open row row … image_close`, a row being its image slots and then
`row_close`:

    MMaDA         <|t2i|> bos text eos | <|soi|> slots <|eoi|>                          (upstream left-pads it to a fixed length)
    Lumina-DiMOO  <system>…</system><user>text</user> | 126354 126349 (slots newline)… 126350 126355
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from htgrpo.base.errors import UserError
from htgrpo.interface import HIDDEN


@dataclass(frozen=True)
class Backbone:
    """Ids are rows of the embedding; image code c is id `image_offset + c`. `template`: what is tokenised, with the
    prompt at `{}`; `unconditional`: the prompt that stands for none. `max_text` bounds the ids before the image block,
    text_open included. `patch`: pixels per slot and side. `grid`: (rows, columns) of a picture of the default size.
    `pad`: upstream's left pad, None where it has none. `sampler`: registered name of the default sampler. `square`:
    whether pictures must be square. `padded`: ids before the image block where pads are attended to; None is
    max_text."""

    name: str
    text_open: tuple[int, ...]
    text_close: tuple[int, ...]
    image_open: tuple[int, ...]
    row_close: tuple[int, ...]
    image_close: tuple[int, ...]
    mask: int
    image_offset: int
    codebook_size: int
    max_text: int
    patch: int
    grid: tuple[int, int]
    pad: int | None = None
    template: str = "{}"
    unconditional: str = ""
    sampler: str = "random"
    square: bool = False
    padded: int | None = None

    @property
    def image_columns(self) -> slice:
        """Rows of the head that are image codes."""
        return slice(self.image_offset, self.image_offset + self.codebook_size)

    def prompt(self, text: str, encode: Callable[[str], list[int]], pads: str = "strip") -> tuple[int, ...]:
        """Ids before the image block. Too long a text keeps its first ids, so that text_close always follows.

        pads="attend" keeps upstream's left pads as attended tokens (MaskGRPO parity), `padded` ids in all; it changes
        nothing for a backbone without a pad.
        """
        attended = pads == "attend" and self.pad is not None
        longest = self.padded if attended and self.padded else self.max_text
        before, _, after = self.template.partition("{}")
        ids = encode(self.template.replace("{}", text))
        room = longest - len(self.text_open) - len(self.text_close)
        if len(ids) > room:
            head, tail = encode(before) if before else [], encode(after) if after else []
            ids = [*head, *encode(text)[: max(0, room - len(head) - len(tail))], *tail]
        body = [*self.text_open, *_without(ids, self.text_open[-1:]), *self.text_close]
        left = [self.pad] * (longest - len(body)) if attended and self.pad is not None else []
        return (*left, *body)

    def grid_of(self, resolution: str) -> tuple[int, int]:
        """(rows, columns) of pictures of `resolution` pixels: HEIGHTxWIDTH, or one number for both; "" is the default
        size.

        Raises UserError for anything else, and for sides that are not multiples of `patch` or that this backbone has no
        grid for.
        """
        if not resolution:
            return self.grid
        match = re.fullmatch(r"([0-9]{1,6})(?:x([0-9]{1,6}))?", resolution)
        height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if min(height, width) < 1 or height % self.patch or width % self.patch:
            raise UserError(
                f"resolution is {resolution!r}, but it takes HEIGHTxWIDTH in pixels, both multiples of {self.patch} "
                f"for {self.name}, such as {self.resolution}, or one number for both"
            )
        if self.square and height != width:
            raise UserError(
                f"resolution is {resolution!r}, but {self.name} makes square pictures only: give one number, such as "
                f"{min(height, width)}"
            )
        return height // self.patch, width // self.patch

    @property
    def resolution(self) -> str:
        """HEIGHTxWIDTH in pixels of a picture of the default size."""
        return f"{self.grid[0] * self.patch}x{self.grid[1] * self.patch}"

    def image_block(self, grid: tuple[int, int]) -> Tensor:
        """int64 [B]: the ids after the prompt, HIDDEN at the N image slots in raster order."""
        return _block(self.image_open, self.row_close, self.image_close, grid)

    def to_ids(self, codes: Tensor) -> Tensor:
        """Image codes to ids, HIDDEN to the mask id."""
        return torch.where(codes == HIDDEN, self.mask, codes + self.image_offset)


@cache
def _block(
    opening: tuple[int, ...], row_close: tuple[int, ...], closing: tuple[int, ...], grid: tuple[int, int]
) -> Tensor:
    row = torch.tensor([*[HIDDEN] * grid[1], *row_close])
    return torch.cat([torch.tensor(opening), row.repeat(grid[0]), torch.tensor(closing)])


def _without(ids: list[int], opening: tuple[int, ...]) -> list[int]:
    """`ids` without a first id that text_open ends in (bos, where the tokenizer has added it already)."""
    return ids[1:] if opening and tuple(ids[:1]) == opening else ids
