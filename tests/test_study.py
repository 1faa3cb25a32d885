"""docs/study: the committed tables follow from their scores, the pages say what the tables say, and a row is made again."""

import csv
import re
from pathlib import Path

import pytest
import torch

from bench import check, compare
from htgrpo.base.errors import EXIT_OK
from reports.tables.kept import FILE, read_kept
from tests import drawing

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "docs" / "study"
FOLDERS = [STUDY / name for name in ("tiny", "large", "large_guided", "ablations", "ablations_large", "all")]
CELL = re.compile(r"[−+]?\d\.\d{3} \[[−+]?\d\.\d{3}, [−+]?\d\.\d{3}\]")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_committed_table_follows_from_its_scores(folder, capsys):
    assert check.main([str(folder)]) == EXIT_OK, capsys.readouterr().out


def told(path: Path, heading: str) -> dict[tuple[str, int], str]:
    """(first cell, number of the column) -> score with its interval, of the table of a page below a line that begins with
    `heading`."""
    lines = path.read_text("utf-8").partition(f"\n{heading}")[2].splitlines()[2:]
    table = lines[: next(n for n, line in enumerate(lines) if not line.startswith("|"))]
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table]
    return {(row[0], n): cell for row in rows for n, cell in enumerate(row) if CELL.fullmatch(cell)}


def measured(folder: Path) -> dict[tuple[str, int], str]:
    """The same by the committed table: methods by their titles, the views in order; the strongest claim there is."""
    config = read_kept(folder / FILE)[0]["config"]
    titles, found = {**config["titles"], "base": "untrained"}, {}
    views = {view: n for n, view in enumerate(config["budget"].split(","), 1)}
    with open(folder / "table.csv", newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if (row["kind"], row["column"]) == ("score", "headline")]
    for row in rows:  # claims about checkpoints stand before those about methods
        if (row["benchmark"], row["setting"]) == (config["benchmarks"][0], "main"):
            numbers = [float(row[key]) for key in ("estimate", "low", "high")]
            found[titles[row["method"]], views[row["milestone"]]] = "{:.3f} [{:.3f}, {:.3f}]".format(*numbers)
    return found


ALL = "| method, GenEval (embedded world) |"
TINY = "| GenEval (embedded world) | 16 iterations each: main claim | 50,000 forwards each |"
LARGE, GUIDED = (f"| GenEval (large embedded world), {how} |" for how in ("no guidance", "guidance 4"))


@pytest.mark.parametrize(
    ("page", "heading", "folder"),
    [
        ("README.md", TINY, "tiny"),
        ("docs/study.md", TINY, "tiny"),
        ("docs/study.md", LARGE, "large"),
        ("docs/study.md", GUIDED, "large_guided"),
        ("docs/study.md", ALL, "all"),
    ],
)
def test_a_page_says_what_the_table_says(page, heading, folder):
    said = told(ROOT / page, heading)
    columns = {n for _, n in said}
    assert 1 in columns and said == {key: cell for key, cell in measured(STUDY / folder).items() if key[1] in columns}


def rows_of(folder: str, kind: str, table: str = "table.csv") -> list[dict[str, str]]:
    with open(STUDY / folder / table, newline="", encoding="utf-8") as stream:
        return [row for row in csv.DictReader(stream) if row["kind"] == kind]


def signed(row: dict[str, str], sign: int = 1) -> str:
    """A difference of a table as pages write it; sign -1: the other way round."""
    value, *ends = (sign * float(row[key]) for key in ("estimate", "low", "high"))
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(value, *sorted(ends)).replace("-", "−")


def test_every_difference_of_the_page_is_in_the_table():
    rows = [row for folder in ("tiny", "large", "large_guided") for row in rows_of(folder, "difference")]
    known = {signed(row, sign) for row in rows if row["column"] == "headline" for sign in (1, -1)}
    said = [cell for cell in CELL.findall((ROOT / "docs/study.md").read_text("utf-8")) if cell[0] in "+−"]
    assert len(said) > 20 and not set(said) - known


MARKS = {"": "", "unresolved": "≈", "equal": "="}
STUDIED = re.compile(r"(.+) \((A\d)\)")
"""A variant with its study, in a table of several studies."""


