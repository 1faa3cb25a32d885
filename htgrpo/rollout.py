"""Sampling images from a policy with classifier-free guidance, and remembering when each slot was revealed.

No step waits for the device: how many slots are drawn when follows from the sampler's schedule, sequences are packed
once and change in place, and results come back once per batch. (The ML-Cache goes by what it finds, and waits.)
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor

from htgrpo.base.errors import UserError
from htgrpo.base.rng import generator
from htgrpo.interface import HIDDEN
from htgrpo.policies.cache_config import NO_TRAINING
from htgrpo.policies.llada import LLaDA, Packed
from htgrpo.policies.lumina_cache import CacheConfig, CachedLogits
from htgrpo.policies.policy import Guide, Policy, pack
from htgrpo.samplers import Draws, Sampler, Schedule

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

    def part(self, images: slice) -> "Rollouts":
        """Some of the images, without a count of what they alone have cost."""
        records = ("codes", "reveal_step", "rank", "entropy", "predicted")
        known = {name: value for name in records if (value := getattr(self, name)) is not None}
        return replace(self, **{name: value[images] for name, value in known.items()}, forwards=0, heads=0)


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
    later: tuple[int, list[tuple]] | None = None,
    owners: list[int] | None = None,
) -> Rollouts:
    """One image per prompt (ids before the image block). Image i draws from `generator(*keys[i])` alone, so how
    images are batched changes them by no more than rounding. guidance g: logits = (1 + g) conditional - g
    unconditional; 0 samples without guidance. pads: as in Backbone.prompt, for the unconditional prompt. cache:
    Lumina-DiMOO's ML-Cache, for pictures only. predict: records what is drawn at every hidden slot, for which the
    head runs on all of them at every step; the images are the same. later: (step, keys), from which step on image i
    draws from its key there. owners: the number of the prompt of each image, by default equal neighbours are of one.
    What a prompt's images cost does not depend on what is sampled with them."""
    grid = grid or policy.backbone.grid
    if predict and cache:
        raise UserError("the ML-Cache does not predict all hidden slots: sample with cache=None to record predictions")
    guide = Guide(guidance, policy.unconditional(pads)) if guidance else None
    parts = []
    if owners is None:
        owners = [number for number, (_, images) in enumerate(groupby(prompts)) for _ in images]
    for start, stop in _chunks(policy, prompts, owners, grid, guide, tokens_per_forward):
        parts.append(
            _generate_chunk(
                policy,
                prompts[start:stop],
                owners[start:stop],
                keys[start:stop],
                sampler,
                guide,
                grid,
                cache,
                predict,
                (later[0], later[1][start:stop]) if later else None,
            )
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
    policy: Policy,
    prompts: list[tuple[int, ...]],
    owners: list[int],
    grid: tuple[int, int],
    guide: Guide | None,
    limit: int,
) -> Iterator[tuple[int, int]]:
    """(start, stop) of batches of at most `limit` packed tokens. A prompt's images (in a row) stay together where they
    fit, and are else cut from their first one on, whatever stands before them."""
    block = len(policy.backbone.image_block(grid))
    other = block + len(guide.prompt) if guide else 0
    start = stop = used = 0
    for _, images in groupby(zip(owners, prompts, strict=True)):
        own = [prompt for _, prompt in images]
        tokens, count = len(own[0]) + block + other, len(own)
        most = max(1, limit // tokens)
        for piece in [min(most, count - first) for first in range(0, count, most)]:
            if stop > start and used + piece * tokens > limit:
                yield start, stop
                start, used = stop, 0
            stop, used = stop + piece, used + piece * tokens
    yield start, stop


@torch.inference_mode()
def _generate_chunk(
    policy: Policy,
    prompts: list[tuple[int, ...]],
    owners: list[int],
    keys: list[tuple],
    sampler: Sampler,
    guide: Guide | None,
    grid: tuple[int, int],
    cache: CacheConfig | None,
    predict: bool,
    later: tuple[int, list[tuple]] | None = None,
) -> Rollouts:
    count, slots = len(prompts), grid[0] * grid[1]
    device = policy.device
    draws = Draws.make([generator(*key) for key in keys], sampler.steps, slots)
    if later:
        draws = draws.until(later[0], Draws.make([generator(*key) for key in later[1]], sampler.steps, slots))
    schedule, draws = Schedule(sampler, draws, predict, device), draws.to(device)
    codes = torch.full((count, slots), HIDDEN, device=device)
    reveal_step = torch.full((count, slots), sampler.steps - 1, device=device)
    entropy = torch.zeros(count, slots, device=device)
    forwards = heads = 0
    look: _Sequences | _Cached
    if cache:
        look = _Cached(CachedLogits(policy, prompts, guide, grid, cache, sampler.steps), sampler, draws)
    else:
        look = _Sequences(policy, prompts, owners, guide, grid, schedule)
    latest, seen = codes.clone(), []
    for step in range(sampler.steps):
        found = look(step, codes)
        if found:
            at, logits, rows, ran = found
            forwards, heads = forwards + rows, heads + ran
            drawn, log_prob, spread = _draw(logits, draws.code[:, step].flatten()[at], sampler.code_temperature)
            hidden, keep = codes == HIDDEN, schedule.stays(step)
            if schedule.by_confidence:
                confidence = torch.full((count * slots,), -torch.inf, device=device).index_put((at,), log_prob)
                keep = sampler.keep(step, hidden, confidence.view(count, slots), draws).flatten()[at]
            for record, value in ((codes, drawn), (reveal_step, torch.full_like(drawn, step)), (entropy, spread)):
                _put(record, at, value, keep)
            if predict:
                _put(latest, at, drawn, hidden.flatten()[at])
        if predict:
            seen.append(latest.clone())
    rank = reveal_order(reveal_step, draws.tie)
    predicted = torch.stack(seen, 1).cpu() if predict else None
    return Rollouts(codes.cpu(), reveal_step.cpu(), rank.cpu(), entropy.cpu(), forwards, heads, predicted=predicted)


def _put(record: Tensor, at: Tensor, value: Tensor, keep: Tensor | None) -> None:
    """Writes `value` [P] into `record` [B, N] at the positions `at` (of `keep`, where given)."""
    flat = record.view(-1)
    flat[at] = value if keep is None else torch.where(keep, value, flat[at])


Found = tuple[Tensor, Tensor, int, int]
"""Positions in [B, N] read row by row, int64 [P]; guided fp32 logits there, [P, C]; the sequences that were run; the
slots the head ran on."""


class _Cached:
    """What the ML-Cache finds, at the slots that are drawn."""

    def __init__(self, logits: CachedLogits, sampler: Sampler, draws: Draws):
        self.logits, self.sampler, self.draws = logits, sampler, draws

    def __call__(self, step: int, codes: Tensor) -> Found | None:
        candidates = self.sampler.candidates(step, codes == HIDDEN, self.draws)
        at = candidates.flatten().nonzero()[:, 0]
        return (at, *self.logits(step, codes, candidates)) if len(at) else None


class _Sequences:
    """The sequences of a batch, all conditional and then all unconditional ones, packed once."""

    def __init__(
        self,
        policy: Policy,
        prompts: list[tuple[int, ...]],
        owners: list[int],
        guide: Guide | None,
        grid: tuple[int, int],
        schedule: Schedule,
    ):
        self.policy, self.prompts, self.owners, self.guide, self.grid, self.schedule = (
            policy,
            prompts,
            owners,
            guide,
            grid,
            schedule,
        )
        self.rows = [*prompts, *([guide.prompt] * len(prompts) if guide else [])]
        hidden = torch.full((len(self.rows), grid[0] * grid[1]), HIDDEN)
        self.packed, slots = pack(policy, self.rows, hidden, grid)
        self.slots = slots.flatten()

    def __call__(self, step: int, codes: Tensor) -> Found | None:
        if not self.schedule.counts[step]:
            return None
        at = self.schedule.at(step, codes == HIDDEN)
        if step == self.schedule.begin:
            return (at, *self._begin(self.schedule.first))
        self.packed.ids[self.slots] = self.policy.backbone.to_ids(codes).flatten().repeat(2 if self.guide else 1)
        return (at, *self._logits(self.packed, self.slots[self._both(at)]))

    def _begin(self, at: Tensor) -> tuple[Tensor, int, int]:
        """Logits before anything is revealed: equal sequences of one prompt (of all its images, and all unconditional
        ones) are run once. at: on the host."""
        owned = list(zip(self.rows, self.owners * (2 if self.guide else 1), strict=True))
        distinct = {one: number for number, one in enumerate(dict.fromkeys(owned))}
        slots = self.grid[0] * self.grid[1]
        row = torch.tensor([distinct[one] for one in owned])
        wanted = self._both(at)
        used, back = torch.unique(row[wanted // slots] * slots + wanted % slots, return_inverse=True)
        rows = [row for row, _ in distinct]
        packed, places = pack(self.policy, rows, torch.full((len(rows), slots), HIDDEN), self.grid)
        return self._logits(packed, places.flatten()[used.to(places.device)], back.to(places.device))

    def _both(self, at: Tensor) -> Tensor:
        """`at` in the conditional sequences, and the same slots of the unconditional ones."""
        return torch.cat([at, at + len(self.prompts) * self.grid[0] * self.grid[1]]) if self.guide else at

    def _logits(self, packed: Packed, places: Tensor, back: Tensor | None = None) -> tuple[Tensor, int, int]:
        logits = self.policy.net(packed, places, self.policy.backbone.image_columns)
        logits = (logits if back is None else logits[back]).float()
        if self.guide:
            conditional, unconditional = logits.chunk(2)
            logits = conditional + self.guide.scale * (conditional - unconditional)
        return logits, len(packed.lengths), len(places)


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
    total = cdf[:, -1:].contiguous()
    target = uniforms.to(cdf.dtype)[:, None] * total
    # a uniform may round to 1: never go beyond the last code with any mass
    last = torch.searchsorted(cdf, total)
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
