"""The gallery: the same prompt and the same noise across methods in a row, each picture with its verdict and what it
rests on."""

import base64
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from reports.figures.looks import GREY, colours
from reports.figures.order import all_equal, heat_map, orders, structure_share
from reports.figures.tones import ink_on, legend, mark, span, tone
from reports.findings.analysis import Result
from reports.pages.drawing import variable
from reports.pages.evidence import Seen, read_evidence
from reports.pages.pool import pack, small_pictures
from reports.run.blocks import Block, records_of
from reports.run.load import Run
from reports.run.pictures import Thumbnail, choose_prompts, file_of, first_images, opened, thumbnail

EACH = 12
"""Prompts per category, fewer where the pictures would weigh more than BYTES in all, or be more than TILES."""
BYTES, TILES = 4_000_000, 600
APART = 0.25
"""Scores that are no plain right or wrong disagree from this part of their scale on."""


@dataclass
class Tile:
    """One picture and its verdict. others: scores of further benchmarks that judged the same picture, by title."""

    method: str
    note: str
    colour: str
    tone: str = ""
    mark: str = ""
    status: str = ""
    picture: Thumbnail | None = None
    heat: bytes = b""
    others: dict[str, str] = field(default_factory=dict)
    seen: Seen = field(default_factory=Seen)
    file: str = ""

    @property
    def frame(self) -> tuple[int, int]:
        """Width and height that boxes refer to."""
        return self.seen.frame or ((self.picture.width, self.picture.height) if self.picture else (0, 0))

    @property
    def ink(self) -> str:
        """Colour of the mark on its tone."""
        return ink_on(self.tone or GREY)

    @property
    def heat_uri(self) -> str:
        """The order as a data URI; empty where it is not known."""
        return f"data:image/png;base64,{base64.b64encode(self.heat).decode()}" if self.heat else ""

    @property
    def held(self) -> int:
        """How many questions hold after zeroing."""
        return sum(q["score"] >= 0.5 for q in self.seen.questions)


@dataclass
class Case:
    """One prompt: a row of tiles, methods in the run's order. disagree: whether their verdicts differ."""

    benchmark: str
    category: str
    id: str
    prompt: str
    disagree: bool
    tiles: list[Tile]

    @property
    def weight(self) -> int:
        """Bytes of its pictures."""
        return sum(len(t.heat) + (len(t.picture.data) if t.picture else 0) for t in self.tiles)


