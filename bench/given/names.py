"""Names of files as people number them."""

import re
from collections.abc import Sequence
from pathlib import PurePath

RUNS, PARTS = "seed|run|step|iter|iteration|epoch|ckpt|checkpoint", "sample|batch"
"""Words before a number that counts runs, and those that do so in the names of folders."""
SIGNED = re.compile("(?:^|[^0-9A-Za-z)\\s])[-\u2212][0-9]")
"""A number with what may be a minus, at the start of a name or after another sign."""


def natural(path: PurePath | str) -> tuple:
    """A sorting key under which numbers in names count as numbers: 2.png comes before 10.png."""
    text = str(path)
    return [int(part) if place % 2 else part for place, part in enumerate(re.split("([0-9]+)", text))], text


def unordered(names: Sequence[str]) -> str:
    """Why these names, without endings, do not say in which order they are: "" where they do, being the same but for
    one number that counts from 0 or 1."""
    signed = [name for name in names if SIGNED.search(name)]
    if signed:
        return f"the number in {signed[0]!r} may be below zero"
    parts = [re.split("([0-9]+)", name) for name in names]
    if len({tuple(part[::2]) for part in parts}) > 1:
        return "their names are not the same but for one number"
    numbers = [
        column for column in zip(*([int(digits) for digits in part[1::2]] for part in parts)) if len({*column}) > 1
    ]
    if len(numbers) > 1:
        return f"{len(numbers)} numbers vary in their names"
    counted = sorted(numbers[0]) if numbers else [0] * len(names)
    for one, two in zip(counted, counted[1:]):
        if one == two:
            return f"two names have the number {one}" if numbers else "their names have no number that tells them apart"
        if two != one + 1:
            return f"the numbers in their names have a gap after {one}"
    if numbers and counted[0] > 1:
        return f"the numbers in their names begin with {counted[0]}"
    return ""


def runs(names: Sequence[str], words: str) -> bool:
    """Whether all names end in one of `words` and a number that varies: they tell runs apart, and not prompts."""
    ends = [re.search(rf"(?:^|[^a-z])(?:{words})s?[^0-9a-z]*([0-9]+)$", name.lower()) for name in names]
    return all(ends) and len({end[1] for end in ends if end}) > 1


def several(things: Sequence[object], shown: int = 3) -> str:
    """The first few of them, in words."""
    told = [text if (text := str(thing)).isprintable() else repr(text) for thing in things[:shown]]
    return ", ".join(told) + (", …" if len(things) > shown else "")
