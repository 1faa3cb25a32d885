"""Which differences of many methods stand one by one: with the starting policy, and with the best. Tables keep them all."""

from collections.abc import Mapping

from htgrpo.base.records import BASE
from reports.findings.analysis import Result
from reports.findings.pairs import Pair
from reports.format import listed, many


def central(result: Result, best: str | None = None) -> list[Pair]:
    """All pairs of up to format.MANY methods. Of more: every one minus the starting policy, then minus `best` (the result's own
    where none is named), each from the highest score to the lowest."""
    if not many(result.scores):
        return result.pairs
    ranked = sorted(result.scores, key=lambda name: -result.sign * result.scores[name].headline.estimate)
    found: dict[frozenset[str], Pair] = {}
    for other in _others(result, best):
        for name in ranked:
            if pair := result.pair(name, other):
                found.setdefault(frozenset((name, other)), pair)
    return list(found.values())


def left_out(result: Result, best: str | None = None, names: Mapping[str, str] | None = None) -> str:
    """What `central` shows and leaves, in words; nothing where it shows every pair."""
    left = len(result.pairs) - len(central(result, best))
    top = best or result.best or ""
    roles = {BASE: "the starting policy"} | {top: f"{(names or {}).get(top, top)} (best, {result.block.when})"}
    told = [roles[name] for name in _others(result, best)]
    return (
        f"Every method against {listed(told)}; the other {left} differences are in table.md and table.csv."
        if left
        else ""
    )


def _others(result: Result, best: str | None) -> list[str]:
    """What every method is compared with: the starting policy, where it has a score, and the best."""
    return list(dict.fromkeys(name for name in (BASE, best or result.best) if name in result.scores))
