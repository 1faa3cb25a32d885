"""The report as Markdown: short for the terminal (80 columns), whole for table.md."""

from collections.abc import Mapping, Sequence

from reports.findings import sentences
from reports.findings.analysis import Result
from reports.findings.central import central, left_out
from reports.findings.costs import Cost, costs_title
from reports.findings.diversity import MEASURE
from reports.findings.hacking import REWARD_NOTE, Moves
from reports.format import CHECKPOINTS_ONLY, NONE, number, split_columns, table, wrap
from reports.format import short as cut
from reports.statistics.stats import MIN_SEEDS
from reports.tables.costs import COST_NOTE, SHORT_COST_NOTE, cost_tables
from reports.tables.notes import METHOD_NOTE, NO_METHOD_CLAIM, capital, coverage, order_lines, protocol, score_note
from reports.tables.view import BEST, PAIR_HEADER, column_title, pair_rows, score_rows


def terminal(
    title: str,
    results: list[Result],
    costs: list[Cost],
    folder: str,
    warnings: Sequence[str] = (),
    legend: str = "",
    claims: Sequence[str] = (),
) -> str:
    """What is printed to the terminal: main blocks with differences, a line or two per other block, the paper's `claims`,
    the cost, and warnings."""
    parts = [f"# Comparison ({title})" if title else "# Comparison"]
    mains = [r for r in results if r.block.is_main]
    for result in mains:
        parts.append(f"## {result.block.title}")
        parts.append(wrap(f"{capital(result.block.when)}, setting main, {protocol(result)}."))
        parts += map(wrap, coverage(result))
        if result.scores:
            parts += [*_short_scores(result), wrap(score_note(result))]
        if result.pairs:
            parts += [_short_pairs(result), wrap(f"{left_out(result)} {_claim_note(result)}".strip())]
    rest = [r for r in results if not r.block.is_main]
    if rest:
        parts.append("## Does the order survive?")
        lines = [line for result in [*mains, *rest] for line in order_lines(result)]
        parts.append("\n".join(wrap(f"- {capital(line)}", hang="  ") for line in lines))
    parts += claims
    if costs:
        parts += [f"## {costs_title(costs)} (mean over seeds)", *cost_tables(costs, short=True), wrap(SHORT_COST_NOTE)]
    parts += [wrap(f"{legend}.")] if legend else []
    parts += [wrap(f"**Warning:** {line}") for line in warnings]
    parts.append(f"Everything, with pictures: {folder}")
    return "\n\n".join(parts) + "\n"


def markdown(
    title: str,
    results: list[Result],
    costs: list[Cost],
    moves: Sequence[Moves] = (),
    told: Sequence[str] = (),
    legend: str = "",
    warnings: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
) -> str:
    """table.md, methods by their `names` for people: every block with every interval, both kinds of claim, the sentences, the
    cost, `warnings`, and what is `told` of training and of the choice of settings."""
    parts = [f"# Comparison ({title})" if title else "# Comparison", *([f"{legend}."] if legend else []), METHOD_NOTE]
    parts += [f"**Warning:** {line}" for line in warnings]
    for result in results:
        parts += [f"## {result.block.label}", f"{capital(protocol(result))}.", *coverage(result)]
        if result.scores:
            parts += [_full_scores(result, names), score_note(result)]
        if result.pairs:
            parts += [f"### Differences: these checkpoints ({result.block.title}, {result.block.when})"]
            parts += [_full_pairs(result, "checkpoints", names), "### Differences: these methods"]
            claimed = any(pair.seeds >= MIN_SEEDS for pair in result.pairs)
            parts += [_full_pairs(result, "methods", names) if claimed else NO_METHOD_CLAIM]
            if result.columns:
                parts += ["### Differences by category (these checkpoints, unadjusted)", _category_pairs(result, names)]
    found = sentences.pair_sentences(results, names)
    if found:
        parts += [
            "## In words",
            "\n".join(f"- {capital(line)}" for result in results for line in order_lines(result, names)),
        ]
        parts.append("\n".join(f"- {line}" for line in found))
    if costs:
        parts += [f"## {costs_title(costs)}", *cost_tables(costs, short=False, names=names), COST_NOTE]
    if moves:
        parts += ["## Reward against what was not trained on"]
        parts += [moves_table(moves, names), f"{REWARD_NOTE} {MEASURE}"]
    parts += told
    return "\n\n".join(parts) + "\n"


def _short_scores(result: Result) -> list[str]:
    """The headline of every method; below, categories as rows and methods as columns."""
    rows = score_rows(result)
    compared = any(row.gain for row in rows)
    header = ["method", "seeds", "score", "95% interval", *["minus base"] * compared, ""]
    lines = []
    for row in rows:
        gain = [str(row.gain or NONE)] if compared else []
        lines.append([cut(row.label, 36), row.seeds, row.score.text, row.score.interval, *gain, row.mark])
    categories = [
        [column_title(name), *(f"{row.columns[name].text}{row.columns[name].half}" for row in rows)]
        for name in result.columns
    ]
    below = split_columns(["category", *(cut(row.name) for row in rows)], categories) if categories else []
    return [table(header, lines), *below]


def _full_scores(result: Result, names: Mapping[str, str] | None) -> str:
    """Methods as rows; headline and every category with its interval; the interval over seeds and prompts beside."""
    titles = [column_title(name) for name in result.columns]
    header = [
        "method", "seeds", "judged", "score (these checkpoints)", "score (these methods)", "each seed", *titles, "",
    ]  # fmt: skip
    rows = []
    for row in score_rows(result, names):
        score = f"**{row.score.text}** {row.score.interval}" if row.mark == BEST else str(row.score)
        cells = [row.label, row.seeds, row.judged, score, row.methods, row.each, *map(str, row.columns.values())]
        rows.append([*cells, row.mark])
    return table(header, rows)


def _full_pairs(result: Result, level: str, names: Mapping[str, str] | None) -> str:
    return table(PAIR_HEADER, [row.cells for row in pair_rows(result, level, names)])


def _short_pairs(result: Result) -> str:
    rows = []
    for pair, row in zip(central(result), pair_rows(result, result.level, pairs=central(result)), strict=True):
        _, _, value, interval, adjusted, _, word = row.cells
        rows.append([f"{cut(pair.a, 12)} − {cut(pair.b, 12)}", value, interval, adjusted, word])
    return table(["difference", "value", "95% interval", "Holm p", "verdict"], rows)


def _category_pairs(result: Result, names: Mapping[str, str] | None) -> str:
    """Difference and interval of every pair in every category."""
    rows = [[row.cells[0], *map(str, row.columns.values())] for row in pair_rows(result, "checkpoints", names)]
    return table(["difference", *map(column_title, result.columns)], rows)


def _claim_note(result: Result) -> str:
    sees = [size for pair in result.pairs if (size := pair.sees(result.level)) == size]
    least = number(min(sees), result.block.scale) if sees else ""
    power = f" It could see differences from {least} on, four times in five." if sees else ""
    if result.level == "methods":
        return f"Claim about {sentences.claim_label(result)}; the claim about these checkpoints is in table.md.{power}"
    return f"Claim about {CHECKPOINTS_ONLY}: fewer than {MIN_SEEDS} common training seeds.{power}"


def moves_table(moves: Sequence[Moves], names: Mapping[str, str] | None = None) -> str:
    """What was trained on and what was not, from the starting policy to the end."""
    rows = [
        [(names or {}).get(one.method, one.method), move.measure, *move.cells] for one in moves for move in one.moves
    ]
    return table(["method", "measure", "start", "end", "change", "95% interval", "verdict"], rows, left=2)
