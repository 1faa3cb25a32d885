"""Workers that die, hang, print and run out of memory: the others' scores stay, and nobody is left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from PIL import Image

from bench.scorers import worker
from bench.scorers.weights import Repository
from bench.scorers.worker import WorkerScorer, uv_command
from htgrpo.base.errors import UserError

SCRIPT = Path(__file__).with_name("fake_worker.py")


class Fake(WorkerScorer):
    name, title, version, needs_prompt, published_range = "fake", "Fake", "1", True, "0..255"
    timeout, start_timeout = 600.0, 600.0


def fake(tmp_path, *arguments, **settings):
    kind = type("Fake", (Fake,), settings)
    return kind([sys.executable, str(SCRIPT), *arguments], tmp_path / "logs" / "fake.log")


def grey(value):
    return Image.new("RGB", (8, 8), (value, value, value))


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def gone(*pids):
    """Whether the processes end, which may take a busy machine two minutes."""
    deadline = time.monotonic() + 120
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(alive(pid) for pid in pids)


def ask(scorer, *prompts):
    return scorer.score([grey(10 * (n + 1)) for n in range(len(prompts))], prompts)


def scores(judged):
    return [one.score for one in judged]


def test_scores_in_order_whatever_the_batches(tmp_path):
    pictures, prompts = [grey(value) for value in range(0, 250, 50)], ["a"] * 5
    with fake(tmp_path, batch_size=2) as two, fake(tmp_path) as sixteen:
        assert (
            scores(two.score(pictures, prompts)) == scores(sixteen.score(pictures, prompts)) == [0, 50, 100, 150, 200]
        )
        assert scores(two.score(pictures[::-1], prompts)) == [200, 150, 100, 50, 0]
        assert two.score([], []) == []
        assert two.identity() == {
            "name": "fake", "version": "1", "weights_revision": "none", "dtype": "float32", "libraries": {},
        }  # fmt: skip
        with pytest.raises(UserError, match="5 pictures for 1 prompts"):
            two.score(pictures, ["a"])


def test_one_picture_asked_about_twice_stays_one_object(tmp_path):
    picture = grey(7)
    with fake(tmp_path) as scorer:
        first, second, other = scorer.score([picture, picture, grey(7)], ["a", "ab", "a"])
    assert (first.evidence["prompt_length"], second.evidence["prompt_length"]) == (1, 2)
    assert first.evidence["object"] == second.evidence["object"] != other.evidence["object"]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "I;16", "CMYK"])
def test_every_mode_of_picture_goes_over(tmp_path, mode):
    picture = Image.new("I;16", (8, 8), 65535) if mode == "I;16" else grey(255).convert(mode)
    with fake(tmp_path) as scorer:
        assert scores(scorer.score([picture], ["a"])) == [255]


def test_libraries_print_into_the_log(tmp_path):
    with fake(tmp_path) as scorer:
        assert scores(ask(scorer, "a cat")) == [10]
    log = scorer.log.read_text()
    assert "greets on standard output" in log and "unfinished" in log and "scoring a cat" in log


def test_a_long_and_odd_prompt_goes_over(tmp_path):
    prompts = ["x" * 10_000, 'line\nbreak "quote" \u2028 \x00 ünïcode 🐈 @htgrpo {"batch": 1, "done": true}']
    with fake(tmp_path) as scorer:
        assert [one.evidence["prompt_length"] for one in ask(scorer, *prompts)] == [len(prompt) for prompt in prompts]


@pytest.mark.parametrize(("fault", "reason"), [("kill", "signal 9"), ("exit 137", "memory runs out")])
def test_a_worker_killed_in_a_batch_loses_one_picture(tmp_path, fault, reason):
    with fake(tmp_path) as scorer:
        judged = ask(scorer, "a", fault, "b", "c")
        assert scores(judged) == [10, None, 30, 40]
        assert reason in judged[1].error and str(scorer.log) in judged[1].error
        assert scores(ask(scorer, "a")) == [10]  # and goes on


def test_a_worker_that_dies_once_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_MARKER", str(tmp_path / "died"))
    with fake(tmp_path) as scorer:
        assert scores(ask(scorer, "a", "kill once", "b")) == [10, 20, 30]
    assert (tmp_path / "died").exists()


def test_a_hanging_worker_loses_one_picture(tmp_path):

    def hastily(self, items):
        """Has little patience where a picture hangs, and enough with all others."""
        self.timeout = 0.6 if any(item["prompt"] == "hang" for item in items) else 600.0
        return Fake._answers(self, items)

    with fake(tmp_path, _answers=hastily) as scorer:
        judged = ask(scorer, "a", "hang", "b")
    assert scores(judged) == [10, None, 30]
    assert "gave no answer for 0.6 s" in judged[1].error


def test_a_worker_that_does_not_read_is_ended(tmp_path):
    with fake(tmp_path, "--raw", "deaf", timeout=0.3, restarts=0) as scorer:
        started = time.monotonic()
        judged = ask(scorer, *["x" * 200_000] * 3)  # more than a pipe holds
    assert all("no answer for 0.3 s" in one.error for one in judged) and time.monotonic() - started < 120


def test_memory_that_runs_out(tmp_path):
    with fake(tmp_path) as scorer:
        assert scores(ask(scorer, "a", "large batch", "b")) == [10, 20, 30]  # fits one by one
        judged = ask(scorer, "a", "memory", "b")
    assert scores(judged) == [10, None, 30] and judged[1].error == "MemoryError: 7 TiB asked for"


def test_a_corrupt_file_fails_alone(tmp_path):
    paths = [tmp_path / f"{n}.png" for n in range(4)]
    for n, path in enumerate(paths):
        grey(n).resize((64, 64)).save(path)
    paths[1].write_bytes(paths[1].read_bytes()[:60])
    paths[2].unlink()
    with fake(tmp_path) as scorer:
        judged = scorer.score_files(paths, ["a"] * 4)
        lazily = scorer.score([Image.open(paths[0]), Image.open(paths[1])], ["a"] * 2)
    assert scores(judged) == [0, None, None, 3] and scores(lazily) == [0, None]
    assert all("cannot be decoded" in one.error for one in (judged[1], judged[2], lazily[1]))


def test_a_score_that_is_no_number_fails_alone(tmp_path):
    with fake(tmp_path) as scorer:
        judged = ask(scorer, "a", "nan")
    assert scores(judged) == [10, None] and "nan" in judged[1].error


def test_restarts_are_bounded(tmp_path, monkeypatch):
    with fake(tmp_path, restarts=2, batch_size=2) as scorer:
        judged = ask(scorer, *["exit 137"] * 8)
        assert scores(judged) == [None] * 8
        assert "given up after 3 deaths in a row" in judged[-1].error
        monkeypatch.setattr("bench.scorers.worker.WorkerProcess", lambda *_: pytest.fail("it was started again"))
        assert scores(ask(scorer, "a")) == [None]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mode", "refuse"], "weights not found: run `hf download nobody/nothing`"),
        (["--mode", "dies"], "ended with exit code 1; its last words: no such module: a_library"),
        (["--mode", "other name"], "says that it is 'other'"),
        (["--raw", "protocol"], "speaks protocol 2, accepted is 1"),
        (["--raw", "nothing"], "ended with exit code 0"),
    ],
)
def test_a_worker_that_cannot_start_says_why(tmp_path, arguments, said):
    with pytest.raises(UserError) as caught:
        fake(tmp_path, *arguments)
    assert said in caught.value.message and "\n" not in caught.value.message


def test_a_program_that_says_other_things_is_not_waited_for(tmp_path):
    program = ["sh", "-c", "seq 51; exec sleep 1000"]  # which starts faster than Python
    with pytest.raises(UserError, match="did not say hello within 0.5 s, only 51 other lines"):
        type("Fake", (Fake,), {"start_timeout": 0.5})(program, tmp_path / "log")


def test_no_program_to_start(tmp_path):
    with pytest.raises(UserError, match="cannot be started"):
        Fake([str(tmp_path / "missing")], tmp_path / "log")


def test_a_slow_start_is_waited_for(tmp_path):
    with fake(tmp_path, "--mode", "slow") as scorer:
        assert scores(ask(scorer, "a")) == [10]
    with pytest.raises(UserError, match="did not say hello within 0.1 s"):
        fake(tmp_path, "--mode", "slow", start_timeout=0.1)


def test_only_marked_lines_count(tmp_path):
    with fake(tmp_path, "--raw", "glued") as scorer:
        judged = ask(scorer, "a", "b", "c")
    assert judged[0].score == 1.5  # the first answer, not the second
    assert "no number as its score but 'high'" in judged[1].error and "without an answer" in judged[2].error


def test_close_ends_all_of_the_group(tmp_path):
    pids = tmp_path / "pids"
    scorer = fake(tmp_path, "--mode", "with child", "--pids", str(pids))
    worker_pid, child_pid = map(int, pids.read_text().split())
    assert alive(worker_pid) and alive(child_pid)
    scorer.close()
    scorer.close()
    assert gone(worker_pid, child_pid)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_no_orphans_when_we_die_in_a_batch(tmp_path, end):
    """A process of ours that is killed while its worker hangs in a batch, or just ends, takes the worker with it."""
    pids, picture = tmp_path / "pids", tmp_path / "0.png"
    grey(1).save(picture)
    program = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(SCRIPT.parents[2])!r})
        from pathlib import Path
        from bench.scorers.worker_process import WorkerProcess
        command = [sys.executable, {str(SCRIPT)!r}, "--pids", {str(pids)!r}]
        process = WorkerProcess("fake", command, Path({str(tmp_path / "log")!r}), 600.0)
        print("ready", flush=True)
        item = {{"id": "0", "path": {str(picture)!r}, "prompt": "a" if {end is None} else "hang"}}
        assert [answer["score"] for answer in process.ask([item], 600.0)] == [1.0]
        print("judged", flush=True)
        """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"ready\n", parent.stderr.read()
        if end:
            parent.send_signal(end)
        assert parent.stdout.read() == (b"" if end else b"judged\n"), parent.stderr.read()
        parent.wait(600)
    assert gone(int(pids.read_text().split()[0]))


