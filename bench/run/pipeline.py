"""Runs a request: what is there already is kept, the rest is done by jobs, and a report closes it."""

import contextlib
import json
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ask import machine
from bench.ask.choices import choices
from bench.ask.options import Options, check, device_of
from bench.ask.request import Request
from bench.benchmarks.base import MAIN
from bench.cost import estimate
from bench.record import verdicts
from bench.record.complete import begin, is_complete, mark_complete, working
from bench.record.rundir import PATIENCE, RunDir, refuse_difference, write_config
from bench.record.work import REPORT, SCORE, Job
from bench.run.jobs import Ended, run_here, run_jobs
from bench.run.progress import make_progress
from htgrpo.base.errors import EXIT_INCOMPLETE, EXIT_OK, UserError
from htgrpo.base.registry import BACKBONES, METHODS
from htgrpo.training.train_config import SECONDS

if TYPE_CHECKING:
    from htgrpo.parallel.ranks import Ranks


def execute(request: Request, root: Path, options: Options) -> int:
    """Runs `request` in the folder `root`; returns the exit code. Raises UserError for what stops it as a whole."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill is handled like Ctrl-C
    check(options)
    run = RunDir(root)
    if not options.overwrite:
        old = run.config()
        if old is not None:
            refuse_difference(root, old, request)
        if not options.dry_run and is_complete(run, request, options.stages):
            say(f"nothing to do: everything asked for is in {root} already")
            if not machine.is_main_process():
                return EXIT_OK
            with run.locked(PATIENCE):
                return finish(run, options, "unchanged", [])
    if options.dry_run:
        return _dry_run(run, request, options) if machine.is_main_process() else EXIT_OK
    say("loading")
    device = device_of(options)
    with machine.launch(device == "cpu") as ranks, contextlib.ExitStack() as held:
        if ranks.is_main:
            held.enter_context(run.locked())
            if options.overwrite:
                run.clear() if not options.in_process else run.clear_trainings(request)
            begin(run)
            verdicts.sweep(run)
        ranks.gather(None)
        ended = _work(run, request, options, device, ranks, held)
        return max(ranks.gather(_close(run, request, options, ended) if ranks.is_main else EXIT_OK))


def say(text: str) -> None:
    """A line for the user, on standard error, from the first process of a launch."""
    if machine.is_main_process():
        print(text, file=sys.stderr, flush=True)


def prepare(run: RunDir, request: Request, options: Options, device: str):
    """The context of a request, and how many jobs run at once."""
    from bench.run.plan import load_context

    alone = options.in_process or machine.processes() > 1
    many = device == "cpu" and not alone and request.backbone not in BACKBONES.names()
    default = machine.cores() if many else 1
    at_once = default if options.jobs is None else max(1, options.jobs)
    threads = max(1, machine.cores() // (at_once * machine.processes(here=True)))
    how = (device, threads, options.report_to, options.gpu, options.dry_run)
    return load_context(run, request, options.stages, *how), at_once


def _work(
    run: RunDir, request: Request, options: Options, device: str, ranks: "Ranks", held: contextlib.ExitStack
) -> list[Ended]:
    """Does all jobs, and then those that need finished trainings: the view at equal seconds and the held-out curve. In
    `held` the run's complete.json is open from the first change on."""
    from bench.run import plan
    from bench.run.curve import later_jobs

    context, at_once = prepare(run, request, options, device)
    todo = _agreed(plan.jobs(context), run, ranks)
    if options.resume and not any(context.run.train(m, s).is_dir() for m in request.methods for s in request.seeds):
        raise UserError(
            f"--resume: {str(run.root)!r} holds no training of {request.methods[0]} with seed {request.seeds[0]} yet: "
            "leave --resume out to start one"
        )
    plan.check_rewards(todo)
    if ranks.is_main:
        held.enter_context(working(run, [(job.config.method, job.config.seed) for job in todo if job.config]))
        record(context, at_once)
    ranks.gather(None)
    joined = run.request()
    ended = _run(run, todo, at_once, options, ranks)
    if SCORE in options.stages and (SECONDS in joined.views or joined.curve):
        whole = plan.load_context(run, joined, options.stages, context.device, context.threads)
        more = later_jobs(whole) if ranks.is_main else []  # writes down what equal seconds are
        ranks.gather(None)
        more = _agreed(more if ranks.is_main else later_jobs(whole, dry=True), run, ranks)
        ended += _run(run, more, at_once, options, ranks)
        todo += more
    if not todo:
        say(f"nothing to do: everything asked for is in {run.root} already")
    return ended


