"""The tables for papers, in LaTeX with booktabs: scores and their paired differences, and what they cost."""

import re
from collections.abc import Mapping

import pandas as pd

from reports.findings.analysis import Result
from reports.findings.costs import Cost, by_view, costs_title
from reports.findings.sentences import claim_label
from reports.tables.costs import COSTS, cost_cells, cost_label
from reports.tables.view import TIED, Cell, column_title, pair_rows, score_rows

SPECIAL = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": r"$-$", "≈": r"$\approx$", "–": "--", "·": r"$\cdot$",
    "…": r"\ldots{}",
})  # fmt: skip
SHOWN_COSTS = ("iterations", "steps", "rollouts", "forwards", "undeduplicated", "seconds", "reward", "kl")
PAIRS = ["difference", "seeds", "value", r"95\,\% interval", "adjusted $p$", "could see", "verdict"]


def escape(text: str) -> str:
    """`text` with every character LaTeX would read as a command made literal."""
    return text.translate(SPECIAL)


def to_latex(title: str, results: list[Result], costs: list[Cost], names: Mapping[str, str]) -> str:
    """Two tables per block, scores and differences, and one of costs per view. names: of methods, as papers write
    them."""
    parts = [" ".join(filter(None, ["%", title and f"{title}.", r"Needs \usepackage{booktabs,adjustbox}."]))]
    for result in results:
        if result.scores:
            parts.append(_scores(title, result, names))
        if result.pairs:
            parts.append(_pairs(title, result, names))
    parts += [_costs(when, own, names) for when, own in by_view(costs).items()]
    return "\n\n".join(parts) + "\n"


def _scores(title: str, result: Result, names: Mapping[str, str]) -> str:
    rows = []
    for row in score_rows(result, names):
        tied = r"$^{\approx}$" if row.mark == TIED else ""
        rows.append([escape(row.label), _number(row.score) + tied, *map(_number, row.columns.values())])
    caption = (
        f"{escape(result.block.label)}. {escape(title)}. {escape(result.block.size)}. Half widths of 95\\,\\% intervals over "
        "prompts (these checkpoints). Bold: best of a column, underlined: second, whether resolved or not; "
        rf"$\approx$: headline not told apart from the best ({escape(claim_label(result))})."
    )
    header = ["method", "score", *(escape(column_title(name)) for name in result.columns)]
    return _table(caption, result.block.key, header, rows)


def _number(cell: Cell) -> str:
    value = escape(cell.text)
    value = {1: rf"\textbf{{{value}}}", 2: rf"\underline{{{value}}}"}.get(cell.place, value)
    return rf"{value}{{\scriptsize$\,\pm\,${cell.half[1:]}}}" if cell.half else value


def _pairs(title: str, result: Result, names: Mapping[str, str]) -> str:
    rows = [list(map(escape, row.cells)) for row in pair_rows(result, result.level, names)]
    caption = (
        f"Paired differences: {escape(result.block.label)}. {escape(title)}. Claim about {escape(claim_label(result))}; "
        "$p$ adjusted after Holm over these differences; could see: the smallest true difference that is told apart four "
        "times in five."
    )
    return _table(caption, f"{result.block.key} differences", PAIRS, rows)


def _costs(when: str, costs: list[Cost], names: Mapping[str, str]) -> str:
    header = {name: COSTS[name] for name in SHOWN_COSTS}
    rows = [[escape(cost_label(c, names)), str(c.seeds), *map(escape, cost_cells(c, header))] for c in costs]
    caption = escape(f"{costs_title(costs)}, {when}, means over training seeds.")
    return _table(caption, f"cost {costs[0].view}", ["method", "seeds", *header.values()], rows)


def _table(caption: str, key: str, header: list[str], rows: list[list[str]]) -> str:
    """A floating table that is made no wider than a line."""
    text = (
        pd.DataFrame(rows, columns=header)
        .style.hide(axis="index")
        .to_latex(
            caption=caption,
            label="tab:" + re.sub(r"[^\w.]+", "-", key),
            column_format="l" + "r" * (len(header) - 1),
            position_float="centering",
            hrules=True,
        )
    )
    text = text.replace(r"\begin{tabular}", "\\begin{adjustbox}{max width=\\linewidth}\n\\begin{tabular}")
    return text.replace(r"\end{tabular}", "\\end{tabular}\n\\end{adjustbox}").rstrip()
