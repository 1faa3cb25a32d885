"""Plain sentences: the order found, whether it survives another setting or milestone, and what stays unresolved."""

from collections.abc import Mapping

from htgrpo.base.records import BASE
from reports.findings.analysis import Result
from reports.findings.central import central
from reports.findings.pairs import Pair
from reports.format import CHECKPOINTS_ONLY, bounds, many, number, probability, whole
from reports.run.blocks import MAIN_CLAIM


def order(result: Result, names: Mapping[str, str] | None = None) -> str:
    """The methods, by their `names` for people, from best to worst; ">" is a resolved step between neighbours, "=" one
    within the margin, "≈" an unresolved one."""
    scale = result.block.scale
    ranked = sorted(result.scores, key=lambda n: -result.sign * result.scores[n].headline.estimate)
    parts = []
    for i, name in enumerate(ranked):
        if i:
            pair = result.pair(ranked[i - 1], name)
            word = pair.verdict(result.level) if pair else ""
            parts.append({"better": ">", "worse": ">", "equal": "="}.get(word, "≈"))
        parts.append(f"{(names or {}).get(name, name)} {number(result.scores[name].headline.estimate, scale)}")
    return " ".join(parts)


def claim_label(result: Result) -> str:
    """Which kind of claim the tie marks and orders of a block make."""
    if result.level == "methods":
        seeds = min((pair.seeds for pair in result.pairs), default=0)
        return f"these methods, {seeds} training seeds"
    return CHECKPOINTS_ONLY


def pair_sentences(results: list[Result], names: Mapping[str, str] | None = None) -> list[str]:
    """One sentence for each pair of each benchmark (of many methods: those of reports.findings.central), the main claim's first:
    its main block, then how every other block
    compares with it."""
    out = []
    for main in sorted((r for r in results if r.block.is_main), key=lambda r: r.block.claim != MAIN_CLAIM):
        others = [r for r in results if r.block.name == main.block.name and r is not main]
        out += [_pair_sentence(pair, main, others, names or {}) for pair in central(main)]
    return out


def _pair_sentence(pair: Pair, main: Result, others: list[Result], names: Mapping[str, str]) -> str:
    if pair.verdict() == "worse":
        pair = pair.flipped()
    interval, word, scale = pair.interval(), pair.verdict(), main.block.scale
    value = f"{number(interval.estimate, scale, True)} {bounds(interval, scale, True)}"
    numbers = f"{value}, adjusted p {probability(pair.holm())}"
    a, b = (names.get(name, name) for name in (pair.a, pair.b))
    subject = f"{main.block.title}: {a}"
    if word == "better":
        found = f"{subject} is better than {b} {main.block.when} ({numbers})"
    elif word == "equal":
        within = number(pair.margin, scale)
        found = f"{subject} and {b} are equal within {within} {main.block.when} ({numbers})"
    elif word == "unresolved":
        found = f"{subject} and {b} are not told apart {main.block.when} ({numbers})"
    else:
        found = f"{subject} and {b} cannot be compared {main.block.when} ({interval.note})"
    scope = f"{pair.seeds} training seeds" if pair.level == "methods" else CHECKPOINTS_ONLY
    elsewhere = [_elsewhere(pair, word, a, other) for other in others]
    notes = [
        f"{names.get(m.name, m.name)}: {m.weights}."
        for m in main.block.methods
        if m.untrained and m.name in (pair.a, pair.b)
    ]
    claim = f"{main.block.claim.partition(',')[0].capitalize()}. " if main.block.claim else ""
    return " ".join([f"{claim}{found}; {scope}.", *notes, *elsewhere])


def _elsewhere(pair: Pair, word: str, name: str, other: Result) -> str:
    """How the same pair stands in another block, as one short sentence."""
    twin = other.pair(pair.a, pair.b)
    where = "there" if other.block.main_view else other.block.when
    if other.block.setting != "main":
        where = f"with {other.block.setting}" + ("" if other.block.main_view else f" {other.block.when}")
    where = where[0].upper() + where[1:]
    if twin is None:
        return f"{where}: not scored."
    now, difference = twin.verdict(), twin.interval().estimate
    value, p = number(difference, other.block.scale, True), probability(twin.holm())
    if now == "no claim":
        return f"{where}: no claim ({value})."
    if word != "better":
        told = {
            "unresolved": "still unresolved" if word == "unresolved" else "unresolved",
            "equal": f"equal within {number(twin.margin, other.block.scale)}",
        }
        return f"{where}: {told.get(now, f'{name} is {now}')} ({value}, p {p})."
    same = other.sign * difference > 0
    if now in ("unresolved", "equal"):
        return f"{where}: {now}, {'same' if same else 'opposite'} sign ({value}, p {p})."
    return f"{where}: the order {'survives' if same else 'is reversed'} ({value}, p {p})."


def resolution(result: Result, names: Mapping[str, str] | None = None) -> str:
    """How many differences of a block are resolved, and which; how many are equal within the margin. Of many methods,
    those with the starting policy and the best are named, the others counted."""
    if many(result.scores):
        return _resolution_of_many(result, names or {})
    won, equal = [], []
    for pair in result.pairs:
        word, (a, b) = pair.verdict(), ((names or {}).get(name, name) for name in (pair.a, pair.b))
        if word in ("better", "worse"):
            won.append(f"{a} over {b}" if word == "better" else f"{b} over {a}")
        if word == "equal":
            equal.append(f"{a} and {b}")
    rest = len(result.pairs) - len(won) - len(equal)
    named = f": {', '.join(won)}" if won else ""
    same = f"; equal within {number(result.block.margin, result.block.scale)}: {', '.join(equal)}" if equal else ""
    return f"{len(won)} of {len(result.pairs)} differences resolved{named}{same}; {rest} unresolved"


def _resolution_of_many(result: Result, names: Mapping[str, str]) -> str:
    won = [pair if pair.verdict() == "better" else pair.flipped() for pair in result.pairs if pair.resolved()]
    equal = sum(pair.verdict() == "equal" for pair in result.pairs)
    best = result.best or ""
    sides = {
        "above the starting policy": [pair.a for pair in won if pair.b == BASE],
        "below the starting policy": [pair.b for pair in won if pair.a == BASE],
    }
    if best != BASE:
        below = [pair.b for pair in won if pair.a == best and pair.b != BASE]
        sides[f"below the best, {whole(names.get(best, best))}"] = below
    told = [f"{side}: {', '.join(whole(names.get(n, n)) for n in found)}" for side, found in sides.items() if found]
    others = len(won) - sum(map(len, sides.values()))
    told += [f"{others} between other methods"] if others else []
    same = f"; {equal} equal within {number(result.block.margin, result.block.scale)}" if equal else ""
    named = f" ({'; '.join(told)})" if told else ""
    rest = len(result.pairs) - len(won) - equal
    return f"{len(won)} of {len(result.pairs)} differences resolved{named}{same}; {rest} unresolved"
