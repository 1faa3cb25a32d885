"""Benchmarks by name: registered ones, a scorer on the pictures of another one (SCORER@BENCHMARK), a task in text
(text@TASK)."""

from typing import TYPE_CHECKING

from htgrpo.base.registry import BENCHMARKS

if TYPE_CHECKING:
    from bench.benchmarks.base import Benchmark


def check(name: str) -> str:
    """`name` if there is such a benchmark, as far as can be told without loading anything; raises UserError
    otherwise."""
    own, at, other = name.partition("@")
    BENCHMARKS.check(own)
    if at:
        BENCHMARKS.get(own).check_on(other)
    return name


def make(name: str) -> "Benchmark":
    """The benchmark of that name. Raises UserError for one that does not exist or cannot be put on other pictures."""
    check(name)
    own, at, other = name.partition("@")
    kind = BENCHMARKS.get(own)
    return kind.on(other) if at else kind()
