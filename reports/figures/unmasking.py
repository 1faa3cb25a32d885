"""When slots are unmasked: mean rank per slot, and a handful of pictures with their own order (the paper's Figure
2)."""

import io
from dataclasses import dataclass

import numpy as np
from matplotlib import image as mpimg
from matplotlib import pyplot as plt
from matplotlib.figure import Figure, SubFigure

from reports.figures.looks import labels
from reports.figures.order import COLOURS, Orders, all_equal, heat_map, orders, structure_share
from reports.figures.style import bare, style
from reports.findings.analysis import Result
from reports.format import csv_text, exact, many
from reports.run.blocks import Block
from reports.run.load import Run
from reports.run.pictures import choose_prompts, first_images, opened

EXAMPLES = 3
LEFT, SHARE, HEAD, LOWER_HEAD = 0.19, 0.69, 0.64, 0.34
"""Where the panels begin and how wide they are, as parts of the figure; inches above them."""
LEAST = 0.12
"""Least reach of the colours of the means, as a part of N: what averaging leaves of a drawn order looks as faint as it
is."""


@dataclass(frozen=True)
class Seen:
    """What the figure shows. orders: by setting of generation; block: whose pictures; prompts: of single pictures, which
    every method has drawn."""

    block: Block
    orders: dict[str, Orders]
    prompts: list[str]

    @property
    def main(self) -> Orders:
        """Under the main setting."""
        return self.orders[self.block.setting]

    @property
    def means(self) -> dict[tuple[str, str], np.ndarray]:
        """(setting, method) -> mean rank of every slot, float [h, w]."""
        return {
            (setting, name): np.mean(list(by_method[name].values()), axis=0)
            for setting, by_method in self.orders.items()
            for name in self.main
            if name in by_method
        }


def seen(run: Run, results: list[Result]) -> Seen | None:
    """The orders of the first benchmark with pictures; None where none was recorded, and where all methods share every
    order, which then says nothing of them."""
    main = next((r for r in results if r.block.shown), None)
    if main is None:
        return None
    blocks = [
        r.block
        for r in results
        if r.block.benchmark == main.block.benchmark
        and r.block.milestone == main.block.milestone
        and r.block.axis == main.block.axis
    ]
    found = {block.setting: _orders(run, block) for block in blocks}
    found = {setting: by_method for setting, by_method in found.items() if by_method}
    if main.block.setting not in found or all(all_equal(by_method) for by_method in found.values()):
        return None
    shown = found[main.block.setting].values()
    prompts = [prompt for prompt in choose_prompts(main.block) if all(prompt in ranks for ranks in shown)]
    return Seen(main.block, found, prompts[:EXAMPLES])


def to_csv(found: Seen) -> str:
    """A line per slot: its rank under a setting and a method, on one prompt's picture or, without a prompt, the mean over
    all of them."""
    ranks = [(setting, name, "", mean) for (setting, name), mean in found.means.items()]
    main = found.block.setting
    ranks += [(main, name, prompt, own[prompt]) for prompt in found.prompts for name, own in found.main.items()]
    fields = ("setting", "method", "prompt", "row", "column", "rank")
    lines = (
        dict(zip(fields, (*where, row, column, exact(float(rank))), strict=True))
        for *where, table in ranks
        for (row, column), rank in np.ndenumerate(table)
    )
    return csv_text(fields, lines)


def unmasking(run: Run, found: Seen) -> Figure:
    """Above: mean rank of each slot, a row per setting of generation, a column per method. Below: pictures beside their
    order."""
    names, settings = list(found.main), len(found.orders)
    with style():
        cell = max(0.7, min(1.9, 7.2 / len(names)))
        heights = ((cell + 0.22) * settings + _head(names), (cell / 2 + 0.04) * len(found.prompts) + LOWER_HEAD)
        figure = plt.figure(figsize=(cell * len(names) / SHARE, sum(heights)))
        (upper,), (lower,) = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)
        _means(upper, found, names, run)
        _examples(lower, run, found.block, found.main, found.prompts, structure_share(run))
    return figure


def _orders(run: Run, block: Block) -> Orders:
    """Of the first training seed of each method; one prompt's picture is enough for its order."""
    by_method = {m.name: orders(run, m.policies[0], block) for m in block.methods}
    return {name: ranks for name, ranks in by_method.items() if ranks}


