"""How often the report's intervals hold the truth, and its words are wrong, by simulation with the report's own
functions.

Pictures are simulated as runs make them: a prompt's chance of a right picture is drawn from a beta distribution, a few
pictures of every prompt are right or wrong; what methods and their training seeds add is normal. Every cell of the
table has its own generator, so cells can be run alone. docs/statistics.md holds the figures of a whole run.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from bench.campaign.cases import Ground, Outcome, Part
from htgrpo.base.files import sha256_json
from reports.statistics import stats
from reports.statistics.crossed import Crossed
from reports.statistics.shapes import FEW_HITS

BAND, FAMILY = 0.015, 0.06
PICTURES = 4
FLIPS = 999
EVEN = np.repeat(np.arange(6), [36, 36, 36, 36, 30, 36])
"""Categories of the shipped held-out split."""
LAYOUTS = {
    "six of 30 to 36": EVEN,
    "six of 10": np.repeat(np.arange(6), 10),
    "five of 5, one of 40": np.repeat(np.arange(6), [5, 5, 5, 5, 5, 40]),
    "20, 60, 100": np.repeat(np.arange(3), [20, 60, 100]),
}


@dataclass(frozen=True)
class Cell:
    """One case. kind: "coverage" (of 95 % intervals), "family" (share of reports with any wrong word) or "power" (share
    of trials that see the difference); run(trials, generator) -> share in 0..1; over: no interval can cover just 95 %
    here, and more is allowed."""

    kind: str
    group: str
    name: str
    run: Callable[[int, np.random.Generator], float]
    over: bool = False


def cells() -> Iterator[Cell]:
    """All cases, in the order of the table."""
    for prompts in (20, 35, 100):
        for mean in (0.03, 0.1, 0.3, 0.5, 0.9, 0.97):
            for spread, words in ((1.0, "very unlike"), (5.0, "alike")):
                name = f"share {mean:g}, prompts {words}"
                run = shares(np.zeros(prompts, int), mean, spread)
                yield Cell("coverage", f"a category of {prompts}", name, run, few_hits(prompts, mean))
        for name, draw, truth in SKEWED:
            yield Cell("coverage", f"a category of {prompts}", name, skewed(prompts, draw, truth))
    for layout, categories in LAYOUTS.items():
        for mean in (0.03, 0.1, 0.5, 0.9):
            few = few_hits(len(categories), mean)
            yield Cell("coverage", f"headline over {layout}", f"share {mean:g}", shares(categories, mean, 2.0), few)
            for other in (mean, round(mean + (0.1 if mean < 0.3 else -0.1), 2)):
                yield Cell(
                    "coverage", f"pair over {layout}", f"{mean:g} against {other:g}", pair(categories, mean, other), few
                )
    for seeds in (3, 4, 6, 8):
        for share in (0.0, 0.3, 0.6, 0.9):
            yield Cell(
                "coverage", f"methods, {seeds} seeds", f"seeds hold {share:.0%} of the variance", methods(seeds, share)
            )
    for seeds in (1, 3, 4, 8):
        for count in (2, 3, 5, 7):
            for share in (0.0, 0.6, 0.9) if seeds > 1 else (0.0,):
                yield Cell(
                    "family", f"{count} methods, {seeds} seeds", f"seeds hold {share:.0%}", family(seeds, count, share)
                )
    for gap in (0.03, 0.05, 0.1):
        yield Cell("power", "pair over six of 30 to 36", f"difference {gap:g}", pair(EVEN, 0.3 + gap, 0.3, power=True))


SKEWED = (
    ("exponential scores", lambda g, size: g.exponential(size=size), 1.0),
    ("log-normal scores, sigma 0.75", lambda g, size: g.lognormal(0.0, 0.75, size), float(np.exp(0.75**2 / 2))),
    ("normal scores", lambda g, size: g.standard_normal(size), 0.0),
)


def few_hits(prompts: int, mean: float) -> bool:
    """Whether so few hits, or misses, are to be expected that the seen variance is itself badly known."""
    return prompts * mean * (1 - mean) < FEW_HITS


def right(generator: np.random.Generator, mean: np.ndarray, spread: float, shape: tuple[int, int]) -> np.ndarray:
    """Shares of right pictures [trials, prompts]; chances are beta(mean * spread, (1 - mean) * spread)."""
    return generator.binomial(PICTURES, generator.beta(mean * spread, (1 - mean) * spread, shape)) / PICTURES


def by_category(categories: np.ndarray, mean: float) -> tuple[np.ndarray, float]:
    """Means of prompts, from 0.6 to 1.4 times `mean` (or its distance from 1) over the categories, and their
    headline."""
    count = categories.max() + 1
    factor = np.linspace(0.6, 1.4, count) if count > 1 else np.ones(1)
    of_category = mean * factor if mean <= 0.5 else 1 - (1 - mean) * factor
    return of_category[categories], float(of_category.mean())


def shares(categories: np.ndarray, mean: float, spread: float) -> Callable:
    """Coverage of the interval of a score."""

    def run(trials: int, generator: np.random.Generator) -> float:
        means, truth = by_category(categories, mean)
        rows = right(generator, means, spread, (trials, len(categories)))
        return held(stats.score_intervals(rows, categories, "category_mean", 1.0), truth)

    return run


def skewed(prompts: int, draw: Callable, truth: float) -> Callable:
    """Coverage of the interval of a score without bounds."""

    def run(trials: int, generator: np.random.Generator) -> float:
        return held(
            stats.score_intervals(draw(generator, (trials, prompts)), np.zeros(prompts, int), "item_mean", None), truth
        )

    return run


def pair(categories: np.ndarray, mean: float, other: float, power: bool = False) -> Callable:
    """Coverage of the interval of a paired difference of checkpoints, or how often it is told from 0."""

    def run(trials: int, generator: np.random.Generator) -> float:
        (one, first), (two, second) = by_category(categories, mean), by_category(categories, other)
        shape = (trials, len(categories))
        rows = right(generator, one, 2.0, shape) - right(generator, two, 2.0, shape)
        found = stats.difference_intervals(rows, categories, "category_mean", 1.0, generator, FLIPS)
        return float(np.mean([x.p < 0.05 for x in found])) if power else held(found, first - second)

    return run


def methods(seeds: int, share: float) -> Callable:
    """Coverage of the interval of a difference of methods."""

    def run(trials: int, generator: np.random.Generator) -> float:
        found = []
        for _ in range(trials):
            a, b = trained(generator, 2, seeds, share)
            found.append(stats.method_difference(a - b, EVEN, "category_mean", None, generator, 99))
        return held(found, 0.0)

    return run


def family(seeds: int, count: int, share: float) -> Callable:
    """Share of reports on `count` equal methods that call any pair different."""

    def run(trials: int, generator: np.random.Generator) -> float:
        wrong = 0
        for _ in range(trials):
            scores = trained(generator, count, seeds, share)
            gaps = [a - b for a, b in combinations(scores, 2)]
            if seeds >= stats.MIN_SEEDS:
                found = [stats.method_difference(gap, EVEN, "category_mean", None, generator, 99) for gap in gaps]
                p = [_without_flips(one, gap) for one, gap in zip(found, gaps, strict=True)]
            else:
                rows = np.array([gap.mean(0) for gap in gaps])
                p = [one.p for one in stats.difference_intervals(rows, EVEN, "category_mean", None, generator, FLIPS)]
            wrong += min(stats.holm(p)) < 0.05
        return wrong / trials

    return run


def _without_flips(found: stats.Interval, gap: np.ndarray) -> float:
    """p by Student's t alone: an upper bound of how often methods are called different, at a tenth of the time."""
    crossed = Crossed.of(gap, EVEN, stats.headline_weights(EVEN, "category_mean"))
    return stats.tail(abs(found.estimate) / crossed.variance**0.5, crossed.df)


