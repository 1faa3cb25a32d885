"""The same numbers for machines: CSV, one line per number."""

from reports.findings.analysis import Result
from reports.findings.costs import NUMBERS, Cost
from reports.findings.pairs import Pair
from reports.format import csv_text, exact
from reports.statistics.stats import MIN_SEEDS, Interval

FIELDS = (
    "kind claim benchmark setting milestone method minus column estimate low high p p_holm verdict prompts size seeds coverage "
    "weights note"
).split()


def to_csv(results: list[Result], costs: list[Cost]) -> str:
    """One row per score, difference, coverage or cost; numbers at full precision, empty where there is none.

    kind: score | difference | coverage | cost. claim: checkpoints | methods. column: headline, a category, or the name
    of a cost.
    """
    rows: list[dict] = []
    for result in results:
        rows += _scores(result) + [row for pair in result.pairs for row in _pair(pair, result)]
    for cost in costs:
        for name in NUMBERS:
            row = {
                "kind": "cost",
                "milestone": cost.view,
                "method": cost.method,
                "column": name,
                "seeds": cost.seeds,
                "weights": cost.weights,
            }
            rows.append({**row, "estimate": exact(getattr(cost, name))})
    return csv_text(FIELDS, rows)


def numbers(interval: Interval) -> dict[str, object]:
    """An interval in the columns of a line, with its note where it has one."""
    values = {"estimate": interval.estimate, "low": interval.low, "high": interval.high, "p": interval.p}
    note = {"note": interval.note} if interval.note else {}
    return {**{key: exact(value) for key, value in values.items()}, **note}


def _where(result: Result) -> dict[str, object]:
    block = result.block
    return {
        "benchmark": block.name,
        "setting": block.setting,
        "milestone": block.milestone,
        "prompts": result.prompts_used,
        "size": block.size,
    }


def _scores(result: Result) -> list[dict]:
    rows = []
    for method in result.block.methods:
        where = {
            **_where(result),
            "method": method.name,
            "seeds": len(method.seeds),
            "coverage": method.coverage,
            "weights": method.weights,
        }
        score = result.scores.get(method.name)
        if score is None:
            rows.append({**where, "kind": "coverage", "note": result.withheld.get(method.name, "")})
            continue
        rows.append({**where, "kind": "score", "claim": "checkpoints", "column": "headline", **numbers(score.headline)})
        if len(method.seeds) >= MIN_SEEDS:
            rows.append(
                {**where, "kind": "score", "claim": "methods", "column": "headline", **numbers(score.method_level)}
            )
        for name, cell in score.columns.items():
            rows.append({**where, "kind": "score", "claim": "checkpoints", "column": name, **numbers(cell)})
    return rows


def _pair(pair: Pair, result: Result) -> list[dict]:
    where = {**_where(result), "kind": "difference", "method": pair.a, "minus": pair.b, "seeds": pair.seeds}
    rows = []
    for claim in ("checkpoints", "methods") if pair.seeds >= MIN_SEEDS else ("checkpoints",):
        cells = {**where, "claim": claim, "column": "headline", **numbers(pair.interval(claim))}
        rows.append({**cells, "p_holm": exact(pair.holm(claim)), "verdict": pair.verdict(claim)})
    for name, cell in pair.columns.items():
        rows.append({**where, "claim": "checkpoints", "column": name, **numbers(cell)})
    return rows