def _means(part: SubFigure, shown: Seen, names: list[str], run: Run) -> None:
    found, means = shown.orders, shown.means
    slots = next(iter(means.values())).size
    middle = (slots + 1) / 2
    reach = max(LEAST * slots, max(float(abs(mean - middle).max()) for mean in means.values()))
    scale = plt.Normalize(middle - reach, middle + reach)
    axes = part.subplots(len(found), len(names), squeeze=False, gridspec_kw={"wspace": 0.08, "hspace": 0.2})
    _place(part, _head(names), bottom=0.06)
    for row, setting in zip(axes, found, strict=True):
        values = run.config.get("settings", {}).get(setting, {})
        label = f"{setting}\n({values.get('sampler', '?')},\n{values.get('steps', '?')} steps)"
        row[0].text(-0.12, 0.5, label, ha="right", va="center", fontsize=8, transform=row[0].transAxes)
        for ax, name in zip(row, names, strict=True):
            bare(ax)
            if (setting, name) in means:
                mean = means[setting, name]
                ax.imshow(mean, cmap=COLOURS, norm=scale, interpolation="nearest")
                of = f" of {slots}" if not many(names) else ""
                ax.set_xlabel(f"{mean.min():.0f} to {mean.max():.0f}{of}", fontsize=6.8, labelpad=2, color="#666666")
    for ax, name in zip(axes[0], names, strict=True):
        if many(names):
            ax.set_title(labels(run, 16)[name], loc="left", fontsize=7, rotation=35)
        else:
            ax.set_title(labels(run, 16)[name], loc="center", fontsize=9)
    place = part.add_axes((LEFT + SHARE + 0.02, 0.25, 0.013, 0.45))
    bar = part.colorbar(
        plt.cm.ScalarMappable(scale, COLOURS), cax=place, ticks=[middle - reach, middle, middle + reach]
    )
    bar.ax.set_yticklabels([f"{middle - reach:.0f}, early", f"{middle:.0f}", f"{middle + reach:.0f}, late"], fontsize=7)
    bar.outline.set_visible(False)
    count = len(next(iter(next(iter(found.values())).values())))
    drawn_orders = [setting for setting, by_method in found.items() if all_equal(by_method)]
    shared = f"\n{', '.join(drawn_orders)}: the noise sets the order, and all methods share it" if drawn_orders else ""
    part.suptitle(
        f"Mean rank of unmasking per slot over {count} pictures, first training seed ({run.title}){shared}",
        fontsize=9,
        color="#555555",
        x=0.01,
        y=0.99,
        va="top",
        ha="left",
    )


def _examples(part: SubFigure, run: Run, block: Block, shown: Orders, prompts: list[str], alpha: float) -> None:
    names = list(shown)
    frame = run.records
    frame = frame[(frame["benchmark"] == block.benchmark) & (frame["setting"] == block.setting)]
    records = {m.name: first_images(frame[frame["policy"] == m.policies[0]]) for m in block.methods}
    axes = part.subplots(len(prompts), 2 * len(names), squeeze=False, gridspec_kw={"wspace": 0.06, "hspace": 0.06})
    _place(part, LOWER_HEAD, bottom=0.02)
    for row, prompt in zip(axes, prompts, strict=True):
        for ax in row:
            bare(ax)
        for i, name in enumerate(names):
            record = records[name][prompt]
            picture = opened(run, block, record)
            if picture is not None:
                row[2 * i].imshow(picture, interpolation="nearest")
            row[2 * i + 1].imshow(
                mpimg.imread(io.BytesIO(heat_map(shown[name][prompt], alpha))), interpolation="nearest"
            )
        text = str(record["prompt"]).removeprefix("a photo of ")
        row[0].text(-0.12, 0.5, _wrapped(text), ha="right", va="center", fontsize=7, transform=row[0].transAxes)
    part.suptitle(
        f"Pictures and their order: red first, blue last; outlined: structure, the first {100 * alpha:g} % (setting "
        f"{block.setting})",
        fontsize=9,
        color="#555555",
        x=0.01,
        y=0.99,
        va="top",
        ha="left",
    )


def _head(names: list[str]) -> float:
    """Inches above the means: names of many methods stand slanted."""
    return HEAD + (0.35 if many(names) else 0)


def _place(part: SubFigure, head: float, bottom: float) -> None:
    height = part.bbox.height / part.figure.dpi
    part.subplots_adjust(left=LEFT, right=LEFT + SHARE, top=1 - head / height, bottom=bottom)


def _wrapped(text: str) -> str:
    import textwrap

    lines = textwrap.wrap(text, 20)
    return "\n".join(lines[:5]) + (" …" if len(lines) > 5 else "")
