"""The paper's claims, judged by a run: a sentence each, and the table of all views."""

import math
from collections.abc import Callable, Mapping, Sequence

from reports.findings.analysis import Result
from reports.findings.claims import HOLDS, NO_CLAIM, UNMEASURED, UNRESOLVED, Finding, of_methods
from reports.format import CHECKPOINTS_ONLY, NONE, number, probability, table, wrap
from reports.statistics.power import MOST_SEEDS
from reports.tables.view import cell

TITLE = "The paper's claims here"
HEADER = ["the paper claims", "here", "difference", "value", "p", "could see", "seeds", "judged on", "view", "in"]
NOTE = (
    "A claim *holds* when all its differences are resolved in its favour, *fails* when one is resolved against it, is "
    "*equal within the margin* when all are told to be as small as that, and is *unresolved* otherwise, which does not mean that "
    "there is no difference. The difference shown is the one that speaks least for the claim; *seeds*: with how many training "
    "seeds at most one of its size would be resolved, or (equal) told to lie within the margin, four times in five on these "
    f"prompts (over {MOST_SEEDS}: more prompts are needed). Nothing here is about MMaDA or "
    "Lumina-DiMOO unless they were trained."
)


def sentence(finding: Finding, level: str, scale: float, label: Callable[[str], str] = str) -> str:
    """One finding in one sentence: its status, and the weakest of its differences."""
    about = "" if level == "methods" or finding.status in (UNMEASURED, NO_CLAIM) else f" ({CHECKPOINTS_ONLY})"
    head = f"{finding.status.upper()}{about}: {finding.claim} [{finding.source}]"
    worst = finding.weakest
    if worst is None:
        return f"{head}."
    value = f"{cell(worst.interval(), scale, True)}, p {probability(worst.holm())}"
    least = "Its smallest difference" if finding.status == HOLDS else "Least in its favour"
    least = "Difference" if len(finding.gaps) == 1 else least
    sees = (
        f"; could see {number(worst.sees(), scale)}" if math.isfinite(worst.sees()) else f" ({worst.interval().note})"
    )
    seeds = needed(finding)
    more = f"; needs {seeds} seeds" if seeds != NONE else ""
    return f"{head}. {least}: {label(worst.a)} − {label(worst.b)} {value}{sees}{more}."


def needed(finding: Finding) -> str:
    """With how many training seeds the shown difference of an unresolved claim about methods would be answered."""
    worst = finding.weakest
    if finding.status != UNRESOLVED or worst is None or worst.parts is None or worst.verdict() != "unresolved":
        return NONE
    found = worst.seeds_needed()
    return f"over {MOST_SEEDS}" if found is None else f"{found[0]} (equal)" if found[1] == "equal" else str(found[0])


def rows(results: Sequence[Result], names: Mapping[str, str] | None = None) -> list[list[str]]:
    """Every claim in every view and benchmark (the world is in its title) of the main setting, methods by their `names`
    for people. Empty where the run has nothing that the paper speaks of."""
    names, lines = names or {}, []
    for result in (r for r in results if r.block.setting == "main"):
        for found in of_methods(result):
            assert found.weakest is not None  # what is measured has one
            gap, scale = found.weakest, result.block.scale
            about = "" if gap.level == "methods" else f" ({CHECKPOINTS_ONLY})"
            pair = f"{names.get(gap.a, gap.a)} − {names.get(gap.b, gap.b)}"
            value = str(cell(gap.interval(), scale, True))
            sees = number(gap.sees(), scale) if math.isfinite(gap.sees()) else NONE
            where = [result.block.title, result.block.when, found.source]
            numbers = [value, probability(gap.holm()), sees, needed(found)]
            lines.append([found.claim, f"{found.status}{about}", pair, *numbers, *where])
    return lines


def markdown(results: Sequence[Result], names: Mapping[str, str] | None = None) -> list[str]:
    """The section of table.md; empty without a claim."""
    lines = rows(results, names)
    return [f"## {TITLE}", table(HEADER, lines), NOTE] if lines else []


def terminal(results: Sequence[Result]) -> list[str]:
    """The same in the main views, a sentence each."""
    lines = [
        wrap(
            f"- {result.block.title}, {result.block.when}. {sentence(found, result.level, result.block.scale)}",
            hang="  ",
        )
        for result in results
        if result.block.is_main
        for found in of_methods(result)
    ]
    return [f"## {TITLE}", "\n".join(lines)] if lines else []
