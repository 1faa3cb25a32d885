"""Draws the splits of the embedded world and records them in assets/splits.json.

Run once (`python -m htgrpo.world.make_splits`); the file is then fixed, and the code only verifies its hashes.
"""

import json
from pathlib import Path

from htgrpo.base.files import atomic_write_text
from htgrpo.base.prompts import prompt_set_sha256
from htgrpo.base.rng import generator
from htgrpo.world.combinations import CATEGORIES, Combination, draw_combination, key
from htgrpo.world.draws import Draws
from htgrpo.world.prompts import SPLITS, SPLITS_FILE, draw_training_combination, listed_prompts

HELDOUT = dict.fromkeys(CATEGORIES, 36) | {"single_object": 30, "dense": 40}
VALIDATION = dict.fromkeys(CATEGORIES, 12) | {"single_object": 10, "dense": 20}
TRAIN_AT_MOST = 200  # per category
_PATIENCE = 5000  # draws without a new combination before a category counts as exhausted


def draw_splits() -> dict[str, list[Combination]]:
    """The combinations of every split: held-out first, then validation, then training from what they leave."""
    draws = Draws(generator("embedded world", "splits", 1), block=4096)
    taken: dict[tuple, str] = {}
    result: dict[str, list[Combination]] = {split: [] for split in SPLITS}
    for split, counts in (("heldout", HELDOUT), ("validation", VALIDATION)):
        for category in CATEGORIES:
            for _ in range(counts[category]):
                while key(combination := draw_combination(category, draws)) in taken:
                    pass
                taken[key(combination)] = split
                result[split].append(combination)
    excluded = frozenset(taken)
    for category in CATEGORIES:
        chosen: dict[tuple, Combination] = {}
        idle = 0
        while len(chosen) < TRAIN_AT_MOST and idle < _PATIENCE:
            combination = draw_training_combination(category, draws, excluded)
            idle = idle + 1 if key(combination) in chosen else 0
            chosen.setdefault(key(combination), combination)
        result["train"].extend(chosen.values())
    return result


def main() -> None:
    """Writes the splits file, one combination a line."""
    parts = []
    for split, combinations in draw_splits().items():
        identity = prompt_set_sha256(listed_prompts(split, combinations))
        lines = [json.dumps([c.category, c.objects, c.count, c.relations]) for c in combinations]
        body = ",\n".join(lines)
        parts.append(f'"{split}": {{"sha256": "{identity}", "combinations": [\n{body}\n]}}')
    note = "Written by htgrpo.world.make_splits; entry: category, [class, colour], count, [subject, relation, target]."
    text = f'{{"note": {json.dumps(note)},\n"splits": {{\n' + ",\n".join(parts) + "}}\n"
    atomic_write_text(Path(str(SPLITS_FILE)), text)


if __name__ == "__main__":
    main()
