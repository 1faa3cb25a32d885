"""Progress on standard error: bars on a terminal, a plain line now and then elsewhere. Standard output stays for
results."""

import sys
import time
from typing import Any, Protocol

from bench.ask.machine import is_main_process
from bench.cost.estimate import in_words
from bench.record.work import Job

QUIET = 15.0
"""Seconds between two plain lines of one job."""


class Progress(Protocol):
    """Shows running jobs. A context manager; `event` takes what jobs.run_jobs tells."""

    def __enter__(self) -> "Progress": ...

    def __exit__(self, *error: object) -> None: ...

    def event(self, job: Job, event: dict[str, Any]) -> None: ...


def make_progress(jobs: list[Job], expected: float) -> Progress:
    """Bars where standard error is a terminal, lines elsewhere, by the first process of a launch. expected: seconds for
    all; 0 where nobody knows beforehand, so that what is left is told from what is done."""
    if not is_main_process():
        return Silent()
    return Bars(jobs) if sys.stderr.isatty() else Lines(jobs, expected)


class Silent:
    """Nothing: another process tells."""

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def event(self, job: Job, event: dict[str, Any]) -> None:
        pass


class Lines:
    """One line when a job starts, ends or changes phase, and every QUIET seconds."""

    def __init__(self, jobs: list[Job], expected: float):
        self.total, self.ended, self.expected = len(jobs), 0, expected
        self.started = time.monotonic()
        self.last: dict[str, tuple[float, str]] = {}

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def event(self, job: Job, event: dict[str, Any]) -> None:
        if "end" in event:
            self.ended += 1
            outcome = "done" if event["end"] == "ok" else f"failed: {event['sentence']}"
            self._print(f"{job.name}: {outcome}")
            return
        now, (when, phase) = time.monotonic(), self.last.get(job.name, (0.0, ""))
        this = event["text"].split()[0]
        if this != phase or now - when > QUIET:
            self.last[job.name] = (now, this)
            self._print(f"{job.name}: {event['done']:4.0%} {event['text']}", event["done"])

    def _print(self, text: str, done: float = 0.0) -> None:
        spent = time.monotonic() - self.started
        whole = self.expected or (spent * self.total / (self.ended + done) if done else 0.0)
        about = f" of about {in_words(whole)}" if whole else ""
        print(f"[{in_words(spent)}{about}, {self.ended}/{self.total} jobs] {text}", file=sys.stderr, flush=True)


class Bars:
    """A bar for the whole, weighted by expected time, and one for each running job."""

    def __init__(self, jobs: list[Job]):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.console = Console(stderr=True)
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=self.console,
        )
        self.share = {job.name: max(job.seconds, 1e-6) for job in jobs}
        self.done = dict.fromkeys(self.share, 0.0)
        self.whole = self.bars.add_task("all", total=sum(self.share.values()), text=f"0/{len(jobs)} jobs")
        self.tasks: dict[str, Any] = {}
        self.ended = 0

    def __enter__(self) -> "Bars":
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def event(self, job: Job, event: dict[str, Any]) -> None:
        if job.name not in self.tasks:
            self.tasks[job.name] = self.bars.add_task(job.name, total=1.0, text="")
        if "end" in event:
            self.ended += 1
            self.done[job.name] = 1.0
            self.bars.remove_task(self.tasks[job.name])
            if event["end"] != "ok":
                self.console.print(f"{job.name} failed: {event['sentence']}", style="red", markup=False, soft_wrap=True)
        else:
            self.done[job.name] = event["done"]
            self.bars.update(self.tasks[job.name], completed=event["done"], text=event["text"])
        spent = sum(self.share[name] * part for name, part in self.done.items())
        self.bars.update(self.whole, completed=spent, text=f"{self.ended}/{len(self.share)} jobs")
