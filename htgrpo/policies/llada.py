"""The LLaDA network (Llama-style pre-norm block, full bidirectional attention, untied head) as a plain module.

Key names are the published ones (`model.transformer.…`), and so is the order of casts: root-mean-square norm in fp32,
cast back, then the weight; rotary embedding of q and k in fp32, cast back. Sequences of unequal length come packed one
after another, and attention runs within each, so pads are never computed and no mask exists.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import accumulate, groupby
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

HALF = (torch.bfloat16, torch.float16)
"""Dtypes of half precision."""


@dataclass(frozen=True)
class Size:
    """Sizes of the network: width, layers, heads, feed-forward width, rows of embedding and head; rotary base."""

    d_model: int
    n_layers: int
    n_heads: int
    mlp_hidden_size: int
    embedding_size: int
    rope_theta: float = 500_000.0
    rms_norm_eps: float = 1e-5

    def parameters(self) -> int:
        """Number of weights, embedding and head included."""
        block = 4 * self.d_model**2 + 3 * self.d_model * self.mlp_hidden_size + 2 * self.d_model
        return self.n_layers * block + self.d_model + 2 * self.embedding_size * self.d_model

    def forward_flops(self, length: float, slots: int, columns: int) -> float:
        """Floating-point operations of one forward of one sequence with the head on `slots` x `columns` (methods.md
        8.1)."""
        block = 4 * self.d_model**2 + 3 * self.d_model * self.mlp_hidden_size
        attention = 4.0 * self.n_layers * self.d_model * length**2
        return 2.0 * self.n_layers * block * length + attention + 2.0 * slots * self.d_model * columns


@dataclass(frozen=True)
class Packed:
    """Sequences one after another. ids: int64 [T], whose values may change from call to call. lengths: length of every
    sequence, in order, sum T. tables: what a network has worked out of the lengths, kept from call to call."""

    ids: Tensor
    lengths: tuple[int, ...]
    tables: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def runs(self) -> list[tuple[int, int]]:
        """(count, length) of consecutive sequences of equal length."""
        if "runs" not in self.tables:
            self.tables["runs"] = [(len(list(some)), length) for length, some in groupby(self.lengths)]
        return self.tables["runs"]

    def starts(self) -> Tensor:
        """int32 [sequences + 1]: where every sequence starts and the last one ends, on the device of the ids."""
        if "starts" not in self.tables:
            ends = torch.tensor((0, *accumulate(self.lengths)), dtype=torch.int32)
            self.tables["starts"] = ends.to(self.ids.device)
        return self.tables["starts"]


class Network(Protocol):
    """What is called as LLaDA.forward is: the network, or a view of it (adapters off, ranks in step)."""

    def __call__(self, packed: Packed, at: Tensor | None = None, columns: slice = slice(None)) -> Tensor:
        """See LLaDA.forward."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """The weights."""


class RMSNorm(nn.Module):
    """Root-mean-square norm in fp32 (fp64 stays fp64), cast to the input's dtype before the weight is applied."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x if x.dtype == torch.float64 else x.float()
        return self.weight * F.rms_norm(wide, wide.shape[-1:], eps=self.eps).to(x.dtype)


class Linear(nn.Linear):
    """A linear map without bias. Its weights are zero until they are loaded or initialised: the library's default would
    draw from the global generator."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, bias=False)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)


class Embedding(nn.Embedding):
    """An embedding whose rows are zero until they are loaded or initialised."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)


class Block(nn.Module):
    """h += attn_out(attention(norm(h))); h += ff_out(silu(ff_proj(n)) * up_proj(n))."""

    def __init__(self, size: Size):
        super().__init__()
        d, m = size.d_model, size.mlp_hidden_size
        self.n_heads = size.n_heads
        self.attn_norm = RMSNorm(d, size.rms_norm_eps)
        self.q_proj, self.k_proj, self.v_proj = (Linear(d, d) for _ in range(3))
        self.attn_out = Linear(d, d)
        self.ff_norm = RMSNorm(d, size.rms_norm_eps)
        self.ff_proj, self.up_proj = Linear(d, m), Linear(d, m)
        self.ff_out = Linear(m, d)
        self.fused = False

    def forward(self, h: Tensor, packed: Packed, rope: tuple[Tensor, Tensor]) -> Tensor:
        before, after = (compiled(part) for part in (_before, _after)) if self.fused else (_before, _after)
        q, k, v = before(self, h, rope)
        return after(self, h, attention(q, k, v, packed))


