"""The one parser of all commands.

Every flag has a kind (htgrpo.base.values, bench.ask.kinds; by default one line of text); every mistake is one sentence
that names its flag.
"""

import argparse
import sys
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

from htgrpo.base.errors import UserError, nearest, shown
from htgrpo.base.values import Text

VALUED = (None, "store", "append")
"""Actions of flags that take a value."""


@dataclass(frozen=True, eq=False)  # argparse hashes it
class Bound:
    """A kind with the name of its flag, as argparse calls it."""

    kind: Callable[[Any, str], Any]
    label: str

    def __call__(self, text: str) -> Any:
        return self.kind(text, self.label)


class Parser(argparse.ArgumentParser):
    """The parser of a command: raises UserError instead of leaving. type=KIND says what a flag takes
    (htgrpo.base.values)."""

    def __init__(self, command: str, description: str | None):
        super().__init__(
            prog=f"python -m bench.{command}",
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        """As argparse's, with a kind for `type`, which every flag that takes a value has."""
        if options.get("action") in VALUED:
            label = names[0] if names[0][0] == "-" else options.get("metavar", names[0])
            options["type"] = Bound(options.get("type", Text()), label)
        return super().add_argument(*names, **options)

    def parse_args(self, args: list[str] | None = None, namespace: Any = None) -> argparse.Namespace:
        """As argparse's. Raises UserError, for a flag that there is not with the nearest one."""
        words = sys.argv[1:] if args is None else args
        flags = words[: words.index("--")] if "--" in words else words
        for flag in (word.partition("=")[0] for word in flags if word[:2] == "--" and " " not in word):
            self._check_flag(flag)
        found, rest = self.parse_known_args(words, namespace)
        for word in rest:
            self._check_flag(word) if word[:1] == "-" else self.error(f"{word[:100]!r} is one word too many")
        return found

    def error(self, message: str) -> Any:
        """Raises UserError with argparse's sentence."""
        told = message.removeprefix("argument ")
        raise UserError(f"{told}{'' if told[-1] == '?' else ';'} {self.prog} --help tells what it takes")

    def _check_flag(self, flag: str) -> None:
        if flag not in self._option_string_actions:
            near = nearest(flag, self._option_string_actions)
            self.error(f"unknown flag {shown(flag)}" + (f": did you mean {near}?" if near else ""))

    def refuse(self, args: argparse.Namespace, idle: Container[str], why: str) -> None:
        """Raises UserError for the first flag that was given and is `idle`. why: where it has no effect."""
        for action in self._actions:
            if action.dest in idle and getattr(args, action.dest, action.default) not in (action.default, []):
                label = action.option_strings[0] if action.option_strings else action.metavar
                raise UserError(f"{label} has no effect {why}: leave it out")

    def refuse_all_but(self, args: argparse.Namespace, used: Container[str], why: str) -> None:
        """The same for all flags that are not among those `used`."""
        self.refuse(args, {action.dest for action in self._actions if action.dest not in used}, why)
