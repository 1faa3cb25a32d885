"""Draws the splits of an embedded world and records them in its assets/splits.json.

Run once (`python -m htgrpo.world.make_splits WORLD`); the file is then fixed, and the code only verifies its hashes.
"""

import json
import sys
from pathlib import Path

from htgrpo.base.files import atomic_write_text
from htgrpo.base.prompts import prompt_set_sha256
from htgrpo.base.rng import generator
from htgrpo.world.combinations import CATEGORIES, Combination, draw_combination, key
from htgrpo.world.draws import Draws
from htgrpo.world.prompts import SPLITS, SPLITS_FILE, draw_training_combination, listed_prompts
from htgrpo.world.world import World, find

_PATIENCE = 5000  # draws without a new combination before a category counts as exhausted


def draw_splits(world: World) -> dict[str, list[Combination]]:
    """The combinations of every split: held-out first, then validation, then training from what they leave."""
    draws = Draws(generator(world.title, "splits", 1), block=4096)
    taken: dict[tuple, str] = {}
    result: dict[str, list[Combination]] = {split: [] for split in SPLITS}
    for split, counts in (("heldout", world.heldout), ("validation", world.validation)):
        for category in CATEGORIES:
            for _ in range(counts[category]):
                while key(combination := draw_combination(world, category, draws)) in taken:
                    pass
                taken[key(combination)] = split
                result[split].append(combination)
    excluded = frozenset(taken)
    for category in CATEGORIES:
        chosen: dict[tuple, Combination] = {}
        idle = 0
        while len(chosen) < world.train_at_most and idle < _PATIENCE:
            combination = draw_training_combination(world, category, draws, excluded)
            idle = idle + 1 if key(combination) in chosen else 0
            chosen.setdefault(key(combination), combination)
        result["train"].extend(chosen.values())
    return result


def main(world: World) -> None:
    """Writes the splits file, one combination a line."""
    parts = []
    for split, combinations in draw_splits(world).items():
        identity = prompt_set_sha256(listed_prompts(world, split, combinations))
        lines = [json.dumps([c.category, c.objects, c.count, c.relations]) for c in combinations]
        body = ",\n".join(lines)
        parts.append(f'"{split}": {{"sha256": "{identity}", "combinations": [\n{body}\n]}}')
    note = "Written by htgrpo.world.make_splits; entry: category, [class, colour], count, [subject, relation, target]."
    text = f'{{"note": {json.dumps(note)},\n"splits": {{\n' + ",\n".join(parts) + "}}\n"
    atomic_write_text(Path(str(world.assets / SPLITS_FILE)), text)


if __name__ == "__main__":
    main(find(sys.argv[1]))
