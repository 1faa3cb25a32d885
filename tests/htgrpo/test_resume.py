"""A run that was killed and started again equals one that was not, bit for bit."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from htgrpo.base.files import read_jsonl
from htgrpo.training import checkpoints
from tests.htgrpo.training import CONFIG, remains, run

ROOT = Path(__file__).parents[2]
PHASES = ("rollout", "reward", "update", "done")


class Killed(Exception):
    """Stands for the end of the process."""


def killer(iteration, phase):
    """Raises when training says it is there."""

    def on_progress(event):
        if (event["iteration"], event["phase"]) == (iteration, phase):
            raise Killed

    return on_progress


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What an uninterrupted run leaves, and its metrics."""
    out = tmp_path_factory.mktemp("whole")
    lines = run(out)
    return remains(out), lines


@pytest.mark.parametrize(
    "points",
    [
        [(1, "rollout")], [(1, "done")], [(2, "done")], [(3, "update")], [(6, "done")],
        *[
            sorted(
                (random.Random(seed).randint(1, 6), random.Random(seed + 9).choice(PHASES))
                for seed in range(base, base + 3)
            )
            for base in (100, 200, 300)
        ],
    ],
    ids=str,
)  # fmt: skip
def test_killed_and_resumed_equals_uninterrupted(points, whole, tmp_path):
    """Kill points before, on and after checkpoints, one or several in a row."""
    for point in points:
        with pytest.raises(Killed):
            run(tmp_path, on_progress=killer(*point))
    assert run(tmp_path) == whole[1]
    assert remains(tmp_path) == whole[0]


def test_killed_between_the_two_logs_or_in_a_line(whole, tmp_path):
    """Metrics written and timing not, then a torn line: both are cut back to the checkpoint."""
    with pytest.raises(Killed):
        run(tmp_path, on_progress=killer(4, "update"))
    with open(tmp_path / "metrics.jsonl", "a") as stream:
        stream.write('{"iteration": 4, "forwa')
    (tmp_path / "timing.jsonl").write_text(
        "".join((tmp_path / "timing.jsonl").read_text().splitlines(keepends=True)[:2])
    )
    run(tmp_path)
    assert remains(tmp_path) == whole[0]
    assert [line["iteration"] for line in read_jsonl(tmp_path / "timing.jsonl")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("where", ["save_file", "remove_sealed"])
def test_killed_while_saving(where, whole, tmp_path, monkeypatch):
    """A checkpoint is whole or absent; older trainer state goes only after the new one is in place."""
    with monkeypatch.context() as patch:
        calls = []

        def fail(*args, **kwargs):
            calls.append(args)
            raise Killed

        patch.setattr(f"htgrpo.training.checkpoints.{where}", fail)
        with pytest.raises(Killed):
            run(tmp_path)
    assert calls
    assert all((p / "model.safetensors").is_file() for p in checkpoints.saved(tmp_path))
    assert run(tmp_path) == whole[1]
    assert remains(tmp_path) == whole[0]


def test_a_finished_run_is_left_alone(whole, tmp_path):
    run(tmp_path)
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")}
    events = []
    run(tmp_path, on_progress=events.append)
    assert events == [] and stamps == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")}
    assert remains(tmp_path) == whole[0]


def test_killed_by_the_system_while_a_checkpoint_is_renamed(whole, tmp_path):
    """A real SIGKILL in a real process, at the worst moment of the second checkpoint."""
    script = f"""
import os, signal
import htgrpo.base.files as files
from pathlib import Path
from tests.htgrpo.training import run
replace = os.replace
def deadly(source, target):
    if Path(target).name == "step_000004":
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
files.os.replace = deadly
run(Path({str(tmp_path)!r}))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [p.name for p in checkpoints.saved(tmp_path)] == ["step_000002"]
    assert len(read_jsonl(tmp_path / "metrics.jsonl")) == 4
    assert run(tmp_path) == whole[1]
    assert remains(tmp_path) == whole[0]
    assert not [p for p in (tmp_path / "checkpoints").iterdir() if p.name.startswith(".")], (
        "no rubbish of the killed run is left"
    )


def test_where_a_run_is_resumed_does_not_depend_on_the_policy_object(whole, tmp_path):
    """The reference stays the policy the run started from, not the one it went on with."""
    with pytest.raises(Killed):
        run(tmp_path, on_progress=killer(5, "rollout"))
    lines = run(tmp_path)
    assert [line["kl"] for line in lines] == [line["kl"] for line in whole[1]]
    assert CONFIG.beta > 0 and lines[-1]["kl"] > 0
