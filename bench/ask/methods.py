"""Names that stand for several methods, and what there is to train, with a line on each. Imports no torch."""

import sys
from collections.abc import Iterable

from bench.ask.keys import HELP
from bench.ask.width import columns, wrapped
from htgrpo.base.registry import METHODS

ALL = "all"
"""Every method that learns from rewards."""


def groups() -> dict[str, list[str]]:
    """{name: methods}: `all`, and the groups that methods say they belong to. A method of that name comes first."""
    found: dict[str, list[str]] = {ALL: []}
    for name in METHODS.names():
        kind = METHODS.get(name)
        if kind.rewarded:
            for group in (ALL, *kind.groups):
                found.setdefault(group, []).append(name)
    return {group: names for group, names in found.items() if group not in METHODS.names()}


def expanded(names: Iterable[str]) -> list[str]:
    """`names` with every group replaced by its methods, each once."""
    names = list(names)
    known = groups() if set(names) - set(METHODS.names()) else {}
    return list(dict.fromkeys(one for name in names for one in known.get(name, [name])))


def listing() -> str:
    """Every method and every group, with a line on each."""
    lines = ["methods:"]
    for name in METHODS.names():
        lines += wrapped(summary(name), columns(), f"  {name:<13} ", " " * 16)
    lines += ["", "names that stand for several:"]
    for group, names in groups().items():
        lines += wrapped(", ".join(names), columns(), f"  {group:<13} ", " " * 16)
    return "\n".join(lines)


def told(names: Iterable[str]) -> bool:
    """Whether `help` is among the names; it is printed then."""
    asked = HELP in names
    if asked:
        print(listing())
    return asked


def summary(name: str) -> str:
    """A line on a method: its own, or the first paragraph of what its module says."""
    kind = METHODS.get(name)
    text = kind.summary or (sys.modules[kind.__module__].__doc__ or "").split("\n\n")[0]
    return " ".join(text.split()).rstrip(".")
