"""bench.runs lists state and headline; live.html is there while a run goes on and only then."""

import csv
import fcntl
import json
import os

import pytest
from filelock import FileLock

from bench import runs
from bench.record.listing import TORN, listed
from bench.record.rundir import RunDir
from bench.record.work import Job
from bench.run import live
from htgrpo.base.folders import seal
from reports.pages.build import build
from reports.pages.live import page
from tests.reports.enriched import add_benchmark
from tests.reports.synthetic import write_run


@pytest.fixture
def folder(tmp_path):
    for name in ("old", "new"):
        write_run(tmp_path / name, {"a": 0.2}, seeds=2, prompts=2, samples=1, iterations=3)
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    config |= {"created": "2026-02-01T00:00:00Z", "titles": {"a": "A-GRPO"}}
    (tmp_path / "new" / "config.json").write_text(json.dumps(config))
    return tmp_path


def write_scores(report, *places, scale=1, higher_is_better=True):
    """scores.json of a report, as far as a headline asks it, with a comparison at each of (benchmark, axis, setting, view)."""
    meta = {"scale": scale, "higher_is_better": higher_is_better}
    keys = ("benchmark", "axis", "setting", "milestone")
    blocks = [{**dict(zip(keys, place, strict=True)), "meta": meta} for place in places]
    (report / "scores.json").write_text(json.dumps({"blocks": blocks}))


def write_table(report, scores, benchmark="geneval", view="final"):
    report.mkdir(exist_ok=True)
    head = "kind,claim,benchmark,setting,milestone,method,column,estimate\n"
    rows = [f"score,checkpoints,{benchmark},main,{view},{m},headline,{v}\n" for m, v in scores.items()]
    (report / "table.csv").write_text(head + "".join(rows))


def test_states_and_headlines(folder, capsys):
    report = folder / "new" / "report"
    report.mkdir()
    head = "kind,claim,benchmark,setting,milestone,method,column,estimate\n"
    rows = [f"score,checkpoints,geneval,main,forwards:6000,{m},headline,{v}\n" for m, v in (("base", 0.4), ("a", 0.55))]
    (report / "table.csv").write_text(head + "".join(rows))
    write_scores(report, ("geneval", "", "main", "forwards:6000"))
    (folder / "notes").mkdir()
    first, second = listed(folder)
    assert (first.name, second.name) == ("new", "old") and first.state == second.state == "begun"
    assert first.headline == "geneval: A-GRPO 0.550, base 0.400" and second.headline == ""
    assert first.done == "2/2 trainings, 6 iterations"
    seal(folder / "old", "test", {"stamps": [], "open": False, "whole": True})
    (folder / "old" / "files.json").rename(folder / "old" / "complete.json")
    (folder / "new" / "config.json").write_text("{")
    with FileLock(folder / "old" / ".lock"):
        assert {one.name: one.state for one in listed(folder)} == {"old": "running", "new": "damaged"}
    assert runs.main([str(folder)]) == 0
    assert "old: complete, 2026-01-01" in capsys.readouterr().out
    assert runs.main([str(folder), "--json"]) == 0
    assert {one["state"] for one in json.loads(capsys.readouterr().out)} == {"complete", "damaged"}


def test_a_claim_on_a_benchmark_of_several_axes_is_that_on_the_first(folder):
    config = json.loads((folder / "new" / "config.json").read_text())
    config["claim"] = {"benchmark": "geneval2", "setting": "main", "milestone": "final"}
    (folder / "new" / "config.json").write_text(json.dumps(config))
    (folder / "new" / "report").mkdir()
    rows = [("geneval", 0.9), ("geneval2.gm", 0.5), ("geneval2.am", 0.7)]
    lines = [f"score,checkpoints,{name},main,final,a,headline,{value}\n" for name, value in rows]
    head = "kind,claim,benchmark,setting,milestone,method,column,estimate\n"
    (folder / "new" / "report" / "table.csv").write_text(head + "".join(lines))
    write_scores(folder / "new" / "report", ("geneval", "", "main", "final"), ("geneval2", "gm", "main", "final"))
    assert listed(folder)[0].headline == "geneval2: A-GRPO 0.500"


