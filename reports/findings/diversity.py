"""How different the pictures of one prompt are, by the plainest measure: no network, no scorer, only pixels.

Diversity of a prompt: the root mean square difference of two of its pictures, shrunk to 32 x 32 RGB values in 0..1,
averaged over all pairs of its pictures. 0: all pictures are the same. It sees layout and colour, not meaning.
"""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
from PIL import Image

from reports.findings.analysis import Result, analyse
from reports.run.blocks import records_of
from reports.run.load import Run
from reports.run.pictures import choose_prompts, opened
from reports.run.scores import MethodScores

SIDE = 32
PROMPTS = 96
"""At most, spread over the categories and drawn by hash, so that a report is made in seconds."""
TITLE = "Diversity within prompts"
MEASURE = (
    f"Diversity within prompts: root mean square difference of two pictures of one prompt, each shrunk to {SIDE} x {SIDE} RGB "
    f"values in 0..1, averaged over its pairs of pictures; at most {PROMPTS} prompts, drawn by hash. 0: all the same. It sees "
    "layout and colour, not meaning."
)


def diversity(run: Run, results: list[Result]) -> Result | None:
    """Diversity as one more block, compared like any score; None without several pictures of a prompt.

    Pictures are those of the first main block that has any.
    """
    shown = next((r for r in results if r.block.shown), None)
    if shown is None:
        return None
    block = shown.block
    prompts = sorted(choose_prompts(shown.block, PROMPTS), key=block.prompts.index)
    frame = records_of(run, block.benchmark, block.setting)
    frame = frame[frame["prompt_id"].isin(prompts) & (frame["image"] != "")]
    if not len(frame) or frame.groupby(["policy", "prompt_id"]).size().max() < 2:
        return None
    shrunk = [_shrunk(opened(run, block, record)) for _, record in frame.iterrows()]
    frame = frame.assign(picture=pd.Series(shrunk, index=frame.index, dtype=object))
    by_policy = {str(policy): part for policy, part in frame.groupby("policy")}
    methods = [_method(m, by_policy, prompts) for m in block.methods]
    places = [block.prompts.index(prompt) for prompt in prompts]
    meta = {**block.meta, "title": TITLE, "scale": 1, "higher_is_better": True, "axes": None}
    made = replace(
        block,
        benchmark="diversity",
        axis="",
        meta=meta,
        prompts=prompts,
        category=block.category[places],
        question_categories=[],
        methods=[m for m in methods if m.judged],
        binary=False,
        missing=[],
    )
    result = analyse(made, allow_incomplete=True)
    return result if result.scores else None


def _method(method: MethodScores, by_policy: dict[str, pd.DataFrame], prompts: list[str]) -> MethodScores:
    scores = np.full((len(method.policies), len(prompts)), np.nan)
    for row, policy in enumerate(method.policies):
        found = dict(list(by_policy[policy].groupby("prompt_id")["picture"])) if policy in by_policy else {}
        for column, prompt in enumerate(prompts):
            scores[row, column] = spread(list(found.get(prompt, [])))
    known = int(np.isfinite(scores).sum())
    empty = np.zeros((*scores.shape, 0))
    return replace(method, scores=scores, hits=empty, asked=empty, judged=known, expected=scores.size)


def spread(pictures: list[np.ndarray | None]) -> float:
    """The diversity of these pictures, float [SIDE, SIDE, 3] in 0..1 each; NaN where fewer than two can be read."""
    known = [picture for picture in pictures if picture is not None]
    if len(known) < 2:
        return float("nan")
    return float(np.mean([np.sqrt(np.mean((a - b) ** 2)) for a, b in combinations(known, 2)]))


def _shrunk(picture: Image.Image | None) -> np.ndarray | None:
    if picture is None:
        return None
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32) / 255
