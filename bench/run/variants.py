"""Runs several requests as one: each has its own folder, their jobs share one pool, the starting policy is scored
once."""

import contextlib
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.ask import machine
from bench.ask.options import Options, check, device_of
from bench.ask.request import Request
from bench.cost import estimate
from bench.record import verdicts
from bench.record.complete import begin, is_complete, mark_complete, working
from bench.record.rundir import RunDir, refuse_difference
from bench.record.work import Job
from bench.run.jobs import Ended, run_here, run_jobs
from bench.run.pipeline import prepare, record, replace_root, say
from bench.run.progress import make_progress
from htgrpo.base.errors import UserError
from htgrpo.base.run_files import BASE

if TYPE_CHECKING:
    from bench.run.plan import Context
    from htgrpo.parallel.ranks import Ranks


@dataclass(frozen=True)
class Plan:
    """What is left to do. jobs: of all runs. contexts: of the runs that are not complete, by name. at_once: how many
    jobs."""

    jobs: list[Job]
    contexts: "dict[str, Context]"
    at_once: int

    @property
    def seconds(self) -> float:
        """Expected seconds until the last job ends."""
        return estimate.wall_seconds([job.seconds for job in self.jobs], self.at_once)


def plan_all(requests: dict[str, Request], root: Path, options: Options, device: str) -> Plan:
    """What is left of `requests`, each in root/NAME. The first one scores the starting policy, the others do without.

    Raises UserError where a folder holds a run of other settings.
    """
    from bench.run import plan

    todo, contexts, at_once = [], {}, 1
    for index, (name, request) in enumerate(requests.items()):
        run = replace_root(RunDir(root / name), options)
        old = run.config()
        if old is not None:
            refuse_difference(run.root, old, request)
        if is_complete(run, request, options.stages):
            continue
        contexts[name], at_once = prepare(run, request, options, device)
        jobs = [job for job in plan.jobs(contexts[name]) if index == 0 or job.name != BASE]
        todo += [replace(job, name=_called(name, job.name, request)) for job in jobs]
    return Plan(todo, contexts, at_once)


def _called(name: str, job: str, request: Request) -> str:
    """A job's name that says which run it belongs to: `ht seed 0` of the run `global_only` is `global_only seed 0`."""
    method = next((m for m in request.methods if job.startswith(f"{m} ")), None)
    return job if method is None else name + job.removeprefix(method)


def run_all(requests: dict[str, Request], root: Path, options: Options) -> list[Ended]:
    """Does what is left of `requests` in root/NAME and marks as complete what is; every process of a launch returns the
    same list. Raises UserError for what stops it as a whole."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill is handled like Ctrl-C
    from bench.run.plan import check_rewards

    check(options)
    device = device_of(options)
    with machine.launch(device == "cpu") as ranks, contextlib.ExitStack() as held:
        if ranks.is_main:
            for name in requests:
                held.enter_context(RunDir(root / name).locked())
                if options.overwrite:
                    RunDir(root / name).clear()
                begin(RunDir(root / name))
                verdicts.sweep(RunDir(root / name))
        ranks.gather(None)
        options = replace(options, overwrite=False)
        planned = plan_all(requests, root, options, device)
        plans = ranks.gather([[job.name, *job.notes] for job in planned.jobs])
        if any(other != plans[0] for other in plans):
            raise UserError(
                f"the machines of this launch see different files in {str(root)!r}: use a folder that they share"
            )
        check_rewards(planned.jobs)
        if ranks.is_main:
            for context in planned.contexts.values():
                going = [
                    (job.config.method, job.config.seed)
                    for job in planned.jobs
                    if job.config and job.run == context.run
                ]
                held.enter_context(working(context.run, going))
                record(context, planned.at_once)
        ranks.gather(None)
        ended = _perform(planned, root, options, ranks)
        if ranks.is_main:
            _mark(requests, planned, ended, options)
        ranks.gather(None)
    return ended


def _perform(planned: Plan, root: Path, options: Options, ranks: "Ranks") -> list[Ended]:
    if not planned.jobs:
        return []
    at_once = min(planned.at_once, len(planned.jobs))
    say(f"{root}: {len(planned.jobs)} jobs, {at_once} at a time, about {estimate.in_words(planned.seconds)}")
    with make_progress(planned.jobs, planned.seconds) as progress:
        if options.jobs == 0 or ranks.count > 1:
            return run_here(planned.jobs, progress.event, ranks)
        return run_jobs(planned.jobs, planned.at_once, progress.event)


def _mark(requests: dict[str, Request], planned: Plan, ended: list[Ended], options: Options) -> None:
    """Marks the runs in which nothing is missing; what went wrong in one does not touch the others."""
    broken = {one.job.run.root for one in ended if one.sentence or one.missing}
    for name, context in planned.contexts.items():
        if context.run.root not in broken:
            mark_complete(context.run, requests[name], options.stages)
