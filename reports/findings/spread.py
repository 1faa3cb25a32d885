"""What differences of methods varied with in finished runs, by benchmark."""

from itertools import combinations

import numpy as np
import pandas as pd

from htgrpo.base.records import BASE
from reports.run.blocks import Block, make_blocks, records_of
from reports.run.load import Run
from reports.run.scores import MethodScores
from reports.statistics.components import Components
from reports.statistics.stats import headline_weights


def components(run: Run) -> dict[str, Components]:
    """The mean over all pairs of trained methods of what their difference varied with, in shares of the benchmark's
    scale, by benchmark (of several axes the first); main setting and view. Pairs need two common seeds. Where prompts have
    one picture each, what pictures differ in is counted as the trainings' and the prompts'."""
    found = {}
    for block in make_blocks(run):
        methods = [method for method in block.usable(False) if method.name != BASE and len(method.seeds) > 1]
        if not (block.is_main and block.leads) or len(methods) < 2:
            continue
        pictures = {method.name: _pictures(run, block, method) for method in methods}
        weights = headline_weights(block.category, block.meta["aggregate"])
        parts = [
            Components.of(pictures[a.name] - pictures[b.name], block.category, weights)
            for a, b in combinations(methods, 2)
            if a.seeds == b.seeds
        ]
        if parts:
            means = np.mean([[part.seed, part.prompt, part.both, part.picture] for part in parts], axis=0)
            found[block.benchmark] = Components(*map(float, means))
    return found


def _pictures(run: Run, block: Block, method: MethodScores) -> np.ndarray:
    """float [S, P, K]: the score of every picture, as a share of the scale."""
    records = records_of(run, block.benchmark, block.setting, block.axis)
    frame = records[records["policy"].isin(method.policies)]
    table = pd.pivot_table(frame, "score", "policy", ["prompt_id", "sample"], aggfunc="first", sort=True)
    table = table.loc[method.policies].reindex(
        pd.MultiIndex.from_product([block.prompts, range(block.samples)], names=["prompt_id", "sample"]), axis=1
    )
    return table.to_numpy().reshape(len(method.policies), len(block.prompts), block.samples)
