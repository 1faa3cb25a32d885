"""The rule by which bench.tune chooses settings: the same tries for every method, until the best learning rate is interior."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Grid:
    """What is tried. lr times each factor of `start` first; `ladder`, ascending, holds every factor that may follow. own_choice: by
    method, the options (or `lr`) of one try more. seeds: training seeds of every try."""

    lr: float
    start: tuple[float, ...]
    ladder: tuple[float, ...]
    own_choice: dict[str, dict[str, Any]]
    seeds: tuple[int, ...]

    def rate(self, factor: float) -> float:
        """The learning rate of a factor."""
        return float(f"{self.lr * factor:.6g}")


@dataclass(frozen=True)
class Try:
    """One try: a method with a learning rate, and with options where it is the method's own choice."""

    method: str
    lr: float
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """Its folder."""
        return "-".join([f"{self.method}-lr={self.lr:g}", *(f"{key}={value}" for key, value in self.options)])


Scores = dict[Try, float]
"""The mean score of every finished try over its seeds; minus infinity for one that diverged."""


def best(scores: Scores, method: str) -> Try | None:
    """The method's best try, the first one of equals; None when it has none that did not diverge."""
    own = {one: score for one, score in scores.items() if one.method == method and score > float("-inf")}
    return max(own, key=own.get, default=None)


def interior(grid: Grid, method: str, scores: Scores) -> bool:
    """Whether the best learning rate under the default options has a worse one tried on either side."""
    tried = sorted(one.lr for one in scores if one.method == method and not one.options)
    top = best({one: score for one, score in scores.items() if not one.options}, method)
    return top is not None and tried[0] < top.lr < tried[-1]


def next_tries(grid: Grid, method: str, scores: Scores) -> list[Try]:
    """What `method` has still to try, given the scores so far; nothing when it is done.

    The start first; then one factor beyond the end at which the best rate lies, until it is interior or the ladder ends; last the
    own choice, at the best rate. Where all rates diverged, smaller ones follow.
    """
    missing = [one for one in (Try(method, grid.rate(factor)) for factor in grid.start) if one not in scores]
    if missing:
        return missing
    plain = {one: score for one, score in scores.items() if one.method == method and not one.options}
    tried, top, rates = sorted(one.lr for one in plain), best(plain, method), [grid.rate(factor) for factor in grid.ladder]
    lower = [rate for rate in rates if rate < tried[0]][-1:]
    higher = [rate for rate in rates if rate > tried[-1]][:1]
    if top is None or top.lr == tried[0]:
        beyond = lower
    else:
        beyond = higher if top.lr == tried[-1] else []
    if beyond:
        return [Try(method, beyond[0])]
    own = dict(grid.own_choice.get(method, {}))
    if top is None or not own:
        return []
    choice = Try(method, own.pop("lr", top.lr), tuple(own.items()))
    return [] if choice in scores else [choice]
