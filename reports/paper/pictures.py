"""The paper's figures of pictures, from any run: a generation with early and late tokens coloured (figure 2), and the same
prompts by several policies, four samples each (figures 5 to 7)."""

import textwrap
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from htgrpo.base.errors import UserError
from htgrpo.base.records import BASE
from reports.figures.contact import picture_of, tile
from reports.figures.looks import INK
from reports.figures.order import COLOURS, orders, structure_share
from reports.figures.style import bare, style
from reports.figures.tones import legend, span
from reports.findings.analysis import Result
from reports.paper.tables import Source
from reports.run.blocks import Block, records_of
from reports.run.pictures import choose_prompts, first_images

PARTS = (0.1, 0.3, 0.6, 1.0)
"""Parts of a generation that figure 2 shows."""
PROMPTS, SAMPLES = 4, 4
HIDDEN = (0.93, 0.93, 0.93)


@dataclass(frozen=True)
class Comparison:
    """A figure of the paper that sets samples side by side: its benchmark, the word in the names of the categories it is
    about ("" for all), the policies, and what it is of."""

    benchmark: str
    category: str
    policies: tuple[str, ...]
    title: str


COMPARISONS = {
    "5": Comparison("dpg", "count", ("mask", "ht"), "Figure 5: counting on DPG-Bench"),
    "6": Comparison("dpg", "global", ("mask", "ht"), "Figure 6: whole scenes on DPG-Bench"),
    "7": Comparison("geneval", "", (BASE, "mask", "ht"), "Figure 7: GenEval"),
}


def generation(source: Source) -> Figure:
    """Figure 2: of three prompts' first pictures, what was revealed up to parts of the generation, early red and late
    blue, and the picture. Raises UserError where the run recorded no order or has no pictures."""
    run = source.run
    shown = next((result.block for result in source.results.values() if result.block.shown), None)
    policy = shown.methods[-1] if shown else None
    ranks = orders(run, policy.policies[0], shown) if shown and policy else {}
    if not shown or not policy or not ranks:
        raise UserError(f"the run {source.root.name} has no pictures whose order was recorded: figure 2 needs some")
    frame = records_of(run, shown.benchmark, shown.setting, shown.axis)
    records = first_images(frame[frame["policy"] == policy.policies[0]])
    prompts = [prompt for prompt in choose_prompts(shown) if prompt in ranks][:3]
    alpha = structure_share(run)
    with style():
        figure, axes = plt.subplots(
            len(prompts),
            len(PARTS) + 1,
            figsize=(1.25 * (len(PARTS) + 1) + 1.3, 1.28 * len(prompts) + 0.75),
            squeeze=False,
        )
        for row, prompt in zip(axes, prompts, strict=True):
            rank, picture = ranks[prompt], picture_of(run, shown, records.get(prompt))
            for ax, part in zip(row, PARTS):
                ax.imshow(revealed(rank, part), interpolation="nearest")
            if picture is not None:
                row[-1].imshow(picture, interpolation="nearest")
            text = textwrap.fill(str(records[prompt]["prompt"]).removeprefix("a photo of "), 18)
            row[0].text(-0.1, 0.5, text, ha="right", va="center", fontsize=7, transform=row[0].transAxes)
        for ax in axes.flat:
            bare(ax)
        for ax, name in zip(axes[0], [*(f"{100 * part:g} %" for part in PARTS), "output"]):
            ax.set_title(name, loc="center", fontsize=8.5)
        note = (
            f"Figure 2: red tokens were revealed first, blue ones last; the first {100 * alpha:g} % are structure. "
            f"{policy.name}, {source.label}"
        )
        figure.text(0.01, 0.985, note, fontsize=8, va="top", color="#555555")
        figure.subplots_adjust(left=0.17, right=0.99, top=0.86, bottom=0.02, wspace=0.06, hspace=0.06)
    return figure


def revealed(rank: np.ndarray, part: float) -> np.ndarray:
    """float [h, w, 3]: the first `part` of the slots coloured by rank, int [h, w], the others grey."""
    pixels = colormaps[COLOURS](0.03 + 0.94 * (rank - 1) / max(1, rank.size - 1))[..., :3]
    pixels[rank > round(part * rank.size)] = HIDDEN
    return pixels


