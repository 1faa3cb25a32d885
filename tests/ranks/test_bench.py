"""bench.compare with two processes on the embedded policy: goes on after a kill, and equals one process."""

import json
import shutil

import pytest

import bench.judge.images
from bench import compare
from htgrpo.base.files import read_jsonl
from htgrpo.base.records import BASE
from tests.ranks import commands
from tests.ranks.launching import launch

pytestmark = pytest.mark.long
SMALL = [
    "--budget", "iterations:2", "--benchmarks", "embedded_geneval,text", "--limit", "14", "--set",
    "text.gen_length=8",
]  # fmt: skip
for setting in (
    "group_size=2", "prompts_per_iteration=3", "steps=2", "rollout_dtype=float32", "main.dtype=float32",
    "main.steps=2", "main.samples=2",
):  # fmt: skip
    SMALL += ["--set", setting]
BROKEN = ["--set", "trace.rewards=tests.ranks.rewards:breaks=1"]
POLICIES = ("base", "ht-seed0")
MADE = range(15)
"""Pictures of `base` that were made before the kill: the last of them in a batch that was not whole."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process makes."""
    out = tmp_path_factory.mktemp("alone") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.judge.images.BATCH", commands.IMAGES)
        patch.setattr("bench.judge.judging.BATCH", commands.VERDICTS)
        patch.setattr("bench.ask.machine.cores", lambda: 1)
        patch.setattr("bench.run.ending.print_report", lambda *_: {})
        assert compare.main(["--out", str(out), "--methods", "ht", "--jobs", "0", *SMALL]) == 0
    return out


@pytest.fixture(scope="module")
def launched(alone, tmp_path_factory):
    """The run of two processes, which go on where a launch was killed while it made pictures of `base`; the pictures
    that were there with their times, how the launch ended, and the exit codes of both."""
    out, codes = tmp_path_factory.mktemp("launched") / "run", tmp_path_factory.mktemp("codes")
    there, folder = alone / "images/base/embedded_geneval/main", out / "images/base/embedded_geneval/main"
    records = (there / "manifest.jsonl").read_text().splitlines(keepends=True)
    folder.mkdir(parents=True)
    for name in [bench.record.pictures.META, *(json.loads(records[i])["file"] for i in MADE)]:
        shutil.copy(there / name, folder / name)
    (folder / "manifest.jsonl").write_text("".join(records[i] for i in MADE if i < 8))
    (folder / "manifest.rank1.jsonl").write_text("".join(records[i] for i in MADE if i >= 8) + records[15][:20])
    shutil.copy(alone / "config.json", out / "config.json")
    left = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.png")}
    argv = [str(codes), "bench.compare", "--out", str(out), "--methods", "ht,trace", *SMALL, *BROKEN]
    result = launch("ddp_8gpu", "tests.ranks.commands", *argv)
    return out, left, result, [(codes / str(rank)).read_text() for rank in (0, 1)]


def test_whole_batches_of_a_killed_launch_are_kept(launched):
    out, left, _, _ = launched
    folder = out / "images/base/embedded_geneval/main"
    kept = {name for name, stamp in left.items() if (folder / name).stat().st_mtime_ns == stamp}
    records = read_jsonl(folder / "manifest.jsonl")
    assert kept == {records[i]["file"] for i in MADE if i < 12}
    assert not list(folder.glob("manifest.rank*"))


def test_pictures_and_verdicts_equal_those_of_one_process(alone, launched):
    out = launched[0]
    for name in POLICIES:
        folder, other = out / f"images/{name}/embedded_geneval/main", alone / f"images/{name}/embedded_geneval/main"
        files = sorted(path.name for path in other.iterdir() if path.name != "meta.json")
        assert len(files) == 29 and files == sorted(path.name for path in folder.iterdir() if path.name != "meta.json")
        assert all((folder / file).read_bytes() == (other / file).read_bytes() for file in files)
        verdicts = f"verdicts/embedded_geneval/main/{name}.jsonl"
        assert (out / verdicts).read_bytes() == (alone / verdicts).read_bytes()
        assert len(read_jsonl(out / verdicts)) == 28


def test_what_policies_answer_equals_what_they_answer_to_one_process(alone, launched):
    for name in POLICIES:
        given, wanted = (read_jsonl(run / f"verdicts/text/main/{name}.jsonl") for run in (launched[0], alone))
        assert len(wanted) == 14
        if name == BASE:
            assert given == wanted
        for one, other in zip(given, wanted, strict=True):
            # trained by other processes, weights differ by rounding, and so may the last digit of a likelihood
            if one["evidence"]["metric"] == "acc":
                ours, theirs = (list(map(float, line["evidence"].pop("answers"))) for line in (one, other))
                assert ours == pytest.approx(theirs, abs=2e-4)
            assert one == other
        kept = [
            json.loads((run / f"results/text/main/{name}/results.json").read_text()) for run in (launched[0], alone)
        ]
        assert kept[0]["results"] == kept[1]["results"]


def test_the_training_equals_that_of_one_process(alone, launched):
    lines, wanted = (read_jsonl(run / "train/ht/seed0/metrics.jsonl") for run in (launched[0], alone))
    assert len(lines) == len(wanted) == 2
    for line, other in zip(lines, wanted, strict=True):
        assert list(line) == list(other) and line["forwards_total"] == other["forwards_total"]
        for key in ("reward_mean", "loss", "kl", "entropy"):
            assert line[key] == pytest.approx(other[key], abs=1e-6)


def test_both_processes_end_alike_and_one_speaks(launched):
    """One training fails in one process: the rest is done, the sentence is printed once, and both leave with code 3."""
    out, _, result, codes = launched
    assert codes == ["3", "3"] and result.returncode != 0
    assert (
        result.stderr.count("failed: trace seed 0: unexpected RuntimeError: the scorer fell over (in process 1 of 2)")
        == 1
    )
    assert result.stderr.count("the same command does what is left") == 1
    assert "Traceback" in (out / "logs/trace-seed-0.txt").read_text()
    assert result.stdout.count("Comparison (") == 1
    assert json.loads((out / "config.json").read_text())["machine"]["processes"] == 2
