"""The ablation studies as text: short for the terminal, whole as Markdown, every number as CSV."""

import math

from reports.ablations.studies import Row, Study
from reports.findings.claims import Finding
from reports.findings.pairs import Pair
from reports.format import CHECKPOINTS_ONLY, NONE, amount, csv_text, exact, number, table, wrap
from reports.paper import published as paper
from reports.statistics.power import POWER
from reports.statistics.stats import LEVEL, MIN_SEEDS
from reports.tables.claims import sentence
from reports.tables.csv import numbers
from reports.tables.notes import capital, protocol
from reports.tables.view import PAIR_HEADER, cell, pair_cells

PAPER = "the paper: MMaDA-8B, GenEval overall x100"
OTHER_SCALE = f"The last column is {PAPER}: another model and benchmark scale, to be compared in its order only."
FIELDS = (
    "study benchmark kind claim variant minus label estimate low high p p_holm verdict detectable seeds prompts iterations "
    "forwards paper paper_low paper_high note"
).split()


def terminal(title: str, studies: list[Study], folder: str) -> str:
    """What is printed: per study of the first benchmark its variants and findings."""
    parts = [f"# Ablations ({title})" if title else "# Ablations"]
    if studies:
        parts.append(wrap(claim_note(studies[0])))
    first = studies[0].block.name if studies else ""
    for study in studies:
        if study.block.name == first:
            parts += [f"## {study.key} {study.title}: {study.block.title}", _short_table(study)]
            parts += ["\n".join(wrap(f"- {finding_text(f, study)}", hang="  ") for f in study.findings)]
    parts.append(wrap(OTHER_SCALE))
    parts.append(f"Everything, with figures: {folder}")
    return "\n\n".join(parts) + "\n"


def markdown(title: str, studies: list[Study]) -> str:
    """ablations.md: the findings, then every study on every benchmark."""
    parts = [f"# Ablations ({title})" if title else "# Ablations"]
    if studies:
        parts += [claim_note(studies[0]), METHOD_NOTE, "## The paper's findings here", _findings_table(studies)]
    for study in studies:
        parts.append(f"## {study.key} {study.title}: {study.block.title}")
        parts.append(f"{capital(study.about)}. {protocol_text(study)}")
        shown = {"base", *(row.name for row in study.rows)}
        parts += [f"**Coverage:** {name}: {reason}." for name, reason in study.result.withheld.items() if name in shown]
        parts += [_full_table(study), OTHER_SCALE, scatter_text(study)]
        parts.append("\n".join(f"- {finding_text(f, study)}" for f in study.findings))
    return "\n\n".join(part for part in parts if part) + "\n"


METHOD_NOTE = (
    f"Differences are paired: the same prompts, noise and training seeds for all variants. Square brackets hold {LEVEL:.0%} "
    "intervals, of each difference by itself; p is Holm-adjusted over the differences of a study, and decides what is resolved. A "
    "finding *holds* when all its differences are resolved in its favour, *fails* when one is resolved against it, and is "
    "*unresolved* otherwise, which does not mean that there is no difference: *could see* is the smallest true difference that "
    f"this run would have told from zero with {POWER:.0%} probability."
)


def claim_note(study: Study) -> str:
    """What kind of claim the studies make."""
    if study.level == "methods":
        return f"Claims are about these methods: training seeds and prompts both vary ({_seeds(study)} training seeds)."
    count = _seeds(study)
    seeds = f"{count} training seeds here; see the seed scatter" if count > 1 else "one training seed here"
    return (
        f"With fewer than {MIN_SEEDS} training seeds claims are about {CHECKPOINTS_ONLY}: prompts vary, training luck is not in "
        f"the intervals ({seeds})."
    )


def _seeds(study: Study) -> int:
    return min((row.gap.seeds for row in study.rows if row.gap), default=0)


def protocol_text(study: Study) -> str:
    """Prompts, rule, settings and scorer of a study's benchmark."""
    return f"{capital(protocol(study.result))}."


def scatter_text(study: Study) -> str:
    """How far training seeds disagree."""
    if not math.isfinite(study.scatter):
        return ""
    value = number(study.scatter, study.block.scale)
    return (
        f"Seed scatter: the differences to the default have SD {value} between training seeds (pooled over the variants, the "
        "default's own luck included)."
    )


def finding_text(finding: Finding, study: Study) -> str:
    """One finding in one sentence: its status, and the weakest of its differences."""
    return sentence(finding, study.level, study.block.scale, lambda name: label_of(study, name))


def label_of(study: Study, name: str) -> str:
    """A variant's name in a study."""
    return next((row.label for row in study.rows if row.name == name), name)


def paper_text(study: Study, row: Row) -> str:
    """What the paper says about a row; a dash where it says nothing."""
    mark = paper.mark(study.key, row.name)
    return mark.text if mark else NONE


def _name(row: Row) -> str:
    return f"{row.label} (default)" if row.gap is None and row.name == "default" else row.label