def trained(generator: np.random.Generator, count: int, seeds: int, share: float) -> list[np.ndarray]:
    """Scores [seeds, prompts] of `count` equal methods; seeds hold `share` of the variance of a mean over seeds and
    prompts."""
    prompts = len(EVEN)
    seed_sd = (share / max(1e-9, 1 - share) * seeds / prompts) ** 0.5
    common = generator.standard_normal(prompts)
    return [
        common
        + generator.standard_normal(prompts)
        + seed_sd * generator.standard_normal((seeds, 1))
        + generator.standard_normal((seeds, prompts)) * 0.5
        for _ in range(count)
    ]


def held(found: list[stats.Interval], truth: float) -> float:
    """Share of the intervals that hold `truth`; what has none holds nothing."""
    return float(np.mean([one.low <= truth + 1e-12 and truth - 1e-12 <= one.high for one in found]))


@dataclass(frozen=True)
class Simulated:
    """A cell as a case of the campaign."""

    kind: str
    group: str
    name: str
    trials: int
    seed: int
    limit: float = 1800.0

    def run(self, ground: Ground, scratch: Path) -> Outcome:
        """Simulates it, with a generator that its name and the seed alone decide."""
        cell = next(cell for cell in cells() if full_name(cell) == self.name)
        value = cell.run(self.trials, np.random.default_rng(int(sha256_json([self.seed, self.name])[:16], 16)))
        error = (max(value * (1 - value), 1 / self.trials) / self.trials) ** 0.5
        outcome = Outcome(
            value={"kind": self.kind, "share": value, "error": error, "trials": self.trials, "over": bool(cell.over)}
        )
        # so many cells: a share beyond its limit by chance is no finding
        told, slack = (f"{value:.1%} +- {error:.1%}", 2 * error)
        if self.kind == "coverage" and value < 0.95 - BAND - slack:
            outcome.add("outside", f"covers {told}, less than 93.5 %")
        elif self.kind == "coverage" and value > 0.95 + BAND + slack and not cell.over:
            outcome.add("outside", f"covers {told}, more than 96.5 %, and no reason is known")
        elif self.kind == "family" and value > FAMILY + slack:
            outcome.add("outside", f"{told} of the reports call equal methods different, more than 6 %")
        return outcome


