"""What a check has found, and strict reading: here a torn line is a finding, not something to mend."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from htgrpo.base.errors import EXIT_FAILED, EXIT_INCOMPLETE, EXIT_OK
from htgrpo.base.records import fault

T = TypeVar("T")

MANY = 20
"""Lines about the records of one file before the rest is only counted."""


class Damaged(Exception):
    """A file cannot be read; the message says why."""


@dataclass
class Findings:
    """mismatches: what contradicts the rest of the run. missing: what is not there (yet). unchecked: what could not be
    compared here, and why. counts: how many things were compared, by kind. Every entry is one line that begins with a
    path in the run."""

    mismatches: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def same(self, where: str, what: str, seen: Any, expected: Any, source: str) -> bool:
        """Whether `seen` is what `source` says; otherwise a mismatch that shows both."""
        if seen != expected:
            self.mismatches.append(f"{where}: {what} is {_short(seen)}, but {source} says {_short(expected)}")
        return seen == expected

    @contextmanager
    def stopped(self, where: str) -> Iterator[None]:
        """Turns what stops a check of what lies at `where` into a mismatch."""
        try:
            yield
        except Damaged as error:
            self.mismatches.append(f"{where}{error}")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            kind = type(error).__name__
            self.mismatches.append(f"{where.rstrip(':/ ')}: holds values of a wrong kind ({kind}: {error})")

    def not_checked(self, line: str) -> None:
        """Something that cannot be compared here, said once."""
        if line not in self.unchecked:
            self.unchecked.append(line)

    def several(self, where: str, lines: list[str]) -> None:
        """Mismatches in the records of one file, at most MANY of them by name."""
        self.mismatches += [f"{where}: {line}" for line in lines[:MANY]]
        if len(lines) > MANY:
            self.mismatches.append(f"{where}: and {len(lines) - MANY} more records like these")

    @property
    def status(self) -> str:
        """mismatch, incomplete or ok."""
        return "mismatch" if self.mismatches else "incomplete" if self.missing else "ok"

    @property
    def exit_code(self) -> int:
        """0 all matches, 1 mismatch, 3 incomplete."""
        return {"mismatch": EXIT_FAILED, "incomplete": EXIT_INCOMPLETE, "ok": EXIT_OK}[self.status]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return f"{text[:12]}…"
    return repr(value) if len(text) <= 80 else f"{text[:77]}…"


def read_object(path: Path, kind: Callable[..., T], named: str = "") -> T:
    """The object in `path`. Raises Damaged, which begins with `named`."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Damaged(f"{named}cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise Damaged(f"{named}is damaged or cut off: it is not JSON ({error})") from error
    if told := fault(value, kind):
        raise Damaged(f"{named}is damaged or was edited ({told})")
    return cast(T, value)


def read_records(path: Path, kind: Callable[..., T], named: str = "") -> list[T]:
    """The objects in `path`, one a line. Raises Damaged, which begins with `named`, also for a last line that is cut
    off."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Damaged(f"{named}cannot be read ({error.strerror})") from error
    if data and not data.endswith(b"\n"):
        raise Damaged(f"{named}is cut off: its last line has no end")
    records = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise Damaged(f"{named}line {number} is not JSON: the file was edited or damaged") from error
        if told := fault(records[-1], kind):
            raise Damaged(f"{named}line {number} is damaged or was edited ({told})")
    return records