def test_the_script_runs_in_an_environment_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "site.py").write_text("raise SystemExit('our packages leaked into the worker')")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_PYTHON", sys.executable)
    script = tmp_path / "uv_worker.py"
    script.write_text(
        SCRIPT.read_text()
        .replace("dependencies = []", "dependencies = []  # none: Pillow is not there, see below")
        .replace("Path(__file__).resolve().parents[2]", f"Path({str(SCRIPT.parents[2])!r})")
    )
    with Fake(uv_command(script), tmp_path / "log") as scorer:
        judged = ask(scorer, "a")  # no Pillow there: every batch breaks, which the worker does not outlive
    assert "No module named 'PIL'" in judged[0].error


def test_load_tells_the_script_where_weights_are(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    seen = {}
    monkeypatch.setattr(Fake, "script", "fake.py", raising=False)
    monkeypatch.setattr(Fake, "repositories", (Repository("nobody/fake", ("config.json",)),))
    monkeypatch.setattr(Fake, "arguments", classmethod(lambda cls, folders: {"prompt": "two\nlines", "spare": ""}))
    monkeypatch.setattr(Fake, "__init__", lambda self, command, log=None: seen.update(command=command))
    Fake.load(tmp_path, "cuda", "float16")
    assert seen["command"][1:3] == ["run", "--script"] and Path(seen["command"][3]).name == "fake.py"
    assert seen["command"][4:] == [f"--weights={tmp_path}", "--device=cuda", "--dtype=float16", "--prompt=two\nlines"]
    with pytest.raises(UserError, match="weights not found"):
        Fake.load(tmp_path / "nowhere")


def test_logs_lie_in_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv(worker.LOGS, str(tmp_path / "run" / "logs"))
    with Fake([sys.executable, str(SCRIPT)]) as scorer:
        assert scorer.log.parent == tmp_path / "run" / "logs" and scorer.log.is_file()
    monkeypatch.delenv(worker.LOGS)
    assert os.path.isabs(worker.log_file("x"))
