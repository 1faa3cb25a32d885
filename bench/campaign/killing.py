"""Kills a command with SIGKILL right before its N-th change of a file, runs it again, and compares what is there in the
end.

    python -m bench.campaign.killing --below FOLDER --at 17 -- bench.compare --out FOLDER/run ...
    python -m bench.campaign.killing --below FOLDER --count FILE -- bench.pretrain --out FOLDER/policy ...

A change is what Python's audit hooks tell: a file opened for writing, renamed or removed, a folder made or removed, a
mode changed, below FOLDER, in this process (give --jobs 0).
"""

import argparse
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
Contents = dict[str, bytes]


def watch(below: Path, on_change: Callable[[str], None]) -> None:
    """From now on `on_change` hears of every change of a file below a folder, before it happens. It cannot be
    undone."""
    start = str(below.resolve())
    busy = False

    def hook(event: str, arguments: tuple) -> None:
        nonlocal busy
        changes = event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING)
        if busy or not changes or not isinstance(arguments[0], str | os.PathLike):
            return
        busy = True
        try:
            if os.path.abspath(os.fspath(arguments[0])).startswith(start):
                on_change(f"{event} {arguments[0]}")
        finally:
            busy = False

    sys.addaudithook(hook)


def main(argv: list[str] | None = None) -> int:
    """Runs one command, killed or counted."""
    p = argparse.ArgumentParser(
        prog="python -m bench.campaign.killing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--below", type=Path, required=True, metavar="FOLDER", help="whose changes count")
    p.add_argument(
        "--at", type=int, default=0, metavar="N", help="kill right before the N-th change (default 0: never)"
    )
    p.add_argument("--count", type=Path, metavar="FILE", help="write a line for every change into this file, elsewhere")
    p.add_argument("command", nargs=argparse.REMAINDER, metavar="-- MODULE ARGUMENTS", help="the command")
    args = p.parse_args(argv)
    module, *rest = [word for word in args.command if word != "--" or args.command.index(word) > 0]
    seen = 0
    told = os.open(args.count, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644) if args.count else None

    def on_change(change: str) -> None:
        nonlocal seen
        seen += 1
        if told is not None:
            os.write(told, f"{change}\n".encode())
        if seen == args.at:
            os.kill(os.getpid(), signal.SIGKILL)

    watch(args.below, on_change)
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


def run(command: list[str], below: Path, at: int = 0, count: Path | None = None) -> subprocess.CompletedProcess:
    """One run of a command (module and arguments) in a process of its own."""
    how = ["--at", str(at), *(["--count", str(count)] if count else [])]
    argv = [sys.executable, "-m", "bench.campaign.killing", "--below", str(below), *how, "--", *command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=600)


def changes(command: list[str], below: Path, notes: Path) -> list[str]:
    """Every change that `command` makes below a folder."""
    done = run(command, below, count=notes)
    if done.returncode:
        raise RuntimeError(f"the command itself ended with {done.returncode}: {done.stderr[-500:]}")
    return notes.read_text("utf-8").splitlines()


def contents(folder: Path, leave_out: Callable[[str], bool] = lambda name: False) -> Contents:
    """All files below a folder by path."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    return {name: data for name, data in found.items() if not leave_out(name)}


if __name__ == "__main__":
    sys.exit(main())
