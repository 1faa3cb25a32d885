"""GenEval 2 (github facebookresearch/GenEval2 @ a6e82d2289e8; arXiv 2512.16853): 800 prompts of 3 to 10 atoms, each
asked about by Soft-TIFA (bench/scorers/soft_tifa.py). Data and rule are CC BY-NC 4.0."""

from typing import ClassVar

from bench.benchmarks.geneval import only_split
from bench.benchmarks.model_scores import OwnPrompts
from bench.scorers.soft_tifa_rule import WHOLE
from bench.sources.assets import asset
from htgrpo.base.files import read_jsonl
from htgrpo.base.prompts import Prompt

ASSET = "geneval2_data"
ATOMS = {count: f"{count} atoms" for count in range(3, 11)}
LICENCE = "data and rule CC BY-NC 4.0 (Meta), not for commercial use"


def geneval2_prompts() -> list[Prompt]:
    """The 800 prompts in upstream's order, with their questions. Raises UserError without the asset."""
    lines = read_jsonl(asset(ASSET))
    return [Prompt(f"{i:03d}", line["prompt"], ATOMS[line["atom_count"]], line) for i, line in enumerate(lines)]


class GenEval2(OwnPrompts):
    """The headline is 100 x the mean over prompts of the geometric mean of their questions' probabilities; categories are
    numbers of atoms, questions are by skill."""

    name, title, world, scorer = "geneval2", "GenEval 2", "natural", "soft_tifa"
    categories = tuple(ATOMS.values())
    elsewhere = "vqascore_qwen3vl"
    scale, top = 100.0, 1.0
    axes: ClassVar[dict[str, str]] = {
        "gm": "Soft-TIFA GM",
        "am": "Soft-TIFA AM",
        "whole": f"% of pictures with a GM of at least {WHOLE}",
    }
    note = (
        f"{LICENCE}; guidance, steps and size move it more than most methods do; differences below about 2 points need 4 "
        "pictures a prompt; a bare space counts as any number, as published"
    )
    picture_set, noise, published, published_samples = name, name, 800, 1

    def prompts(self, split: str) -> list[Prompt]:
        only_split(self.name, split)
        return geneval2_prompts()


class GenEval2Clean(GenEval2):
    """GenEval 2 without the bare space among the numbers, on the same pictures."""

    name, title, scorer = "geneval2_clean", "GenEval 2 (a space is no number)", "soft_tifa_clean"
    note = GenEval2.note.partition("; a bare space")[0]
