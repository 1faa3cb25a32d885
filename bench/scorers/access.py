"""Where a scorer is when its name is used: on the server that the user named for it, else here.

A command puts its --scorer-url into $HTGRPO_SCORER_URLS, so that its worker processes, and benchmarks and rewards in all of them,
go to the same servers; the variable may also be set by hand.
"""

import os
from collections.abc import Sequence

from bench.scorers.base import Scorer
from bench.scorers.registry import SCORERS
from bench.scorers.remote import HOW, connect
from htgrpo.errors import UserError, suggest

URLS = "HTGRPO_SCORER_URLS"
"""The environment variable that holds what --scorer-url takes, several with spaces between."""


def use_servers(texts: Sequence[str]) -> None:
    """From now on the scorers of several `--scorer-url NAME=URL` are those on servers, here and in the processes started from here.
    Raises UserError for what cannot be read, and for a name given twice."""
    if texts:
        _addresses(texts)
        os.environ[URLS] = " ".join(texts)


def names() -> list[str]:
    """All scorers that can be asked for, sorted."""
    return sorted({*SCORERS.names(), *_addresses()})


def on_server(name: str) -> bool:
    """Whether the scorer of that name is on a server."""
    return name in _addresses()


def check(name: str) -> None:
    """Raises UserError where the scorer cannot be used: nobody knows it, its server gives no answer, its weights are not here.
    Loads nothing."""
    if name in _addresses():
        connect(_addresses()[name])
    else:
        _registered(name).find()


def load(name: str, device: str) -> Scorer:
    """The scorer, on its server or on this device. Raises UserError."""
    return connect(_addresses()[name]) if name in _addresses() else _registered(name).load(device=device)


def _registered(name: str) -> type[Scorer]:
    if name not in SCORERS.names():
        raise suggest(name, names(), "scorer")
    return SCORERS.get(name)


def _addresses(texts: Sequence[str] | None = None) -> dict[str, str]:
    """`--scorer-url` texts by scorer; by default those of the environment."""
    found: dict[str, str] = {}
    for text in os.environ.get(URLS, "").split() if texts is None else texts:
        name, equals, url = text.partition("=")
        if not (name and equals and url) or len(text.split()) != 1:
            raise UserError(f"cannot read --scorer-url {text!r}: give {HOW}")
        if name in found:
            raise UserError(f"--scorer-url names {name!r} twice: give one address each")
        found[name] = text
    return found
