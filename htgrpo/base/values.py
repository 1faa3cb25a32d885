"""What a setting or a flag accepts, said once: kinds that turn a text (or a value read from JSON) into a checked value.

A kind is called as kind(value, name) and raises UserError `NAME is VALUE, but it takes ...`. Fields of dataclasses
carry one as Annotated[int, Whole(1, 100)], flags as `type=Whole(1, 100)` (bench.ask.flags). Imports no torch.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from htgrpo.base.errors import UserError, shown, suggest

WHOLE = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
DECIMAL = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,4})?", re.ASCII)
SEED = 2**31 - 1
"""The largest seed."""


def refuse(name: str, value: Any, accepted: str) -> UserError:
    """The error `name is value, but accepted`."""
    return UserError(f"{name} is {shown(value)}, but {accepted}")


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`, in digits. why: what one outside of them would mean."""

    low: int = -(2**63)
    high: int = 2**63 - 1
    why: str = ""

    @property
    def accepted(self) -> str:
        """What it takes, in words."""
        bounds = "" if (self.low, self.high) == (Whole.low, Whole.high) else f" from {self.low} to {self.high}"
        return f"it takes a whole number{bounds}{f' ({self.why})' if self.why else ''}"

    def __call__(self, value: Any, name: str) -> int:
        if isinstance(value, str):
            number = int(value) if WHOLE.fullmatch(value.strip(" ")) else None
        elif isinstance(value, float):
            number = int(value) if value.is_integer() else None
        else:
            number = value if isinstance(value, int) and not isinstance(value, bool) else None
        if number is None or not self.low <= number <= self.high:
            raise refuse(name, value, self.accepted)
        return number


@dataclass(frozen=True)
class Number:
    """A finite number from `low` to `high`; open_low, open_high: but not these themselves."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    @property
    def accepted(self) -> str:
        """What it takes, in words."""
        if math.isfinite(self.low) and math.isfinite(self.high) and not (self.open_low or self.open_high):
            return f"it takes a finite number from {self.low:g} to {self.high:g}"
        parts = (
            [f"{'greater than' if self.open_low else 'of at least'} {self.low:g}"] if math.isfinite(self.low) else []
        )
        parts += [f"{'less than' if self.open_high else 'at most'} {self.high:g}"] if math.isfinite(self.high) else []
        return f"it takes a finite number {' and '.join(parts)}".rstrip()

    def __call__(self, value: Any, name: str) -> float:
        if isinstance(value, str):
            number = float(value) if DECIMAL.fullmatch(value.strip(" ")) else math.nan
        else:
            given = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
            number = float(value) if given else math.nan
        inside = (self.low < number if self.open_low else self.low <= number) and (
            number < self.high if self.open_high else number <= self.high
        )
        if not (math.isfinite(number) and inside):
            raise refuse(name, value, self.accepted)
        return number


@dataclass(frozen=True)
class Text:
    """A text that can be written down as UTF-8 on one line, of `least` to `most` characters."""

    least: int = 1
    most: int = 4096

    def __call__(self, value: Any, name: str) -> str:
        if not isinstance(value, str):
            raise refuse(name, value, "it takes a text")
        if len(value.strip()) < self.least:
            raise refuse(name, value, "it takes a text that is not empty")
        if len(value) > self.most:
            raise refuse(name, value, f"it takes a text of at most {self.most} characters")
        if not value.isprintable() and any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in value):
            raise refuse(name, value, "it takes a text on one line in UTF-8, without control characters")
        return value


@dataclass(frozen=True)
class OneOf:
    """One of some names, which may be a function that tells them. noun: what they are, e.g. "split"."""

    names: Iterable[str] | Callable[[], Iterable[str]]
    noun: str

    def __call__(self, value: Any, name: str) -> str:
        names = list(self.names() if callable(self.names) else self.names)
        if value not in names:
            raise suggest(str(value), names, self.noun, name if name != self.noun else "")
        return value


@dataclass(frozen=True)
class Names:
    """Names with commas between, each of which `each` (a kind) takes; repetitions are dropped."""

    each: Callable[[Any, str], Any] = Text(most=200)

    def __call__(self, value: Any, name: str) -> list[str]:
        Text(0)(value, name)
        found = list(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
        if not found:
            raise refuse(name, value, "it takes names separated by commas")
        return [self.each(one, name) for one in found]


@dataclass(frozen=True)
class Resolution:
    """HEIGHTxWIDTH in pixels, or one number for both; where `empty`, "" for the policy's own."""

    empty: bool = True
    most: int = 8192

    def __call__(self, value: Any, name: str) -> str:
        sides = str(value).split("x")
        fits = len(sides) in (1, 2) and all(
            re.fullmatch("[1-9][0-9]{0,4}", side) and int(side) <= self.most for side in sides
        )
        if not (fits or (self.empty and value == "")):
            raise refuse(
                name,
                value,
                f"it takes HEIGHTxWIDTH in pixels or one number, up to {self.most}, such as 512 or 768x1536",
            )
        return str(value)
