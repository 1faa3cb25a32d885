"""The report as Markdown: short for the terminal (80 columns), whole for table.md."""

from collections.abc import Sequence

from reports.findings import sentences
from reports.findings.analysis import Pair, Result, verdict
from reports.findings.costs import Cost, costs_title
from reports.findings.diversity import MEASURE
from reports.findings.hacking import REWARD_NOTE, Moves
from reports.format import CHECKPOINTS_ONLY, NONE, bounds, half_width, number, probability, split_columns, table, wrap
from reports.format import short as cut
from reports.run.load import BASE
from reports.run.questions import RULES
from reports.statistics.power import detectable
from reports.statistics.stats import LEVEL, MIN_PROMPTS, MIN_SEEDS
from reports.tables.costs import COST_NOTE, SHORT_COST_NOTE, cost_tables

BEST, TIED = "*", "≈"
NO_METHOD_CLAIM = f"Fewer than {MIN_SEEDS} training seeds: {CHECKPOINTS_ONLY}."


def terminal(
    title: str, results: list[Result], costs: list[Cost], folder: str, warnings: Sequence[str] = (), legend: str = ""
) -> str:
    """What is printed to the terminal: main blocks with differences, a line or two per other block, the cost, and
    warnings."""
    parts = [f"# Comparison ({title})" if title else "# Comparison"]
    mains = [r for r in results if r.block.is_main]
    for result in mains:
        parts.append(f"## {result.block.title}")
        parts.append(wrap(f"{_capital(result.block.when)}, setting main, {protocol(result)}."))
        parts += _coverage(result, wrap)
        if result.scores:
            parts += [_headline_table(result), *_short_categories(result), wrap(score_note(result))]
        if result.pairs:
            parts += [_short_pairs(result), wrap(_claim_note(result))]
    rest = [r for r in results if r not in mains]
    if rest:
        parts.append("## Does the order survive?")
        lines = [line for result in [*mains, *rest] for line in order_lines(result)]
        parts.append("\n".join(wrap(f"- {_capital(line)}", hang="  ") for line in lines))
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
) -> str:
    """table.md: every block with every interval, both kinds of claim, the sentences, the cost, `warnings`, and what is
    `told` of training and of the choice of settings."""
    parts = [f"# Comparison ({title})" if title else "# Comparison", *([f"{legend}."] if legend else []), METHOD_NOTE]
    parts += [f"**Warning:** {line}" for line in warnings]
    for result in results:
        parts += [f"## {result.block.label}", f"{_capital(protocol(result))}.", *_coverage(result)]
        if result.scores:
            parts += [full_scores(result), score_note(result)]
        if result.pairs:
            parts += [f"### Differences: these checkpoints ({result.block.title}, {result.block.when})"]
            parts += [pair_table(result, "checkpoints"), "### Differences: these methods"]
            parts += (
                [pair_table(result, "methods")]
                if any(p.seeds >= MIN_SEEDS for p in result.pairs)
                else [NO_METHOD_CLAIM]
            )
            parts += (
                ["### Differences by category (these checkpoints, unadjusted)", category_pair_table(result)]
                if result.columns
                else []
            )
    found = sentences.pair_sentences(results)
    if found:
        parts += ["## In words", "\n".join(f"- {_capital(line)}" for result in results for line in order_lines(result))]
        parts.append("\n".join(f"- {line}" for line in found))
    if costs:
        parts += [f"## {costs_title(costs)}", *cost_tables(costs, short=False), COST_NOTE]
    if moves:
        parts += ["## Reward against what was not trained on"]
        parts += [moves_table(moves), f"{REWARD_NOTE} {MEASURE}"]
    parts += told
    return "\n\n".join(parts) + "\n"


