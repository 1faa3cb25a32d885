"""The rule by which bench.tune chooses settings: the same tries for every method, until the best learning rate is
interior."""

from dataclasses import dataclass
from typing import Any

from htgrpo.base.registry import BENCHMARKS
from htgrpo.world.world import World

SPLIT = "validation"


@dataclass(frozen=True)
class Grid:
    """What is tried. lr times each factor of `start` first; `ladder`, ascending, holds every factor that may follow.
    own_choice: by method, the options (or `lr`) of one try more. seeds: training seeds of every try."""

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
    return max(own, key=lambda one: own[one], default=None)


def interior(grid: Grid, method: str, scores: Scores) -> bool:
    """Whether the best learning rate under the default options has a worse one tried on either side."""
    tried = sorted(one.lr for one in scores if one.method == method and not one.options)
    top = best({one: score for one, score in scores.items() if not one.options}, method)
    return top is not None and tried[0] < top.lr < tried[-1]


def next_tries(grid: Grid, method: str, scores: Scores) -> list[Try]:
    """What `method` has still to try, given the scores so far; nothing when it is done.

    The start first; then one factor beyond the end at which the best rate lies, until it is interior or the ladder
    ends; last the own choice, at the best rate. Where all rates diverged, smaller ones follow.
    """
    missing = [one for one in (Try(method, grid.rate(factor)) for factor in grid.start) if one not in scores]
    if missing:
        return missing
    plain = {one: score for one, score in scores.items() if one.method == method and not one.options}
    tried, top, rates = (
        sorted(one.lr for one in plain),
        best(plain, method),
        [grid.rate(factor) for factor in grid.ladder],
    )
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


@dataclass(frozen=True)
class Tuning:
    """What is tuned and how: all that decides a score. benchmark: whose validation prompts judge. settings: TrainConfig
    fields that all tries share, and the budgets of the preset. Methods may be added later."""

    methods: tuple[str, ...]
    policy: str
    policy_sha256: str
    world: World
    benchmark: str
    settings: dict[str, Any]
    samples: int
    grid: Grid

    def identity(self) -> dict[str, Any]:
        """What a folder of tries must agree on, as JSON."""
        from htgrpo.base.prompts import prompt_set_sha256
        from htgrpo.world.prompts import split_prompts

        benchmark = BENCHMARKS.get(self.benchmark)
        own = {method: self.grid.own_choice.get(method, {}) for method in self.methods}
        return {
            "policy_sha256": self.policy_sha256,
            "settings": self.settings,
            "samples": self.samples,
            "seeds": list(self.grid.seeds),
            "lr": self.grid.lr,
            "start": list(self.grid.start),
            "ladder": list(self.grid.ladder),
            "own_choice": own,
            "split": SPLIT,
            "prompts": {
                "train": prompt_set_sha256(split_prompts(self.world, "train")),
                SPLIT: prompt_set_sha256(split_prompts(self.world, SPLIT)),
            },
            "benchmark": f"{benchmark.name} {benchmark.version}",
        }
