"""Likelihood of an answer under a masked model, as LLaDA's evaluation estimates it.

For an answer of L tokens: the number of masked ones l is uniform in 1..L, which ones is uniform, the prompt is never
masked, and the estimate is the mean over such masks of (L / l) x the sum of log p over the masked tokens. Its
expectation is the answer's log-likelihood when the model's conditionals belong to one joint distribution, and the mean
over all orders of revealing always.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.benchmarks.text.reader import Reader, Reading

Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""Ids of a prompt and of the answer to it."""


@dataclass(frozen=True)
class Masks:
    """hidden: bool [n, L], which of an answer's tokens each mask hides. weight: float64 [n]; the estimate is the sum
    over masks of weight x the sum of log p over what is hidden."""

    hidden: Tensor
    weight: Tensor


def every_mask(length: int) -> Masks:
    """All 2^L - 1 masks that hide something, with the weights that give the estimator's expectation."""
    numbers = torch.arange(1, 2**length)
    hidden = (numbers[:, None] >> torch.arange(length)) % 2 == 1
    weight = [1.0 / (count * math.comb(length, count)) for count in hidden.sum(1).tolist()]  # P(l) P(mask | l) L / l
    return Masks(hidden, torch.tensor(weight, dtype=torch.float64))


def masks_of(counts: Tensor, order: Tensor) -> Masks:
    """The masks that hide the `counts` (int64 [n], 1..L) tokens that come first in `order` (float [n, L],
    ascending)."""
    samples, length = order.shape
    hidden = order.argsort(1).argsort(1) < counts[:, None]
    return Masks(hidden, length / (counts.double() * samples))


def draw_masks(length: int, samples: int, generator: torch.Generator) -> Masks:
    """`samples` random masks of `length` >= 1 tokens.

    Counts are evenly spread over 1..L from one random offset (LLaDA's evaluation spreads them within a batch): over all
    offsets each value is as frequent as any other, so the estimate's expectation is that of independent counts, at a
    smaller variance.
    """
    offset = torch.rand((), generator=generator, dtype=torch.float64)
    counts = (length * (torch.arange(samples) + offset) / samples).long().clamp(max=length - 1) + 1
    return masks_of(counts, torch.rand(samples, length, generator=generator, dtype=torch.float64))


def masks_for(length: int, samples: int, generator: torch.Generator) -> Masks:
    """All masks where they are no more than `samples` (exact, and no dearer: at 128, answers of up to 7 tokens), else a
    draw."""
    return every_mask(length) if 2**length - 1 <= samples else draw_masks(length, samples, generator)


def log_likelihoods(reader: Reader, pairs: Iterable[tuple[Pair, Masks]]) -> list[float]:
    """The estimate for every prompt and answer (at least one token), in nats, under the masks that come with it.

    Sequences that are equal (the masked choices of one question often are) go through the network once. An estimate
    does not depend on what else is asked, beyond the rounding of the network's dtype.
    """
    totals: list[float] = []
    for chunk in _chunks(_masked(reader.mask, pairs), reader.batch):
        rows: dict[Reading, int] = {}
        for masked in chunk:
            rows.setdefault(masked.reading, sum(len(reading.at) for reading in rows))
        logits = reader.logits(list(rows))
        row = torch.tensor([rows[m.reading] + i for m in chunk for i in range(len(m.targets))], device=logits.device)
        target = torch.tensor([token for m in chunk for token in m.targets], device=logits.device)
        log_prob = (logits[row, target] - logits.logsumexp(-1)[row]).double().cpu()
        for masked, part in zip(chunk, log_prob.split([len(m.targets) for m in chunk]), strict=True):
            totals += [0.0] * (masked.pair + 1 - len(totals))
            totals[masked.pair] += masked.weight * float(part.sum())
    return totals


@dataclass(frozen=True)
class _Masked:
    """One mask of one pair: what is read, which tokens were hidden, and their weight."""

    pair: int
    reading: Reading
    targets: tuple[int, ...]
    weight: float


def _masked(mask: int, pairs: Iterable[tuple[Pair, Masks]]) -> Iterator[_Masked]:
    for index, ((prompt, answer), masks) in enumerate(pairs):
        for hidden, weight in zip(masks.hidden.tolist(), masks.weight.tolist(), strict=True):
            ids = (*prompt, *(mask if hide else token for token, hide in zip(answer, hidden, strict=True)))
            slots = [slot for slot, hide in enumerate(hidden) if hide]
            reading = Reading(ids, len(prompt), tuple(len(prompt) + slot for slot in slots))
            yield _Masked(index, reading, tuple(answer[slot] for slot in slots), weight)


def _chunks(masked: Iterable[_Masked], batch: int) -> Iterator[list[_Masked]]:
    """Consecutive ones with at most `batch` different sequences."""
    chunk: list[_Masked] = []
    different: set[Reading] = set()
    for one in masked:
        if len(different) == batch and one.reading not in different:
            yield chunk
            chunk, different = [], set()
        chunk.append(one)
        different.add(one.reading)
    if chunk:
        yield chunk