def variants(folder: str, benchmark: str) -> dict[tuple[str, str], list[str]]:
    """(study, label) -> what a page says of a variant: score, difference from the default, mark, "could see", the paper's."""
    differences = {(row["study"], row["variant"]): row for row in rows_of(folder, "difference", "ablations.csv")
                   if row["benchmark"] == benchmark}  # fmt: skip
    found = {}
    for row in rows_of(folder, "score", "ablations.csv"):
        if row["benchmark"] == benchmark and row["estimate"]:
            told = [f"{float(row['estimate']):.3f}", "–", "", "–", row["paper"] or "–"]
            if other := differences.get((row["study"], row["variant"])):
                told[1:4] = signed(other), MARKS[other["verdict"]], f"{float(other['detectable']):.3f}"
            found[row["study"], row["label"] or "starting policy"] = told
    return found


@pytest.mark.parametrize(
    ("part", "folder", "benchmark", "count"),
    [(0, "ablations", "embedded_geneval", 27), (1, "ablations_large", "embedded_large_geneval", 7)],
)
def test_the_page_of_ablations_says_what_its_table_says(part, folder, benchmark, count):
    page = (ROOT / "docs/ablations.md").read_text("utf-8").split("\n## The large world\n")[part]
    known, study, said = variants(folder, benchmark), "A1", []
    for line in page.splitlines():
        study = line[3:5] if line.startswith("## A") else study
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] != "variant":
            of = STUDIED.fullmatch(cells[0])
            name, place = of.groups() if of else (cells[0].removesuffix(" (default)"), study)
            said.append((cells[1:], known[place, name]))
    assert len(said) == count and [there for there, _ in said] == [here for _, here in said]
    text = " ".join(" ".join(line for line in page.splitlines() if line[:1] != "|").split())
    findings = [
        row for row in rows_of(folder, "finding's difference", "ablations.csv") if row["benchmark"] == benchmark
    ]
    assert {cell for cell in CELL.findall(text) if cell[0] in "+−"} <= {signed(row) for row in findings}


@pytest.mark.parametrize(
    ("heading", "folder"), [(TINY, "tiny"), (LARGE, "large"), (GUIDED, "large_guided"), (ALL, "all")]
)
def test_the_costs_of_the_page_are_in_the_table(heading, folder):
    titles = read_kept(STUDY / folder / FILE)[0]["config"]["titles"]
    cost = {(row["method"], row["milestone"], row["column"]): row["estimate"] for row in rows_of(folder, "cost")}
    lines = (ROOT / "docs/study.md").read_text("utf-8").partition(f"\n{heading}")[2].splitlines()[2:]
    for name, title in titles.items():
        line = next(line for line in lines if line.startswith(f"| {title} | "))
        cells = [cell.strip().replace(",", "") for cell in line.strip("|").split("|")[1:] if not CELL.search(cell)]
        places = [("iterations:16", "forwards"), ("forwards:40000", "iterations")][: len(cells)]
        assert cells and cells == [f"{float(cost[name, *place]):.0f}" for place in places]


def by_prompt(folder: Path, milestone: str) -> dict[str, dict[str, float]]:
    """Method -> prompt -> score of its first training on the world's GenEval."""
    _, blocks, _ = read_kept(folder / FILE)
    (block,) = (b for b in blocks if (b.benchmark, b.setting, b.milestone) == ("embedded_geneval", "main", milestone))
    return {m.name: dict(zip(block.prompts, m.scores[0].tolist(), strict=True)) for m in block.methods}


def test_a_row_of_the_study_is_made_again(tmp_path, monkeypatch):
    """HT-GRPO's first training at the main view, on 24 prompts: to the bit on such a machine as the study's with its torch. One
    that rounds otherwise may sample other pictures on the way; there the untrained policy's score is what can be held."""
    monkeypatch.setattr(drawing.style, "rendered", drawing.plainly)
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
        compare.main([*flags, "--curve", "0", "--limit", "24", "--jobs", "1", "--out", str(tmp_path / "run")])
        == EXIT_OK
    )
    again, kept = by_prompt(tmp_path / "run" / "report", view), by_prompt(STUDY / "tiny", view)
    prompts = list(again["ht"])
    assert len(prompts) == 24

    def apart(method: str) -> float:
        return sum(abs(again[method][prompt] - kept[method][prompt]) for prompt in prompts) / len(prompts)

    here, there = (read_kept(folder / FILE)[0]["config"] for folder in (tmp_path / "run" / "report", STUDY / "tiny"))
    same = all(here[part][key] == there[part][key] for part, key in (("machine", "cpu"), ("versions", "torch")))
    same &= torch.backends.cpu.get_cpu_capability() == "AVX512"  # as the study's had, whose name says less
    assert apart("base") == 0 if same else apart("base") < 0.05
    assert apart("ht") == 0 or not same
