"""What a part of the campaign consists of: cases, each of which says what it found."""

import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

KINDS = {
    "mismatch": "numbers, weights, pictures or verdicts that are not those of the undisturbed run",
    "traceback": "an exception that nobody explained",
    "accepted": "nonsense or damage that was taken without a word",
    "words": "told, but not in one sentence with the right exit code",
    "left": "files that were written or left over",
    "stuck": "a command that does not end, or cannot be gone on with",
    "outside": "a statistic outside its limits",
    "broken": "the campaign's own case could not be run",
}
"""Kinds of faults."""


@dataclass(frozen=True)
class Fault:
    """One thing that is not as it should be. kind: of KINDS; told: a sentence, with what shows it."""

    kind: str
    told: str


@dataclass
class Outcome:
    """What a case found. value: numbers and remarks for the summary's table."""

    faults: list[Fault] = field(default_factory=list)
    value: dict[str, Any] = field(default_factory=dict)

    def add(self, kind: str, told: str) -> None:
        """One more fault; its sentence is cut to what a table holds."""
        assert kind in KINDS
        text = " ".join(told.split()).encode("utf-8", "backslashreplace").decode()
        self.faults.append(Fault(kind, text[:600]))

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Case(Protocol):
    """Something to try; it can be pickled. name: unique in its part; group: a row of the summary; limit: seconds it may
    take."""

    @property
    def name(self) -> str: ...

    @property
    def group(self) -> str: ...

    @property
    def limit(self) -> float: ...

    def run(self, ground: "Ground", scratch: Path) -> Outcome:
        """Tries it. scratch: a new folder of its own."""
        ...


@dataclass(frozen=True)
class Ground:
    """What cases share below a folder, each made once, by whoever needs it first."""

    root: Path
    seed: int = 0

    def made(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder `name`, which `make` fills if it is not there yet. The time of the case that needs it stands
        still."""
        folder, done = self.root / name, self.root / f"{name}.done"
        folder.parent.mkdir(parents=True, exist_ok=True)
        left = signal.setitimer(signal.ITIMER_REAL, 0)[0]
        try:
            with FileLock(f"{folder}.lock"):
                if not done.is_file():
                    shutil.rmtree(folder, ignore_errors=True)
                    make(folder)
                    done.touch()
        finally:
            signal.setitimer(signal.ITIMER_REAL, left)
        return folder


@dataclass(frozen=True)
class Part:
    """A part of the campaign. cases(seed, trials) -> all its cases; usual: how many of them are run where nothing else
    is said."""

    name: str
    title: str
    about: str
    cases: Callable[[int, int], Sequence[Case]]
    usual: int | None = None


def thinned(cases: Sequence[Case], count: int | None, seed: int) -> list[Case]:
    """`count` of the cases, spread evenly over their order; another seed takes others."""
    if count is None or count >= len(cases):
        return list(cases)
    step = len(cases) / count
    return [cases[int(i * step + (seed * 0.618034 % 1) * step)] for i in range(count)]
