"""The answer that a reader came for, in two or three sentences: the main claim, and how far it can be believed."""

from collections.abc import Mapping

from htgrpo.base.records import BASE
from reports.findings.analysis import Result
from reports.findings.sentences import claim_label
from reports.format import MANY, bounds, listed, number, whole
from reports.run.blocks import MAIN_CLAIM


def claimed(results: list[Result]) -> Result | None:
    """What the answer is about: the claim that was named before the run, else the first main comparison with a score."""
    mains = [result for result in results if result.block.is_main and result.scores]
    return next((r for r in results if r.block.claim == MAIN_CLAIM and r.scores), next(iter(mains), None))


def in_every_view(results: list[Result]) -> list[Result]:
    """The comparison of `claimed` in each view of the run, its own first."""
    main = claimed(results)
    if main is None:
        return []
    same = [r for r in results if (r.block.name, r.block.setting) == (main.block.name, main.block.setting)]
    return [main, *(result for result in same if result is not main)]


def answer(results: list[Result], names: Mapping[str, str]) -> list[str]:
    """Sentences: which method is best, which are shown to be above the starting policy, and what the claim is about.
    names: of methods, as papers write them."""
    main, names = claimed(results), {name: whole(title) for name, title in names.items()}
    if main is None or not main.scores:
        return ["No comparison has a headline: see what is missing below."]
    where = f"On {main.block.title}, {main.block.when}"
    if not main.pairs:
        return [f"{where}, nothing is compared with {_told(main, main.best or '', names)}."]
    about = f"This is about {claim_label(main)}"
    sees = [size for pair in main.pairs if (size := pair.sees(main.level)) == size]
    power = (
        f"; a true difference of {number(min(sees), main.block.scale)} would have been seen four times in five"
        if sees
        else ""
    )
    return [f"{where}, {_best(main, names)}", *_above_base(main, names), f"{about}{power}."]


def _named(methods: list[str]) -> str:
    """Methods by name, counted where they are too many to read; tables mark each."""
    return listed(methods) if len(methods) <= MANY else f"{len(methods)} others"


def _told(result: Result, name: str, names: Mapping[str, str]) -> str:
    value = number(result.scores[name].headline.estimate, result.block.scale)
    return f"{names.get(name, name)} ({value})"


def _best(result: Result, names: Mapping[str, str]) -> str:
    """Of the trained methods (of all, where none was trained) the best one, and those it is not told apart from."""
    trained = [name for name in result.scores if name != BASE]
    if len(trained) < 2:
        return _alone(result, names)
    best = max(trained, key=lambda name: result.sign * result.scores[name].headline.estimate)
    pairs = {name: pair for name in trained if name != best and (pair := result.pair(best, name))}
    beaten = [_told(result, name, names) for name, pair in pairs.items() if pair.verdict(result.level) == "better"]
    equal = [_told(result, name, names) for name, pair in pairs.items() if pair.verdict(result.level) == "equal"]
    open_ = [_told(result, name, names) for name, pair in pairs.items() if pair.verdict(result.level) == "unresolved"]
    if not equal and not open_ and beaten:
        return f"{_told(result, best, names)} is better than {listed(beaten)}."
    within = number(result.block.margin, result.block.scale)
    parts = [
        f"is not told apart from {_named(open_)}" if open_ else "",
        f"equals {_named(equal)} within {within}" if equal else "",
        f"is better than {listed(beaten)}" if beaten else "",
    ]
    head = "no method is shown to be the best: " if open_ or equal else ""
    return f"{head}{_told(result, best, names)} {listed([part for part in parts if part]) or 'cannot be compared'}."


def _alone(result: Result, names: Mapping[str, str]) -> str:
    """The first pair in words, where there are no two trained methods."""
    pair = result.pairs[0]
    word = pair.verdict(result.level)
    pair, word = (pair.flipped(), "better") if word == "worse" else (pair, word)
    found = {"better": "is better than", "equal": "equals, within the margin,", "unresolved": "is not told apart from"}
    one, two = _told(result, pair.a, names), _told(result, pair.b, names)
    scale, interval = result.block.scale, pair.interval(result.level)
    value = f"{number(interval.estimate, scale, True)} {bounds(interval, scale, True)}"
    return f"{one} {found.get(word, 'cannot be compared with')} {two}: {value}."


def _above_base(result: Result, names: Mapping[str, str]) -> list[str]:
    """Which trained methods are shown to be above the starting policy; nothing where `_best` says it."""
    trained = [name for name in result.scores if name != BASE]
    if BASE not in result.scores or len(trained) < 2:
        return []
    words = {name: pair.verdict(result.level) for name in trained if (pair := result.pair(name, BASE))}
    above, below = ([names.get(n, n) for n, w in words.items() if w == word] for word in ("better", "worse"))
    rest = [names.get(n, n) for n, word in words.items() if word not in ("better", "worse")]
    parts = [
        f"{listed(above)} {'is' if len(above) == 1 else 'are'} shown to be above it" if above else "",
        f"{listed(below)} below it" if below else "",
        f"{_named(rest)} {'is' if len(rest) == 1 else 'are'} not told apart from it" if rest else "",
    ]
    base = number(result.scores[BASE].headline.estimate, result.block.scale)
    return [f"The starting policy has {base}: {listed([part for part in parts if part])}."]
