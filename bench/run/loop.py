"""The one loop: what is left of some runs is planned, done and closed. A comparison is one run, an ablation many."""

import contextlib
import json
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ask import machine
from bench.ask.cli import say
from bench.ask.options import Options, check
from bench.ask.request import Request
from bench.cost import estimate
from bench.record import verdicts
from bench.record.complete import begin, is_complete, mark_complete, working
from bench.record.rundir import PATIENCE, RunDir, refuse_difference
from bench.record.work import SCORE, TRAIN, Job
from bench.run import live
from bench.run.config import record
from bench.run.ending import finish
from bench.run.jobs import Ended, run_here, run_jobs
from bench.run.outlook import Plan, show
from bench.run.progress import make_progress
from htgrpo.base.device import find_device
from htgrpo.base.errors import EXIT_OK, UserError
from htgrpo.base.records import BASE
from htgrpo.base.registry import BACKBONES
from htgrpo.training.train_config import SECONDS

if TYPE_CHECKING:
    from bench.run.plan import Context
    from htgrpo.parallel.ranks import Ranks

Runs = dict[RunDir, Request]


def execute(request: Request, root: Path, options: Options) -> int:
    """Runs one request in the folder `root`; returns the exit code. Raises UserError for what stops it as a whole."""
    run = RunDir(root)
    return run_all({run: request}, root, options, lambda ended: finish(run, options, ended))


