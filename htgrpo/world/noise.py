"""Captions that are not quite true, as on the web: what makes the embedded policy imperfect in a way rewards can mend.

A policy pre-trained on clean captions of this small world follows its prompts as well as it can draw, and nothing is
left to learn but drawing. Real policies hedge, because their captions miscount, swap left and right and misname
colours. So do ours: the picture of a pre-training prompt is drawn from a misreading of it, in which each fact is, with
a fixed probability, replaced by the one it is easily confused with.
"""

from htgrpo.world.draws import Draws
from htgrpo.world.vocabulary import INVERSE, shape_of

RATE = 0.25
"""Probability that one fact of a caption (a fill, a colour, a count, a relation) is not true of its picture."""

FILL = {"solid": "checked", "checked": "solid", "hollow": "striped", "striped": "hollow"}
COLOUR = {"red": "purple", "purple": "red", "blue": "black", "black": "blue", "yellow": "green", "green": "yellow"}


def misread(spec: dict, draws: Draws, rate: float = RATE) -> dict:
    """A specification of what the picture shows, given what its caption says: facts swapped independently at `rate`.

    Counts move by one within 1..4, fills, colours and stated positions go to their counterpart. Relations of dense
    prompts stay: not every set of swapped ones fits on the lattice.
    """
    include = [_misread_clause(clause, spec["tag"], draws, rate) for clause in spec["include"]]
    return {**spec, "include": include}


def _misread_clause(clause: dict, tag: str, draws: Draws, rate: float) -> dict:
    seen = dict(clause)
    if _happens(draws, rate):
        shape = shape_of(clause["class"])
        seen["class"] = f"{FILL[clause['class'].removesuffix(shape).strip()]} {shape}"
    if clause.get("color") and _happens(draws, rate):
        seen["color"] = COLOUR[clause["color"]]
    if clause.get("position") and _happens(draws, rate):
        relation, target = clause["position"]
        seen["position"] = [INVERSE[relation], target]
    if tag == "counting" and _happens(draws, rate):
        seen["count"] = draws.choice([n for n in (clause["count"] - 1, clause["count"] + 1) if 1 <= n <= 4])
    return seen


def _happens(draws: Draws, rate: float) -> bool:
    """True with probability `rate`, to a thousandth."""
    return draws.integer(1000) < round(rate * 1000)
