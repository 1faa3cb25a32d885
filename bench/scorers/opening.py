"""Scorers by name, here or on a server that `--scorer-url` names, trusted only after they have judged drawn pictures rightly."""

import os
from collections.abc import Iterable
from typing import Any

from bench.scorers.base import Scorer
from bench.scorers.registry import SCORERS
from bench.scorers.remote import HOW, connect
from htgrpo.errors import UserError, suggest

URLS = "HTGRPO_SCORER_URLS"
"""The environment variable that takes `--scorer-url NAME=URL` to worker processes: all of them, separated by blanks. It may also be
set by hand."""


def use_servers(texts: Iterable[str]) -> None:
    """Makes this process and its children ask these servers (NAME=URL each). Raises UserError for a form that cannot be, and for a
    name given twice."""
    texts = list(texts)
    if texts:
        _by_name(texts)
        os.environ[URLS] = " ".join(texts)


def servers() -> dict[str, str]:
    """NAME -> NAME=URL of the scorers that are asked on servers. Raises UserError as use_servers does."""
    return _by_name(os.environ.get(URLS, "").split())


def names() -> list[str]:
    """All scorers that can be asked for, sorted."""
    return sorted({*SCORERS.names(), *servers()})


def check(name: str) -> None:
    """Raises UserError where the scorer cannot be used: nobody knows it, its server gives no answer, its weights are not here.
    Reads no weights."""
    if name in servers():
        connect(servers()[name])
    else:
        _registered(name).find()


def identity_of(name: str) -> dict[str, Any]:
    """The identity of a scorer without loading it. Raises UserError with the command to run where its weights are missing, or where
    its server does not answer."""
    if name in servers():
        return connect(servers()[name]).identity()
    return _registered(name).planned_identity()


def load(name: str, device: str) -> Scorer:
    """The scorer, loaded or connected to. Raises UserError where it cannot be had."""
    return connect(servers()[name]) if name in servers() else _registered(name).load(device=device)


def open_scorer(name: str, device: str) -> Scorer:
    """`load`, and its self-test. Raises UserError where it fails that."""
    scorer = load(name, device)
    failures = scorer.self_test()
    if failures:
        close(scorer)
        raise UserError(f"{name} is not to be trusted: {'; '.join(failures)}; its weights or its configuration are not the "
                        f"published ones: look at `python -m bench.doctor {name}`")
    return scorer


def close(scorer: Scorer | None) -> None:
    """Ends a scorer's process where it has one."""
    getattr(scorer, "close", lambda: None)()


def _registered(name: str) -> type[Scorer]:
    if name not in SCORERS.names():
        raise suggest(name, names(), "scorer")
    return SCORERS.get(name)


def _by_name(texts: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, _, url = text.partition("=")
        if not (name and url) or len(text.split()) != 1:
            raise UserError(f"--scorer-url is {text!r}, but it takes {HOW}")
        if name in found:
            raise UserError(f"--scorer-url names {name!r} twice: give one address each")
        found[name] = text
    return found
