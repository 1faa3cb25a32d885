"""Progress on standard error: bars on a terminal, a plain line now and then elsewhere. Standard output stays for
results."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from bench.ask.cli import say
from bench.ask.machine import is_main_process
from bench.cost.estimate import in_words
from bench.record.work import Job

QUIET = 15.0
"""Seconds between two plain lines of one job."""
TRUST = 0.1
"""What an expectation weighs against measured seconds: as much as this part of all work, measured."""


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
    return Bars(jobs, expected) if sys.stderr.isatty() else Lines(jobs, expected)


def whole_time(expected: float, done: float, spent: float) -> float:
    """Seconds that work takes in all, of which the part `done` took `spent`: what was expected (0: nothing), corrected
    the more the more is done. 0 where nobody knows."""
    if not done:
        return max(expected, spent) if expected else 0.0
    if not expected:
        return spent / done
    return spent + (1.0 - done) * (TRUST * expected + spent) / (TRUST + done)


class Iterations:
    """How far a training is, within its iteration as well: its phases are taken to last as long as in the one
    before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._began: dict[str, float] = {}
        self._before: dict[str, float] = {}
        self._start, self._step = 0.0, 0.0

    def done(self, event: dict[str, Any]) -> float:
        """The part of the training that is done, 0..1, at an event of htgrpo.training.trainer.train: what came before
        a "phase" of an iteration, or with "done" the iteration as well."""
        now, phase, part = self._clock(), event["phase"], event["fraction"]
        if phase != "done":
            self._began.setdefault(phase, now)
            self._start = part
            return min(1.0, part + self._step * self._before.get(phase, 0.0))
        if self._began:
            first = min(self._began.values())
            took = max(now - first, 1e-9)
            self._before = {name: (when - first) / took for name, when in self._began.items()}
            self._step = max(0.0, part - self._start)
        self._began = {}
        return part


class Work:
    """All jobs: which part of them is done, each weighed by its expected time, and how long it takes in all."""

    def __init__(self, jobs: list[Job], expected: float):
        self.share = {job.name: max(job.seconds, 1e-6) for job in jobs}
        self.parts = dict.fromkeys(self.share, 0.0)
        self.expected, self.ended, self.started = expected, 0, time.monotonic()

    def note(self, job: Job, event: dict[str, Any]) -> None:
        """Takes an event."""
        self.ended += "end" in event
        self.parts[job.name] = 1.0 if "end" in event else event["done"]

    @property
    def done(self) -> float:
        """The part of all, 0..1."""
        return sum(self.share[name] * part for name, part in self.parts.items()) / sum(self.share.values())

    @property
    def count(self) -> str:
        """How many jobs have ended, in words."""
        return f"{self.ended}/{len(self.share)} jobs"

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.started

    @property
    def seconds(self) -> float:
        """Seconds for all; 0 where nobody knows."""
        return whole_time(self.expected, self.done, self.spent)


class Silent:
    """Nothing: another process tells."""

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def event(self, job: Job, event: dict[str, Any]) -> None:
        pass


class Lines(Silent):
    """One line when a job starts, ends or changes phase, and every QUIET seconds."""

    def __init__(self, jobs: list[Job], expected: float):
        self.work = Work(jobs, expected)
        self.last: dict[str, tuple[float, str]] = {}

    def event(self, job: Job, event: dict[str, Any]) -> None:
        self.work.note(job, event)
        if "end" in event:
            outcome = "done" if event["end"] == "ok" else f"failed: {event['sentence']}"
            self._print(f"{job.name}: {outcome}")
            return
        now, (when, phase) = time.monotonic(), self.last.get(job.name, (0.0, ""))
        this = event["text"].split()[0]
        if this != phase or now - when > QUIET:
            self.last[job.name] = (now, this)
            self._print(f"{job.name}: {event['done']:4.0%} {event['text']}")

    def _print(self, text: str) -> None:
        whole = self.work.seconds
        about = f" of about {in_words(whole)}" if whole else ""
        print(f"[{in_words(self.work.spent)}{about}, {self.work.count}] {text}", file=sys.stderr, flush=True)


class Bars:
    """A bar for the whole and one for each running job, each with the time it took so far and what is left."""

    def __init__(self, jobs: list[Job], expected: float):
        from rich.console import Console
        from rich.progress import Progress, ProgressColumn, Task
        from rich.table import Column
        from rich.text import Text

        class Times(ProgressColumn):
            """What it took, and what is left."""

            max_refresh = 0.5

            def render(self, task: Task) -> Text:
                spent, done = task.elapsed or 0.0, task.percentage / 100
                whole = whole_time(task.fields["expected"], done, spent)
                left = f", {in_words(max(0.0, whole - spent))} left" if whole else ""
                return Text(f"{in_words(spent)}{left}", style="progress.elapsed")

        self.work = Work(jobs, expected)
        self.console = Console(stderr=True)
        self.bars = Progress(*_columns(Times(Column(no_wrap=True))), console=self.console, expand=True)
        self.whole = self.bars.add_task("all", total=1.0, text=self.work.count, expected=expected)
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> "Bars":
        self.bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.stop()

    def event(self, job: Job, event: dict[str, Any]) -> None:
        if job.name not in self.tasks:
            self.tasks[job.name] = self.bars.add_task(job.name, total=1.0, text="", expected=job.seconds)
        self.work.note(job, event)
        if "end" in event:
            self.bars.remove_task(self.tasks[job.name])
            if event["end"] != "ok":
                self.console.print(f"{job.name} failed: {event['sentence']}", style="red", markup=False, soft_wrap=True)
        else:
            self.bars.update(self.tasks[job.name], completed=event["done"], text=event["text"])
        self.bars.update(self.whole, completed=self.work.done, text=self.work.count)


def _columns(times: Any) -> list[Any]:
    """Name, bar, per cent, times, and what it is at, which alone is cut where the terminal is narrow."""
    from rich.progress import BarColumn, TextColumn
    from rich.table import Column

    return [
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=24)),
        BarColumn(bar_width=10, table_column=Column(min_width=10)),
        TextColumn("{task.percentage:>3.0f}%", table_column=Column(min_width=4)),
        times,
        TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
    ]


@contextlib.contextmanager
def steps(first: str = "", count: int = 1, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Shows the `count` steps of a command that has no jobs, the `first` at once, where it is given: call what this
    yields with each that begins. Lines elsewhere than on a terminal; nothing where `quiet`, and by other processes than
    the first of a launch."""
    shown = Shown(count) if not quiet and is_main_process() else None
    bars = shown.bars if shown else contextlib.nullcontext()
    with bars:
        if shown and first:
            shown.next(first)
        yield shown.next if shown else lambda text: None


class Shown:
    """The steps of a command, as a bar on a terminal and as lines elsewhere."""

    def __init__(self, count: int):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self.count, self.begun, self.started = count, 0, time.monotonic()
        self.console = Console(stderr=True)
        self.bars = Progress(
            BarColumn(bar_width=10),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task = self.bars.add_task("", total=count)

    def next(self, text: str) -> None:
        """The next step begins."""
        self.begun += 1
        self.bars.update(self.task, description=text, completed=self.begun - 1)
        if not self.console.is_terminal:
            of_all = f", {self.begun}/{self.count}" if self.count > 1 else ""
            say(f"[{in_words(time.monotonic() - self.started)}{of_all}] {text}")
