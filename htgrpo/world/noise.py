"""Captions that are not quite true, as on the web: what makes an embedded policy imperfect in a way rewards can mend.

A policy pre-trained on clean captions of a small world follows its prompts as well as it can draw, and nothing is left
to learn but drawing. Real policies hedge, because their captions miscount, swap left and right and misname colours. So
do ours: the picture of a pre-training prompt is drawn from a misreading of it, in which each fact is, with the world's
probability for its kind, replaced by one it is easily confused with.
"""

from htgrpo.world.draws import Draws
from htgrpo.world.world import INVERSE, RELATIONS, World, shape_of


def misread(world: World, spec: dict, draws: Draws) -> dict:
    """A specification of what the picture shows, given what its caption says: facts swapped independently.

    Counts move by one, fills and colours go to their counterpart, two objects change colours, the second of two is left
    out, a stated position is turned round or is any. Relations of dense prompts stay: not every set of swapped ones fits
    on the lattice.
    """
    include = [_misread_clause(world, clause, spec["tag"], draws) for clause in spec["include"]]
    if len(include) == 2 and all("color" in clause for clause in include) and _happens(draws, world.misreading.swap):
        one, other = include
        include = [{**one, "color": other["color"]}, {**other, "color": one["color"]}]
    if len(include) == 2 and _happens(draws, world.misreading.drop):
        include = include[:1]
    return {**spec, "include": include}


def _misread_clause(world: World, clause: dict, tag: str, draws: Draws) -> dict:
    seen, rates = dict(clause), world.misreading
    if _happens(draws, rates.fill):
        shape = shape_of(clause["class"])
        seen["class"] = f"{world.confused_fill[clause['class'].removesuffix(shape).strip()]} {shape}"
    if clause.get("color") and _happens(draws, rates.colour):
        seen["color"] = world.confused_colour[clause["color"]]
    if clause.get("position") and _happens(draws, rates.inverse):
        relation, target = clause["position"]
        seen["position"] = [INVERSE[relation], target]
    if clause.get("position") and _happens(draws, rates.anywhere):
        seen["position"] = [draws.choice(RELATIONS), clause["position"][1]]
    if tag == "counting" and _happens(draws, rates.count):
        near = (clause["count"] - 1, clause["count"] + 1)
        seen["count"] = draws.choice([n for n in near if 1 <= n <= max(world.counts)])
    return seen


def _happens(draws: Draws, rate: float) -> bool:
    """True with probability `rate`, to a thousandth; a rate of 0 draws nothing."""
    return rate > 0 and draws.integer(1000) < round(rate * 1000)
