"""Cheap scalar draws from a torch generator."""

from collections.abc import Sequence
from typing import Any

import torch


class Draws:
    """Uniform draws; the uniforms are taken from `generator` a block at a time, which is far cheaper than one by
    one."""

    def __init__(self, generator: torch.Generator, block: int = 32):
        self._generator, self._block = generator, block
        self._left: list[float] = []

    def integer(self, count: int) -> int:
        """Uniform in 0 .. count - 1."""
        if not self._left:
            self._left = torch.rand(self._block, generator=self._generator, dtype=torch.float64).tolist()
        return int(self._left.pop() * count)

    def choice(self, items: Sequence) -> Any:
        """One of `items`, uniformly."""
        return items[self.integer(len(items))]

    def some(self, items: Sequence, count: int) -> list:
        """`count` different ones of `items`, in random order."""
        pool = list(items)
        return [pool.pop(self.integer(len(pool))) for _ in range(count)]
