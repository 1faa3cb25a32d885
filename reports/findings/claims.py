"""What the paper claims of methods and variants, judged by a run's paired differences: holds, fails, equal or unresolved
here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import resources
from typing import Any

from reports.findings.analysis import Result
from reports.findings.pairs import Pair

HOLDS, FAILS, EQUAL, UNRESOLVED = "holds", "fails", "equal within the margin", "unresolved"
UNMEASURED, NO_CLAIM = "not measured", "no claim"


@dataclass(frozen=True)
class Finding:
    """A claim of the paper in this run: `status`, and the differences it rests on (better minus worse).

    weakest: the one that speaks least for it (one resolved against it before all others, one that has an answer after those
    that have none);
    None where nothing is measured.
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
    ranks = {"worse": 0, "equal": 2, "better": 3}
    weakest = min(
        found, key=lambda gap: (ranks.get(gap.verdict(), 1), gap.sign * gap.interval().estimate), default=None
    )
    return Finding(claim["claim"], claim["source"], status, found, weakest)


def of_methods(result: Result) -> list[Finding]:
    """The paper's claims about the methods of a block, as far as its benchmark and methods are those of a claim."""
    text = (resources.files("reports.paper") / "claims.json").read_text("utf-8")
    gaps = {(pair.a, pair.b): pair for one in result.pairs for pair in (one, one.flipped())}
    claims = [one for one in json.loads(text) if any(fnmatch(result.block.name, name) for name in one["benchmarks"])]
    return [found for one in claims if (found := judged(one, gaps)).status != UNMEASURED]
