"""The one parser of all commands, and the one style of their help.

Every flag has a kind (htgrpo.base.values, bench.ask.kinds; by default one line of text) and stands in one of GROUPS;
every mistake is one sentence that names its flag.
"""

import argparse
import re
import sys
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.ask.width import columns, filled, wrapped
from htgrpo.base.errors import UserError, nearest, shown
from htgrpo.base.values import Text

VALUED = (None, "store", "append")
"""Actions of flags that take a value."""
WHAT, TRAINING, SCORING, RUNNING, OUTPUT, HELP = GROUPS = (
    "what to run", "training", "scoring", "where and how", "output", "help",
)  # fmt: skip
EXITS = (
    "exit codes: 0 done, 2 wrong usage or something that it needs is not here, 3 a part of it failed or it was "
    "interrupted (run the same command again)"
)


@dataclass(frozen=True, eq=False)  # argparse hashes it
class Bound:
    """A kind with the name of its flag, as argparse calls it."""

    kind: Callable[[Any, str], Any]
    label: str

    def __call__(self, text: str) -> Any:
        return self.kind(text, self.label)


class Layout(argparse.HelpFormatter):
    """Help as wide as the terminal, up to WIDEST; no word is cut, and lists stay lists."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=26, width=columns() - 2)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrapped(" ".join(text.split()), width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return filled(text, width)


class Version(argparse.Action):
    """`--version`: prints the package's and leaves."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any):
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        from importlib.metadata import version

        print(f"htgrpo-bench {version('htgrpo-bench')}")
        parser.exit()


class Parser(argparse.ArgumentParser):
    """The parser of a command: raises UserError instead of leaving. type=KIND says what a flag takes
    (htgrpo.base.values), group=GROUP where help shows it.

    description: paragraphs, which are filled, and lists, whose lines begin with blanks. examples: (words after `python
    -m bench.COMMAND`, or a whole command line, and what it is good for). after: what is said below the examples.
    """

    def __init__(
        self, command: str, description: str, examples: Iterable[tuple[str, str]] = (), after: str = "", prog: str = ""
    ):
        prog = prog or f"python -m bench.{command}"
        shown_examples = [example(prog, words, remark) for words, remark in examples]
        listing = "\n".join(["examples:", *shown_examples]) if shown_examples else ""
        super().__init__(
            prog=prog,
            description="\n\n".join(filter(None, [description.strip("\n"), listing, after.strip("\n")])),
            allow_abbrev=False,
            formatter_class=Layout,
            add_help=False,
        )
        self._groups = {title: self.add_argument_group(title) for title in GROUPS}
        self.add_argument("-h", "--help", action="help", group=HELP, help="show this text and leave")
        self.add_argument("--version", action=Version, group=HELP, help="show the version and leave")

    def flag(
        self,
        name: str,
        kind: Callable[[Any, str], Any],
        use: str,
        group: str = WHAT,
        many: bool = False,
        **options: Any,
    ) -> None:
        """A flag, or a word without "--", that takes a value. name: with what help calls the value, such as "--out
        RUN". use: what help says of it, followed by the default unless it tells that itself. many: it may be repeated;
        the value is a list."""
        name, _, metavar = name.partition(" ")
        if (default := options.get("default")) not in (None, "") and "default" not in use:
            use += f" (default {','.join(map(str, default)) if isinstance(default, list) else default})"
        options |= {"metavar": metavar} if metavar else {}
        options |= {"action": "append", "default": []} if many else {}
        self.add_argument(name, group=group, type=kind, help=use, **options)

    def add_argument(self, *names: str, group: str = WHAT, **options: Any) -> argparse.Action:
        """As argparse's, with a kind for `type`, which every flag that takes a value has, and one of GROUPS."""
        if options.get("action") in VALUED:
            label = names[0] if names[0][0] == "-" else options.get("metavar", names[0])
            options["type"] = Bound(options.get("type", Text()), label)
        return self._groups[group].add_argument(*names, **options)

    def switch(self, name: str, use: str, group: str = WHAT) -> None:
        """A flag that takes no value. use: what help says of it."""
        self.add_argument(name, group=group, action="store_true", help=use)

    def format_help(self) -> str:
        """The help, whose usage names what must be given and leaves the flags to the groups."""
        needed = [
            f"{a.option_strings[0]} {a.metavar or a.dest.upper()}"
            for a in self._actions
            if a.option_strings and a.required
        ]
        words = [
            {"?": f"[{a.metavar}]", "*": f"[{a.metavar} ...]"}.get(str(a.nargs), str(a.metavar))
            for a in self._actions
            if not a.option_strings
        ]
        self.usage = self.usage or " ".join([self.prog, *words, *needed, "[FLAG ...]"])
        return super().format_help()

    def parse_args(self, args: list[str] | None = None, namespace: Any = None) -> argparse.Namespace:  # type: ignore[override]
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


def example(prog: str, words: str, remark: str) -> str:
    """An example as it can be pasted into a shell: the remark as a comment, a long command on several lines."""
    first, *parts = re.split(r" (?=--)", words if "-m bench" in words else f"{prog} {words}".rstrip())
    lines = [f"  {first}"]
    for part in parts:
        if len(lines[-1]) + len(part) < 76:
            lines[-1] += f" {part}"
        else:
            lines[-1] += " \\"
            lines.append(f"      {part}")
    return "\n".join([*(wrapped(remark, 78, "  # ", "  # ") if remark else []), *lines])
