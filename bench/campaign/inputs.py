"""Gives nonsense to every flag of every command, in worker processes that keep what they have imported."""

import argparse
import contextlib
import io
import os
import random
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

from bench.__main__ import COMMANDS as LISTED
from bench.ask.cli import run_main
from bench.campaign import made, nonsense
from bench.campaign.cases import Ground, Outcome, Part
from htgrpo.base.errors import EXIT_INCOMPLETE, EXIT_USAGE

SECONDS = 60.0
"""After which a command counts as having accepted what it was given."""


class _Seen(Exception):
    """Carries a parser out of the command that made it."""


@cache
def flags(command: str) -> dict[str, argparse.Action]:
    """What a command line may hold, by flag or, for words without one, by name."""

    def show(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _Seen(parser)

    owners = [argparse.ArgumentParser, *_subclasses(argparse.ArgumentParser)]
    with contextlib.ExitStack() as stack:
        for owner in owners:
            for method in ("parse_args", "parse_known_args"):
                if method in vars(owner):
                    stack.enter_context(mock.patch.object(owner, method, show))
        try:
            import_module(f"bench.{command}").main([])
        except _Seen as seen:
            return {(a.option_strings or [a.dest])[-1]: a for a in seen.args[0]._actions if a.dest != "help"}
    raise RuntimeError(f"python -m bench.{command} parses no command line")


def _subclasses(owner: Any) -> Iterator[Any]:
    for one in owner.__subclasses__():
        yield one
        yield from _subclasses(one)


@dataclass(frozen=True)
class Line:
    """A command line. words: with POLICY, RUN, TRAINED, OUT, WORK and FILE for places. names: one of them stands in the
    sentence that refuses it; none for a right command line, to which other lines add their nonsense, and which is not
    refused."""

    name: str
    group: str
    words: tuple[str, ...]
    names: tuple[str, ...] = ()
    limit: float = SECONDS + 30

    def run(self, ground: Ground, scratch: Path) -> Outcome:
        """Gives it to the command."""
        outcome = Outcome()
        if self.words == ("UNKNOWN",):
            outcome.add("broken", "bench/campaign/nonsense.py does not say what this flag takes: add it there")
            return outcome
        (scratch / "work").mkdir()
        (scratch / "work/thesis.tex").write_text("all of it")
        (scratch / "file").write_text("mine")
        shared = {"POLICY": made.policy(ground), "RUN": made.finished(ground), "TRAINED": made.checkpoint(ground)}
        places = {**shared, "OUT": scratch / "out", "WORK": scratch / "work", "FILE": scratch / "file"}
        argv = [_placed(word, places) for word in self.words]
        before = _listing(scratch, *shared.values())
        code, told, printed, error = attempt(import_module(f"bench.{self.group}").main, argv, scratch / "work")
        line = f"`python -m bench.{self.group} {' '.join(_short(word) for word in self.words)}`"
        outcome.value["told"] = told[-300:].encode("utf-8", "backslashreplace").decode()
        if error:
            outcome.add("traceback", f"{line}: {error}")
        elif not self.names:
            if code == EXIT_USAGE and not any(lacking in told for lacking in nonsense.LACKING):
                outcome.add("broken", f"{line} is right, but refused: {told[-300:]}")
            return outcome
        elif code in (None, 0):
            outcome.add(
                "accepted",
                f"{line} {'was not over after a minute' if code is None else 'ended with 0'}: {printed[-200:]}",
            )
        elif code not in (EXIT_USAGE, EXIT_INCOMPLETE):
            outcome.add("words", f"{line} ended with {code}: {told[-300:]}")
        elif not one_sentence(told, code):
            lines = len(told.strip().splitlines())
            outcome.add("words", f"{line} told {lines} lines, {len(told)} letters: {told[:200]} ... {told[-150:]}")
        elif code == EXIT_USAGE and not any(name in told for name in self.names):
            outcome.add("words", f"{line}: names neither {' nor '.join(self.names)}: {told[-300:]}")
        elif printed:
            outcome.add("words", f"{line} printed beside its refusal: {printed[:300]}")
        if (after := _listing(scratch, *shared.values())) != before:
            changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
            outcome.add("left", f"{line} wrote {', '.join(changed[:5])}")
        return outcome


def one_sentence(told: str, code: int) -> bool:
    """Whether a command that ended with `code` told one line of a length that somebody reads, after "loading" at
    most."""
    lines = told.strip().splitlines()
    said = lines[lines[:1] == ["loading"] :]
    return len(said) == 1 and len(told) < 2000 and (code != EXIT_USAGE or said[0].startswith("error: "))


def attempt(main: Callable[[list[str]], int], argv: list[str], folder: Path) -> tuple[int | None, str, str, str]:
    """(exit code or None for one that does not end, standard error, standard output, unexplained exception) of a
    command in this process, as it would be in one of its own."""
    from bench.campaign.pool import TookTooLong, limited

    told, printed, here = io.StringIO(), io.StringIO(), os.getcwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(printed), limited(SECONDS):
            run_main(lambda: main(argv))
        code, error = 0, "the command did not leave"
    except SystemExit as done:
        code, error = (done.code if isinstance(done.code, int) else 1 if done.code else 0), ""
    except TookTooLong:
        code, error = None, ""
    except BaseException as problem:
        where = traceback.extract_tb(problem.__traceback__)[-1]
        code, error = 1, f"{type(problem).__name__}: {str(problem)[:200]} ({Path(where.filename).name}:{where.lineno})"
    finally:
        os.chdir(here)
    return code, told.getvalue(), printed.getvalue(), error


def _placed(word: str, places: dict[str, Path]) -> str:
    for name, path in places.items():
        if name in word.split("=")[-1].split("/"):
            word = word.replace(name, str(path))
    return word


def _short(word: str) -> str:
    word = repr(word)[1:-1]
    return (word if len(word) < 60 else f"{word[:25]}...({len(word)} letters)") or "''"


def _listing(*folders: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.name != ".lock" and path.is_file():
                state = path.stat()
                found[str(path)] = (state.st_size, state.st_mtime_ns)
    return found


def cases(seed: int, trials: int) -> list[Line]:
    """Every value for every flag of every command, typing errors of flags and words too many; in an order that the seed
    draws."""
    found = []
    for command in LISTED:
        base = nonsense.COMMANDS.get(command)
        if base is None:
            found.append(Line(f"{command}: no right command line is known", command, ("UNKNOWN",)))
            continue
        found.append(Line(f"{command} as it should be", command, tuple(base)))
        for flag, action in flags(command).items():
            if action.nargs == 0:
                continue
            kind = nonsense.OWN.get((command, flag), nonsense.FLAGS.get(flag))
            if kind is None:
                found.append(Line(f"{command} {flag}: what does it take?", command, ("UNKNOWN",)))
                continue
            extra = nonsense.EXTRA.get((command, flag), [])
            for number, value in enumerate(nonsense.KINDS[kind]):
                words = (*_line(command, base, flag, value), *extra)
                found.append(
                    Line(f"{command} {flag} {number}: {_short(value)}", command, words, _names(flag, action, value))
                )
        found += _mistyped(command, base)
    random.Random(f"inputs {seed}").shuffle(found)
    return sorted(found, key=lambda line: line.words != ("UNKNOWN",) and bool(line.names))


def _line(command: str, base: list[str], flag: str, value: str) -> list[str]:
    if flag[0] == "-":
        return [*base, f"{flag}={value}"] if value[:1] == "-" else [*base, flag, value]
    return [value, *base[1:]] if command in nonsense.REPLACED else [value, *base]


def _names(flag: str, action: argparse.Action, value: str) -> tuple[str, ...]:
    """What a sentence about a value may call it: the flag, or the key in KEY=VALUE."""
    label = flag if flag[0] == "-" else str(action.metavar or flag).strip("[]")
    key = value.partition("=")[0].partition(":")[0]
    return (label, flag.lstrip("-").replace("-", "_"), *([key] if len(key) > 1 and key.isascii() else []))


def _mistyped(command: str, base: list[str]) -> Iterator[Line]:
    for flag in flags(command):
        if flag.startswith("--"):
            wrong = flag[:3] + flag[4:] if len(flag) > 5 else flag + "x"
            if wrong not in flags(command):
                yield Line(f"{command} {wrong}", command, (*base, wrong, "1"), (wrong,))
    yield Line(f"{command} with a byte that is no UTF-8", command, (*base, f"--{nonsense.BYTE}"), ("flag",))
    valued = [flag for flag, action in flags(command).items() if flag[0] == "-" and action.nargs != 0]
    for flag in valued:
        yield Line(f"{command} {flag} without a value", command, (*base, flag), (flag,))


PART = Part(
    "inputs",
    "Bad command lines",
    "Every flag of every command is given what its kind cannot be (bench/campaign/nonsense.py says for each what that is), is "
    "typed wrongly, or lacks its value. Right is one sentence on standard error that names the flag (after the line `loading` "
    "where only loading can tell), exit code 2 (3 where something is missing), and nothing written.",
    cases,
    usual=700,
)
