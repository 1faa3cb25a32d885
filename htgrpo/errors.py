"""The one exception for things a user can mend, and the sentence that names the nearest accepted value."""

import difflib
from collections.abc import Iterable
from typing import Any

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INCOMPLETE = 0, 1, 2, 3


class UserError(Exception):
    """Something the user can mend. The message is one sentence: what was wrong, the value seen, what is accepted, the fix.

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
    return text if len(text) <= most else f"{text[:most // 2]}…{text[-10:]} ({len(text)} characters)"


def suggest(name: str, accepted: Iterable[str], noun: str) -> UserError:
    """The error for an unknown `name`, with the nearest of the `accepted` ones first."""
    accepted = sorted(accepted)
    near = difflib.get_close_matches(name[:100], accepted, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UserError(f"unknown {noun} {shown(name)}: {hint}accepted: {', '.join(accepted) or 'none'}")
