"""Sampling images from a policy with classifier-free guidance, and remembering when each slot was revealed."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from htgrpo.base.errors import UserError
from htgrpo.base.rng import generator
from htgrpo.interface import HIDDEN
from htgrpo.policies.cache_config import NO_TRAINING
from htgrpo.policies.llada import LLaDA
from htgrpo.policies.lumina_cache import CacheConfig, CachedLogits
from htgrpo.policies.policy import Guide, Policy, pack
from htgrpo.samplers import Draws, Sampler

TOKENS_PER_FORWARD = 6144
"""Packed tokens of one forward; on a CPU larger batches only leave the cache (docs/speed.md)."""


@dataclass(frozen=True)
class Rollouts:
    """B sampled images. codes, reveal_step, rank: int64 [B, N]; entropy: float32 [B, N] in nats, of the guided
    distribution each code was drawn from; forwards: sequences pushed through the network; heads: slots the head ran on;
    cached: an ML-Cache was used, so that this is no material for training. predicted: int64 [B, T, N] as in
    RolloutGroup, where it was asked for."""

    codes: Tensor
    reveal_step: Tensor
    rank: Tensor
    entropy: Tensor
    forwards: int
    heads: int
    cached: bool = False
    predicted: Tensor | None = None


def refuse_training(rollouts: Rollouts) -> None:
    """Raises UserError when `rollouts` came out of a cache."""
    if rollouts.cached:
        raise UserError(
            f"these rollouts were sampled with the ML-Cache, but {NO_TRAINING}: sample them with cache=None and keep "
            "the cache for evaluation"
        )


def generate(
    policy: Policy,
    prompts: list[tuple[int, ...]],
    keys: list[tuple],
    sampler: Sampler,
    guidance: float,
    grid: tuple[int, int] | None = None,
    tokens_per_forward: int = TOKENS_PER_FORWARD,
    on_images: Callable[[int], None] | None = None,
    pads: str = "strip",
    cache: CacheConfig | None = None,
    predict: bool = False,
) -> Rollouts:
    """One image per prompt (ids before the image block). Image i draws from `generator(*keys[i])` alone, so how images
    are batched cannot change them. guidance g: logits = (1 + g) conditional - g unconditional; 0 samples without
    guidance. pads: as in Backbone.prompt, for the unconditional prompt. cache: Lumina-DiMOO's ML-Cache, for pictures
    only. predict: records what is drawn at every hidden slot, for which the head runs on all of them at every step;
    the images are the same."""
    grid = grid or policy.backbone.grid
    if predict and cache:
        raise UserError("the ML-Cache does not predict all hidden slots: sample with cache=None to record predictions")
    guide = Guide(guidance, policy.unconditional(pads)) if guidance else None
    parts = []
    for start, stop in _chunks(policy, prompts, grid, guide, tokens_per_forward):
        parts.append(
            _generate_chunk(policy, prompts[start:stop], keys[start:stop], sampler, guide, grid, cache, predict)
        )
        if on_images:
            on_images(stop)

    def joined(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts])

    return Rollouts(
        joined("codes"),
        joined("reveal_step"),
        joined("rank"),
        joined("entropy"),
        sum(part.forwards for part in parts),
        sum(part.heads for part in parts),
        cache is not None,
        joined("predicted") if predict else None,
    )


def _chunks(
    policy: Policy, prompts: list[tuple[int, ...]], grid: tuple[int, int], guide: Guide | None, limit: int
) -> Iterator[tuple[int, int]]:
    block = len(policy.backbone.image_block(grid))
    other = block + len(guide.prompt) if guide else 0
    start, used = 0, 0
    for index, prompt in enumerate(prompts):
        tokens = len(prompt) + block + other
        if index > start and used + tokens > limit:
            yield start, index
            start, used = index, 0
        used += tokens
    yield start, len(prompts)


@torch.inference_mode()
def _generate_chunk(
    policy: Policy,
    prompts: list[tuple[int, ...]],
    keys: list[tuple],
    sampler: Sampler,
    guide: Guide | None,
    grid: tuple[int, int],
    cache: CacheConfig | None,
    predict: bool,
) -> Rollouts:
    count, slots = len(prompts), grid[0] * grid[1]
    device = policy.device
    draws = Draws.make([generator(*key) for key in keys], sampler.steps, slots).to(device)
    codes = torch.full((count, slots), HIDDEN, device=device)
    reveal_step = torch.full((count, slots), sampler.steps - 1, device=device)
    entropy = torch.zeros(count, slots, device=device)
    forwards = heads = 0
    cached = CachedLogits(policy, prompts, guide, grid, cache, sampler.steps) if cache else None
    latest, predicted = codes.clone(), []
    for step in range(sampler.steps):
        hidden = codes == HIDDEN
        candidates = sampler.candidates(step, hidden, draws)
        if candidates.any():
            wanted = hidden & candidates.any(1, keepdim=True) if predict else candidates
            if cached:
                logits, rows, ran = cached(step, codes, wanted)
            else:
                logits, rows, ran = _guided_logits(policy, prompts, codes, wanted, guide, grid)
            forwards, heads = forwards + rows, heads + ran
            drawn, log_prob, spread = _draw(logits, draws.code[:, step][wanted], sampler.code_temperature)
            confidence = torch.full((count, slots), -torch.inf, device=device)
            confidence[wanted] = log_prob
            keep = sampler.keep(step, candidates, confidence, draws)
            kept = keep[wanted]
            codes[keep], reveal_step[keep], entropy[keep] = drawn[kept], step, spread[kept]
            latest[wanted] = drawn
        if predict:
            predicted.append(latest.clone().cpu())
    rank = reveal_order(reveal_step, draws.tie)
    seen = torch.stack(predicted, 1) if predict else None
    return Rollouts(codes.cpu(), reveal_step.cpu(), rank.cpu(), entropy.cpu(), forwards, heads, predicted=seen)


def _guided_logits(
    policy: Policy,
    prompts: list[tuple[int, ...]],
    codes: Tensor,
    wanted: Tensor,
    guide: Guide | None,
    grid: tuple[int, int],
) -> tuple[Tensor, int, int]:
    """fp32 [P, C] at the `wanted` slots (row-major), the sequences that were run, and the slots the head ran on.

    Equal sequences (all images of one prompt, and all unconditional ones, before anything is revealed) are run once.
    """
    rows = list(prompts) + ([guide.prompt] * len(prompts) if guide else [])
    repeat = 2 if guide else 1
    codes, wanted = codes.repeat(repeat, 1), wanted.repeat(repeat, 1)
    image, slot = wanted.nonzero(as_tuple=True)
    source = torch.arange(len(rows), device=codes.device)
    if (codes == HIDDEN).all():
        first: dict[tuple[int, ...], int] = {}
        source = torch.tensor([first.setdefault(row, len(first)) for row in rows], device=codes.device)
        rows, codes = list(first), codes[: len(first)]
    packed, slots = pack(policy, rows, codes, grid)
    at, back = torch.unique(slots[source[image], slot], return_inverse=True)
    logits = policy.net(packed, at, policy.backbone.image_columns)[back].float()
    if guide:
        conditional, unconditional = logits.chunk(2)
        logits = conditional + guide.scale * (conditional - unconditional)
    return logits, len(rows), len(at)


def _draw(logits: Tensor, uniforms: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Codes by inverse CDF of softmax(logits / temperature), 0 being the likeliest code; their log-probabilities under
    softmax(logits); the entropy of each row drawn from. logits fp32 [P, C], uniforms [P]."""
    log_probs = logits.log_softmax(-1)
    if temperature == 0.0:
        drawn = logits.argmax(-1, keepdim=True)
        return drawn[:, 0], log_probs.gather(1, drawn)[:, 0], logits.new_zeros(len(logits))
    tempered = log_probs if temperature == 1.0 else (logits / temperature).log_softmax(-1)
    probs = tempered.exp()
    cdf = probs.cumsum(-1)
    target = uniforms.to(cdf.dtype)[:, None] * cdf[:, -1:]
    # a uniform may round to 1: never go beyond the last code with any mass
    last = (cdf < cdf[:, -1:]).sum(-1, keepdim=True)
    drawn = torch.searchsorted(cdf, target, right=True).minimum(last)
    return drawn[:, 0], log_probs.gather(1, drawn)[:, 0], -(probs * tempered).sum(-1)


def reveal_order(reveal_step: Tensor, tie: Tensor) -> Tensor:
    """int64 [B, N], a permutation of 1..N per image: by reveal step, slots of one step in the order of `tie` in [0,
    1)."""
    return (reveal_step + tie.to(torch.float64)).argsort(dim=1).argsort(dim=1) + 1


def rollout_net(net: LLaDA, dtype: torch.dtype) -> LLaDA:
    """A frozen copy of `net`, adapters included, in `dtype` for sampling."""
    copy = deepcopy(net).requires_grad_(False)
    copy.zero_grad()
    return copy.to(dtype)
