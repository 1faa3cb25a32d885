"""How a request is run. Imports no torch before a device is asked for."""

from dataclasses import dataclass

from bench.ask import machine
from htgrpo.base.errors import UserError, suggest

TRACKERS = ("tensorboard", "trackio", "wandb")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Options:
    """How a request is run; none of it changes a result.

    jobs: worker processes, None = the default, 0 = none, all in this process, as always in an `accelerate launch`,
    whose processes work together. in_process: bench.train, which never has workers. resume: insist on a training to go
    on with. gpu: the card that costs are forecast for. servers: scorers on servers, NAME=URL each.
    """

    stages: tuple[str, ...]
    device: str = "auto"
    jobs: int | None = None
    report_to: str | None = None
    dry_run: bool = False
    as_json: bool = False
    overwrite: bool = False
    allow_incomplete: bool = False
    in_process: bool = False
    resume: bool = False
    gpu: str | None = None
    servers: tuple[str, ...] = ()


def check(options: Options) -> None:
    """Raises UserError for the first option that cannot be. From then on `servers` are asked."""
    if options.servers:
        from bench.scorers.servers import use_servers

        use_servers(options.servers)
    if options.device not in DEVICES:
        raise suggest(options.device, DEVICES, "device")
    if options.jobs is not None and options.jobs < 0:
        raise UserError(f"--jobs is {options.jobs}, but it takes a whole number of at least 0 (0: no worker processes)")
    if options.jobs and machine.processes() > 1:
        raise UserError(
            f"--jobs is {options.jobs}, but the processes of this launch do all work themselves: leave it out"
        )
    if options.report_to is not None:
        from importlib.util import find_spec

        if options.report_to not in TRACKERS:
            raise suggest(options.report_to, TRACKERS, "tracker in --report-to")
        if find_spec(options.report_to) is None:
            raise UserError(f"the tracker {options.report_to!r} is not installed: pip install {options.report_to}")


def device_of(options: Options) -> str:
    """cpu or cuda. Raises UserError where what was asked for is not there."""
    import torch

    there = torch.cuda.is_available()
    if options.device == "cuda" and not there:
        raise UserError("--device is 'cuda', but torch finds no CUDA device here: use --device cpu")
    return options.device if options.device != "auto" else "cuda" if there else "cpu"
