"""A combination is what one prompt asks for: objects, attributes, relations. Its text and its specification follow from
it.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

from htgrpo.base.errors import suggest
from htgrpo.world.draws import Draws
from htgrpo.world.world import NUMBERS, RELATIONS, TINY, World, plural, shape_of

CATEGORIES = ("single_object", "two_object", "counting", "colors", "position", "color_attr", "dense")


@dataclass(frozen=True)
class Combination:
    """`objects` holds (class, colour or None); `relations` holds (subject, relation, target) as indices into it."""

    category: str
    objects: tuple[tuple[str, str | None], ...]
    count: int = 1
    relations: tuple[tuple[int, str, int], ...] = ()


def _relation_fact(combination: Combination, relation: tuple[int, str, int]) -> tuple:
    """A relation between two classes, written one way only: "b right of a" is "a left of b"."""
    subject, name, target = relation
    one, other = combination.objects[subject][0], combination.objects[target][0]
    if name in ("right of", "below"):
        one, other, name = other, one, {"right of": "left of", "below": "above"}[name]
    return ("relation", one, name, other)


def key(combination: Combination) -> tuple:
    """The identity of a combination within its category; the order in which a text names things does not count."""
    objects, category = combination.objects, combination.category
    if category == "single_object":
        return ("only", objects[0][0])
    if category == "counting":
        return ("count", objects[0][0], combination.count)
    if category == "colors":
        return ("colour", *objects[0])
    if category == "two_object":
        return ("pair", frozenset(cls for cls, _ in objects))
    if category == "position":
        return _relation_fact(combination, combination.relations[0])
    if category == "color_attr":
        return ("coloured pair", frozenset(objects))
    if category == "dense":
        relations = frozenset(_relation_fact(combination, relation) for relation in combination.relations)
        return ("dense", frozenset(objects), relations)
    raise suggest(category, CATEGORIES, "category")


def facts(combination: Combination) -> set[tuple]:
    """The keys of everything a combination states, whole or in part.

    A coloured pair also states two colours and a pair, for instance. `single_object` is stated only by itself: its
    point is that nothing else is asked for.
    """
    found = {key(combination)}
    objects = combination.objects
    found.update(("colour", *item) for item in objects if item[1])
    for one, other in combinations(objects, 2):
        found.add(("pair", frozenset((one[0], other[0]))))
        if one[1] and other[1]:
            found.add(("coloured pair", frozenset((one, other))))
    found.update(_relation_fact(combination, relation) for relation in combination.relations)
    return found


def draw_combination(world: World, category: str, draws: Draws) -> Combination:
    """A random combination of `category`, uniform over its objects, colours and relations. Raises UserError for another
    name.
    """
    if category == "single_object":
        return Combination(category, ((draws.choice(world.classes), None),))
    if category == "counting":
        return Combination(category, ((draws.choice(world.classes), None),), count=draws.choice(world.counts))
    if category == "colors":
        return Combination(category, ((draws.choice(world.classes), draws.choice(world.colour_names)),))
    if category == "two_object":
        return Combination(category, tuple((cls, None) for cls in draws.some(world.classes, 2)))
    if category == "position":
        objects = tuple((cls, None) for cls in draws.some(world.classes, 2))
        return Combination(category, objects, relations=((1, draws.choice(RELATIONS), 0),))
    if category == "color_attr":
        pairs = zip(draws.some(world.classes, 2), draws.some(world.colour_names, 2), strict=True)
        return Combination(category, tuple(pairs))
    if category == "dense":
        return _draw_dense(world, draws)
    raise suggest(category, CATEGORIES, "category")


def _draw_dense(world: World, draws: Draws) -> Combination:
    """Three objects or more of different shapes, all coloured, and two relations or more."""
    links = draws.choice(world.links)
    shapes = draws.some(world.shapes, 1 + max(target for _, target in links))
    objects = tuple((f"{draws.choice(world.fills)} {shape}", draws.choice(world.colour_names)) for shape in shapes)
    relations = tuple((subject, draws.choice(RELATIONS), target) for subject, target in links)
    return Combination("dense", objects, relations=relations)


def _noun(item: tuple[str, str | None]) -> str:
    cls, colour = item
    return f"a {colour} {cls}" if colour else f"a {cls}"


def text_of(combination: Combination) -> str:
    """The prompt: GenEval's wording, and one sentence of the same kind for `dense`."""
    nouns = [_noun(item) for item in combination.objects]
    if combination.category == "counting":
        return f"a photo of {NUMBERS[combination.count]} {plural(combination.objects[0][0])}"
    if not combination.relations:
        return "a photo of " + " and ".join(nouns)
    phrases = [f"{relation} {nouns[target]}" for _, relation, target in combination.relations]
    subjects = [nouns[subject] for subject, _, _ in combination.relations]
    if len(set(subjects)) == 1:
        head, last = phrases[:-1], phrases[-1]
        return f"a photo of {subjects[0]} " + (f"{', '.join(head)} and {last}" if head else last)
    sentences = [f"{subject} {phrase}" for subject, phrase in zip(subjects, phrases, strict=True)]
    return "a photo of " + ", and ".join(sentences)


def spec_of(world: World, combination: Combination) -> dict:
    """GenEval's metadata shape, with the "world" where it is not the tiny one; `dense` adds "relations" ([subject,
    relation, target], indices into include) and "questions"."""
    include: list[dict[str, Any]] = []
    for cls, colour in combination.objects:
        include.append({"class": cls, "count": combination.count} | ({"color": colour} if colour else {}))
    spec: dict[str, Any] = {"tag": combination.category, "include": include, "exclude": []}
    if combination.category == "counting":
        spec["exclude"] = [{"class": combination.objects[0][0], "count": combination.count + 1}]
    if combination.category == "position":
        ((subject, relation, target),) = combination.relations
        include[subject]["position"] = [relation, target]
    if combination.category == "dense":
        spec["relations"] = [list(relation) for relation in combination.relations]
        spec["questions"] = _questions(combination)
    if world.name != TINY:
        spec["world"] = world.name
    return spec


def _questions(combination: Combination) -> list[dict]:
    """The question graph of a dense prompt, parents before children, ids from 1; "check" says what answers it."""
    questions: list[dict] = []

    def ask(label: str, question: str, parents: list[int], **check) -> int:
        number = len(questions) + 1
        questions.append({"id": number, "tuple": label, "question": question, "parents": parents, "check": check})
        return number

    shapes, entities = [shape_of(cls) for cls, _ in combination.objects], []
    for shape in shapes:
        entities.append(ask(f"entity - whole ({shape})", f"Is there a {shape}?", [], kind="shape", shape=shape))
    for shape, parent, (cls, colour) in zip(shapes, entities, combination.objects, strict=True):
        fill = cls.split()[0]
        label = f"attribute - texture ({shape}, {fill})"
        ask(label, f"Is the {shape} {fill}?", [parent], kind="fill", shape=shape, fill=fill)
        label = f"attribute - color ({shape}, {colour})"
        ask(label, f"Is the {shape} {colour}?", [parent], kind="colour", shape=shape, colour=colour)
    for subject, relation, target in combination.relations:
        one, other = shapes[subject], shapes[target]
        label, parents = f"relation - spatial ({one}, {other}, {relation})", [entities[subject], entities[target]]
        question = f"Is the {one} {relation} the {other}?"
        ask(label, question, parents, kind="relation", subject=one, relation=relation, target=other)
    label = f"other - count (objects, =={len(shapes)})"
    ask(label, f"Are there exactly {NUMBERS.get(len(shapes))} objects?", [], kind="count", count=len(shapes))
    return questions
