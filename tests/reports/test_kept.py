"""What a report keeps is enough to make its table again, and a changed score or table is named."""

import json
import shutil

import pytest

from bench import check
from htgrpo.base.errors import EXIT_FAILED, EXIT_INCOMPLETE, EXIT_OK
from reports.pages.build import build
from reports.tables import kept
from tests.reports.synthetic import write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """scores.json and table.csv of a run with two benchmarks, one of them with questions, in two views."""
    root = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        from tests import drawing

        patch.setattr(drawing.style, "rendered", drawing.plainly)
        report = build(
            write_run(root / "run", seeds=3, dense=8, milestones=("final", "milestone"), images=False)
        ).folder
    for name in (kept.FILE, "table.csv"):
        shutil.copy(report / name, root / name)
    return root


def ended(folder, capsys):
    code = check.main([str(folder)])
    return code, capsys.readouterr().out


def test_the_table_follows_from_the_scores(folder, capsys):
    code, told = ended(folder, capsys)
    assert code == EXIT_OK and "not checked: pictures, verdicts and trainings" in told
    lines = (folder / "table.csv").read_text().splitlines()
    assert f"{len(lines)} lines of tables" in told and len(lines) > 60


def test_what_is_kept_reads_back_as_it_was(folder):
    parts, blocks, costs = kept.read_kept(folder / kept.FILE)
    again = kept.kept(parts["config"], blocks, costs, parts["allow_incomplete"], parts["record"])
    assert again == (folder / kept.FILE).read_bytes()
    assert {block.benchmark for block in blocks} == {"geneval", "dpg"} and any(
        block.question_categories for block in blocks
    )


@pytest.mark.parametrize("out", ["--out '/home/me/my runs/a'", "'--out=/home/me/a'", "--out /home/me/a"])
def test_what_is_kept_does_not_say_where_it_was(out, folder):
    config = {
        "command": f"python -m bench.compare {out} --seeds 3 --set 'title=a b'",
        "folder": "/home/me/a",
        "seeds": [0],
    }
    told = json.loads(kept.kept(config, (), (), False))["config"]
    assert told == {"command": "python -m bench.compare --seeds 3 --set 'title=a b'", "seeds": [0]}


@pytest.mark.parametrize("place", ["scores", "hits", "table", "gone", "torn"])
def test_what_was_changed_is_named(place, folder, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "kept", ignore=shutil.ignore_patterns("run"))
    table, scores = tmp_path / "kept" / "table.csv", tmp_path / "kept" / kept.FILE
    if place == "table":
        table.write_text(table.read_text().replace("0.", "1.", 1))
    elif place == "gone":
        table.unlink()
    elif place == "torn":
        scores.write_text(scores.read_text()[:-50])
    else:
        whole = json.loads(scores.read_text())
        block = next(block for block in whole["blocks"] if block["question_categories"])
        row = block["methods"][1][place][0]
        if place == "scores":
            row[0] = 0.5
        else:
            row[0][0] += 1
        scores.write_text(json.dumps(whole))
    code, told = ended(tmp_path / "kept", capsys)
    assert code == (EXIT_INCOMPLETE if place == "gone" else EXIT_FAILED)
    assert (kept.FILE if place == "torn" else "table.csv") in told