def _agreed(todo: list[Job], run: RunDir, ranks: "Ranks") -> list[Job]:
    """`todo`, which all processes of a launch must have planned alike."""
    plans = ranks.gather([[job.name, *job.notes] for job in todo])
    if any(other != plans[0] for other in plans):
        raise UserError(
            f"the machines of this launch see different files in {str(run.root)!r}: use a folder that they share"
        )
    return todo


def record(context, at_once: int) -> Request:
    """Writes config.json and returns the request joined with what the run held before."""
    worlds = " and ".join(
        f"{world} world" for world in sorted({benchmark.world for benchmark in context.benchmarks.values()})
    )
    published = context.request.backbone in BACKBONES.names()
    return write_config(
        context.run,
        named(context),
        {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "title": f"{context.request.backbone} on prompts and judges of the {worlds}" if published else worlds,
            "titles": titles(context.request.methods),
            "choices": choices(context.request),
            "versions": machine.versions(),
            "git_commit": machine.git_commit(),
            "prompt_sets": {name: selection.sha256 for name, selection in context.selections.items()},
            "selections": {
                name: [p.id for p in selection.prompts]
                for name, selection in context.selections.items()
                if context.request.limit or context.request.subset
            },
            "machine": {
                "cpu": machine.cpu_name(),
                "cores": machine.cores(),
                "threads_per_job": context.threads,
                "jobs": at_once,
                "processes": machine.processes(),
                "device": context.device,
            },
        },
    )


def titles(methods: list[str]) -> dict[str, str]:
    """What the methods are called outside of tables, where they say so."""
    found = {name: METHODS.get(name).title for name in methods}
    return {name: title for name, title in found.items() if title}


def named(context) -> Request:
    """The request with its claim: where nobody has named one before anything is scored, the first benchmark in the main
    view. What was scored without one stays so."""
    request = context.request
    if request.claim or SCORE not in context.stages or not request.benchmarks or context.run.scored:
        return request
    claim = {"benchmark": request.benchmarks[0], "setting": MAIN, "milestone": request.views[0]}
    return replace(request, claim=claim if context.run.config() is None or not context.run.request().claim else None)


def _run(run: RunDir, todo: list[Job], at_once: int, options: Options, ranks: "Ranks") -> list[Ended]:
    if not todo:
        return []
    expected = estimate.wall_seconds([job.seconds for job in todo], at_once)
    many = f"{len(todo)} jobs, {min(at_once, len(todo))} at a time" if len(todo) > 1 else "1 job"
    say(f"{run.root}: {many}, about {estimate.in_words(expected)}")
    with make_progress(todo, expected) as progress:
        if options.in_process or options.jobs == 0 or ranks.count > 1:
            return run_here(todo, progress.event, ranks)
        return run_jobs(todo, at_once, progress.event)