def _before(block: Block, h: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """A block up to its attention: queries and keys, rotated, and values."""
    n = block.attn_norm(h)
    q, k, v = (project(n).view(len(h), block.n_heads, -1) for project in (block.q_proj, block.k_proj, block.v_proj))
    return rotate(q, rope), rotate(k, rope), v


def _after(block: Block, h: Tensor, mixed: Tensor) -> Tensor:
    """A block from its attention on."""
    h = h + block.attn_out(mixed)
    n = block.ff_norm(h)
    return h + block.ff_out(F.silu(block.ff_proj(n)) * block.up_proj(n))


@cache
def compiled(part: Callable) -> Callable:
    """`part` as torch.compile makes it: norm, rotary embedding and gating become one kernel each. The number of tokens
    is left open, since it changes from batch to batch; attention, which goes by lengths, is not part of it."""
    return torch.compile(part, dynamic=True)


@cache
def varlen(device: str) -> Callable | None:
    """torch's attention over packed sequences of unequal length; None where this torch or this device has none."""
    if device != "cuda" or torch.cuda.get_device_capability() < (8, 0):
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn  # it imports a compiler, and old torches have none
    except ImportError:
        return None
    return varlen_attn


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding in the half-split convention. x: [T, heads, head_dim]; rope: the two tables of `LLaDA.rope`, the
    sign in the sine's; computed in fp32, returned in x's dtype."""
    cos, sin = rope
    wide = x.to(cos.dtype)
    return torch.addcmul(wide * cos, wide.roll(wide.shape[-1] // 2, -1), sin).to(x.dtype)


def attention(q: Tensor, k: Tensor, v: Tensor, packed: Packed) -> Tensor:
    """Full attention within every packed sequence. q, k, v: [T, heads, head_dim] -> [T, heads * head_dim].

    Where lengths differ, one kernel does all of them if the device has one for half precision, else one a run."""
    runs = packed.runs()
    if len(runs) > 1 and q.dtype in HALF and (all_at_once := varlen(q.device.type)):
        starts, longest = packed.starts(), max(packed.lengths)
        return all_at_once(q, k, v, starts, starts, longest, longest).flatten(1)
    sizes, outputs = [count * length for count, length in runs], []
    for (count, length), *part in zip(runs, *(x.split(sizes) for x in (q, k, v)), strict=True):
        mixed = F.scaled_dot_product_attention(*(x.view(count, length, *x.shape[1:]).transpose(1, 2) for x in part))
        outputs.append(mixed.transpose(1, 2).reshape(count * length, -1))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


class Trunk(nn.Module):
    """All weights, under the published names."""

    def __init__(self, size: Size):
        super().__init__()
        self.wte = Embedding(size.embedding_size, size.d_model)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.n_layers))
        self.ln_f = RMSNorm(size.d_model, size.rms_norm_eps)
        self.ff_out = Linear(size.d_model, size.embedding_size)


class LLaDA(nn.Module):
    """The network. `forward` applies the head only where it is asked to. With `recompute`, a backward pass computes the
    blocks' activations again, block by block, from their inputs instead of having kept them. `fuse` has the blocks
    compiled, which changes them by no more than rounding."""

    def __init__(self, size: Size):
        super().__init__()
        self.size = size
        self.recompute = False
        self.model = nn.ModuleDict({"transformer": Trunk(size)})

    def fuse(self, on: bool) -> None:
        """Compiles the blocks' own work, or no longer."""
        for block in self.trunk.blocks:
            cast(Block, block).fused = on

    @property
    def trunk(self) -> Trunk:
        """The part that holds the weights."""
        return cast(Trunk, self.model["transformer"])

    def forward(self, packed: Packed, at: Tensor | None = None, columns: slice = slice(None)) -> Tensor:
        """Logits [P, columns] in the weights' dtype at packed positions `at` (int64 [P]; default: everywhere).

        `columns` selects rows of the head: logits of the image codes are `columns=backbone.image_columns`.
        """
        net = self.trunk
        h = net.wte(packed.ids)
        wide = torch.float64 if h.dtype == torch.float64 else torch.float32
        if wide not in packed.tables:
            packed.tables[wide] = self.rope(packed.runs(), h.device, wide)
        rope = packed.tables[wide]
        for block in net.blocks:
            if self.recompute and torch.is_grad_enabled():
                # Only a block in training mode may draw (adapters with dropout), and must then draw the same again.
                h = checkpoint(block, h, packed, rope, use_reentrant=False, preserve_rng_state=self.training)
            else:
                h = block(h, packed, rope)
        h = net.ln_f(h if at is None else h.index_select(0, at))
        return F.linear(h, net.ff_out.weight[columns])

    def rope(self, runs: list[tuple[int, int]], device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """cos and sin [T, 1, head_dim] of the packed positions, sin negative in the first half, for `rotate`; every
        sequence starts at position 0."""
        half = self.size.d_model // self.size.n_heads // 2
        # Tables that were made in inference mode cannot take part in a backward pass.
        return _rope(tuple(runs), half, self.size.rope_theta, device, dtype, torch.is_inference_mode_enabled())


@lru_cache(maxsize=8)
def _rope(
    runs: tuple[tuple[int, int], ...],
    half: int,
    theta: float,
    device: torch.device,
    dtype: torch.dtype,
    inference: bool,
) -> tuple[Tensor, Tensor]:
    """As LLaDA.rope: updates, old and reference have the same lengths."""
    frequency = theta ** -(torch.arange(half, device=device, dtype=torch.float32) / half)
    longest = max(length for _, length in runs)
    angle = torch.outer(torch.arange(longest, device=device, dtype=torch.float32), frequency)
    cos, sin = angle.to(dtype).cos(), angle.to(dtype).sin()

    def packed(part: Tensor) -> Tensor:
        return torch.cat([part[:n].repeat(count, 1) for count, n in runs])[:, None, :]

    return packed(torch.cat([cos, cos], dim=-1)), packed(torch.cat([-sin, sin], dim=-1))


def initialise(net: LLaDA, generator: torch.Generator) -> None:
    """Fresh weights for a small policy: normal with std 1/sqrt(fan-in), residual outputs scaled down by sqrt(2
    layers)."""
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if weight.ndim == 1:
                continue
            std = 1.0 if "wte" in name else weight.shape[1] ** -0.5
            if name.endswith(("attn_out.weight", "ff_out.weight")) and "blocks" in name:
                std /= (2 * net.size.n_layers) ** 0.5
            weight.copy_(torch.randn(weight.shape, generator=generator, device=generator.device) * std)
