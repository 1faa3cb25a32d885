"""The one exception for things a user can mend, and the sentence that names the nearest accepted value."""

import difflib
import re
from collections.abc import Iterable
from typing import Any

NEAR = 0.6
"""How alike two names are (difflib) where one may be meant by the other, 0..1."""
EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INCOMPLETE = 0, 1, 2, 3


class UserError(Exception):
    """Something the user can mend. The message is one sentence: what was wrong, the value seen, what is accepted, the
    fix.

    Command lines print it without a traceback and leave with `exit_code`.
    """

    def __init__(self, message: str, exit_code: int = EXIT_USAGE):
        super().__init__(message)
        self.message, self.exit_code = message, exit_code

    def __reduce__(self):
        return type(self), (self.message, self.exit_code)


def shown(value: Any, most: int = 200) -> str:
    """`value` for a sentence: its repr, which is on one line, cut where it is long."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**60 else "a number of more than 60 digits"
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-10:]} ({len(text)} characters)"


def suggest(name: str, accepted: Iterable[str], noun: str, where: str = "", listing: str = "") -> UserError:
    """The error for an unknown `name`, given in `where`, with the nearest of the `accepted` ones first. listing: what
    to say of those in place of all their names."""
    accepted = sorted(accepted)
    hint = f"did you mean {near!r}? " if (near := nearest(name, accepted)) else ""
    place = f" in {where}" if where else ""
    return UserError(f"unknown {noun} {shown(name)}{place}: {hint}accepted: {listing or ', '.join(accepted) or 'none'}")


def nearest(name: str, accepted: Iterable[str]) -> str | None:
    """The one of `accepted` that was most likely meant, as a whole or by a part such as alpha of ht.alpha; None where
    none is near."""

    def likeness(one: str) -> tuple[float, float]:
        whole, *parts = (
            difflib.SequenceMatcher(None, name[:100].lower(), part.lower()).ratio()
            for part in (one, *(part for part in re.split(r"[._@-]", one) if part))
        )
        return max(whole, *parts), whole

    best = max(accepted, key=likeness, default=None)
    return best if best is not None and likeness(best)[0] >= NEAR else None
