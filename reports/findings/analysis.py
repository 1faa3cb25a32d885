"""From blocks of scores to the numbers of the report: cells, paired differences, ties, and what survives another
setting.
"""

import hashlib
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from reports.findings.pairs import Pair, adjusted
from reports.run.blocks import Block
from reports.run.scores import MethodScores
from reports.statistics import stats
from reports.statistics.components import Components
from reports.statistics.stats import Interval


@dataclass
class Score:
    """One method's cells.

    headline, columns: interval over prompts for these checkpoints; method: over seeds and prompts.
    """

    method: str
    headline: Interval
    columns: dict[str, Interval]
    method_level: Interval
    per_seed: list[float]


@dataclass
class Result:
    """Everything reported about one block. level: the stronger kind of claim that all pairs support."""

    block: Block
    columns: list[str]
    scores: dict[str, Score] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
    prompts_used: int = 0
    withheld: dict[str, str] = field(default_factory=dict)

    @property
    def level(self) -> str:
        """ "methods" when every pair has at least 3 common training seeds, otherwise "checkpoints"."""
        return "methods" if self.pairs and all(pair.seeds >= stats.MIN_SEEDS for pair in self.pairs) else "checkpoints"

    @property
    def sign(self) -> int:
        """+1 where higher is better, otherwise -1."""
        return 1 if self.block.meta["higher_is_better"] else -1

    @property
    def best(self) -> str | None:
        """The method with the best headline; the first one on exact equality."""
        return max(self.scores, key=lambda name: self.sign * self.scores[name].headline.estimate, default=None)

    @property
    def tied(self) -> set[str]:
        """Methods whose difference from the best one is not resolved at `level`."""
        best = self.best
        return {
            other
            for pair in self.pairs
            if best in (pair.a, pair.b) and not pair.resolved(self.level)
            for other in (pair.a, pair.b)
            if other != best
        }

    def pair(self, a: str, b: str) -> Pair | None:
        """`a` minus `b`, None where they were not compared."""
        found = next((pair for pair in self.pairs if {pair.a, pair.b} == {a, b}), None)
        return found if found is None or found.a == a else found.flipped()


def analyse(block: Block, allow_incomplete: bool = False) -> Result:
    """Computes a block.

    Methods with failed or missing images are withheld unless `allow_incomplete`, which then compares every method on
    the prompts that all of them have.
    """
    methods, left_out = _same_seeds(block.usable(allow_incomplete))
    shown = {method.name: method for method in methods}
    block = replace(block, methods=[shown.get(method.name, method) for method in block.methods])
    result = Result(block, _column_names(block), withheld=left_out)
    for method in block.methods:
        if not method.complete:
            used = "used as it is" if method in methods else "headline withheld"
            result.withheld[method.name] = f"{method.coverage} images judged; {used}"
    for name in block.missing:
        result.withheld[name] = "not scored"
    keep = np.all([np.isfinite(m.scores).all(0) for m in methods], axis=0) if methods else np.zeros(0, dtype=bool)
    result.prompts_used = int(keep.sum())
    if not keep.any():
        return result
    category, aggregate, top = block.category[keep], block.meta["aggregate"], block.top
    pairs = [(b, a) for a, b in combinations(methods, 2) if _common_seeds(a, b)[0]]
    sides = [_common_seeds(a, b) for a, b in pairs]
    for a, b in combinations(methods, 2):
        if not _common_seeds(a, b)[0]:
            result.withheld[f"{b.name} − {a.name}"] = "no training seed in common, so they are not compared"
    rows = np.array([m.scores[:, keep].mean(0) for m in methods])
    matrices = [(a.scores[i] - b.scores[j])[:, keep] for (a, b), (i, j) in zip(pairs, sides, strict=True)]
    gaps = np.array([matrix.mean(0) for matrix in matrices]).reshape(len(pairs), rows.shape[1])
    columns = _category_cells(block, rows, gaps, category)
    columns |= _question_cells(block, methods, pairs, keep)
    headline = stats.score_intervals(rows, category, aggregate, top)
    for index, method in enumerate(methods):
        matrix = method.scores[:, keep]
        level = stats.method_score(matrix, category, aggregate, top)
        per_seed = [float(value) for value in matrix @ stats.headline_weights(category, aggregate)]
        cells = {name: values[index] for name, values in columns.items()}
        result.scores[method.name] = Score(method.name, headline[index], cells, level, per_seed)
    found = stats.difference_intervals(gaps, category, aggregate, top, _generator(block, "headline"))
    for index, ((a, b), matrix) in enumerate(zip(pairs, matrices, strict=True)):
        seeds = 0 if None in a.seeds and None in b.seeds else len(matrix)
        level = stats.method_difference(matrix, category, aggregate, top, _generator(block, "pair", a.name, b.name))
        cells = {name: values[len(methods) + index] for name, values in columns.items()}
        scores = result.scores[a.name].per_seed, result.scores[b.name].per_seed
        per_seed = [scores[0][i] - scores[1][j] for i, j in zip(*sides[index], strict=True)]
        weights = stats.headline_weights(category, aggregate)
        parts = (Components.of(matrix[..., None], category, weights), weights) if level.known else None
        result.pairs.append(
            Pair(a.name, b.name, seeds, found[index], level, cells, result.sign, per_seed, block.margin, parts=parts)
        )
    result.pairs = adjusted(result.pairs)
    return result


