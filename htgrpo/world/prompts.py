"""The prompts of an embedded world: listed splits, and an endless supply of training prompts that keeps clear of them.

Validation and held-out combinations never occur in a training prompt, neither whole nor as a part of a longer one.
"""

import json
from functools import cache
from hashlib import sha256

from htgrpo.base.errors import UserError, suggest
from htgrpo.base.prompts import Prompt, prompt_set_sha256
from htgrpo.world.combinations import CATEGORIES, Combination, draw_combination, facts, key, spec_of, text_of
from htgrpo.world.draws import Draws
from htgrpo.world.world import NUMBERS, RELATIONS, World, plural

SPLITS = ("train", "validation", "heldout")
SPLITS_FILE = "splits.json"


def words(world: World) -> list[str]:
    """Every word a prompt of the world can contain, sorted."""
    fixed = ["a", "photo", "of", "and", ","]
    relations = [word for relation in RELATIONS for word in relation.split()]
    shapes = [*world.shapes, *(plural(shape) for shape in world.shapes)]
    numbers = [NUMBERS[count] for count in world.counts]
    return sorted({*fixed, *relations, *shapes, *numbers, *world.fills, *world.colour_names})


def make_prompt(world: World, combination: Combination, identity: str | None = None) -> Prompt:
    """The prompt of a combination; without `identity` the id is made from the text."""
    text = text_of(combination)
    identity = identity or f"{combination.category}-{sha256(text.encode()).hexdigest()[:12]}"
    return Prompt(identity, text, combination.category, spec_of(world, combination))


def listed_prompts(world: World, split: str, combinations: list[Combination]) -> list[Prompt]:
    """Prompts with ids "<category>-<split>-<number>", numbered from 000 within each category."""
    seen: dict[str, int] = {}
    prompts = []
    for combination in combinations:
        number = seen.setdefault(combination.category, 0)
        seen[combination.category] += 1
        prompts.append(make_prompt(world, combination, f"{combination.category}-{split}-{number:03d}"))
    return prompts


def _read(entry: list) -> Combination:
    category, objects, count, relations = entry
    return Combination(category, tuple(map(tuple, objects)), count, tuple(map(tuple, relations)))


@cache
def _recorded(world: World) -> dict[str, dict]:
    return json.loads((world.assets / SPLITS_FILE).read_text(encoding="utf-8"))["splits"]


@cache
def split_combinations(world: World) -> dict[str, list[Combination]]:
    """The recorded combinations of every split, in order."""
    recorded = _recorded(world)
    return {split: [_read(entry) for entry in recorded[split]["combinations"]] for split in SPLITS}


@cache
def splits(world: World) -> dict[str, list[Prompt]]:
    """The listed prompts by split name. Raises UserError when the file does not give the prompts it was recorded
    with."""
    recorded, result = _recorded(world), {}
    for split, combinations in split_combinations(world).items():
        result[split] = listed_prompts(world, split, combinations)
        found, expected = prompt_set_sha256(result[split]), recorded[split]["sha256"]
        if found != expected:
            raise UserError(
                f"the {split} prompts of the {world.title} have sha256 {found[:12]} and not the recorded {expected[:12]}: "
                "splits.json or the code that words prompts was changed; re-install the package"
            )
    return result


def split_prompts(world: World, split: str, category: str | None = None) -> list[Prompt]:
    """The prompts of one split, of one category or of all. Raises UserError for unknown names."""
    if split not in SPLITS:
        raise suggest(split, SPLITS, "split")
    if category is not None and category not in CATEGORIES:
        raise suggest(category, CATEGORIES, "category")
    return [prompt for prompt in splits(world)[split] if category in (None, prompt.category)]


@cache
def reserved(world: World) -> frozenset[tuple]:
    """The keys of all validation and held-out combinations."""
    recorded = split_combinations(world)
    return frozenset(key(combination) for split in ("validation", "heldout") for combination in recorded[split])


def draw_training_combination(world: World, category: str, draws: Draws, excluded: frozenset[tuple]) -> Combination:
    """A random combination of `category` that states none of the `excluded` keys."""
    while True:
        combination = draw_combination(world, category, draws)
        if excluded.isdisjoint(facts(combination)):
            return combination


def draw_training_prompt(world: World, draws: Draws, categories: tuple[str, ...] = CATEGORIES) -> Prompt:
    """A random prompt of one of `categories` (name one twice to draw it twice as often) that states no reserved
    combination."""
    return make_prompt(world, draw_training_combination(world, draws.choice(categories), draws, reserved(world)))
