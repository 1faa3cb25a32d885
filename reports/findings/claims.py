"""What the paper claims of methods and variants, judged by a run's paired differences: holds, fails, equal or unresolved
here."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import resources
from typing import Any

from reports.findings.analysis import Pair, Result
from reports.format import CHECKPOINTS_ONLY, NONE, number, probability, table, wrap
from reports.tables.view import cell

HOLDS, FAILS, EQUAL, UNRESOLVED = "holds", "fails", "equal within the margin", "unresolved"
UNMEASURED, NO_CLAIM = "not measured", "no claim"
NOTE = (
    "A claim *holds* when all its differences are resolved in its favour, *fails* when one is resolved against it, is "
    "*equal within the margin* when all are told to be as small as that, and is *unresolved* otherwise, which does not mean that "
    "there is no difference. The difference shown is the one that speaks least for the claim. Nothing here is about MMaDA or "
    "Lumina-DiMOO unless they were trained."
)


@dataclass(frozen=True)
class Finding:
    """A claim of the paper in this run: `status`, and the differences it rests on (better minus worse).

    weakest: the one that speaks least for it (one resolved against it before all others); None where nothing is
    measured.
    """

    claim: str
    source: str
    status: str
    gaps: list[Pair]
    weakest: Pair | None


def judged(claim: Mapping[str, Any], gaps: Mapping[tuple[str, str], Pair]) -> Finding:
    """A claim ("claim", "source", "pairs" of better and worse) by the differences that were measured. It holds when
    every difference is resolved in its favour, and fails when one is resolved against it; equal within the margin, when
    no difference is resolved and all are told to be as small as that. No claim: a difference has no interval, as with
    too few prompts."""
    found = [gaps[a, b] for a, b in claim["pairs"] if (a, b) in gaps]
    words = {gap.verdict() for gap in found}
    if "worse" in words:
        status = FAILS
    elif len(found) < len(claim["pairs"]):
        status = UNMEASURED
    elif NO_CLAIM in words:
        status = NO_CLAIM
    else:
        status = HOLDS if words == {"better"} else EQUAL if words == {"equal"} else UNRESOLVED
    weakest = min(found, key=lambda gap: (gap.verdict() != "worse", gap.sign * gap.interval().estimate), default=None)
    return Finding(claim["claim"], claim["source"], status, found, weakest)


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
    return f"{head}. {least}: {label(worst.a)} − {label(worst.b)} {value}{sees}."


def of_methods(result: Result) -> list[Finding]:
    """The paper's claims about the methods of a block, as far as its benchmark and methods are those of a claim."""
    text = (resources.files("reports.paper") / "claims.json").read_text("utf-8")
    gaps = {(pair.a, pair.b): pair for one in result.pairs for pair in (one, one.flipped())}
    claims = [one for one in json.loads(text) if any(fnmatch(result.block.name, name) for name in one["benchmarks"])]
    return [found for one in claims if (found := judged(one, gaps)).status != UNMEASURED]


def markdown(results: Sequence[Result]) -> list[str]:
    """The section of table.md: every claim in every view and benchmark (the world is in its title) of the main
    setting. Empty where the run has nothing that the paper speaks of."""
    rows = []
    for result in (r for r in results if r.block.setting == "main"):
        for found in of_methods(result):
            assert found.weakest is not None  # what is measured has one
            gap, about = found.weakest, "" if result.level == "methods" else f" ({CHECKPOINTS_ONLY})"
            value = str(cell(gap.interval(), result.block.scale, True))
            sees = number(gap.sees(), result.block.scale) if math.isfinite(gap.sees()) else NONE
            where = [result.block.title, result.block.when, f"{found.status}{about}"]
            rows.append([found.claim, found.source, *where, f"{gap.a} − {gap.b}", value, probability(gap.holm()), sees])
    header = ["the paper claims", "in", "judged on", "view", "here", "difference", "value", "p", "could see"]
    return ["## The paper's claims here", table(header, rows), NOTE] if rows else []


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
    return ["## The paper's claims here", "\n".join(lines)] if lines else []
