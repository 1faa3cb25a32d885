"""The contact sheet: the same prompts and image seeds across methods, framed by the verdict."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports.figures.looks import GREY, INK, labels
from reports.figures.style import style
from reports.figures.tones import legend, mark, span, tone
from reports.findings.analysis import Result
from reports.run.blocks import Block, records_of
from reports.run.load import Run
from reports.run.pictures import choose_prompts, first_images, opened


def contact_sheet(run: Run, result: Result) -> Figure | None:
    """Rows: methods (their first training seed); columns: prompts; the first image of each.

    None when no picture is found.
    """
    block = result.block
    frame = records_of(run, block.benchmark, block.setting, block.axis)
    names = [method.name for method in block.methods]
    notes = {method.name: method.weights for method in block.methods}
    tables = {method.name: first_images(frame[frame["policy"] == method.policies[0]]) for method in block.methods}
    prompts, ends = choose_prompts(block), span(block, frame["score"].to_numpy())
    pictures = {(n, p): picture_of(run, block, tables[n].get(p)) for n in names for p in prompts}
    if not any(picture is not None for picture in pictures.values()):
        return None
    texts = frame.drop_duplicates("prompt_id").set_index("prompt_id")[["prompt", "category"]]
    captions = [_caption(str(texts.loc[prompt, "prompt"])) for prompt in prompts]
    head = 0.13 * max(text.count("\n") + 1 for text in captions)
    size = (1.12 * len(prompts) + 1.5, 1.22 * len(names) + head + 0.85)
    with style():
        figure = plt.figure(figsize=size)
        # One set of axes in tile units, row 0 at the top: a set per tile takes seconds to draw.
        ax = figure.add_axes(
            (1.35 / size[0], 0.35 / size[1], 1.12 * len(prompts) / size[0], 1.22 * len(names) / size[1])
        )
        ax.set(xlim=(0, 1.12 * len(prompts)), ylim=(1.22 * len(names), 0))
        ax.axis("off")
        for i, name in enumerate(names):
            ax.text(-0.1, 1.22 * i + 0.5, labels(run, 14)[name], ha="right", va="center", fontweight="bold")
            ax.text(-0.1, 1.22 * i + 0.66, notes[name], ha="right", va="center", fontsize=6.5, color=GREY)
            for j, prompt in enumerate(prompts):
                score = float(tables[name][prompt]["score"]) if prompt in tables[name] else float("nan")
                tile(ax, 1.12 * j, 1.22 * i, pictures[name, prompt], score, block, ends)
        for j, text in enumerate(captions):
            ax.text(
                1.12 * j + 0.5, -0.07, text, ha="center", va="bottom", fontsize=6.8, color="#444444", linespacing=1.15
            )
        _category_heads(ax, [str(texts.loc[p, "category"]) for p in prompts], -head - 0.14)
        choice = "Same prompt and image seed in a column; prompts drawn by hash; first training seed."
        note = f"{block.label}. {legend(block, ends)}, grey: no verdict. {choice}"
        figure.text(0.12 / size[0], 0.1 / size[1], note, fontsize=7, color="#555555")
    return figure


def _caption(prompt: str) -> str:
    """The prompt in at most six short lines, without the words all prompts share."""
    lines = textwrap.wrap(prompt.removeprefix("a photo of "), 18)
    return "\n".join(lines[:6]) + (" …" if len(lines) > 6 else "")


def picture_of(run: Run, block: Block, record: pd.Series | None) -> np.ndarray | None:
    """The image of a record as an array, or None when the record or the file is not there."""
    picture = None if record is None else opened(run, block, record)
    return None if picture is None else np.asarray(picture)


def tile(
    ax: Axes, x: float, y: float, picture: np.ndarray | None, score: float, block: Block, ends: tuple[float, float]
) -> None:
    """One picture in the unit square at (x, y), framed by its verdict, with a mark under it so that colour is not the
    only cue.
    """
    known = bool(np.isfinite(score))
    colour = tone(score, ends)
    if picture is None:
        ax.text(x + 0.5, y + 0.5, "no picture", ha="center", va="center", fontsize=6.5, color=GREY)
    else:
        ax.imshow(picture, interpolation="nearest", aspect="auto", extent=(x, x + 1, y + 1, y), cmap="gray")
    ax.add_patch(
        Rectangle((x, y), 1, 1, fill=False, edgecolor=colour, linewidth=2.6, joinstyle="miter", zorder=3, clip_on=False)
    )
    if known:
        width = 0.2 if block.binary else 0.38
        ax.add_patch(Rectangle((x - 0.012, y + 1), width, 0.13, color=colour, linewidth=0, zorder=3, clip_on=False))
        ax.text(
            x + width / 2 - 0.012,
            y + 1.062,
            mark(score, block),
            color="white",
            fontsize=7,
            ha="center",
            va="center",
            fontweight="bold",
            zorder=4,
        )


def _category_heads(ax: Axes, categories: list[str], top: float) -> None:
    """The name of each run of equal categories above its columns, with a rule under it."""
    start = 0
    for j in range(1, len(categories) + 1):
        if j == len(categories) or categories[j] != categories[start]:
            left, right = 1.12 * start, 1.12 * (j - 1) + 1
            ax.plot([left, right], [top, top], color="#BBBBBB", linewidth=1, clip_on=False)
            name = categories[start].replace("_", " ")
            ax.text(
                (left + right) / 2,
                top - 0.06,
                name,
                ha="center",
                va="bottom",
                fontsize=8.5,
                fontweight="bold",
                color=INK,
            )
            start = j