def _short_table(study: Study) -> str:
    scale = study.block.scale
    rows = (
        [["starting policy", number(study.base.headline.estimate, scale), NONE, "", NONE, NONE]] if study.base else []
    )
    for row in study.rows:
        score = number(row.score.headline.estimate, scale) if row.score else NONE
        rows.append([_name(row), score, *_gap_cells(row, scale), paper_text(study, row)])
    return table(["variant", "score", "minus default", "", "could see", "paper"], rows)


def _gap_cells(row: Row, scale: float) -> list[str]:
    if row.gap is None:
        return [(row.why or "not scored") if row.score is None else NONE, "", NONE]
    gap = row.gap
    value = str(cell(gap.interval(), scale, True))
    return [
        value,
        {"unresolved": "≈", "equal": "=", "no claim": "?"}.get(gap.verdict(), gap.verdict()),
        number(gap.sees(), scale),
    ]


def _full_table(study: Study) -> str:
    return table(*study_rows(study))


def study_rows(study: Study) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a study: every variant with its score, its difference to the default, its cost, and the paper's
    value."""
    scale = study.block.scale
    header = [
        "variant", "seeds", "score (these checkpoints)", "each seed", "minus default", *PAIR_HEADER[3:], "each seed",
        "iterations", "forwards", "paper",
    ]  # fmt: skip
    rows = []
    if study.base:
        value = str(cell(study.base.headline, scale))
        rows.append(["starting policy", NONE, value, *[NONE] * (len(header) - 3)])
    for row in study.rows:
        cells = [row.why or NONE, NONE]
        if row.score:
            cells = [
                str(cell(row.score.headline, scale)),
                " ".join(number(value, scale) for value in row.score.per_seed),
            ]
        rest = [NONE] * 6
        if row.gap:
            rest = [*pair_cells(row.gap, scale)[2:], " ".join(number(value, scale, True) for value in row.gap.per_seed)]
        costs = [amount(row.iterations), amount(row.forwards)]
        rows.append([_name(row), str(row.seeds), *cells, *rest, *costs, paper_text(study, row)])
    return header, rows


def _findings_table(studies: list[Study]) -> str:
    return table(*findings_rows(studies), left=5)


def findings_rows(studies: list[Study]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the paper's findings with what became of them here."""
    rows = []
    for study in studies:
        scale = study.block.scale
        for finding in study.findings:
            cells, worst = [NONE] * 3, finding.weakest
            if worst is not None:
                cells = [
                    f"{label_of(study, worst.a)} − {label_of(study, worst.b)}",
                    str(cell(worst.interval(), scale, True)),
                    number(worst.sees(), scale),
                ]
            rows.append([study.key, study.block.title, f"{finding.claim} ({finding.source})", finding.status, *cells])
    header = ["study", "benchmark", "finding", "here", "least favourable difference", "value", "could see"]
    return header, rows


def to_csv(studies: list[Study]) -> str:
    """One row per score, difference and finding; numbers at full precision, empty where there is none."""
    return csv_text(FIELDS, [row for study in studies for row in csv_rows(study)])


def csv_rows(study: Study) -> list[dict[str, object]]:
    """The lines of one study."""
    where: dict[str, object] = {"study": study.key, "benchmark": study.block.name, "prompts": len(study.block.prompts)}
    rows: list[dict[str, object]] = []
    if study.base:
        rows.append(
            {**where, "kind": "score", "claim": "checkpoints", "variant": "base", **numbers(study.base.headline)}
        )
    for row in study.rows:
        mark = paper.mark(study.key, row.name)
        about: dict[str, object] = {
            **where,
            "variant": row.name,
            "label": row.label,
            "seeds": row.seeds,
            "note": row.why,
            "iterations": exact(row.iterations),
            "forwards": exact(row.forwards),
        }
        printed: dict[str, object] = {}
        if mark:
            printed = {"paper": mark.text, "paper_low": exact(mark.low), "paper_high": exact(mark.high)}
        score: dict[str, object] = numbers(row.score.headline) if row.score else {}
        rows.append({**about, **printed, "kind": "score", "claim": "checkpoints", **score})
        if row.gap:
            rows.append({**about, **_difference(row.gap)})
    for finding in study.findings:
        about = {**where, "note": f"{finding.claim} ({finding.source})"}
        rows.append({**about, "kind": "finding", "claim": study.level, "verdict": finding.status})
        rows += [{**_difference(gap), **about, "kind": "finding's difference"} for gap in finding.gaps]
    return rows


def _difference(gap: Pair) -> dict[str, object]:
    compared = {"kind": "difference", "claim": gap.level, "variant": gap.a, "minus": gap.b, "seeds": gap.seeds}
    told = {"p_holm": exact(gap.holm()), "verdict": gap.verdict(), "detectable": exact(gap.sees())}
    return {**compared, **numbers(gap.interval()), **told}
