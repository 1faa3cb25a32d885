"""Scorers by name, here or on a server that `--scorer-url` names, trusted only after they have judged drawn pictures
rightly."""

from typing import Any

from bench.scorers.base import Scorer
from bench.scorers.registry import SCORERS
from bench.scorers.remote import connect
from bench.scorers.servers import names, servers
from htgrpo.base.errors import UserError, suggest


def check(name: str) -> None:
    """Raises UserError where the scorer cannot be used: nobody knows it, its server gives no answer, its weights are
    not here. Reads no weights."""
    if name in servers():
        connect(servers()[name])
    else:
        _registered(name).find()


def identity_of(name: str) -> dict[str, Any]:
    """The identity of a scorer without loading it. Raises UserError with the command to run where its weights are
    missing, or where its server does not answer."""
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
        scorer.close()
        raise UserError(
            f"{name} is not to be trusted: {'; '.join(failures)}; its weights or its configuration are not the "
            f"published ones: look at `python -m bench.doctor {name}`"
        )
    return scorer


def _registered(name: str) -> type[Scorer]:
    if name not in SCORERS.names():
        raise suggest(name, names(), "scorer")
    return SCORERS.get(name)
