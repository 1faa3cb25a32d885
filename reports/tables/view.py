"""What is shown of a result, as text and once for all outputs: a row for a method, a row for a difference."""

from collections.abc import Mapping
from dataclasses import dataclass

from htgrpo.base.records import BASE
from reports.findings.analysis import Result
from reports.findings.pairs import Pair
from reports.format import CHECKPOINTS_ONLY, NONE, bounds, half_width, number, probability
from reports.run.load import labelled
from reports.statistics.stats import MIN_SEEDS, Interval

BEST, TIED = "best", "≈ best"
PAIR_HEADER = ["difference", "seeds", "value", "95% interval", "adjusted p", "could see", "verdict"]


@dataclass(frozen=True)
class Cell:
    """A number. interval: "[low, high]", or a dash; half: "±0.031", or nothing; place: 1 for the best of its column, 2
    for the second, 3 for others, and for differences."""

    text: str
    interval: str
    half: str
    place: int = 3

    def __str__(self) -> str:
        return f"{self.text} {self.interval}"


@dataclass(frozen=True)
class ScoreRow:
    """One method. seeds: how many trainings; judged: of how many pictures; methods: the interval over seeds and prompts;
    each: of every seed; gain: minus the starting policy; columns: by name; mark: BEST, TIED or nothing."""

    name: str
    label: str
    seeds: str
    judged: str
    score: Cell
    methods: str
    each: str
    gain: Cell | None
    columns: dict[str, Cell]
    mark: str


@dataclass(frozen=True)
class PairRow:
    """One difference at one level of claim. cells: as PAIR_HEADER has it; columns: by name, of these checkpoints."""

    cells: list[str]
    columns: dict[str, Cell]


def cell(interval: Interval, scale: float, signed: bool = False, place: int = 3) -> Cell:
    """An interval as text."""
    text, between = number(interval.estimate, scale, signed), bounds(interval, scale, signed)
    return Cell(text, between, half_width(interval, scale), place)


def column_title(name: str) -> str:
    """A column as a person reads it: "questions: color_attr" is "color attr"."""
    return name.removeprefix("questions: ").replace("_", " ")


def score_rows(result: Result, names: Mapping[str, str] | None = None) -> list[ScoreRow]:
    """Every method that has a headline, in the run's order, labelled by its name for people where `names` has one."""
    scale, scores = result.block.scale, result.scores
    places = {
        c: _places({name: score.columns[c] for name, score in scores.items()}, result.sign) for c in result.columns
    }
    headlines = _places({name: score.headline for name, score in scores.items()}, result.sign)
    rows = []
    for method in result.block.methods:
        name, score = method.name, scores.get(method.name)
        if score is None:
            continue
        gain = result.pair(name, BASE) if name != BASE else None
        rows.append(
            ScoreRow(
                name,
                labelled((names or {}).get(name, name), method.weights),
                NONE if method.seeds == [None] else str(len(method.seeds)),
                method.coverage,
                cell(score.headline, scale, place=headlines[name]),
                bounds(score.method_level, scale),
                " ".join(number(v, scale) for v in score.per_seed) if len(score.per_seed) > 1 else NONE,
                cell(gain.checkpoints, scale, True) if gain else None,
                {c: cell(score.columns[c], scale, place=places[c][name]) for c in result.columns},
                BEST if name == result.best else TIED if name in result.tied else "",
            )
        )
    return rows


def _places(found: dict[str, Interval], sign: int) -> dict[str, int]:
    """1 for the best name, 2 for the second, 3 for others; equal values share a place."""
    values = {name: sign * one.estimate for name, one in found.items() if one.estimate == one.estimate}
    levels = sorted(set(values.values()), reverse=True)
    return {name: min(3, levels.index(values[name]) + 1) if name in values else 3 for name in found}


def pair_rows(
    result: Result, level: str, names: Mapping[str, str] | None = None, pairs: list[Pair] | None = None
) -> list[PairRow]:
    """Every difference of the headline, or `pairs` of them, at one level of claim ("checkpoints" or "methods")."""
    scale = result.block.scale
    return [
        PairRow(pair_cells(pair, scale, level, names), {c: cell(pair.columns[c], scale, True) for c in result.columns})
        for pair in (result.pairs if pairs is None else pairs)
    ]


def pair_cells(pair: Pair, scale: float, level: str = "", names: Mapping[str, str] | None = None) -> list[str]:
    """A difference as PAIR_HEADER has it; level: the stronger one that the pair supports, where none is named."""
    name = " − ".join((names or {}).get(one, one) for one in (pair.a, pair.b))
    if level == "methods" and pair.seeds < MIN_SEEDS:
        return [name, str(pair.seeds), NONE, NONE, NONE, NONE, CHECKPOINTS_ONLY]
    shown = cell(pair.interval(level), scale, True)
    p, sees = probability(pair.holm(level)), number(pair.sees(level), scale)
    return [name, str(pair.seeds or NONE), shown.text, shown.interval, p, sees, pair.verdict(level)]