def _dry_run(run: RunDir, request: Request, options: Options) -> int:
    """Prints what would be done. Writes nothing."""
    from bench.run import plan
    from bench.run.curve import later_jobs

    say("loading")
    context, at_once = prepare(replace_root(run, options), request, options, device_of(options))
    todo = plan.jobs(context)
    more = later_jobs(context, dry=True) if SCORE in options.stages else []
    seconds = estimate.wall_seconds([job.seconds for job in [*todo, *more]], at_once)
    costs = None
    if context.forecast:
        from bench.cost import forecast_table

        costs = forecast_table.numbers(
            context.forecast, request, context.evaluations() if SCORE in options.stages else ()
        )
    if options.as_json:
        jobs = [{"job": job.name, "seconds": round(job.seconds), "work": list(job.notes)} for job in [*todo, *more]]
        planned = {"run": str(run.root), "jobs": jobs, "at_once": at_once, "expected_seconds": round(seconds)}
        missing = {"missing": list(context.remarks)} if context.remarks else {}
        print(json.dumps({**planned, **missing, **({"forecast": costs} if costs else {})}, indent=2))
        return EXIT_OK
    lines = [f"Plan for {run.root} (nothing is written):"]
    for job in [*todo, *more]:
        lines += [f"  {job.name}, about {estimate.in_words(job.seconds)}", *(f"    {note}" for note in job.notes)]
    if SECONDS in request.views and len(request.methods) > 1 and not more and todo:
        lines.append(
            "  afterwards: of every training, the last checkpoint within the time of the quickest (equal seconds)"
        )
    if request.curve and request.methods and todo:
        lines.append(f"  afterwards: every saved checkpoint on {request.curve} prompts (the held-out curve)")
    lines += [f"still missing: {remark}" for remark in context.remarks]
    lines.append(
        f"jobs: {len(todo) + len(more)}, {at_once} at a time, {context.threads} compute threads each, on {context.device}"
    )
    lines.append(f"expected time: about {estimate.in_words(seconds)} (rough: {context.clock.basis()})")
    if not todo and not more:
        lines = [f"nothing to do: everything asked for is in {run.root} already"]
    elif costs:
        lines += ["", *forecast_table.lines(costs)]
    print("\n".join(lines))
    return EXIT_OK


def replace_root(run: RunDir, options: Options) -> RunDir:
    """`run`, or for --overwrite an empty stand-in, so that a plan counts nothing that is there."""
    return replace(run, root=run.root / ".overwritten") if options.overwrite else run


def _close(run: RunDir, request: Request, options: Options, ended: list[Ended]) -> int:
    """Marks a run as complete where it is, and prints the report and what went wrong; returns the exit code."""
    complete = not any(one.sentence or one.missing for one in ended)
    if complete:
        mark_complete(run, request, options.stages)
    status = ("complete" if ended else "unchanged") if complete else "incomplete"
    return finish(run, options, status, ended)


def finish(
    run: RunDir, options: Options, status: str, ended: list[Ended], remedy: str = "the same command does what is left"
) -> int:
    """Prints the report and what went wrong, with the remedy; returns the exit code."""
    failed = [one for one in ended if one.sentence]
    for one in failed:
        say(f"failed: {one.job.name}: {one.sentence}")
    gaps = [sentence for one in ended for sentence in one.missing]
    for sentence in gaps:
        say(f"incomplete: {sentence}")
    result: dict[str, Any] = {
        "run": str(run.root),
        "status": status,
        "failed": {one.job.name: one.sentence for one in failed},
        "incomplete": gaps,
    }
    if REPORT in options.stages and not options.dry_run:
        try:
            result |= print_report(run, options.allow_incomplete, options.as_json)
        except UserError as error:
            if not failed:
                raise
            say(f"no report: {error.message}")
    elif not options.as_json:
        print(f"{status}: {run.root}")
    if options.as_json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
    if failed or (gaps and not options.allow_incomplete):
        say(f"some of it is missing: {remedy}")
        return EXIT_INCOMPLETE
    return EXIT_OK


def print_report(run: RunDir, allow_incomplete: bool, as_json: bool) -> dict[str, Any]:
    """Builds the report and prints its text (unless as_json); returns {"report": files, "rows": the lines of
    table.csv}."""
    from reports.pages.build import build

    report = build(run.root, allow_incomplete)
    if not as_json:
        print(report.terminal)
        return {}
    return {"report": [str(path) for path in report.files], "rows": report.rows}


def execute_report(root: Path, options: Options) -> int:
    """Only the report of the run in `root`."""
    from bench.record.pictures import changed

    run = RunDir(root)
    run.request()
    if not machine.is_main_process():
        return EXIT_OK
    with run.locked():
        begin(run, mends_pictures=False)
        if strange := changed(run):
            more = f", the first of {len(strange)} such pictures" if len(strange) > 1 else ""
            say(
                f"warning: {str(strange[0])!r} is gone or no longer the picture that was scored{more}: scores are those of before"
            )
        result = print_report(run, options.allow_incomplete, options.as_json)
    if options.as_json:
        print(json.dumps({"run": str(root), **result}, indent=2, ensure_ascii=False))
    return EXIT_OK
