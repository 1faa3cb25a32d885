"""Scorers by name, here or on a server that `--scorer-url` names, trusted only after they have judged drawn pictures rightly."""

import os
from collections.abc import Iterable
from typing import Any

from bench.scorers.base import Scorer
from bench.scorers.registry import SCORERS
from bench.scorers.remote import connect
from htgrpo.errors import UserError

URLS = "HTGRPO_SCORER_URLS"
"""The environment variable that takes `--scorer-url NAME=URL` to worker processes: all of them, separated by blanks."""


def use_servers(texts: Iterable[str]) -> None:
    """Makes this process and its children ask these servers (NAME=URL each). Raises UserError for a form that cannot be, and for a
    name given twice."""
    texts = list(texts)
    for text in texts:
        if "=" not in text or " " in text:
            raise UserError(f"--scorer-url is {text!r}, but it takes NAME=URL, such as hpsv3=http://localhost:18100")
    names = [text.partition("=")[0] for text in texts]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--scorer-url names {name!r} twice: give one address each")
    if texts:
        os.environ[URLS] = " ".join(texts)


def servers() -> dict[str, str]:
    """NAME -> NAME=URL of the scorers that are asked on servers."""
    return {text.partition("=")[0]: text for text in os.environ.get(URLS, "").split()}


def identity_of(name: str) -> dict[str, Any]:
    """The identity of a scorer without loading it. Raises UserError with the command to run where its weights are missing, or where
    its server does not answer."""
    if name in servers():
        return connect(servers()[name]).identity()
    return SCORERS.get(name).planned_identity()


def open_scorer(name: str, device: str) -> Scorer:
    """The scorer, loaded or connected to, after its self-test. Raises UserError where it cannot be had or fails the test."""
    scorer = connect(servers()[name]) if name in servers() else SCORERS.get(name).load(device=device)
    failures = scorer.self_test()
    if failures:
        close(scorer)
        raise UserError(f"{name} is not to be trusted: {'; '.join(failures)}; its weights or its configuration are not the "
                        f"published ones: look at `python -m bench.doctor {name}`")
    return scorer


def close(scorer: Scorer | None) -> None:
    """Ends a scorer's process where it has one."""
    getattr(scorer, "close", lambda: None)()
