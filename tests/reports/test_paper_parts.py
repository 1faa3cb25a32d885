"""The paper's tables and figures that come from the methods themselves or show a run's pictures."""

import numpy as np
import pytest

from bench import paper
from bench.cost.paper_parts import SCHEDULES, table_4, table_7
from htgrpo.base.errors import UserError
from htgrpo.ht import HT
from reports.figures.schedules import stages
from reports.paper.pictures import HIDDEN, _in_turn, comparison, generation, revealed
from reports.paper.tables import open_source
from tests.reports.enriched import add_orders
from tests.reports.synthetic import write_run


def test_table_4_is_read_off_the_methods():
    files, text = table_4()
    row = next(line for line in text.splitlines() if "`ht`" in line)
    assert "0 %" in row and "0.5 to 1.5" in row and row.split("|")[-2].strip() == "26"
    assert files["table4.md"].decode() == text and "`uni`" in text


def test_table_7_follows_its_formulas():
    files, text = table_7()
    assert {"table7.md", "table7.png", "table7.pdf"} == set(files)
    for name, (formula, options) in SCHEDULES.items():
        rates = [gamma for stage, gamma in HT(**options).rates() if stage == "structure"]
        for k, gamma in enumerate(rates):
            value = eval(formula.replace("^", "**"), {"max": 1.0, "min": 0.5, "p": k / 3, "cos": np.cos, "pi": np.pi})  # noqa: S307
            assert gamma == pytest.approx(value), name
    assert stages(HT().rates()) == [(0, 2), (2, 6), (6, 8)] and "cosine (ours)" in text


def test_what_was_revealed_is_coloured_and_the_rest_is_grey():
    rank = np.arange(1, 17).reshape(4, 4)
    pixels = revealed(rank, 0.25)
    assert (pixels[0] != HIDDEN).any(-1).all() and (pixels[1:] == HIDDEN).all()
    assert pixels[0, 0, 0] > pixels[0, 0, 2] and revealed(rank, 1.0)[3, 3, 2] > revealed(rank, 1.0)[3, 3, 0]


def test_prompts_take_turns_by_category():
    assert _in_turn(["a", "b", "c", "d"], {"a": 0, "b": 0, "c": 1, "d": 1}) == ["a", "c", "b", "d"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A made-up run with pictures whose order is recorded."""
    return write_run(tmp_path_factory.mktemp("parts") / "run", {"mask": 0.1, "ht": 0.2}, seeds=1, samples=4)


def test_pictures_of_a_run_side_by_side(run):
    """Rows of prompts by columns of base, mask and ht, four samples each."""
    figure = comparison("7", open_source(run, True))
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.texts if text.get_text() in ("base", "mask", "ht")] == ["base", "mask", "ht"]
    absent = [text for text in ax.texts if text.get_text() == "no picture"]
    assert len(ax.images) >= 12 and len(ax.images) + len(absent) == 4 * 3 * 4


def test_what_a_run_does_not_have_is_said(run):
    with pytest.raises(UserError, match="no pictures of dpg"):
        comparison("5", open_source(run, True))


def test_figures_of_pictures_need_a_run(tmp_path):
    with pytest.raises(UserError, match="--figure 2 shows pictures of a run"):
        paper.main(["--figure", "2", "--out", str(tmp_path / "out")])


def test_the_command_writes_them(tmp_path, run, capsys):
    out = tmp_path / "out"
    words = [
        "--table",
        "4",
        "--figure",
        "1",
        "--figure",
        "7",
        "--run",
        str(run),
        "--allow-incomplete",
        "--out",
        str(out),
    ]
    assert paper.main(words) == 0
    assert {"table4.md", "figure1.png", "figure7.pdf"} <= {path.name for path in out.iterdir()}
    assert "Table 4" in capsys.readouterr().out


def test_a_generation_needs_an_order(tmp_path):
    root = write_run(tmp_path / "run", {"ht": 0.2}, seeds=1)
    with pytest.raises(UserError, match="order was recorded"):
        generation(open_source(root, True))
    orders = add_orders(root)
    figure = generation(open_source(root, True))
    assert len(figure.axes) == 15 and all(len(ax.images) == 1 for ax in figure.axes)
    shown = np.asarray(figure.axes[3].images[0].get_array())
    of_ht = [rank for (policy, _), rank in orders.items() if policy != "base"]
    assert any(np.array_equal(shown, revealed(rank, 1.0)) for rank in of_ht)
