"""The same numbers for machines (CSV, one row per number) and for papers (LaTeX with booktabs)."""

import csv
import io
import math

from reports.findings.analysis import Pair, Result, verdict
from reports.findings.costs import NUMBERS, Cost, by_view, costs_title
from reports.findings.sentences import claim_label
from reports.format import NONE, decimals
from reports.statistics.stats import MIN_SEEDS, Interval
from reports.tables.costs import COSTS, cost_cells
from reports.tables.text import shown_name

FIELDS = [
    "kind",
    "claim",
    "benchmark",
    "setting",
    "milestone",
    "method",
    "minus",
    "column",
    "estimate",
    "low",
    "high",
    "p",
    "p_holm",
    "verdict",
    "prompts",
    "size",
    "seeds",
    "coverage",
    "weights",
    "note",
]


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
            rows.append({**row, "estimate": _exact(getattr(cost, name))})
    stream = io.StringIO()
    writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _exact(value: float) -> str:
    return f"{value:.10g}" if math.isfinite(value) else ""


def _numbers(interval: Interval) -> dict[str, str]:
    values = {"estimate": interval.estimate, "low": interval.low, "high": interval.high, "p": interval.p}
    return {**{key: _exact(value) for key, value in values.items()}, "note": interval.note}


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
        rows.append(
            {**where, "kind": "score", "claim": "checkpoints", "column": "headline", **_numbers(score.headline)}
        )
        if len(method.seeds) >= MIN_SEEDS:
            rows.append(
                {**where, "kind": "score", "claim": "methods", "column": "headline", **_numbers(score.method_level)}
            )
        for name, cell in score.columns.items():
            rows.append({**where, "kind": "score", "claim": "checkpoints", "column": name, **_numbers(cell)})
    return rows


def _pair(pair: Pair, result: Result) -> list[dict]:
    where = {**_where(result), "kind": "difference", "method": pair.a, "minus": pair.b, "seeds": pair.seeds}
    rows = []
    for claim in ("checkpoints", "methods") if pair.seeds >= MIN_SEEDS else ("checkpoints",):
        cells = {**where, "claim": claim, "column": "headline", **_numbers(pair.interval(claim))}
        rows.append({**cells, "p_holm": _exact(pair.holm(claim)), "verdict": verdict(pair, claim, result.sign)})
    for name, cell in pair.columns.items():
        rows.append({**where, "claim": "checkpoints", "column": name, **_numbers(cell)})
    return rows


_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": r"$-$",
    "≈": r"$\approx$",
    "–": "--",
    "·": r"$\cdot$",
    "…": r"\ldots{}",
}


def escape(text: str) -> str:
    """`text` with every character LaTeX would read as a command made literal."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def to_latex(title: str, results: list[Result], costs: list[Cost]) -> str:
    """One booktabs table per block and one of costs per view; best headline bold, those not told apart from it
    marked."""
    head = f"% {title}. Needs \\usepackage{{booktabs}}." if title else "% Needs \\usepackage{booktabs}."
    tables = [_latex_scores(title, result) for result in results if result.scores]
    return "\n\n".join([head, *tables, *(_latex_costs(when, own) for when, own in by_view(costs).items())]) + "\n"


def _latex_scores(title: str, result: Result) -> str:
    columns, scale, rows = list(result.columns), result.block.scale, []
    headline = _places({name: score.headline.estimate for name, score in result.scores.items()}, result.sign)
    places = [_places({n: s.columns[c].estimate for n, s in result.scores.items()}, result.sign) for c in columns]
    for name, score in result.scores.items():
        value = _latex_cell(score.headline, scale, headline[name])
        value += r"$^{\approx}$" if name in result.tied else ""
        cells = [_latex_cell(score.columns[c], scale, place[name]) for c, place in zip(columns, places, strict=True)]
        rows.append([escape(shown_name(result, name)), value, *cells])
    caption = (
        f"{escape(result.block.label)}. {escape(title)}. {escape(result.block.size)}. "
        "Half widths of 95\\,\\% intervals over prompts (these "
        "checkpoints). Bold: best of a column, underlined: second, whether resolved or not; "
        rf"$\approx$: headline not told apart from the best ({escape(claim_label(result))})."
    )
    return _latex_table(caption, ["method", "score", *map(escape, columns)], rows)


def _places(estimates: dict[str, float], sign: int) -> dict[str, int]:
    """1 for the best name, 2 for the second, 3 for others; equal values share a place."""
    levels = sorted({sign * value for value in estimates.values() if math.isfinite(value)}, reverse=True)
    return {name: min(3, levels.index(sign * v) + 1) if math.isfinite(v) else 3 for name, v in estimates.items()}


def _latex_cell(interval: Interval, scale: float, place: int = 3) -> str:
    if not math.isfinite(interval.estimate):
        return escape(NONE)
    value = f"{interval.estimate:.{decimals(scale)}f}"
    value = {1: rf"\textbf{{{value}}}", 2: rf"\underline{{{value}}}"}.get(place, value)
    if not interval.known:
        return value
    return rf"{value}{{\scriptsize$\,\pm\,${(interval.high - interval.low) / 2:.{decimals(scale)}f}}}"


def _latex_costs(when: str, costs: list[Cost]) -> str:
    shown = ("iterations", "steps", "rollouts", "forwards", "undeduplicated", "seconds", "reward", "kl")
    names = {name: COSTS[name] for name in shown}
    rows = [[escape(c.label), str(c.seeds), *map(escape, cost_cells(c, names))] for c in costs]
    caption = f"{costs_title(costs)}, {when}, means over training seeds."
    return _latex_table(escape(caption), ["method", "seeds", *names.values()], rows)


def _latex_table(caption: str, header: list[str], rows: list[list[str]]) -> str:
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
    ]
    lines += [" & ".join(header) + r" \\", r"\midrule", *(" & ".join(row) + r" \\" for row in rows)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])
