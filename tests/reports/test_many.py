"""A report of many methods stays readable: names told apart, labels inside their panels, the differences that matter."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from htgrpo.base.records import BASE
from reports.figures import curves, forest, looks, quality, slopes, style
from reports.findings import hacking, sentences
from reports.findings.analysis import analyse
from reports.findings.central import central, left_out
from reports.findings.quality import quality as panels_of
from reports.format import MANY
from reports.format import many as many_of
from reports.pages.drawing import inline
from reports.run.blocks import make_blocks
from reports.run.load import load_run
from reports.run.pictures import thumbnail
from reports.tables import text as tables
from tests.reports.synthetic import CATEGORIES, write_run

METHODS = {f"m{i:02}_adaptive": 0.04 * i - 0.05 for i in range(11)}
TITLES = {name: f"A-GRPO, adaptive number {i} of a kind (ours)" for i, name in enumerate(METHODS)}


@pytest.fixture(autouse=True)
def no_figure_is_left():
    yield
    style.plt.close("all")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    root = write_run(tmp_path_factory.mktemp("many"), METHODS, seeds=1, prompts=12, iterations=4, images=False)
    run = load_run(root)
    run.config["titles"] = TITLES
    return run, [analyse(block) for block in make_blocks(run)]


def few(run, count):
    """`run` as one of its first `count` methods."""
    kept = [BASE, *list(METHODS)[:count]]
    config = {**run.config, "methods": kept[1:]}
    metas, metrics = (frame[frame["method"].isin(kept)] for frame in (run.metas, run.metrics))
    return type(run)(run.root, config, metas, run.records, metrics, run.timing, run.views)


def labels_of(ax):
    """(text, height in parts of the axes) of what stands beside the curves, from below."""
    return sorted(((one.get_text(), one.xyann[1]) for one in ax.texts), key=lambda label: label[1])


def test_many_methods_are_compared_with_the_start_and_the_best(many):
    run, (main,) = many
    shown, best = central(main), main.best
    assert len(main.pairs) == 66 and len(shown) == 11 + 10
    assert [pair.b for pair in shown] == [BASE] * 11 + [best] * 10
    assert {pair.a for pair in shown[:11]} == set(METHODS) and {pair.a for pair in shown[11:]} == set(METHODS) - {best}
    estimates = [pair.interval().estimate for pair in shown[:11]]
    assert estimates == sorted(estimates, reverse=True)
    assert all(main.pair(pair.a, pair.b).interval() == pair.interval() for pair in shown)
    assert f"the starting policy and X (best, {main.block.when});" in left_out(
        main, names={best: "X"}
    ) and "other 45" in left_out(main)
    other = list(METHODS)[0]
    assert [pair.b for pair in central(main, other)][11:] == [other] * 10


def test_of_few_methods_every_pair_is_shown(many):
    block = make_blocks(few(many[0], MANY - 1))[0]
    result = analyse(block)
    assert len(result.scores) == MANY and central(result) == result.pairs and not left_out(result)
    assert "(above" not in sentences.resolution(result)


def test_the_words_count_every_difference(many):
    run, (main,) = many
    words = sentences.resolution(main, TITLES)
    won = [pair if pair.verdict() == "better" else pair.flipped() for pair in main.pairs if pair.resolved()]
    above, below = ([p.a for p in won if p.b == BASE], [p.b for p in won if p.a == main.best and p.b != BASE])
    others = len(won) - len(above) - len(below) - sum(pair.a == BASE for pair in won)
    assert words.startswith(f"{len(won)} of 66 differences resolved (above the starting policy: ") and above and below
    assert f"{others} between other methods" in words and others > 0
    assert words.count("A-GRPO (adaptive number") == len(above) + len(below) + 1, "each once, and the best's own name"
    assert len(sentences.pair_sentences([main])) == 21


def test_tables_keep_every_pair_and_the_terminal_says_which_it_leaves(many):
    run, results = many
    left = next(pair for pair in results[0].pairs if not {pair.a, pair.b} & {BASE, results[0].best})
    pair = f"{left.a} − {left.b}"
    assert f"| {pair}" in tables.markdown("", results, [])
    short = tables.terminal("", results, [], "")
    assert f"| {pair}" not in short and short.count(" − ") == 21 and "other 45 differences" in " ".join(short.split())


def test_names_are_told_apart(many):
    run, _ = many
    assert looks.labels(run, 16) == {name: name for name in run.methods}
    two = few(run, 2)
    assert len(set(looks.labels(two, 16).values())) == 3 and looks.labels(two, 16)["m00_adaptive"] == "m00_adaptive"
    assert looks.labels(two, 60)["m00_adaptive"] == TITLES["m00_adaptive"]


def test_labels_stand_apart_and_within_the_axes():
    rng = np.random.default_rng(0)
    for count, gap in ((5, 0.06), (12, 0.06), (20, 0.06), (3, 0.3)):
        for _ in range(20):
            heights = sorted(rng.normal(0.5, 0.3, count).tolist())
            found = style._apart(heights, gap)
            assert min(found) > -1e-9 and max(found) < 1 + 1e-9
            assert np.diff(found).min() > min(gap, 1 / (count - 1)) - 1e-9
    assert style._apart([0.2, 0.6], 0.1) == [0.2, 0.6]


@pytest.mark.parametrize("name", ["curves", "quality", "entropy", "forest", "slopes", "categories"])
def test_figures_of_many_methods_keep_their_size_and_say_nothing(many, name):
    run, results = many
    moves = hacking.make_moves(run, results, {})
    draw = {
        "curves": lambda: curves.learning_curves(run, "iterations"),
        "quality": lambda: quality.figure(run, panels_of(run, results), "iterations"),
        "entropy": lambda: curves.entropy_by_rank(run),
        "forest": lambda: forest.forest(run, results),
        "slopes": lambda: slopes.slopes(run, moves),
        "categories": lambda: forest.category_bars(run, results[0]),
    }[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw()
        wide, high = figure.get_size_inches()
        figure.draw_without_rendering()
    assert wide < 19 and high < 11
    if name in ("curves", "quality"):
        for ax in (ax for ax in figure.axes if ax.texts):
            labels = labels_of(ax)
            assert [text for text, _ in labels if text] and {text for text, _ in labels} == set(METHODS)
            inches = ax.get_window_extent().height / figure.dpi
            assert np.diff([height for _, height in labels]).min() * inches > 8 / 72, "a line of 8 points each"
            assert labels[0][1] > -1e-9 and labels[-1][1] < 1 + 1e-9
    if name == "entropy":
        assert len({round(ax.get_position().y0, 2) for ax in figure.axes[:11]}) == 2
    if name == "forest":
        rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert len(rows) == 21 == len(set(rows)) and "other 45 differences" in figure.get_suptitle()
    if name == "categories":
        assert len([ax for ax in figure.axes if ax.get_visible()]) == 1 + len(CATEGORIES)


def test_small_pictures_keep_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 255, (12, 12, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    picture = Image.fromarray(pixels)
    found, png = thumbnail(picture), io.BytesIO()
    picture.save(png, format="PNG", optimize=True)
    assert (np.asarray(Image.open(io.BytesIO(found.data)).convert("RGB")) == pixels).all()
    assert len(found.data) < len(png.getvalue()) and (found.width, found.height) == (48, 48)


def test_figures_in_the_page_are_drawn_to_hundredths_and_say_what_they_said():
    svg = '<svg viewBox="0 0 9 9">\n<path d="M 1.23456 2 L 3.5 -0.987654"/><text x="1.23456">0.00123</text></svg>'
    found = inline(svg, "f")
    assert 'd="M 1.23 2 L 3.5 -0.98"' in found and 'x="1.23">0.00123<' in found


def test_the_starting_policy_is_not_counted_among_many():
    assert not many_of([BASE, *list(METHODS)[:MANY]]) and many_of(list(METHODS)[: MANY + 1])
