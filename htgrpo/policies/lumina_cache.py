"""Lumina-DiMOO's ML-Cache: most steps push only the least certain positions through the network. For pictures, not for
training.

A full step runs a whole sequence and keeps keys, values and image logits of every position, text included. On the steps
between only the positions whose greatest image logit was lowest are run again; they attend to the kept keys and values
of all others, which answer with the logits they had. Codes revealed since the last full step may thus be seen as masks:
samples change, and their ranks, entropies and log-probabilities are those of no policy. Every image has its own caches,
one for its prompt and one for the unconditional prompt, so batches cannot change an image here either.

Nothing of it is Lumina's alone: it takes any LLaDA network that is whole in this process, with any prompt layout and
sampler. But upstream has it for Lumina only, and only with that has it been compared.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from htgrpo.base.errors import UserError
from htgrpo.policies.cache_config import CacheConfig
from htgrpo.policies.llada import Block, LLaDA, rotate
from htgrpo.policies.policy import Guide, Policy, pack


class CachedSequence:
    """Keys (rotated), values and image logits of one sequence, from one step to the next."""

    def __init__(self, net: LLaDA, columns: slice):
        self.net, self.columns = net, columns
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.logits = torch.empty(0)

    def uncertain(self, share: float) -> Tensor:
        """int64 [P]: positions whose greatest image logit is at most the `share` quantile of all of them."""
        highest = self.logits.max(-1).values
        wide = highest if highest.dtype == torch.float64 else highest.float()  # there is no quantile of bf16
        return (wide <= torch.quantile(wide, share)).nonzero()[:, 0]

    def run(self, ids: Tensor, at: Tensor | None) -> Tensor:
        """Image logits [S, C] of ids [S], computed at positions `at` (int64 [P]) and taken from the cache elsewhere;
        None: all are computed."""
        net = self.net.trunk
        h = net.wte(ids if at is None else ids[at])
        rope = self.net.rope([(1, len(ids))], h.device, torch.float64 if h.dtype == torch.float64 else torch.float32)
        here = rope if at is None else (rope[0][at], rope[1][at])
        if at is None:
            self.keys, self.values = [], []
        for layer, block in enumerate(net.blocks):
            h = self._block(layer, cast(Block, block), h, here, at)
        logits = F.linear(net.ln_f(h), net.ff_out.weight[self.columns])
        if at is None:
            self.logits = logits
        else:
            self.logits[at] = logits
        return self.logits

    def _block(self, layer: int, block: Block, h: Tensor, rope: tuple[Tensor, Tensor], at: Tensor | None) -> Tensor:
        n = block.attn_norm(h)
        q, k, v = (project(n).view(len(h), block.n_heads, -1) for project in (block.q_proj, block.k_proj, block.v_proj))
        q, k = rotate(q, rope), rotate(k, rope)
        if at is None:
            self.keys.append(k)
            self.values.append(v)
        else:
            self.keys[layer][at], self.values[layer][at] = k, v
        query, key, value = (x.transpose(0, 1)[None] for x in (q, self.keys[layer], self.values[layer]))
        mixed = F.scaled_dot_product_attention(query, key, value)[0].transpose(0, 1).reshape(len(h), -1)
        h = h + block.attn_out(mixed)
        n = block.ff_norm(h)
        return h + block.ff_out(F.silu(block.ff_proj(n)) * block.up_proj(n))


class CachedLogits:
    """Guided logits of B images over the steps of one sampling run, from B caches, or 2 B with guidance."""

    def __init__(
        self,
        policy: Policy,
        prompts: list[tuple[int, ...]],
        guide: Guide | None,
        grid: tuple[int, int],
        config: CacheConfig,
        steps: int,
    ):
        if not isinstance(policy.net, LLaDA):
            raise UserError(
                f"the ML-Cache runs a network block by block, at some positions only, and so needs the whole of it in "
                f"this process, not {type(policy.net).__name__}: use cache=none"
            )
        self.policy, self.guide, self.grid, self.config, self.steps = policy, guide, grid, config, steps
        self.rows = [(prompt, guide.prompt) if guide else (prompt,) for prompt in prompts]
        columns = policy.backbone.image_columns
        self.sequences = [[CachedSequence(policy.net, columns) for _ in row] for row in self.rows]
        self.last = [-1] * len(prompts)

    def __call__(self, step: int, codes: Tensor, wanted: Tensor) -> tuple[Tensor, int, int]:
        """fp32 [P, C] at the `wanted` slots (bool [B, N], row-major) of `codes` [B, N] at `step`; the sequences that
        were run, whole or in part; the positions the head ran on."""
        found, forwards, heads = [], 0, 0
        for image in wanted.any(1).nonzero()[:, 0].tolist():
            full = any(self.config.full(s, self.steps) for s in range(self.last[image] + 1, step + 1))
            self.last[image] = step
            streams = []
            for prompt, sequence in zip(self.rows[image], self.sequences[image], strict=True):
                packed, slots = pack(self.policy, [prompt], codes[image : image + 1], self.grid)
                at = None if full else sequence.uncertain(1.0 - self.config.cache_ratio)
                streams.append(sequence.run(packed.ids, at)[slots[0, wanted[image]]].float())
                forwards, heads = forwards + 1, heads + (len(packed.ids) if at is None else len(at))
            conditional = streams[0]
            found.append(conditional + self.guide.scale * (conditional - streams[1]) if self.guide else conditional)
        return torch.cat(found), forwards, heads
