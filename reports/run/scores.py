"""The scores of one method in a block: training seeds x prompts, and how its questions were answered."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from reports.run.load import weights_note
from reports.run.questions import counted


@dataclass
class MethodScores:
    """Scores of one method in one block.

    seeds: training seeds ([None] where there is none). scores: float [S, P], mean over the samples of a prompt in
    displayed units, NaN where no image was judged. untrained: whether no reward of its training ever differed within a
    group. hits, asked: float [S, P, Q] answered and asked questions by question category (Q may be 0).
    """

    name: str
    seeds: list
    scores: np.ndarray
    hits: np.ndarray
    asked: np.ndarray
    judged: int
    expected: int
    iterations: list[int]
    forwards: list[float]
    random_weights: bool
    policies: list[str]
    untrained: bool = False

    @property
    def weights(self) -> str:
        """The note on its weights: "random weights", "from random weights", "nothing was trained" or nothing."""
        note = weights_note(self.random_weights, trained=any(self.iterations))
        return ", ".join(filter(None, [note, "nothing was trained" if self.untrained else ""]))

    @property
    def complete(self) -> bool:
        """Whether every expected image was judged."""
        return self.judged == self.expected

    @property
    def coverage(self) -> str:
        """Judged of expected images, for example "47/48"."""
        return f"{self.judged}/{self.expected}"

    def at(self, rows: list[int]) -> "MethodScores":
        """Of these trainings alone."""
        return replace(
            self,
            seeds=[self.seeds[row] for row in rows],
            scores=self.scores[rows],
            hits=self.hits[rows],
            asked=self.asked[rows],
            iterations=[self.iterations[row] for row in rows],
            forwards=[self.forwards[row] for row in rows],
            policies=[self.policies[row] for row in rows],
        )


def method_scores(
    part: pd.DataFrame,
    records: pd.DataFrame,
    prompts: list[str],
    kinds: list[str],
    scale: float,
    mode: str,
    unscored: int,
    untrained: bool,
) -> MethodScores:
    """One method from the rows of its policies (`part`) and all records of the block. kinds: question categories;
    scale: displayed value of a perfect score; mode: how answers count, see questions.counted; unscored: trained seeds
    without verdicts, whose pictures count as expected."""
    part = part.sort_values("seed", key=lambda column: column.map(lambda seed: -1 if pd.isna(seed) else int(seed)))
    position = {prompt: i for i, prompt in enumerate(prompts)}
    column = {name: i for i, name in enumerate(kinds)}
    scores = np.full((len(part), len(position)), np.nan)
    hits = np.zeros((len(part), len(position), len(kinds)))
    asked = np.zeros_like(hits)
    judged = 0
    for row, policy in enumerate(part["policy"]):
        ok = records[(records["policy"] == policy) & (records["status"] == "ok")]
        judged += len(ok)
        for prompt, mean in ok.groupby("prompt_id")["score"].mean().items():
            scores[row, position[prompt]] = mean * scale
        own = records[records["policy"] == policy].to_dict("records") if kinds else ()
        for prompt, question, value in counted(own, mode):
            place = row, position[prompt], column[question["category"]]
            hits[place] += value * scale
            asked[place] += 1
    expected = int(part["expected"].sum()) + unscored * int(part["expected"].iloc[0])
    seeds = [None if pd.isna(seed) else int(seed) for seed in part["seed"]]
    return MethodScores(
        part["method"].iloc[0],
        seeds,
        scores,
        hits,
        asked,
        judged,
        expected,
        [int(value) if pd.notna(value) else 0 for value in part["iteration"]],
        [float(value) if pd.notna(value) else 0.0 for value in part["forwards"]],
        bool(part["random_weights"].any()),
        list(part["policy"]),
        untrained,
    )
