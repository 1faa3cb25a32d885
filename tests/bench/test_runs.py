"""bench.runs lists state and headline; live.html is there while a run goes on and only then."""

import json

import pytest
from filelock import FileLock

from bench import runs
from bench.record.listing import TORN, listed
from bench.record.work import Job
from bench.run import live
from htgrpo.base.folders import seal
from reports.pages.live import page
from tests.reports.synthetic import write_run


@pytest.fixture
def folder(tmp_path):
    for name in ("old", "new"):
        write_run(tmp_path / name, {"a": 0.2}, seeds=2, prompts=2, samples=1, iterations=3)
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    config |= {"created": "2026-02-01T00:00:00Z", "titles": {"a": "A-GRPO"}}
    (tmp_path / "new" / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_states_and_headlines(folder, capsys):
    report = folder / "new" / "report"
    report.mkdir()
    head = "kind,claim,benchmark,setting,milestone,method,column,estimate\n"
    rows = [f"score,checkpoints,geneval,main,forwards:6000,{m},headline,{v}\n" for m, v in (("base", 0.4), ("a", 0.55))]
    (report / "table.csv").write_text(head + "".join(rows))
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
    assert listed(folder)[0].headline == "geneval2: A-GRPO 0.500"


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