def test_scale_and_direction_are_the_benchmarks_and_nothing_is_guessed(folder):
    """Scores below 1 on a scale of 100, scores above 1 on the unit scale, and one of which less is better."""
    report, place = folder / "new" / "report", ("geneval", "", "main", "final")
    write_table(report, {"base": 0.25, "a": 0.75})
    assert listed(folder)[0].headline == "", "a report that does not tell its scale"
    write_scores(report, place, scale=100)
    assert listed(folder)[0].headline == "geneval: A-GRPO 0.8, base 0.2"
    write_scores(report, place, higher_is_better=False)
    assert listed(folder)[0].headline == "geneval: base 0.250, A-GRPO 0.750"
    write_table(report, {"base": 3.14159, "a": 4})
    write_scores(report, place)
    assert listed(folder)[0].headline == "geneval: A-GRPO 4.000, base 3.142"
    for torn in ("{", "[]", '{"blocks": [{"benchmark": "geneval"}]}', '{"blocks": []}'):
        (report / "scores.json").write_text(torn)
        assert listed(folder)[0].headline == TORN


def test_a_real_reports_headline_is_that_of_its_table(folder, plain_figures):
    add_benchmark(folder / "new", "lpips", lambda r: r, title="LPIPS", scale=100, higher_is_better=False)
    config = json.loads((folder / "new" / "config.json").read_text())
    config["claim"] = {"benchmark": "lpips", "setting": "main", "milestone": "forwards:6000"}
    (folder / "new" / "config.json").write_text(json.dumps(config))
    build(folder / "new")
    with open(folder / "new" / "report" / "table.csv", newline="") as stream:
        rows = [r for r in csv.DictReader(stream) if r["benchmark"] == "lpips" and r["kind"] == "score"]
    own = sorted((float(r["estimate"]), r["method"]) for r in rows if r["column"] == "headline")
    names = {"a": "A-GRPO"}
    told = ", ".join(f"{names.get(name, name)} {value:.1f}" for value, name in own)
    assert len(own) == 2 and listed(folder)[0].headline == f"lpips: {told}"


def test_a_listing_writes_nothing_and_needs_no_right_to(folder, monkeypatch):
    """A run of somebody else, or on a read-only disk; and of two who list at once neither takes the other for a command."""
    lock = folder / "old" / ".lock"
    lock.write_text("kept")

    def read_only(path, flags, *rest, opened=os.open, **more):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, flags, *rest, **more)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", read_only)
        assert [one.state for one in listed(folder)] == ["begun", "begun"]
    with open(lock, "rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert {one.state for one in listed(folder)} == {"begun"}
    assert lock.read_text() == "kept" and not (folder / "new" / ".lock").exists()
    with RunDir(folder / "new").locked():
        assert [one.state for one in listed(folder)] == ["running", "begun"]
        assert RunDir(folder / "new").held and not RunDir(folder / "old").held


@pytest.mark.parametrize("text", ["", "kind,claim\nscore,che", "a,b\n1,2\n"])
def test_a_damaged_table_is_said_to_be_one(folder, text):
    (folder / "new" / "report").mkdir()
    (folder / "new" / "report" / "table.csv").write_text(text)
    first, _ = listed(folder)
    assert first.state == "begun" and first.headline == (text and TORN)


def test_a_run_that_goes_on_shows_curves_and_the_same_prompts(folder):
    root = folder / "new"
    manifest = root / "images" / "base" / "geneval" / "main" / "manifest.jsonl"
    names = sorted(path.name for path in manifest.parent.glob("*_0.png"))
    lines = [{"prompt_id": n[:-6], "sample": 0, "file": n, "sha256": ""} for n in names]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = page(
        root,
        {"new": root},
        {"a seed 0": (0.5, "train iteration 3"), "a seed 1": (0.0, "waiting")},
        "python -m bench.compare",
        30,
    )
    assert "<title>25% – new" in text and "train iteration 3" in text and 'http-equiv="refresh" content="30"' in text
    assert '<th scope="row">A-GRPO</th>' in text and '"chart-data"' in text and "Mean training reward" in text
    assert text.count("images/base/geneval/main/") == 6


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_the_page_is_written_now_and_then_and_goes(error, folder, monkeypatch, capsys):
    now = [0.0]
    (folder / "live").mkdir()
    job = Job.__new__(Job)
    object.__setattr__(job, "name", "a seed 0")
    written = []
    monkeypatch.setattr("reports.pages.live.page", lambda *_: written.append(now[0]) or "page")
    watched = live.Live(folder / "live", {"new": folder / "new"}, [job], clock=lambda: now[0])
    for now[0] in (1.0, 6.0, 10.0, 35.0, 37.0):
        watched.event(job, {"done": 0.1, "text": "train"})
    assert written == [6.0, 37.0] and (folder / "live" / "live.html").read_text() == "page"
    live.remove(folder / "live")
    assert not (folder / "live" / "live.html").exists()

    def broken(*_):
        raise error("disk full")

    monkeypatch.setattr("reports.pages.live.page", broken)
    for now[0] in (100.0, 200.0):
        watched.event(job, {"end": "ok"})
    assert capsys.readouterr().err.count("is no longer written: disk full") == 1
