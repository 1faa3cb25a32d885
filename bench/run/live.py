"""RUN/live.html while a run goes on: its jobs, its curves, its newest pictures; gone when the run ends."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.ask.cli import command_line, say
from bench.record.work import Job
from htgrpo.base.files import atomic_write_text

FILE = "live.html"
EVERY = 30.0
"""Seconds between two versions of the page, and at least SHARE times what one takes to write."""
SHARE, FIRST = 20.0, 5.0
"""FIRST: seconds before the first one, which loads what draws it."""


class Live:
    """Writes the page at events of the jobs (see jobs.run_jobs). runs: folders of the runs by their names."""

    def __init__(
        self, root: Path, runs: Mapping[str, Path], jobs: list[Job], clock: Callable[[], float] = time.monotonic
    ):
        self._root, self._runs, self._clock = root, runs, clock
        self._jobs: dict[str, tuple[float, str]] = {job.name: (0.0, "waiting") for job in jobs}
        self._next, self._broken = clock() + FIRST, False

    def event(self, job: Job, event: dict[str, Any]) -> None:
        """Takes an event, and writes the page where it is time."""
        if "end" in event:
            self._jobs[job.name] = (1.0, "done" if event["end"] == "ok" else f"failed: {event['sentence']}")
        else:
            self._jobs[job.name] = (float(event["done"]), str(event["text"]))
        began = self._clock()
        if began >= self._next and not self._broken:
            self._write()
            self._next = self._clock() + max(EVERY, SHARE * (self._clock() - began))

    def _write(self) -> None:
        from reports.pages.live import page

        try:
            text = page(self._root, self._runs, self._jobs, command_line(), int(EVERY))
            atomic_write_text(self._root / FILE, text)
        except Exception as error:  # a picture of the run must not end the run, whatever is wrong with it
            self._broken = True
            say(f"{self._root / FILE} is no longer written: {error or type(error).__name__}")


def remove(root: Path) -> None:
    """Takes the page away: what comes after is the report's."""
    (root / FILE).unlink(missing_ok=True)