@dataclass
class Gallery:
    """All cases. benchmarks: title -> what its marks mean; alpha: share of structure; shown: prompts per category at
    most. pool, pictures: all pictures of the run for the script, see reports.pages.pool."""

    cases: list[Case]
    benchmarks: dict[str, str]
    alpha: float
    shown: int
    pool: str = ""
    pictures: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def categories(self) -> list[str]:
        """Categories in order of appearance."""
        return list(dict.fromkeys(case.category for case in self.cases))

    @property
    def tile(self) -> int:
        """Width of a picture on the page in px: what a row of all methods leaves, within bounds."""
        count = max(len(case.tiles) for case in self.cases)
        return min(196, max(150, (1072 - 16 * (count - 1)) // count))

    @property
    def ordered(self) -> bool:
        """Whether the order of unmasking is known of any picture."""
        return any(tile.heat for case in self.cases for tile in case.tiles)


def make_gallery(run: Run, results: list[Result]) -> Gallery | None:
    """The gallery of all main blocks with pictures, those that share pictures in one row; None when there is no
    picture."""
    alpha = structure_share(run)
    groups: dict[str, list[Result]] = {}
    for result in results:
        if result.block.is_main and result.block.pictures:
            groups.setdefault(result.block.picture_set, []).append(result)
    shown = [first for first, *_ in groups.values()]
    by_result = [_cases(run, first, [r.block for r in rest], alpha) for first, *rest in groups.values()]
    weight = sum(case.weight for cases in by_result for case in cases)
    tiles = sum(len(case.tiles) for cases in by_result for case in cases)
    each = max(1, min(EACH, EACH * BYTES // max(1, weight), EACH * TILES // max(1, tiles)))
    if each < EACH:
        by_result = [_fewer(cases, each) for cases in by_result]
    cases = [case for cases in by_result for case in cases if any(tile.picture for tile in case.tiles)]
    legends = {r.block.title: legend(r.block, _ends(run, r.block)) for r in shown}
    if not cases:
        return None
    inside = {tile.file for case in cases for tile in case.tiles if tile.picture}
    every = list(groups.values())
    return Gallery(cases, legends, alpha, each, pack(every, run), small_pictures(run, every, inside))


def _fewer(cases: list[Case], each: int) -> list[Case]:
    """The first `each` cases of every category."""
    taken: dict[str, int] = {}
    kept = []
    for case in cases:
        taken[case.category] = taken.get(case.category, 0) + 1
        if taken[case.category] <= each:
            kept.append(case)
    return kept


def _ends(run: Run, block: Block) -> tuple[float, float]:
    return span(block, records_of(run, block.benchmark, block.setting, block.axis)["score"].to_numpy())


def _cases(run: Run, result: Result, others: list[Block], alpha: float) -> list[Case]:
    block = result.block
    further = [(other, _by_policy(run, other)) for other in others]
    frame, ends = records_of(run, block.benchmark, block.setting, block.axis), _ends(run, block)
    palette = colours(run)
    tables = {m.name: first_images(frame[frame["policy"] == m.policies[0]]) for m in block.methods}
    ranks = {m.name: orders(run, m.policies[0], block) for m in block.methods}
    if all_equal(ranks):
        ranks = {name: {} for name in ranks}
    cases = []
    for prompt in choose_prompts(block, EACH * max(1, len(block.categories))):
        tiles, scores = [], []
        for method in block.methods:
            tile = Tile(run.called(method.name), method.weights, variable(palette.get(method.name, GREY)))
            row = tables[method.name].get(prompt)
            scores.append(float(row["score"]) if row is not None else float("nan"))
            if row is not None:
                _fill(tile, run, row, block, ends)
                if tile.picture and prompt in ranks[method.name]:
                    tile.heat = heat_map(ranks[method.name][prompt], alpha)
                for other, scores_of in further:
                    if (row["policy"], prompt) in scores_of:
                        tile.others[other.title] = mark(scores_of[row["policy"], prompt], other)
            tiles.append(tile)
        text = next(str(t[prompt]["prompt"]) for t in tables.values() if prompt in t)
        cases.append(
            Case(
                block.title,
                block.categories[block.category[block.prompts.index(prompt)]],
                prompt,
                text,
                _disagree(np.array(scores), block, ends),
                tiles,
            )
        )
    return cases


def _by_policy(run: Run, block: Block) -> dict[tuple[str, str], float]:
    """(policy, prompt id) -> score of the first sample."""
    frame = records_of(run, block.benchmark, block.setting, block.axis).sort_values("sample")
    frame = frame[frame["status"] == "ok"].drop_duplicates(["policy", "prompt_id"])
    return dict(zip(zip(frame["policy"], frame["prompt_id"]), frame["score"].astype(float)))


def _fill(tile: Tile, run: Run, row: pd.Series, block: Block, ends: tuple[float, float]) -> None:
    score = float(row["score"])
    tile.tone, tile.mark, tile.status = tone(score, ends), mark(score, block), str(row["status"])
    tile.seen = read_evidence(row["evidence"])
    picture = opened(run, block, row)
    tile.picture = None if picture is None else thumbnail(picture)
    tile.file = file_of(run, block, row)


def _disagree(scores: np.ndarray, block: Block, ends: tuple[float, float]) -> bool:
    known = scores[np.isfinite(scores)]
    return len(known) > 1 and bool(
        np.ptp(known) >= (0.5 if block.binary else APART * abs(ends[1] - ends[0])) and np.ptp(known) > 0
    )
