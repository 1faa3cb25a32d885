"""The LLaDA network (Llama-style pre-norm block, full bidirectional attention, untied head) as a plain module.

Key names are the published ones (`model.transformer.…`), and so is the order of casts: root-mean-square norm in fp32,
cast back, then the weight; rotary embedding of q and k in fp32, cast back. Sequences of unequal length come packed one
after another, and attention runs within each, so pads are never computed and no mask exists.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


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
        runs: list[tuple[int, int]] = []
        for length in self.lengths:
            if runs and runs[-1][1] == length:
                runs[-1] = (runs[-1][0] + 1, length)
            else:
                runs.append((1, length))
        return runs


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

    def forward(self, h: Tensor, runs: list[tuple[int, int]], rope: tuple[Tensor, Tensor]) -> Tensor:
        n = self.attn_norm(h)
        q, k = rotate(self._heads(self.q_proj(n)), rope), rotate(self._heads(self.k_proj(n)), rope)
        h = h + self.attn_out(attention(q, k, self._heads(self.v_proj(n)), runs))
        n = self.ff_norm(h)
        return h + self.ff_out(F.silu(self.ff_proj(n)) * self.up_proj(n))

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(len(x), self.n_heads, -1)


def rotate(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding in the half-split convention. x: [T, heads, head_dim]; computed in fp32, returned in x's
    dtype."""
    cos, sin = rope
    first, second = x.to(cos.dtype).chunk(2, dim=-1)
    turned = (torch.addcmul(first * cos, second, sin, value=-1.0), torch.addcmul(second * cos, first, sin))
    return torch.cat(turned, dim=-1).to(x.dtype)


def attention(q: Tensor, k: Tensor, v: Tensor, runs: list[tuple[int, int]]) -> Tensor:
    """Full attention within every packed sequence. q, k, v: [T, heads, head_dim] -> [T, heads * head_dim]."""
    outputs, start = [], 0
    for count, length in runs:
        stop = start + count * length
        part = [x[start:stop].unflatten(0, (count, length)).transpose(1, 2) for x in (q, k, v)]
        mixed = F.scaled_dot_product_attention(*part)
        outputs.append(mixed.transpose(1, 2).reshape(count * length, -1))
        start = stop
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
    blocks' activations again, block by block, from their inputs instead of having kept them."""

    def __init__(self, size: Size):
        super().__init__()
        self.size = size
        self.recompute = False
        self.model = nn.ModuleDict({"transformer": Trunk(size)})

    @property
    def trunk(self) -> Trunk:
        """The part that holds the weights."""
        return cast(Trunk, self.model["transformer"])

    def forward(self, packed: Packed, at: Tensor | None = None, columns: slice = slice(None)) -> Tensor:
        """Logits [P, columns] in the weights' dtype at packed positions `at` (int64 [P]; default: everywhere).

        `columns` selects rows of the head: logits of the image codes are `columns=backbone.image_columns`.
        """
        net = self.trunk
        runs = packed.runs()
        h = net.wte(packed.ids)
        wide = torch.float64 if h.dtype == torch.float64 else torch.float32
        if wide not in packed.tables:
            packed.tables[wide] = self.rope(runs, h.device, wide)
        rope = packed.tables[wide]
        for block in net.blocks:
            if self.recompute and torch.is_grad_enabled():
                # Only a block in training mode may draw (adapters with dropout), and must then draw the same again.
                h = checkpoint(block, h, runs, rope, use_reentrant=False, preserve_rng_state=self.training)
            else:
                h = block(h, runs, rope)
        h = net.ln_f(h if at is None else h[at])
        return F.linear(h, net.ff_out.weight[columns])

    def rope(self, runs: list[tuple[int, int]], device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """cos and sin [T, 1, head_dim / 2] of the packed positions; every sequence starts at position 0."""
        half = self.size.d_model // self.size.n_heads // 2
        frequency = self.size.rope_theta ** -(torch.arange(half, device=device, dtype=torch.float32) / half)
        longest = max(length for _, length in runs)
        angle = torch.outer(torch.arange(longest, device=device, dtype=torch.float32), frequency)
        cos, sin = angle.to(dtype).cos(), angle.to(dtype).sin()

        def packed(part: Tensor) -> Tensor:
            return torch.cat([part[:n].repeat(count, 1) for count, n in runs])[:, None, :]

        return packed(cos), packed(sin)


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
            weight.copy_(torch.randn(weight.shape, generator=generator) * std)