METHOD_NOTE = (
    f"Square brackets hold {LEVEL:.0%} intervals. *These checkpoints*: the trained weights as they are, prompts sampled within "
    "their category (Wilson's interval for shares, Student's t widened for skewness elsewhere). *These methods*: training seeds "
    "and prompts both vary (crossed variance, Satterthwaite's degrees of freedom). p: the larger of t's and that of flipping the "
    "signs of the prompts' differences; adjusted: Holm over all pairs of one benchmark's headline; could see: the smallest true "
    "difference that is told apart four times in five, at the level of Holm's strictest step. Only the main claim was named "
    "before the run; every other family of tests has 5 % of its own and gives leads, not findings. A category with fewer than "
    f"{MIN_PROMPTS} prompts has no interval."
)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def protocol(result: Result) -> str:
    block = result.block
    scorer, setting = block.meta["scorer"], block.meta["setting"]
    named = (
        "sampler",
        "steps",
        "guidance",
        "resolution",
        "pads",
        "cache",
        "cache_ratio",
        "warmup_ratio",
        "refresh_interval",
    )
    settings = ", ".join(f"{k} {v}" for k, v in setting.items() if k in named)
    rule = "mean of category means" if block.meta["aggregate"] == "category_mean" else "mean over prompts"
    note = "".join(f"; {text}" for text in (block.meta.get("note"), RULES.get(block.mode)) if text)
    parts = [block.claim, block.size, rule, settings, f"scorer {scorer.get('name')} {scorer.get('version')}"]
    return "; ".join(filter(None, parts)) + note


def _coverage(result: Result, wrapper=str) -> list[str]:
    lines = [wrapper(f"**Coverage:** {name}: {reason}.") for name, reason in result.withheld.items()]
    return lines + [wrapper(elsewhere(name)) for name in result.block.elsewhere]


def elsewhere(name: str) -> str:
    """Why a trained method is not shown in a view."""
    return f"{name} samples no rollouts, so its iterations are no measure: it stands at equal forwards."


def mark(result: Result, name: str) -> str:
    """ "*" for the best headline, "≈" for one not told apart from it."""
    return BEST if name == result.best else TIED if name in result.tied else ""


def shown_name(result: Result, name: str) -> str:
    """The name of a method in tables: it says so where its weights are random, or were when training began."""
    return next(m for m in result.block.methods if m.name == name).label


def seeds_text(result: Result, name: str) -> str:
    method = next(m for m in result.block.methods if m.name == name)
    return NONE if method.seeds == [None] else str(len(method.seeds))


def coverage_text(result: Result, name: str) -> str:
    """How many of a method's pictures were judged, of how many."""
    return next(m for m in result.block.methods if m.name == name).coverage


def _headline_table(result: Result) -> str:
    scale, rows = result.block.scale, []
    compared = any(pair.a == BASE or pair.b == BASE for pair in result.pairs)
    for name, score in result.scores.items():
        base = result.pair(name, BASE)
        gain = NONE
        if base:
            base = base if base.a == name else base.flipped()
            gain = f"{number(base.checkpoints.estimate, scale, True)} {bounds(base.checkpoints, scale, True)}"
        value = number(score.headline.estimate, scale)
        rows.append(
            [
                cut(shown_name(result, name), 36),
                seeds_text(result, name),
                value,
                bounds(score.headline, scale),
                *([gain] if compared else []),
                mark(result, name),
            ]
        )
    return table(["method", "seeds", "score", "95% interval", *(["minus base"] if compared else []), ""], rows)


def _short_categories(result: Result) -> list[str]:
    """Categories as rows, methods as columns, score and half width."""
    scale, names = result.block.scale, list(result.scores)
    rows = []
    for column in result.columns:
        cells = [result.scores[name].columns[column] for name in names]
        rows.append([column, *(f"{number(c.estimate, scale)}{half_width(c, scale)}" for c in cells)])
    return split_columns(["category", *map(cut, names)], rows) if rows else []


def score_note(result: Result) -> str:
    notes = [f"{BEST} best; {TIED} not told apart from it: {sentences.claim_label(result)}."]
    notes.append("Intervals in this table: these checkpoints (prompts sampled, mean over the training seeds).")
    lacking = [c for c in result.columns if any(not s.columns[c].known for s in result.scores.values())]
    if lacking:
        notes.append(f"No interval (fewer than {MIN_PROMPTS} prompts, or all equal): {', '.join(lacking)}.")
    if result.prompts_used < len(result.block.prompts):
        notes.append(
            f"Only the {result.prompts_used} of {len(result.block.prompts)} prompts that every method has are used."
        )
    return " ".join(notes)


