"""Text from a masked model: blocks from left to right, within a block the most confident tokens first (LLaDA's
generate).

Differences from the published loop: the mask itself is never drawn (there it may be, and then stays in the answer),
draws come by inverse CDF from each request's own generator (the same distribution as the published Gumbel noise), ties
go to the leftmost slot, and the head runs on the block's masked slots only.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from bench.benchmarks.text.likelihood import Pair
from bench.benchmarks.text.reader import Reader, Reading
from bench.benchmarks.text.settings import Decoding

Ended = Callable[[int, list[int]], bool]
"""Whether the answer (its row in the call, and its finished blocks) needs no further block."""


def generate(
    reader: Reader,
    prompts: list[tuple[int, ...]],
    generators: list[torch.Generator],
    decoding: Decoding,
    ended: Ended = lambda row, answer: False,
) -> list[list[int]]:
    """The answers to `prompts`: ids of whole blocks, gen_length of them, or fewer where `ended` said so.

    Answer i draws from generators[i] alone, so that neither batch size nor order can change it (beyond ties within the
    rounding of the network's dtype).
    """
    answers = [[reader.mask] * decoding.gen_length for _ in prompts]
    for first in range(0, len(prompts), reader.batch):
        active = list(range(len(prompts)))[first : first + reader.batch]
        for start in range(0, decoding.gen_length, decoding.block_length):
            stop = start + decoding.block_length
            for count in decoding.reveals():
                _reveal(reader, prompts, answers, generators, active, range(start, stop), count, decoding)
            done = [row for row in active if ended(row, answers[row][:stop])]
            for row in done:
                del answers[row][stop:]
            active = [row for row in active if row not in done]
            if not active:
                break
    return answers


def _reveal(
    reader: Reader,
    prompts: list[tuple[int, ...]],
    answers: list[list[int]],
    generators: list[torch.Generator],
    active: list[int],
    block: range,
    count: int,
    decoding: Decoding,
) -> None:
    """One step: reveals `count` masked slots of `block` in every active answer."""
    hidden = [[slot for slot in block if answers[row][slot] == reader.mask] for row in active]
    logits = reader.logits(
        [_reading(prompts[row], answers[row], slots) for row, slots in zip(active, hidden, strict=True)]
    )
    for row, slots, part in zip(active, hidden, logits.split([len(slots) for slots in hidden]), strict=True):
        within = [slot - block.start for slot in slots]
        token_uniforms, order_uniforms = torch.rand(2, len(block), generator=generators[row], dtype=torch.float64)[
            :, within
        ]
        tokens, confidence = draw(part, reader.mask, decoding.temperature, token_uniforms)
        order = confidence.cpu() if decoding.remasking == "low_confidence" else order_uniforms
        for best in order.sort(descending=True, stable=True).indices[:count].tolist():
            answers[row][slots[best]] = int(tokens[best])


def draw(logits: Tensor, mask: int, temperature: float, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens int64 [P], never `mask`, from softmax(logits / temperature), 0 being the likeliest, and their
    log-probability under softmax(logits), float64 [P]. logits: [P, C]. uniforms: float64 [P] in [0, 1), on any device;
    unused at temperature 0."""
    logits = logits.double()
    allowed = logits.clone()
    allowed[:, mask] = -torch.inf
    if temperature == 0.0:
        tokens = allowed.argmax(-1)
    else:
        cdf = (allowed / temperature).softmax(-1).cumsum(-1)
        total = cdf[:, -1:]
        last = (cdf < total).sum(
            -1
        )  # a product may round up to the total: never go beyond the last token with any mass
        tokens = torch.searchsorted(cdf, uniforms.to(cdf.device)[:, None] * total, right=True)[:, 0].minimum(last)
    return tokens, logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]


def are_greedy(reader: Reader, pairs: list[Pair]) -> list[bool]:
    """Whether each answer is what the model writes in so many slots, one block, one token a step, the most confident
    first. An answer is given up at its first wrong token."""
    verdicts = [True] * len(pairs)
    for first in range(0, len(pairs), reader.batch):
        answers = {
            row: [reader.mask] * len(pairs[row][1]) for row in list(range(len(pairs)))[first : first + reader.batch]
        }
        while answers := {row: answer for row, answer in answers.items() if reader.mask in answer and verdicts[row]}:
            hidden = {
                row: [slot for slot, token in enumerate(answer) if token == reader.mask]
                for row, answer in answers.items()
            }
            logits = reader.logits([_reading(pairs[row][0], answer, hidden[row]) for row, answer in answers.items()])
            for row, part in zip(answers, logits.split([len(slots) for slots in hidden.values()]), strict=True):
                tokens, confidence = draw(part, reader.mask, 0.0, torch.empty(0))
                best = int(confidence.cpu().sort(descending=True, stable=True).indices[0])
                slot = hidden[row][best]
                answers[row][slot] = int(tokens[best])
                verdicts[row] = answers[row][slot] == pairs[row][1][slot]
    return verdicts


def _reading(prompt: tuple[int, ...], answer: list[int], slots: list[int]) -> Reading:
    return Reading((*prompt, *answer), len(prompt), tuple(len(prompt) + slot for slot in slots))
