"""The network of MAGVIT-v2: a convolutional encoder and decoder around sign bits ("look-up free" codes).

The published key names and sizes are those of `showlab/magvitv2`; the quantiser is that of Yu et al. 2023, "Language
Model Beats Diffusion", the blocks are those of VQGAN (Esser et al. 2021). Pictures lie in [-1, 1].
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS, EPSILON = 32, 1e-6


@dataclass(frozen=True)
class Size:
    """`encoder` and `decoder`: (channels, residual blocks) of every level, level 0 at full resolution and each further
    one at half of the last. `bits` per code; `channels` after the encoder's first convolution."""

    bits: int
    channels: int
    encoder: tuple[tuple[int, int], ...]
    decoder: tuple[tuple[int, int], ...]


PUBLISHED = Size(
    13, 128, ((128, 4), (256, 3), (256, 4), (512, 3), (512, 4)), ((128, 4), (128, 4), (256, 3), (256, 4), (512, 3))
)
TINY = Size(13, 32, ((32, 1),) * 5, ((64, 1), *((32, 1),) * 4))
"""The finest decoder level is wider: with one channel per group of its last norm, all pictures would have one mean
colour."""


class Conv(nn.Conv2d):
    """A convolution whose weights are zero until they are loaded or initialised: the library's default would draw from
    the global generator. Sides are kept, except with `stride` 2, which leaves padding to the caller."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1):
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2 if stride == 1 else 0)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Norm(nn.GroupNorm):
    """The library's group norm without its refusal of a single value per group, which a picture of one code has in a
    narrow network."""

    def __init__(self, channels: int):
        super().__init__(GROUPS, channels, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class Residual(nn.Module):
    """shortcut(x) + conv2(swish(norm2(conv1(swish(norm1(x))))))."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.norm1, self.conv1 = Norm(inputs), Conv(inputs, outputs)
        self.norm2, self.conv2 = Norm(outputs), Conv(outputs, outputs)
        self.nin_shortcut = Conv(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return (x if self.nin_shortcut is None else self.nin_shortcut(x)) + h


class Attention(nn.Module):
    """x + proj_out(attention over all places of the picture), one head."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = Norm(channels)
        self.q, self.k, self.v, self.proj_out = (Conv(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        n = self.norm(x)
        q, k, v = (layer(n).flatten(2).transpose(1, 2)[:, None] for layer in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v)[:, 0]
        return x + self.proj_out(mixed.transpose(1, 2).reshape(x.shape))


class Middle(nn.Module):
    """Block, attention, block at the coarsest level."""

    def __init__(self, channels: int):
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = (
            Residual(channels, channels),
            Attention(channels),
            Residual(channels, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Halve(nn.Module):
    """Half the sides; the missing row and column of zeros are at the right and the bottom only."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = Conv(channels, channels, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Double(nn.Module):
    """Twice the sides: every place repeated, then smoothed by a convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = Conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Residual blocks, then a change of resolution under the published name, if there is one."""

    def __init__(self, inputs: int, channels: int, blocks: int, name: str, resample: type[nn.Module] | None):
        super().__init__()
        self.block = nn.ModuleList(Residual(inputs if i == 0 else channels, channels) for i in range(blocks))
        self.name = name if resample else ""
        if resample:
            self.add_module(name, resample(channels))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        return getattr(self, self.name)(x) if self.name else x


class Encoder(nn.Module):
    """Pictures [B, 3, H, W] in [-1, 1] -> latents [B, bits, H / patch, W / patch]."""

    def __init__(self, size: Size):
        super().__init__()
        self.conv_in = Conv(3, size.channels)
        self.down, width, last = nn.ModuleList(), size.channels, len(size.encoder) - 1
        for number, (channels, blocks) in enumerate(size.encoder):
            self.down.append(Level(width, channels, blocks, "downsample", Halve if number < last else None))
            width = channels
        self.mid, self.norm_out = Middle(width), Norm(width)
        self.conv_out, self.quant_conv = Conv(width, size.bits), Conv(size.bits, size.bits, 1)

    def forward(self, images: Tensor) -> Tensor:
        h = self.conv_in(images)
        for level in self.down:
            h = level(h)
        return self.quant_conv(self.conv_out(F.silu(self.norm_out(self.mid(h)))))


class Decoder(nn.Module):
    """Sign bits [B, bits, h, w] -> pictures [B, 3, h * patch, w * patch], nominally in [-1, 1]."""

    def __init__(self, size: Size):
        super().__init__()
        width = size.decoder[-1][0]
        self.post_quant_conv, self.conv_in = Conv(size.bits, size.bits, 1), Conv(size.bits, width)
        self.mid = Middle(width)
        levels = []
        for number, (channels, blocks) in reversed(list(enumerate(size.decoder))):
            levels.append(Level(width, channels, blocks, "upsample", Double if number else None))
            width = channels
        self.up = nn.ModuleList(reversed(levels))
        self.norm_out, self.conv_out = Norm(width), Conv(width, 3)

    def forward(self, bits: Tensor) -> Tensor:
        h = self.mid(self.conv_in(self.post_quant_conv(bits)))
        for level in reversed(self.up):
            h = level(h)
        return self.conv_out(F.silu(self.norm_out(h)))


class SignBits(nn.Module):
    """The quantiser: bit j of a code, counted from the most significant, says whether channel j is above zero.

    Buffers: `embedding` float [2**bits, bits], the +-1 pattern of every code, and `power_vals` int64 [bits], what a bit
    is worth.
    """

    embedding: Tensor
    power_vals: Tensor

    def __init__(self, bits: int):
        super().__init__()
        powers, codes = 2 ** torch.arange(bits - 1, -1, -1), torch.arange(2**bits)
        self.register_buffer("embedding", (codes[:, None] & powers != 0).float() * 2 - 1)
        self.register_buffer("power_vals", powers)

    def codes(self, latents: Tensor) -> Tensor:
        """[B, bits, h, w] -> int64 [B, h, w]; zero counts as -1."""
        return ((latents > 0) * self.power_vals[:, None, None]).sum(1)

    def bits(self, codes: Tensor) -> Tensor:
        """int64 [B, h, w] -> [B, bits, h, w] of -1 and +1."""
        return self.embedding[codes].permute(0, 3, 1, 2)


class Magvit(nn.Module):
    """The whole network under the published key names. Draws nothing: its weights are zero until they are loaded."""

    def __init__(self, size: Size):
        super().__init__()
        self.size = size
        self.encoder, self.decoder, self.quantize = Encoder(size), Decoder(size), SignBits(size.bits)
