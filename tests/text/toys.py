"""Networks that answer from a table, called as LLaDA.forward is, and a slow decoder to compare with."""

from bisect import bisect_right
from itertools import accumulate, product

import torch
from torch import Tensor

from bench.benchmarks.text.reader import Reader
from bench.benchmarks.text.settings import Decoding
from htgrpo.policies.llada import Packed
from htgrpo.policies.policy import Policy


class Counting:
    """Passes calls on to `net` and keeps the sequences it was called with."""

    def __init__(self, net):
        self.net, self.seen = net, []

    def __call__(self, packed: Packed, at: Tensor | None = None, columns: slice = slice(None)) -> Tensor:
        self.seen += [tuple(part.tolist()) for part in packed.ids.split(packed.lengths)]
        return self.net(packed, at, columns)


class Factorised:
    """Logits that depend on the position alone: row i of `table` [positions, V], whatever stands around it."""

    def __init__(self, table: Tensor):
        self.table = table

    def __call__(self, packed: Packed, at: Tensor, columns: slice = slice(None)) -> Tensor:
        position = torch.cat([torch.arange(length) for length in packed.lengths])
        return self.table[position[at]][:, columns]


class Joint:
    """The exact conditionals of a joint distribution `table` [V, ..., V] over the L ids after a prompt of one id; V is
    the mask."""

    def __init__(self, table: Tensor):
        self.table = table

    def __call__(self, packed: Packed, at: Tensor, columns: slice = slice(None)) -> Tensor:
        size, length = self.table.shape[0], self.table.ndim
        rows = []
        for part in packed.ids.split(packed.lengths):
            mass = torch.zeros(1 + length, size + 1, dtype=torch.float64)
            for values in product(range(size), repeat=length):
                if all(known in (size, value) for known, value in zip(part[1:].tolist(), values, strict=True)):
                    for slot, value in enumerate(values):
                        mass[1 + slot, value] += self.table[values]
            rows.append((mass / mass.sum(1, keepdim=True)).log())
        return torch.cat(rows)[at][:, columns]


def reader_of(policy: Policy, batch: int = 16, guidance: float = 0.0, net=None, columns: slice = slice(None)) -> Reader:
    """A reader of `policy`, or of another `net` in its place."""
    return Reader(net or policy.net, policy.backbone.mask, columns, policy.device, batch, guidance)


def slow_generate(
    policy: Policy, prompt: list[int], generator: torch.Generator, decoding: Decoding, guidance: float
) -> list[int]:
    """LLaDA's loop as published, one sequence, the whole head at every position, in plain Python."""
    mask = policy.backbone.mask
    ids = prompt + [mask] * decoding.gen_length

    def logits_of(sequence: list[int]) -> Tensor:
        return policy.net(Packed(torch.tensor(sequence), (len(sequence),))).double()

    per_block = decoding.steps // (decoding.gen_length // decoding.block_length)
    for start in range(len(prompt), len(ids), decoding.block_length):
        block = range(start, start + decoding.block_length)
        left = decoding.block_length
        for step in range(per_block):
            logits = logits_of(ids)
            if guidance:
                blind = logits_of([mask] * len(prompt) + ids[len(prompt) :])
                logits = (1 + guidance) * logits - guidance * blind
            uniforms = torch.rand(2, decoding.block_length, generator=generator, dtype=torch.float64).tolist()
            candidates = []
            for slot in block:
                if ids[slot] != mask:
                    continue
                probs = logits[slot].softmax(0).tolist()
                if decoding.temperature == 0.0:
                    token = max((p, -i) for i, p in enumerate(probs) if i != mask)[1] * -1
                else:
                    tempered = (logits[slot] / decoding.temperature).softmax(0).tolist()
                    tempered[mask] = 0.0
                    token = bisect_right(list(accumulate(tempered)), uniforms[0][slot - start] * sum(tempered))
                confidence = probs[token] if decoding.remasking == "low_confidence" else uniforms[1][slot - start]
                candidates.append((-confidence, slot, token))
            count = decoding.block_length // per_block + (step < decoding.block_length % per_block)
            for _, slot, token in sorted(candidates)[:count]:
                ids[slot] = token
            left -= count
        assert left == 0
    return ids[len(prompt) :]


def use_one_task_of_the_library(monkeypatch):
    """lm-eval's own index takes a quarter of a minute to read: one folder of it stands for all."""
    from lm_eval import tasks

    original, folder = tasks.TaskManager.__init__, f"{tasks.__path__[0]}/gsm8k"

    def quick(self, *args, include_path=None, include_defaults=True, **options):
        paths = [include_path, folder] if include_defaults else include_path
        original(self, include_path=paths, include_defaults=False)

    monkeypatch.setattr(tasks.TaskManager, "__init__", quick)
