"""How a request is run. Imports no torch."""

import argparse
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Any

from bench.ask import machine
from bench.scorers.servers import use_servers
from htgrpo.base.errors import UserError


@dataclass(frozen=True)
class Options:
    """How a request is run; none of it changes a result.

    jobs: worker processes, None = the default, 0 = none, all in this process, as always in an `accelerate launch`,
    whose processes work together. in_process: bench.train, which never has workers. resume: insist on a training to go
    on with. gpu: the card that costs are forecast for. scorer_url: scorers on servers, NAME=URL each.
    """

    stages: tuple[str, ...]
    device: str = "auto"
    jobs: int | None = None
    report_to: str | None = None
    dry_run: bool = False
    json: bool = False
    overwrite: bool = False
    allow_incomplete: bool = False
    in_process: bool = False
    resume: bool = False
    gpu: str | None = None
    scorer_url: tuple[str, ...] = ()

    @staticmethod
    def of(args: argparse.Namespace, *stages: str, **changes: Any) -> "Options":
        """What a command's flags of these names say, with `changes`."""
        given = {one.name: getattr(args, one.name) for one in fields(Options) if hasattr(args, one.name)}
        return Options(stages, **{**given, "scorer_url": tuple(given.get("scorer_url", ())), **changes})


def check(options: Options) -> None:
    """Raises UserError for what is not here. From then on the servers are asked."""
    if options.scorer_url:
        use_servers(options.scorer_url)
    if options.jobs and machine.processes() > 1:
        raise UserError(
            f"--jobs is {options.jobs}, but the processes of this launch do all work themselves: leave it out"
        )
    if options.report_to is not None and find_spec(options.report_to) is None:
        raise UserError(f"the tracker {options.report_to!r} is not installed: pip install {options.report_to}")
