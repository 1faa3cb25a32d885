"""MAGVIT-v2, the image codec of MMaDA: its network (magvit_net) with the files its authors publish."""

import json
import re
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from htgrpo.base.errors import UserError
from htgrpo.policies.codec import ImageCodec, assign, initialise, read_tensors, write
from htgrpo.policies.magvit_net import GROUPS, TINY, Magvit, SignBits, Size

MOST_BITS = 20
WEIGHTS = ("pytorch_model.safetensors", "model.safetensors", "diffusion_pytorch_model.safetensors", "pytorch_model.bin")
"""The weight files that are looked for, in this order; `save` writes the first."""


class MagvitCodec(ImageCodec):
    """MAGVIT-v2 as an image codec: 2**bits codes, each for 2**(levels - 1) pixels a side (published: 8192, 16)."""

    net: Magvit

    def __init__(self, net: Magvit):
        size = net.size
        # doubling happens before a level's own blocks: the finest activation may have the width of the level above
        widest = max(size.channels, size.encoder[0][0], *(channels for channels, _ in size.decoder[:2]))
        super().__init__(net, 2**size.bits, 2 ** (len(size.encoder) - 1), widest)

    @classmethod
    def load(cls, folder: Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """The codec whose weights lie in the local `folder` (one of WEIGHTS); all sizes are read from the tensors.

        The quantiser's two tables may be absent. Raises UserError for a missing, unexpected or misshapen tensor.
        """
        path, state = read_tensors(folder, WEIGHTS)
        size = read_size(state, path)
        with torch.device("meta"):
            net = Magvit(size)
        for name, table in SignBits(size.bits).named_buffers(prefix="quantize"):
            if name in state and not torch.equal(state[name].to(table.dtype), table):
                raise UserError(
                    f"{name!r} in {str(path)!r} is not the table of {size.bits} sign bits, most significant first: "
                    "this file is of another quantiser; download the published one"
                )
            state[name] = table
        assign(net, state, path, dtype, "MAGVIT-v2 of the other tensors' sizes")
        return cls(net).to(device)

    def save(self, folder: Path) -> Path:
        """Writes "config.json" and "pytorch_model.safetensors" into `folder` and returns the path of the latter."""
        return write(self.net, folder, WEIGHTS[0], json.dumps({"_class_name": "MAGVITv2"}, indent=2))

    def _decode(self, codes: Tensor) -> Tensor:
        return (self.net.decoder(self.net.quantize.bits(codes)) + 1) / 2

    def _encode(self, images: Tensor) -> Tensor:
        return self.net.quantize.codes(self.net.encoder(images * 2 - 1))


def read_size(state: dict[str, Tensor], path: Path) -> Size:
    """The sizes of the network in `state`, from its tensors alone. Raises UserError naming the tensor that says
    none."""

    def channels(key: str) -> int:
        if key not in state:
            raise UserError(f"{str(path)!r} lacks key {key!r}: it does not hold MAGVIT-v2; download it again")
        shape = list(state[key].shape)
        if len(shape) != 4 or (shape[0] % GROUPS and "quant_conv" not in key) or not shape[0]:
            raise UserError(
                f"{key!r} in {str(path)!r} has shape {shape}, but must be a convolution to a multiple of {GROUPS} "
                "channels: it does not hold MAGVIT-v2; download it again"
            )
        return shape[0]

    def levels(side: str) -> tuple[tuple[int, int], ...]:
        blocks: dict[int, int] = {}
        for found in filter(None, (re.fullmatch(rf"{side}\.(\d+)\.block\.(\d+)\.conv1\.weight", key) for key in state)):
            level, block = int(found[1]), int(found[2])
            blocks[level] = max(blocks.get(level, 0), block + 1)
        count = max(blocks, default=0) + 1
        return tuple((channels(f"{side}.{level}.block.0.conv1.weight"), blocks.get(level, 0)) for level in range(count))

    encoder, decoder = levels("encoder.down"), levels("decoder.up")
    if len(encoder) != len(decoder):
        raise UserError(
            f"{str(path)!r} has {len(encoder)} levels 'encoder.down' and {len(decoder)} levels 'decoder.up': they must "
            "be equally many; download it again"
        )
    bits = channels("decoder.post_quant_conv.weight")
    if bits > MOST_BITS:
        raise UserError(
            f"'decoder.post_quant_conv.weight' in {str(path)!r} says codes of {bits} bits: MAGVIT-v2 has 13, and more "
            f"than {MOST_BITS} cannot be used; download it again"
        )
    return Size(bits, channels("encoder.conv_in.weight"), encoder, decoder)


def tiny_magvit(generator: torch.Generator, bits: int = 13) -> MagvitCodec:
    """A random codec in the published layout with 2**bits codes of 16 x 16 pixels, as narrow as the norms allow.

    Draws from `generator` only. Different codes give visibly different pictures.
    """
    net = Magvit(Size(bits, TINY.channels, TINY.encoder, TINY.decoder))
    initialise(net, generator)
    return MagvitCodec(net)
