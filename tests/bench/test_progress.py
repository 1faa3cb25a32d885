"""What is told while something runs: estimates that learn from what is done, in 80 columns."""

import re
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from bench.run import progress
from bench.run.progress import Iterations, Lines, Work, steps, whole_time

JOBS = [SimpleNamespace(name="structure_revealed seed 0", seconds=300.0), SimpleNamespace(name="base", seconds=100.0)]


def test_an_estimate_is_what_was_expected_until_something_is_done_and_then_learns():
    assert whole_time(100, 0.0, 5) == 100 and whole_time(100, 0.0, 130) == 130
    assert whole_time(100, 0.5, 50) == pytest.approx(100)  # as expected
    told = [whole_time(120, part, 1200 * part) for part in (0.1, 0.3, 0.6, 1.0)]  # ten times as slow
    assert told == sorted(told) and told[-1] == 1200 and all(one > 120 for one in told)
    assert whole_time(0, 0.25, 10) == 40 and whole_time(0, 0.0, 10) == 0
    assert all(whole_time(1, part, spent) >= spent for part in (0.0, 0.2, 0.9, 1.0) for spent in (0.1, 9, 900))


def test_a_training_moves_within_an_iteration_by_how_long_its_phases_took_before():
    now = iter([0.0, 6.0, 8.0, 10.0, 10.0, 16.0, 18.0, 20.0])
    seen = Iterations(clock=lambda: next(now))
    phases = ("rollout", "reward", "update")
    first = [seen.done({"phase": phase, "fraction": 0.0}) for phase in phases]
    assert first == [0, 0, 0] and seen.done({"phase": "done", "fraction": 0.5}) == 0.5
    second = [seen.done({"phase": phase, "fraction": 0.5}) for phase in phases]
    assert second == pytest.approx([0.5, 0.8, 0.9]) and seen.done({"phase": "done", "fraction": 1.0}) == 1.0


def test_all_work_is_weighed_by_expected_time():
    work = Work(JOBS, 400.0)
    work.note(JOBS[0], {"done": 0.5, "text": ""})
    assert work.done == pytest.approx(0.375) and work.count == "0/2 jobs"
    work.note(JOBS[1], {"end": "failed", "sentence": "why"})
    assert work.done == pytest.approx(0.625) and work.count == "1/2 jobs"


def test_lines_keep_no_first_estimate(capsys, monkeypatch):
    clock = iter([0.0, *[480.0] * 99])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    lines = Lines(JOBS, 120.0)
    lines.event(JOBS[0], {"done": 0.4, "text": "train iteration 4 update"})
    told = re.fullmatch(
        r"\[8 min of about (\d+) min, 0/2 jobs\] .*: +40% train iteration 4 update\n", capsys.readouterr().err
    )
    assert told and int(told[1]) > 8


def test_bars_show_both_times_at_80_columns(monkeypatch):
    bars = progress.Bars(JOBS, 400.0)
    bars.event(JOBS[0], {"done": 0.5, "text": "train iteration 128 update, reward 0.512 and more to say"})
    console = Console(width=80, force_terminal=False)
    with console.capture() as caught:
        console.print(bars.bars.get_renderable())
    rows = caught.get().splitlines()
    assert max(map(len, rows)) <= 80 and rows[0].startswith("all ")
    assert all(re.search(r"\d+% \d+ s, \d+ (s|min) left", row) for row in rows), rows
    assert "train iteration" in rows[1] and rows[1].startswith("structure_revealed")


def test_steps_are_lines_on_standard_error_or_nothing(capsys):
    with steps(count=2) as tell:
        tell("pictures")
        tell("report")
    with steps("tables"):
        pass
    with steps("hidden", quiet=True) as tell:
        tell("hidden")
    caught = capsys.readouterr()
    assert caught.err.splitlines() == ["[0 s, 1/2] pictures", "[0 s, 2/2] report", "[0 s] tables"] and not caught.out
    assert not sys.stderr.isatty()
