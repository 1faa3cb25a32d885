"""The campaign finds what is planted, keeps what it has, and says how it went with its exit code."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.campaign import command, damage, inputs, kills, nonsense, pool, same, server, statistics, summary
from bench.campaign.cases import Ground, Outcome, Part, thinned
from htgrpo.base.errors import UserError


@dataclass(frozen=True)
class Made:
    """A case that finds what it is told to find."""

    name: str
    kind: str = ""
    group: str = "made"
    limit: float = 600.0

    def run(self, ground: Ground, scratch: Path) -> Outcome:
        outcome, tried = Outcome(), ground.root / f"{self.name}.tried"
        tried.write_text(tried.read_text() + "x" if tried.exists() else "x")
        if self.kind == "dies":
            import os

            os._exit(7)
        if self.kind == "hangs":
            import time

            time.sleep(30)
        if self.kind == "breaks":
            raise RuntimeError("no such thing")
        if self.kind:
            outcome.add(self.kind, "it was planted")
        return outcome


def leave(main, argv: list[str]) -> int:
    """Imported late: workers that load this file need no torch."""
    from tests.bench.tiny_runs import leave

    return leave(main, argv)


def campaign(monkeypatch, tmp_path: Path, cases: list[Made], *more: str) -> int:
    part = Part("statistics", "Made", "Made up.", lambda seed, trials: cases)
    monkeypatch.setattr(command, "part", lambda name: part)
    monkeypatch.setattr(summary, "import_module", lambda name: object())
    return leave(command.main, ["statistics", "--out", str(tmp_path / "out"), "--jobs", "1", *more])


def test_what_is_found_decides_the_exit_code_and_is_kept(monkeypatch, tmp_path, capsys):
    cases = [
        Made("a"), Made("b", "mismatch"), Made("c", "dies"), Made("d", "hangs", limit=0.5), Made("e", "breaks"),
        Made("f"),
    ]  # fmt: skip
    assert campaign(monkeypatch, tmp_path, cases, "--minutes", "0") == 3  # none is started
    assert campaign(monkeypatch, tmp_path, cases) == 1
    results = {
        row["name"]: row for row in map(json.loads, (tmp_path / "out/statistics.jsonl").read_text().splitlines())
    }
    assert {name: [fault["kind"] for fault in row["faults"]] for name, row in results.items()} == {
        "a": [], "b": ["mismatch"], "c": ["stuck"], "d": ["stuck"], "e": ["broken"], "f": [],
    }  # fmt: skip
    text = (tmp_path / "out/summary.md").read_text()
    assert "6 cases, 1 mismatch, 2 stuck, 1 broken" in text and "it was planted" in text
    assert campaign(monkeypatch, tmp_path, cases) == 1  # nothing is tried again
    assert (tmp_path / "out/ground/a.tried").read_text() == "x"
    capsys.readouterr()
    assert campaign(monkeypatch, tmp_path, cases, "--seed", "1") == 2
    assert "holds results with --seed 0" in capsys.readouterr().err


def test_nothing_found_is_0_and_the_summary_is_copied_below_the_mark(monkeypatch, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Head\n\n{summary.MARK}\n\nold")
    assert campaign(monkeypatch, tmp_path, [Made("a")], "--copy", str(page)) == 0
    assert page.read_text().startswith(f"# Head\n\n{summary.MARK}\n\nSeed 0") and "old" not in page.read_text()
    page.write_text("mine")
    assert campaign(monkeypatch, tmp_path, [Made("a")], "--copy", str(page)) == 2 and page.read_text() == "mine"


WRONG = [["kils"], ["--cases", "-1"], ["--trials", "5"], ["--jobs", "0"], ["server", "--only", "no such case"]]


@pytest.mark.parametrize("argv", WRONG)
def test_a_wrong_command_line_is_one_sentence(argv, tmp_path, capsys):
    assert leave(command.main, [*argv, "--out", str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_folder_of_somebody_else_is_not_used(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="holds 'thesis.tex' and no campaign"):
        summary.settle(tmp_path, 0, 2000)


def test_cases_have_names_of_their_own_and_seeds_take_others():
    for part in (kills.PART, inputs.PART, damage.PART, server.PART, statistics.PART):
        names = [case.name for case in part.cases(0, 100)]
        assert len(names) == len(set(names)), part.name
    assert len(kills.PART.cases(0, 100)) >= 100 and len(inputs.PART.cases(0, 100)) >= inputs.PART.usual >= 500
    assert kills.PART.cases(0, 1) != kills.PART.cases(1, 1)
    assert thinned(range(10), 5, 0) == [0, 2, 4, 6, 8] and len(set(thinned(range(100), 33, 4))) == 33


def test_every_flag_of_every_command_has_its_nonsense():
    unknown = [case.name for case in inputs.cases(0, 1) if case.words == ("UNKNOWN",)]
    assert unknown == [], "add them to bench/campaign/nonsense.py"
    assert all(kind in nonsense.KINDS for kind in {*nonsense.FLAGS.values(), *nonsense.OWN.values()})


SAID = [
    (["error: --x is 'y': give z"], 2, None), (["error: a", "b"], 2, "words"), (["error: a"], 1, "words"),
    (["error: no"], 2, "words"), ([], 0, "accepted"), (None, 0, "traceback"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "code", "kind"), SAID)
def test_what_a_command_says_to_nonsense_is_judged(said, code, kind, monkeypatch, tmp_path):
    def main(argv: list[str]) -> int:
        if said is None:
            raise ValueError("nobody thought of this")
        if code == 0:
            (tmp_path / "work/left.txt").write_text("")
        raise_with = UserError("\n".join(said).removeprefix("error: "), code) if said else None
        if raise_with:
            raise raise_with
        return code

    monkeypatch.setattr(inputs, "import_module", lambda name: type("Module", (), {"main": staticmethod(main)}))
    for name in ("policy", "finished", "checkpoint"):
        monkeypatch.setattr(inputs.made, name, lambda ground: tmp_path / "nothing")
    found = inputs.Line("a", "compare", ("--x", "y"), ("--x",)).run(Ground(tmp_path), tmp_path).faults
    assert [fault.kind for fault in found] == ([kind] if kind else []) + (["left"] if kind == "accepted" else [])


def test_only_clocks_may_differ(finished, tmp_path):
    import shutil

    one, two = finished, Path(shutil.copytree(finished, tmp_path / "two"))
    timing = two / "train/ht/seed0/timing.jsonl"
    timing.write_text(re.sub(r'"seconds": [0-9.e-]+', '"seconds": 1.5', timing.read_text()))
    config = json.loads((two / "config.json").read_text())
    (two / "config.json").write_text(json.dumps({**config, "created": "later"}, indent=2))
    assert same.differences(same.results(one), same.results(two)) == []
    metrics = two / "train/ht/seed0/metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"forwards": ', '"forwards": 1', 1))
    (two / "more.txt").touch()
    told = ["more.txt is left over", "train/ht/seed0/metrics.jsonl differs"]
    assert same.differences(same.results(one), same.results(two)) == told


def test_every_damage_changes_the_file():
    import random

    data, other = b'{"a": {"b": 1.5}, "c": [1, 2]}\n', b'{"d": 4}\n'
    for name, change in damage.DAMAGES.items():
        assert all(change(data, random.Random(seed), [data, other]) != data for seed in range(20)), name


def test_a_cell_outside_its_limits_is_found(monkeypatch):
    narrow = statistics.Cell("coverage", "g", "n", lambda trials, generator: 0.92)
    monkeypatch.setattr(statistics, "cells", lambda: iter([narrow]))
    (case,) = statistics.cases(0, 1000)
    assert case.trials == 5000 and [fault.kind for fault in case.run(None, None).faults] == ["outside"]


def test_a_crowd_of_clients_is_answered(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "CLIENTS", 5)
    monkeypatch.setattr(server, "REQUESTS", 2)
    monkeypatch.setitem(server.CROWDS, "few", {"fair": 5, "resetting": 5, "large": 1})
    assert server.Crowd("few", "few", 0).run(Ground(tmp_path), tmp_path).faults == []


def test_a_wrong_answer_of_a_server_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "ask", lambda port, body: (200, {"items": []}))
    assert server.fair(server.Server(0, None), "x")


def test_a_worker_keeps_to_its_time():
    with pytest.raises(pool.TookTooLong), pool.limited(0.05):
        while True:
            pass