def full_name(cell: Cell) -> str:
    """Unique among all."""
    return f"{cell.kind}, {cell.group}, {cell.name}"


def cases(seed: int, trials: int) -> list[Simulated]:
    """One for every cell, the long ones first."""
    more = {"family": 1, "coverage": 5, "power": 5}
    found = [Simulated(cell.kind, cell.group, full_name(cell), trials * more[cell.kind], seed) for cell in cells()]
    return sorted(found, key=lambda case: case.kind != "family" or "7 methods" not in case.name)


def table(rows: list[dict]) -> list[str]:
    """All cells by group; what is outside is marked."""
    heads = {
        "coverage": "95 % intervals that hold the truth (nominal 95 %)",
        "family": "reports on equal methods with any wrong word (nominal at most 5 %)",
        "power": "true differences that are told from 0",
    }
    lines = []
    for kind, head in heads.items():
        mine = [row for row in rows if row["value"].get("kind") == kind]
        if not mine:
            continue
        lines += [f"### {head[0].upper()}{head[1:]}", "", "| | | share | standard error | |", "|---|---|---:|---:|---|"]
        order = {full_name(cell): number for number, cell in enumerate(cells())}
        for row in sorted(mine, key=lambda row: order.get(row["name"], 0)):
            value, name = row["value"], row["name"].removeprefix(f"{kind}, {row['group']}, ")
            mark = "**outside**" if row["faults"] else "over, as it must be" if _above(value) else ""
            lines.append(f"| {row['group']} | {name} | {value['share']:.1%} | {value['error']:.1%} | {mark} |")
        lines.append("")
    if any(_above(row["value"]) and not row["faults"] for row in rows):
        lines += [OVER, ""]
    return lines


def _above(value: dict) -> bool:
    return value.get("kind") == "coverage" and value["share"] > 0.95 + BAND


OVER = (
    f"*Over, as it must be*: fewer than {FEW_HITS:g} hits, or misses, are to be expected. Only a handful of results are "
    f"possible "
    "then, and no interval can be had that covers just 95 %: after no hit at all, every valid interval holds a true share as "
    "small as these. Such intervals are wider than they need be, which is said here and counts as no fault."
)
PART = Part(
    "statistics",
    "Statistics",
    "Pictures, prompts and training seeds are drawn with a known truth, and the report's own functions judge them. Outside is a "
    "95 % interval that covers less than 93.5 % or, without a reason, more than 96.5 %, and a kind of report in which equal "
    "methods are called different in more than 6 %.",
    cases,
)