def run_all(runs: Runs, root: Path, options: Options, close: Callable[[list[Ended]], int]) -> int:
    """Does what is left of `runs`, which lie in `root` or are it; returns the exit code. Raises UserError for what stops
    it as a whole.

    The jobs of all runs share one pool, and only the first run scores the starting policy. A run in which nothing is
    missing is marked as complete; what went wrong in one does not touch the others. close: called in the end by the
    first process of a launch, while the runs are locked; prints the report and returns the exit code.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill is handled like Ctrl-C
    check(options)
    check_servers(options.scorer_url, runs.values(), options.stages)
    if not options.overwrite:
        for run, request in runs.items():
            if (old := run.config()) is not None:
                refuse_difference(run.root, old, request)
    if options.dry_run:
        return _look(runs, root, options) if machine.is_main_process() else EXIT_OK
    if not options.overwrite and all(is_complete(run, request, options.stages) for run, request in runs.items()):
        say(_nothing_to_do(root))
        if not machine.is_main_process():
            return EXIT_OK
        with contextlib.ExitStack() as held:
            for run in runs:
                held.enter_context(run.locked(PATIENCE))
            return close([])
    say("loading")
    device = find_device(options.device)

    def clear(run: RunDir) -> None:
        run.clear_trainings(runs[run]) if options.in_process else run.clear()

    with opened(runs, device, options.stages, clear if options.overwrite else None) as (ranks, held):
        ended = _work(runs, root, options, device, ranks, held)
        return max(ranks.gather(close(ended) if ranks.is_main else EXIT_OK))


def check_servers(urls: Iterable[str], requests: Iterable[Request], stages: tuple[str, ...]) -> None:
    """Raises UserError for a server (NAME=URL) of a scorer that none of `requests` asks in these stages."""
    if not urls:
        return
    from bench.benchmarks.registry import make
    from bench.scorers.servers import check_asked
    from htgrpo.training.rewards import find_reward, parse_weights

    asked: list[str] = []
    for request in requests:
        for name in request.benchmarks if SCORE in stages or request.curve else ():
            asked += make(name).asks()
        for method in request.methods if TRAIN in stages else ():
            rewards = map(find_reward, parse_weights(request.config(method, 0).rewards))
            asked += [getattr(reward, "scorer", "") for reward in rewards]
    check_asked(urls, filter(None, asked))


@contextlib.contextmanager
def opened(
    runs: Iterable[RunDir], device: str, stages: tuple[str, ...], clear: Callable[[RunDir], None] | None = None
) -> "Iterator[tuple[Ranks, contextlib.ExitStack]]":
    """The processes of this launch, and what ends with the block: all runs are locked. What a killed command has left is
    swept. clear: throws away what is to be made anew."""
    with machine.launch(device == "cpu") as ranks, contextlib.ExitStack() as held:
        if ranks.is_main:
            for run in runs:
                held.enter_context(run.locked())
                if clear:
                    clear(run)
                begin(run, stages)
                verdicts.sweep(run)
        ranks.wait()
        yield ranks, held


def _work(
    runs: Runs, root: Path, options: Options, device: str, ranks: "Ranks", held: contextlib.ExitStack
) -> list[Ended]:
    """Does all jobs, and then those that need finished trainings. In `held` each run's complete.json is open from the
    first change on."""
    from bench.run.plan import check_rewards

    planned = plan_all(runs, replace(options, overwrite=False), device)
    _agree(planned.jobs, root, ranks)
    if options.resume:
        _check_resumes(planned.contexts)
    check_rewards(planned.jobs)
    if ranks.is_main:
        for context in planned.contexts:
            own = [job.config for job in planned.jobs if job.config and job.run == context.run]
            held.enter_context(working(context.run, [(config.method, config.seed) for config in own]))
            record(context, planned.at_once)
    ranks.wait()
    ended = _perform(planned, root, options, ranks)
    later = replace(planned, jobs=_later(planned, options, ranks))
    _agree(later.jobs, root, ranks)
    ended += _perform(later, root, options, ranks)
    if not planned.jobs and not later.jobs:
        say(_nothing_to_do(root))
    if ranks.is_main:
        live.remove(root)
        broken = {one.job.run for one in ended if one.sentence or one.missing}
        for context in planned.contexts:
            if context.run not in broken:
                mark_complete(context.run, runs[context.run], options.stages)
    ranks.wait()
    return ended


def plan_all(runs: Runs, options: Options, device: str) -> Plan:
    """What is left of `runs`. For --overwrite it counts nothing that is there."""
    from bench.run import plan

    todo, contexts = [], []
    published = any(request.backbone in BACKBONES.names() for request in runs.values())
    at_once, threads = _shares(options, device, published)
    for index, (run, request) in enumerate(runs.items()):
        name = run.root.name if len(runs) > 1 else None
        if options.overwrite:
            run = replace(run, root=run.root / ".overwritten")
        if is_complete(run, request, options.stages):
            continue
        how = (device, threads, options.report_to, options.gpu, options.dry_run)
        context = plan.load_context(run, request, options.stages, *how)
        contexts.append(context)
        jobs = [job for job in plan.jobs(context) if index == 0 or job.name != BASE]
        todo += [replace(job, name=_called(name, job.name, request)) for job in jobs]
    return Plan(contexts, todo, at_once)


def _called(run: str | None, job: str, request: Request) -> str:
    """A job's name that says which of several runs it belongs to: `ht seed 0` of the run `global_only` is `global_only
    seed 0`."""
    method = next((m for m in request.methods if run and job.startswith(f"{m} ")), None)
    return job if method is None else f"{run}{job.removeprefix(method)}"


def _shares(options: Options, device: str, published: bool) -> tuple[int, int]:
    """How many jobs run at once, and compute threads of each. published: weights that leave no room for a second job."""
    alone = options.in_process or machine.processes() > 1
    default = machine.cores() if device == "cpu" and not alone and not published else 1
    at_once = default if options.jobs is None else max(1, options.jobs)
    return at_once, machine.threads(at_once)


def _later(planned: Plan, options: Options, ranks: "Ranks") -> list[Job]:
    """The jobs that need finished trainings: the view at equal seconds and the held-out curve."""
    from bench.run.curve import later_jobs
    from bench.run.plan import load_context

    more: list[Job] = []
    for context in planned.contexts if SCORE in options.stages else ():
        joined = context.run.request()
        if SECONDS in joined.views or joined.curve:
            whole = load_context(context.run, joined, options.stages, context.device, context.threads)
            first = later_jobs(whole) if ranks.is_main else []  # writes down what equal seconds are
            ranks.wait()
            more += first if ranks.is_main else later_jobs(whole, dry=True)
    return more


def _agree(todo: list[Job], root: Path, ranks: "Ranks") -> None:
    """Raises UserError where the processes of a launch have not planned alike."""
    plans = ranks.gather([[job.name, *job.notes] for job in todo])
    if any(other != plans[0] for other in plans):
        raise UserError(
            f"the machines of this launch see different files in {str(root)!r}: use a folder that they share"
        )


def _check_resumes(contexts: "list[Context]") -> None:
    """Raises UserError where a run has no training to go on with."""
    for context in contexts:
        request = context.request
        if not any(context.run.train(m, s).is_dir() for m in request.methods for s in request.seeds):
            raise UserError(
                f"--resume: {str(context.run.root)!r} holds no training of {request.methods[0]} with seed "
                f"{request.seeds[0]} yet: leave --resume out to start one"
            )


def _perform(planned: Plan, root: Path, options: Options, ranks: "Ranks") -> list[Ended]:
    if not planned.jobs:
        return []
    count = len(planned.jobs)
    many = f"{count} jobs, {min(planned.at_once, count)} at a time" if count > 1 else "1 job"
    say(f"{root}: {many}, about {estimate.in_words(planned.seconds)}")
    watched = live.Live(root, {context.run.root.name: context.run.root for context in planned.contexts}, planned.jobs)
    with make_progress(planned.jobs, planned.seconds) as progress:

        def tell(job: Job, event: dict[str, Any]) -> None:
            progress.event(job, event)
            if ranks.is_main:
                watched.event(job, event)

        if options.in_process or options.jobs == 0 or ranks.count > 1:
            return run_here(planned.jobs, tell, ranks)
        return run_jobs(planned.jobs, planned.at_once, tell)


def _look(runs: Runs, root: Path, options: Options) -> int:
    """Prints what would be done. Writes nothing."""
    from bench.run.curve import later_jobs

    say("loading")
    planned = plan_all(runs, options, find_device(options.device))
    later = [job for context in planned.contexts for job in later_jobs(context, dry=True) if SCORE in options.stages]
    if planned.jobs or later:
        show(replace(planned, jobs=[*planned.jobs, *later]), bool(later), root, options)
    elif options.json:
        print(json.dumps({"run": str(root), "jobs": [], "at_once": planned.at_once, "expected_seconds": 0}, indent=2))
    else:
        print(_nothing_to_do(root))
    return EXIT_OK


def _nothing_to_do(root: Path) -> str:
    return f"nothing to do: everything asked for is in {root} already"
