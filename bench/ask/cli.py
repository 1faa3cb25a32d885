"""What every command line shares: one clear sentence instead of a traceback, and the right exit code."""

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path

from bench.ask.machine import is_main_process, processes
from htgrpo.base.errors import EXIT_INCOMPLETE, UserError

GRACE = 3.0
"""Seconds by which the other processes of a launch leave later than the first one."""


def run_main(main: Callable[[], int]) -> None:
    """Runs `main` and leaves the process with its exit code: 0 ok, 1 gate failed, 2 usage, 3 incomplete or interrupted.

    Usage includes what is not there and has to be brought first: weights, prompts, a server."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a letter shows its number
    try:
        code = main()
    except UserError as error:
        say(f"error: {error.message}")
        code = error.exit_code
    except KeyboardInterrupt:
        say("\ninterrupted: finished work is kept; run the same command again to go on")
        code = EXIT_INCOMPLETE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    if code and processes() > 1:
        _leave_in_order()
    sys.exit(code)


def _leave_in_order() -> None:
    """Lets the first process of a launch finish its sentence: the launcher ends all as soon as one has left with an
    error."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if not is_main_process():
        time.sleep(GRACE)


def command_line() -> str:
    """The command that this process was started with, as one would type it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = Path(sys.argv[0]).name if spec is None else f"python -m {spec.name}"
    return shlex.join([*name.split(), *sys.argv[1:]])


def say(text: str) -> None:
    """A line for the user, on standard error, from the first process of a launch."""
    if is_main_process():
        print(text, file=sys.stderr, flush=True)
