"""bench.check on the report: made again from the records, compared file by file, pictures where that can be."""

import shutil
from pathlib import Path

import pytest

from bench import check
from bench.checking import report
from bench.checking.findings import Findings
from bench.record.rundir import RunDir
from tests.bench.tampering import edit
from tests.bench.tiny_runs import run_compare
from tests.sealing import reseal

BASE = "verdicts/embedded_geneval/main/base"


@pytest.fixture
def run(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_mixed_identities_make_no_report(run):
    edit(run / f"{BASE}.meta.json", lambda meta: meta.update(scorer={**meta["scorer"], "version": "0"}))
    findings = Findings()
    report.check_report(RunDir(run), RunDir(run).config(), True, findings)
    assert [
        line
        for line in findings.mismatches
        if "cannot be made from these records" in line and "different scorer" in line
    ]


def test_a_report_with_a_view_at_equal_seconds_is_made_again_with_it(policy, tmp_path):
    run = tmp_path / "run"
    run_compare(policy, run, "--methods", "ht,pretrain", "--limit", "2", budget="iterations:2,seconds")
    assert (run / "equal_seconds.json").is_file()
    assert check.check(run).mismatches == []


@pytest.fixture
def compared(run, tmp_path, monkeypatch):
    """Compares run/report with the report as it was made, as if it had been drawn again."""
    fresh = Path(shutil.copytree(run / "report", tmp_path / "fresh"))
    monkeypatch.setattr(report, "_remake", lambda *_: fresh)
    monkeypatch.setattr(report, "_other_versions", lambda recorded: "")
    monkeypatch.setattr(report, "_other_code", lambda recorded: "")

    def compare() -> Findings:
        findings = Findings()
        report.check_report(RunDir(run), RunDir(run).config(), True, findings)
        return findings

    return compare


def reseal_report(run: Path) -> None:
    reseal(run / "report")


def test_an_edited_table_is_named_with_its_line(run, compared):
    assert compared().status == "ok"
    table = run / "report/table.csv"
    table.write_text(table.read_text().replace("geneval", "genevil", 1))
    assert "report/table.csv: was changed after the report was made" in compared().mismatches
    reseal_report(run)
    (line,) = compared().mismatches
    assert line.startswith("report/table.csv: line 2 has ") and "genevil" in line and "geneval" in line
    (run / "report/notes.txt").write_text("")
    assert "report/notes.txt: is no file of the report (files.json does not name it)" in compared().mismatches


def test_an_edited_picture_is_named_or_said_not_to_be_compared(run, compared, monkeypatch):
    (run / "report/differences.svg").write_text("<svg/>")
    reseal_report(run)
    assert compared().mismatches == ["report/differences.svg: is not the picture that the records give"]
    monkeypatch.setattr(report, "_other_versions", lambda recorded: "matplotlib 3.0 then, 3.1 now")
    findings = compared()
    assert findings.mismatches == [] and "differences.svg (matplotlib 3.0 then, 3.1 now)" in findings.unchecked[0]


def test_pictures_within_the_page_count_as_pictures(run, compared, monkeypatch):
    page = run / "report/index.html"
    page.write_text(page.read_text().replace("data:image/webp;base64,UklGR", "data:image/webp;base64,UklXR", 1))
    reseal_report(run)
    assert len(compared().mismatches) == 1
    monkeypatch.setattr(report, "_other_code", lambda recorded: "another commit")
    assert compared().status == "ok"
    page.write_text(page.read_text().replace("<h1", "<h2", 1))
    reseal_report(run)
    assert compared().mismatches[0].endswith("(another commit)")


def test_versions_decide_whether_pictures_are_compared():
    here = {name: report._here(name) for name in report.DRAWN_BY}
    assert report._other_versions(here) == ""
    assert report._other_versions({**here, "numpy": "0.1"}).startswith("numpy 0.1 then, ")
    del here["matplotlib"]
    assert report._other_versions(here) == "the run does not record its version of matplotlib"


def test_a_report_with_gaps_is_made_again_with_gaps(run, monkeypatch):
    seen = []
    monkeypatch.setattr(report, "_remake", lambda run, temporary, allow: seen.append(allow) or run.root / "report")
    findings = Findings()
    report.check_report(RunDir(run), {}, False, findings)
    assert seen == [False, True] and findings.mismatches == []
    shutil.rmtree(run / "report")
    report.check_report(RunDir(run), {}, False, findings)
    assert findings.missing == ["report: there is none; make it with python -m bench.report"]
