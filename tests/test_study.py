"""docs/study: the committed tables follow from their scores, the pages say what the tables say, and a row is made again."""

import csv
import re
from pathlib import Path

import pytest

from bench import check, compare
from htgrpo.base.errors import EXIT_OK
from reports.tables.kept import FILE, read_kept

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "docs" / "study"
FOLDERS = sorted(path.parent for path in STUDY.glob(f"*/{FILE}"))
CELL = re.compile(r"[−+]?\d\.\d{3} \[[−+]?\d\.\d{3}, [−+]?\d\.\d{3}\]")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_committed_table_follows_from_its_scores(folder, capsys):
    assert check.main([str(folder)]) == EXIT_OK, capsys.readouterr().out


def rows_of(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a line that begins with `heading`."""
    below = text[text.index(heading) :].splitlines()
    start = next(n for n, line in enumerate(below) if line.startswith("|"))
    table = [line for line in below[start:] if line]
    end = next((n for n, line in enumerate(table) if not line.startswith("|")), len(table))
    return [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table[:end]]


def scores_of(folder: Path, benchmark: str) -> dict[tuple[str, str], str]:
    """(title of the method, view) -> score with its interval, as pages write it."""
    parts, blocks, _ = read_kept(folder / FILE)
    titles = {**parts["config"]["titles"], "base": "untrained"}
    with open(folder / "table.csv", newline="", encoding="utf-8") as stream:
        found = {}
        for row in csv.DictReader(stream):
            if (row["kind"], row["benchmark"], row["column"], row["setting"]) == (
                "score",
                benchmark,
                "headline",
                "main",
            ):
                numbers = [float(row[key]) for key in ("estimate", "low", "high")]
                found[titles[row["method"]], row["milestone"]] = "{:.3f} [{:.3f}, {:.3f}]".format(*numbers)
    return found


def by_prompt(folder: Path, milestone: str) -> dict[str, dict[str, float]]:
    """Method -> prompt -> score of its first training on the world's GenEval."""
    _, blocks, _ = read_kept(folder / FILE)
    (block,) = (b for b in blocks if (b.benchmark, b.setting, b.milestone) == ("embedded_geneval", "main", milestone))
    return {m.name: dict(zip(block.prompts, m.scores[0].tolist(), strict=True)) for m in block.methods}


def test_a_row_of_the_study_is_made_again(tmp_path):
    """HT-GRPO's first training at the main view, on 30 prompts. On the machine of the study it is the same to the bit; on one
    that rounds otherwise it is nearer to the committed row than that is to the untrained policy's."""
    view = "iterations:16"
    flags = [
        "--preset",
        "study",
        "--methods",
        "ht",
        "--seeds",
        "0,",
        "--budget",
        view,
        "--benchmarks",
        "embedded_geneval",
    ]
    assert (
        compare.main([*flags, "--curve", "0", "--limit", "30", "--jobs", "1", "--out", str(tmp_path / "run")])
        == EXIT_OK
    )
    again, kept = by_prompt(tmp_path / "run" / "report", view), by_prompt(STUDY / "tiny", view)
    prompts = list(again["ht"])
    assert len(prompts) == 30

    def apart(one: dict[str, float], other: dict[str, float]) -> float:
        return sum(abs(one[prompt] - other[prompt]) for prompt in prompts) / len(prompts)

    assert apart(again["base"], kept["base"]) < 0.05
    assert apart(again["ht"], kept["ht"]) < 0.5 * apart(kept["ht"], kept["base"])