def _same_seeds(methods: list[MethodScores]) -> tuple[list[MethodScores], dict[str, str]]:
    """The methods with the training seeds that all seeded ones have, so that scores and differences are of the same
    trainings, and what was left out. Where they have none in common each keeps its own, and `_common_seeds` pairs none
    of them."""
    seeded = [set(method.seeds) for method in methods if None not in method.seeds]
    common = set.intersection(*seeded) if seeded else set()
    if not common or all(seeds == common for seeds in seeded):
        return methods, {}
    kept, told = [], {}
    for method in methods:
        rows = [i for i, seed in enumerate(method.seeds) if seed is None or seed in common]
        if len(rows) < len(method.seeds):
            others = ", ".join(str(seed) for seed in method.seeds if seed not in common)
            told[method.name] = f"training seeds {others} left out, which not every method has"
            method = method.at(rows)
        kept.append(method)
    return kept, told


def _generator(block: Block, *use: str) -> np.random.Generator:
    """A generator for a use, from the block's name alone, so that no number depends on the order of work."""
    digest = hashlib.sha256("/".join((block.key, *use)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _column_names(block: Block) -> list[str]:
    names = list(block.categories) if len(block.categories) > 1 else []
    return names + [f"questions: {name}" for name in block.question_categories]


def _common_seeds(a: MethodScores, b: MethodScores) -> tuple[list[int], list[int]]:
    """Rows of `a` and `b` to subtract: equal training seeds side by side; one seedless checkpoint stands beside every
    seed.
    """
    if a.seeds == [None] or b.seeds == [None]:
        count = max(len(a.seeds), len(b.seeds))
        return [i % len(a.seeds) for i in range(count)], [j % len(b.seeds) for j in range(count)]
    common = [seed for seed in a.seeds if seed in b.seeds]
    return [a.seeds.index(seed) for seed in common], [b.seeds.index(seed) for seed in common]


def _category_cells(
    block: Block, rows: np.ndarray, gaps: np.ndarray, category: np.ndarray
) -> dict[str, list[Interval]]:
    """Category name -> one interval per method (rows [M, P]), then one per pair (gaps [N, P])."""
    cells: dict[str, list[Interval]] = {}
    if len(block.categories) < 2:
        return cells
    for index, name in enumerate(block.categories):
        own = category == index
        if not own.any():
            cells[name] = [Interval(float("nan"), note="no prompts")] * (len(rows) + len(gaps))
            continue
        zeros = np.zeros(int(own.sum()), dtype=int)
        differences = stats.difference_intervals(
            gaps[:, own], zeros, "item_mean", block.top, _generator(block, "category", name)
        )
        cells[name] = [*stats.score_intervals(rows[:, own], zeros, "item_mean", block.top), *differences]
    return cells


def _question_cells(
    block: Block, methods: list[MethodScores], pairs: list, keep: np.ndarray
) -> dict[str, list[Interval]]:
    """Question category -> one interval per method, then one per pair: what each prompt says of the two ratios is
    paired."""
    cells = {}
    for kind, name in enumerate(block.question_categories):
        hits = np.array([m.hits[:, keep, kind].mean(0) for m in methods])
        asked = np.array([m.asked[:, keep, kind].mean(0) for m in methods])
        has = (asked > 0).all(0)
        label = f"questions: {name}"
        if not has.any():
            cells[label] = [Interval(float("nan"), note="no prompts")] * (len(methods) + len(pairs))
            continue
        found = stats.ratio_intervals(hits[:, has], asked[:, has], block.scale)
        each = stats.linearised(hits[:, has], asked[:, has])
        places = [(methods.index(a), methods.index(b)) for a, b in pairs]
        gaps = np.array([each[a] - each[b] for a, b in places]).reshape(len(pairs), each.shape[1])
        zeros, draws = np.zeros(int(has.sum()), dtype=int), _generator(block, "questions", name)
        cells[label] = [*found, *stats.difference_intervals(gaps, zeros, "item_mean", block.top, draws)]
    return cells
