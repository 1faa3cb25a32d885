"""The section of held-out judges: what each may say of a trained reward, by the rule of reports.findings.vouching."""

from collections.abc import Mapping, Sequence

from reports.findings import agreement
from reports.findings.hacking import Moves
from reports.findings.heldout import ONSET
from reports.findings.vouching import GUARD, HELD, RULE, TABLE, overall, wanted
from reports.format import NONE, bounds, number, probability, table

TITLE = "Held-out judges"
HEADER = ["method", "judge", "role", "change in sd", "95% interval", "Holm p", "verdict"]
NOTE = f"{RULE} {ONSET} {agreement.NOTE}"


def rows(moves: Sequence[Moves], names: Mapping[str, str] | None = None) -> list[list[str]]:
    """One row for every judge that was asked, in the order of the benchmarks, methods by their `names` for people; the
    trained reward itself has none."""
    out = []
    for one in moves:
        told = {id(verdict.seen): verdict for verdict in one.verdicts}
        for seen in (move.seen for move in one.moves if move.seen and move.seen.role):
            verdict = told.get(id(seen))
            said = ": ".join(filter(None, [verdict.colour, verdict.word])) if verdict else NONE
            value = [number(seen.gain.estimate, 1, True), bounds(seen.gain, 1, True)]
            p = probability(verdict.p) if verdict else NONE
            out.append([(names or {}).get(one.method, one.method), seen.title, seen.role, *value, p, said])
    return out


def lines(moves: Sequence[Moves], signs: Sequence[str] = (), names: Mapping[str, str] | None = None) -> list[str]:
    """The verdicts of each method in words, what is missing for them, and other signs: where a held-out score turned, how
    judges agree."""
    return [*(_told(one, (names or {}).get(one.method, one.method)) for one in moves), *signs]


def _told(one: Moves, name: str) -> str:
    subject = f"{name}, trained on {one.rewards or 'nothing that is named'}"
    if unknown := [name for name in one.names if name.partition(".")[0] not in TABLE]:
        return f"{subject}: no table says which judge may vouch for {', '.join(unknown)}."
    found, parts = one.verdicts, []
    for kind, noun in ((HELD, "what was asked"), (GUARD, "quality")):
        own = [verdict for verdict in found if verdict.seen.role == kind]
        named = ", ".join(verdict.seen.title for verdict in own)
        colour = overall(found, kind)
        if colour:
            parts.append(f"{colour} on {noun} ({named})")
        elif named:
            parts.append(f"nothing to say on {noun} ({own[0].word})")
        elif kind == HELD:
            parts.append(f"no judge here may vouch for it; these may: {', '.join(wanted(one.names)) or 'none'}")
        else:
            parts.append("no guard of quality was asked")
    return f"{subject}: {'; '.join(parts)}."


def markdown(moves: Sequence[Moves], signs: Sequence[str], names: Mapping[str, str] | None = None) -> list[str]:
    """The section of table.md."""
    if not moves:
        return []
    told = "\n".join(f"- {line}" for line in lines(moves, signs, names))
    found = rows(moves, names)
    return [f"## {TITLE}", told, *([table(HEADER, found, left=3)] if found else []), NOTE]
