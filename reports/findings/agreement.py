"""How far judges agree about pictures of one prompt: whether two of them are two votes, and whether a trained reward and
a judge part before their means do."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from htgrpo.base.records import BASE
from reports.findings.analysis import Result
from reports.findings.hacking import Moves
from reports.run.blocks import records_of
from reports.run.load import Run

ONE_VOTE, HALF = 0.8, 0.5
NOTE = (
    "Agreement: the rank correlation of two judges over the pictures of one prompt, mean over the prompts for which both tell "
    f"pictures apart. Two judges above {ONE_VOTE:g} on the starting policy's pictures are one vote. A trained reward and a judge "
    f"whose agreement fell below {HALF:.0%} of the starting policy's are told."
)


@dataclass(frozen=True)
class Agreement:
    """Of two benchmarks on the same pictures, by titles. at: policy's method -> mean rank correlation within prompts, NaN
    where nothing tells pictures apart."""

    one: str
    other: str
    at: dict[str, float]

    @property
    def start(self) -> float:
        """At the starting policy."""
        return self.at.get(BASE, float("nan"))


def agreements(run: Run, results: list[Result]) -> list[Agreement]:
    """Every pair of main benchmarks that judge the same pictures, each by its first axis."""
    chosen = [r.block for r in results if r.block.is_main and r.block.leads]
    out = []
    for a, b in combinations(chosen, 2):
        if a.picture_set == b.picture_set and a.setting == b.setting and a.samples > 1:
            one, other = (records_of(run, block.benchmark, block.setting, block.axis) for block in (a, b))
            sign = 1 if a.meta["higher_is_better"] == b.meta["higher_is_better"] else -1
            policies = {policy: method.name for method in a.methods for policy in method.policies}
            out.append(Agreement(a.title, b.title, _by_method(one, other, sign, policies)))
    return [one for one in out if np.isfinite(one.start)]


def _by_method(one: pd.DataFrame, other: pd.DataFrame, sign: int, policies: dict[str, str]) -> dict[str, float]:
    keys = ["policy", "prompt_id", "sample"]
    both = one[[*keys, "score"]].merge(other[[*keys, "score"]], on=keys, suffixes=("", "_other")).dropna()
    both = both[both["policy"].isin(policies)]
    found = correlations(both["score"], both["score_other"], [both["policy"], both["prompt_id"]]).dropna()
    methods = found.index.get_level_values("policy").map(policies)
    return {str(method): sign * float(values.mean()) for method, values in found.groupby(methods)}


def correlations(one: pd.Series, other: pd.Series, groups: list[pd.Series]) -> pd.Series:
    """Spearman's rank correlation within each group; NaN where either has one value only."""
    first, second = (values.groupby(groups).rank() for values in (one, other))
    first, second = (ranks - ranks.groupby(groups).transform("mean") for ranks in (first, second))
    product, *squares = ((a * b).groupby(groups).sum() for a, b in ((first, second), (first, first), (second, second)))
    return product / np.sqrt(squares[0] * squares[1]).replace(0.0, np.nan)


def told(found: list[Agreement], moves: list[Moves]) -> list[str]:
    """A sentence for judges that are one vote, and one for a reward and a judge that part."""
    pairs = "; ".join(f"{one.one} with {one.other} {one.start:.2f}" for one in found)
    lines = [f"Agreement within prompts of the starting policy: {pairs}."] if pairs else []
    lines += [
        f"{one.one} and {one.other} agree by {one.start:.2f} on the starting policy's pictures: count them as one vote."
        for one in found
        if one.start > ONE_VOTE
    ]
    for method in moves:
        trained = {move.seen.title for move in method.moves if move.trained and move.seen}
        judges = {verdict.seen.title for verdict in method.verdicts}
        for one in found:
            end = one.at.get(method.method, float("nan"))
            reward, judge = (one.one, one.other) if one.one in trained else (one.other, one.one)
            if reward in trained and judge in judges and 0 < one.start and end < HALF * one.start:
                lines.append(
                    f"{method.method}: {reward}, which was trained on, and {judge} agreed by {one.start:.2f} at the start "
                    f"and by {end:.2f} at the end: they tell different pictures apart now."
                )
    return lines
