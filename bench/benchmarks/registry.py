"""Benchmarks by name: registered ones, and a scorer on the pictures of another one, written SCORER@BENCHMARK."""

from typing import TYPE_CHECKING

from htgrpo.errors import UserError, suggest
from htgrpo.registry import BENCHMARKS

if TYPE_CHECKING:
    from bench.benchmarks.base import Benchmark


def check(name: str) -> str:
    """`name` if there is such a benchmark; raises UserError with the nearest name otherwise. Imports nothing."""
    for part in name.split("@", 1):
        if part not in BENCHMARKS.names():
            raise suggest(part, BENCHMARKS.names(), "benchmark")
    return name


def make(name: str) -> "Benchmark":
    """The benchmark of that name. Raises UserError for one that does not exist or cannot be put on other pictures."""
    check(name)
    own, _, other = name.partition("@")
    kind = BENCHMARKS.get(own)
    if not other:
        return kind()
    from bench.benchmarks.model_scores import ModelScore

    if not issubclass(kind, ModelScore):
        raise UserError(f"benchmark {name!r}: {own} has a rule of its own, which fits its own prompts only; scorers such as "
                        "imagereward or hpsv3 can be put on the pictures of another benchmark")
    return kind(make(other))
