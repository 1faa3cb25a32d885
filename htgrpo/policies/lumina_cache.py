"""Lumina-DiMOO's ML-Cache: most steps push only the least certain positions through the network. For pictures, not for training.

A full step runs a whole sequence and keeps keys, values and image logits of every position, text included. On the steps between
only the positions whose greatest image logit was lowest are run again; they attend to the kept keys and values of all others, which
answer with the logits they had. Codes revealed since the last full step may thus be seen as masks: samples change, and their ranks,
entropies and log-probabilities are those of no policy. Every image has its own caches, one for its prompt and one for the
unconditional prompt, so batches cannot change an image here either.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from htgrpo.errors import UserError
from htgrpo.options import require
from htgrpo.policies.llada import Block, LLaDA, rotate
from htgrpo.policies.policy import Policy, pack

if TYPE_CHECKING:
    from htgrpo.rollout import Guide, Rollouts


@dataclass(frozen=True)
class CacheConfig:
    """cache_ratio: share of positions not run again on a step between full ones, in [0, 1). warmup_ratio: share of the steps, from
    the first, that are full, in [0, 1]. refresh_interval: every how many steps after those a step is full, at least 1."""

    cache_ratio: float = 0.9
    warmup_ratio: float = 0.3
    refresh_interval: int = 5

    def __post_init__(self):
        require(0.0 <= self.cache_ratio < 1.0, "cache_ratio", self.cache_ratio, "it must be at least 0 and less than 1")
        require(0.0 <= self.warmup_ratio <= 1.0, "warmup_ratio", self.warmup_ratio, "it must lie between 0 and 1")
        require(self.refresh_interval >= 1, "refresh_interval", self.refresh_interval, "it must be at least 1")

    def full(self, step: int, steps: int) -> bool:
        """Whether `step` of `steps` runs whole sequences."""
        warm = int(steps * self.warmup_ratio)
        return step <= warm or (step - warm) % self.refresh_interval == 0


def refuse_training(rollouts: "Rollouts") -> None:
    """Raises UserError when `rollouts` came out of a cache."""
    if rollouts.cached:
        raise UserError("these rollouts were sampled with the ML-Cache, but training needs the policy's own log-probabilities and "
                        "unmasking order: sample them with cache=None and keep the cache for evaluation")


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
        """Image logits [S, C] of ids [S], computed at positions `at` (int64 [P]) and taken from the cache elsewhere; None: all
        are computed."""
        net = self.net.model.transformer
        h = net.wte(ids if at is None else ids[at])
        rope = self.net.rope([(1, len(ids))], h.device, torch.float64 if h.dtype == torch.float64 else torch.float32)
        here = rope if at is None else (rope[0][at], rope[1][at])
        if at is None:
            self.keys, self.values = [], []
        for layer, block in enumerate(net.blocks):
            h = self._block(layer, block, h, here, at)
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

    def __init__(self, policy: Policy, prompts: list[tuple[int, ...]], guide: "Guide | None", grid: tuple[int, int],
                 config: CacheConfig, steps: int):
        self.policy, self.guide, self.grid, self.config, self.steps = policy, guide, grid, config, steps
        self.rows = [(prompt, guide.prompt) if guide else (prompt,) for prompt in prompts]
        columns = policy.backbone.image_columns
        self.sequences = [[CachedSequence(policy.net, columns) for _ in row] for row in self.rows]
        self.last = [-1] * len(prompts)

    def __call__(self, step: int, codes: Tensor, wanted: Tensor) -> tuple[Tensor, int, int]:
        """fp32 [P, C] at the `wanted` slots (bool [B, N], row-major) of `codes` [B, N] at `step`; the sequences that were run,
        whole or in part; the positions the head ran on."""
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
