"""Shell completion of `htgrpo-bench`, as a script that shtab writes once: nothing of Python runs while TAB is pressed."""

import argparse

from bench.ask import kinds
from bench.ask.flags import Bound, Parser
from htgrpo.base.values import OneOf

PATHS = (kinds.File, kinds.NewFile)
FOLDERS = (kinds.Folder, kinds.NewFolder)


def script(shell: str, commands: dict[str, Parser]) -> str:
    """The script for bash or zsh. commands: parsers by name."""
    import shtab

    whole = argparse.ArgumentParser("htgrpo-bench")
    below = whole.add_subparsers()
    for name, lines in commands.items():
        one = below.add_parser(name, help=_plain(lines.description), add_help=False)
        for action in lines._actions:
            _offer(action, shtab)
            action.help = _plain(action.help)
            one._add_action(action)
    return shtab.complete(whole, shell)


def _plain(text: str | None) -> str:
    """The first sentence of a help text, without what a shell would read in it."""
    sentence = " ".join((text or "").split()).partition(". ")[0].partition(" (")[0].partition(";")[0]
    return "".join(letter for letter in sentence if letter.isalnum() or letter in " ,.-_/='")


def _offer(action: argparse.Action, shtab) -> None:
    """Tells shtab what an argument takes, as far as its kind can be listed."""
    kind = action.type.kind if isinstance(action.type, Bound) else None
    if isinstance(kind, OneOf):
        action.choices = sorted(kind.names() if callable(kind.names) else kind.names)
    elif isinstance(kind, kinds.Device):
        action.choices = kind.names
    elif isinstance(kind, PATHS) or kind is kinds.place:
        action.complete = shtab.FILE  # type: ignore[attr-defined]  # what shtab reads
    elif isinstance(kind, FOLDERS):
        action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
