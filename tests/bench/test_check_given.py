"""bench.check on runs of given pictures: files that lie elsewhere, and no policy whose weights could be asked."""

import json
import shutil
from pathlib import Path

import pytest

from bench import check, score
from bench import report as reporting
from bench.checking import report
from htgrpo.base.files import read_jsonl
from tests.bench.tampering import drop_line, edit, edit_line
from tests.bench.tiny_runs import leave

GIVEN = "images/one/embedded_geneval/main"
VERDICTS = "verdicts/embedded_geneval/main/one.jsonl"


@pytest.fixture
def run(finished, tmp_path, no_report, monkeypatch) -> Path:
    """A run of pictures that lie in a folder beside it: two samples of the seven prompts, all but one of them."""
    monkeypatch.setattr(report, "check_report", lambda *_: None)
    source, lines = tmp_path / "one", []
    source.mkdir()
    for policy in ("base", "ht-seed0"):
        for record in read_jsonl(finished / f"verdicts/embedded_geneval/main/{policy}.jsonl"):
            name = f"{policy}-{Path(record['image']).name}"
            shutil.copy(finished / record["image"], source / name)
            lines.append({"image": name, "prompt": record["prompt"]})
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    argv = ["--images", f"one={source}", "--prompts", str(prompts), "--benchmarks", "embedded_geneval", "--out"]
    assert leave(score.main, [*argv, str(tmp_path / "run")]) == 3  # far from all prompts of the split have pictures
    return tmp_path / "run"


def test_an_honest_run_lacks_pictures_and_nothing_else(run):
    found = check.check(run)
    assert found.mismatches == found.unchecked == [] and found.counts["pictures"] == 14
    assert found.counts["verdicts judged again"] == found.counts["verdicts"] == 420
    assert all("have no verdict" in line or "did not do all" in line for line in found.missing)


def swap(run: Path) -> None:
    one, other = sorted((run.parent / "one").glob("*.png"))[:2]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def score_of(number: int):
    return lambda run: edit_line(run / VERDICTS, number, lambda record: record.update(score=0.5, status="ok"))


def test_a_report_warns_of_pictures_that_are_others_now(run, capsys):
    one, *_, other = sorted((run.parent / "one").glob("*.png"))
    assert leave(reporting.main, [str(run)]) == 0 and "warning" not in capsys.readouterr().err
    one.write_bytes(other.read_bytes())
    other.unlink()
    assert leave(reporting.main, [str(run)]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert ("first of 2 such" in line) and (one.name in line or other.name in line)


TAMPERINGS = {
    "an edited score": (score_of(0), f"{VERDICTS}: ("),
    "swapped pictures": (swap, "is not the picture that manifest.jsonl records"),
    "a dropped picture": (
        lambda run: drop_line(run / GIVEN / "manifest.jsonl", 0),
        f"{GIVEN}/meta.json: policy_sha256 is ",
    ),
    "a dropped record": (lambda run: drop_line(run / VERDICTS, 0), f"{VERDICTS}: the record of ("),
    "another label": (
        lambda run: edit(run / "config.json", lambda c: c.update(methods=["two"])),
        "config.json knows no pictures of 'one'",
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_each_tampering_is_named(run, name):
    tamper, expected = TAMPERINGS[name]
    tamper(run)
    found = check.check(run).mismatches
    assert any(expected in line for line in found), found