def full_scores(result: Result) -> str:
    """Methods as rows; headline and every category with its interval; the interval over seeds and prompts beside."""
    scale = result.block.scale
    header = [
        "method",
        "seeds",
        "judged",
        "score (these checkpoints)",
        "score (these methods)",
        "each seed",
        *result.columns,
        "",
    ]
    rows = []
    for name, score in result.scores.items():
        each = " ".join(number(v, scale) for v in score.per_seed) if len(score.per_seed) > 1 else NONE
        cells = [f"{number(c.estimate, scale)} {bounds(c, scale)}" for c in (score.columns[k] for k in result.columns)]
        value = number(score.headline.estimate, scale)
        headline = f"{f'**{value}**' if name == result.best else value} {bounds(score.headline, scale)}"
        rows.append(
            [
                shown_name(result, name),
                seeds_text(result, name),
                coverage_text(result, name),
                headline,
                bounds(score.method_level, scale),
                each,
                *cells,
                mark(result, name),
            ]
        )
    return table(header, rows)


def pair_row(pair: Pair, result: Result, level: str) -> list[str]:
    """Name, seeds, difference, interval, adjusted p, detectable difference and verdict of one pair at one level of
    claim."""
    interval, scale = pair.interval(level), result.block.scale
    if level == "methods" and pair.seeds < MIN_SEEDS:
        return [f"{pair.a} − {pair.b}", str(pair.seeds), NONE, NONE, NONE, NONE, CHECKPOINTS_ONLY]
    difference = number(interval.estimate, scale, True)
    adjusted = probability(pair.holm(level))
    return [
        f"{pair.a} − {pair.b}",
        str(pair.seeds or NONE),
        difference,
        bounds(interval, scale, True),
        adjusted,
        number(detectable(interval, len(result.pairs)), scale),
        verdict(pair, level, result.sign),
    ]


def pair_table(result: Result, level: str) -> str:
    """All pairs of the headline at one level of claim ("checkpoints" or "methods")."""
    header = ["difference", "seeds", "value", "95% interval", "adjusted p", "could see", "verdict"]
    return table(header, [pair_row(pair, result, level) for pair in result.pairs])


def _short_pairs(result: Result) -> str:
    rows = []
    for pair in result.pairs:
        _, _, value, interval, adjusted, _, word = pair_row(pair, result, result.level)
        rows.append([f"{cut(pair.a, 12)} − {cut(pair.b, 12)}", value, interval, adjusted, word])
    return table(["difference", "value", "95% interval", "Holm p", "verdict"], rows)


def _claim_note(result: Result) -> str:
    sees = [detectable(pair.interval(result.level), len(result.pairs)) for pair in result.pairs]
    sees = [size for size in sees if size == size]
    power = (
        f" It could see differences from {number(min(sees), result.block.scale)} on, four times in five."
        if sees
        else ""
    )
    if result.level == "methods":
        return f"Claim about {sentences.claim_label(result)}; the claim about these checkpoints is in table.md.{power}"
    return f"Claim about {CHECKPOINTS_ONLY}: fewer than {MIN_SEEDS} common training seeds.{power}"


def category_pair_table(result: Result) -> str:
    """Difference and interval of every pair in every category."""
    scale = result.block.scale
    rows = []
    for pair in result.pairs:
        cells = (pair.columns[c] for c in result.columns)
        rows.append(
            [f"{pair.a} − {pair.b}", *(f"{number(c.estimate, scale, True)} {bounds(c, scale, True)}" for c in cells)]
        )
    return table(["difference", *result.columns], rows)


def order_lines(result: Result) -> list[str]:
    if not result.scores:
        return [f"{result.block.label}: no headline (coverage)."]
    line = f"{result.block.label}: {sentences.order(result)} ({sentences.claim_label(result)})."
    return [f"{line} {_capital(sentences.resolution(result))}."] if result.pairs else [line]


def moves_table(moves: Sequence[Moves]) -> str:
    """What was trained on and what was not, from the starting policy to the end."""
    rows = [[one.method, move.measure, *move.cells] for one in moves for move in one.moves]
    return table(["method", "measure", "start", "end", "change", "95% interval", "verdict"], rows, left=2)