def comparison(key: str, source: Source) -> Figure:
    """Figures 5 to 7: up to four prompts, a column per policy, four samples each, framed by their verdicts. Where the run
    does not have the paper's policies, all it has. Raises UserError where it has no pictures of the benchmark."""
    about, result = COMPARISONS[key], source.result(COMPARISONS[key].benchmark)
    if result is None or not result.block.pictures:
        raise UserError(f"the run {source.root.name} has no pictures of {about.benchmark}: figure {key} needs some")
    block = result.block
    names = [name for name in about.policies if name in {m.name for m in block.methods}]
    names = names if len(names) > 1 else [method.name for method in block.methods]
    prompts, told = _prompts(result, about.category)
    frame = records_of(source.run, block.benchmark, block.setting, block.axis)
    ends = span(block, frame["score"].to_numpy())
    first = {method.name: method.policies[0] for method in block.methods}
    side, width = 2.24, 2.5 * len(names)
    size = (width + 1.5, (side + 0.3) * len(prompts) + 0.95)
    with style():
        figure = plt.figure(figsize=size)
        ax = figure.add_axes((1.35 / size[0], 0.3 / size[1], width / size[0], (size[1] - 0.85) / size[1]))
        ax.set(xlim=(0, width), ylim=(size[1] - 0.85, 0))
        ax.axis("off")
        for j, name in enumerate(names):
            ax.text(2.5 * j + side / 2, -0.08, name, ha="center", va="bottom", fontsize=9, fontweight="bold", color=INK)
            own = frame[frame["policy"] == first[name]]
            for i, prompt in enumerate(prompts):
                _samples(ax, source, block, own[own["prompt_id"] == prompt], (2.5 * j, (side + 0.3) * i), ends)
        texts = frame.drop_duplicates("prompt_id").set_index("prompt_id")["prompt"]
        for i, prompt in enumerate(prompts):
            text = textwrap.shorten(str(texts[prompt]).removeprefix("a photo of "), 150, placeholder=" …")
            y = (side + 0.3) * i + side / 2
            ax.text(-0.1, y, textwrap.fill(text, 20), ha="right", va="center", fontsize=7)
        figure.text(0.12 / size[0], 1 - 0.12 / size[1], f"{about.title} ({source.label}){told}", fontsize=8.5, va="top")
        note = f"{block.label}. {legend(block, ends)}. Same prompts and noise in a row; prompts drawn by hash."
        figure.text(0.12 / size[0], 0.1 / size[1], note, fontsize=7, color="#555555")
    return figure


def _prompts(result: Result, word: str) -> tuple[list[str], str]:
    """Prompts of the categories that have the word in their name, and a remark where there is no such category."""
    block = result.block
    wanted = {i for i, name in enumerate(block.categories) if word in name.lower()}
    category = dict(zip(block.prompts, block.category, strict=True))
    prompts = [p for p in choose_prompts(block, 4 * PROMPTS * len(block.categories)) if int(category[p]) in wanted]
    if prompts or not word:
        return _in_turn(prompts, category)[:PROMPTS], ""
    return choose_prompts(block)[:PROMPTS], f"; no category here is about {word!r}, so prompts of all"


def _in_turn(prompts: list[str], category: dict) -> list[str]:
    """Prompts with their categories taking turns."""
    seen: dict[int, int] = {}
    turn = {}
    for prompt in prompts:
        turn[prompt] = seen[int(category[prompt])] = seen.get(int(category[prompt]), -1) + 1
    return sorted(prompts, key=lambda prompt: turn[prompt])


def _samples(
    ax: Axes, source: Source, block: Block, records: pd.DataFrame, at: tuple[float, float], ends: tuple[float, float]
) -> None:
    """Up to four samples of one prompt in a square of two by two."""
    for number, (_, record) in enumerate(records.sort_values("sample").head(SAMPLES).iterrows()):
        x, y = at[0] + 1.12 * (number % 2), at[1] + 1.12 * (number // 2)
        tile(ax, x, y, picture_of(source.run, block, record), float(record["score"]), block, ends)
