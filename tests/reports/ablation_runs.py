"""Made-up folders of bench.ablate with known effects."""

import json
from pathlib import Path

from bench.ask.presets import read
from tests.reports.synthetic import write_run


def write_ablations(
    root: Path,
    gains: dict[str, float],
    studies: tuple[str, ...] = ("A4",),
    seeds: int = 1,
    prompts: int = 24,
    images: bool = False,
) -> Path:
    """`gains`: variant -> change of the success probability over the starting policy. Only these variants are there."""
    for number, (name, gain) in enumerate(gains.items()):
        folder = write_run(
            root / "variants" / name, {"ht": gain}, seeds=seeds, prompts=prompts, images=images, seed_sd=0.0
        )
        if number:  # the starting policy is scored once, with the default
            for path in folder.glob("verdicts/*/*/base.*"):
                path.unlink()
    data = read("ablations")
    record = {**data, "studies": {name: data["studies"][name] for name in studies}}
    (root / "ablations.json").write_text(json.dumps(record))
    return root
