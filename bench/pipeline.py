"""Runs a request: what is there already is kept, the rest is done by jobs, and a report closes it."""

import contextlib
import json
import signal
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import estimate, machine
from bench.complete import is_complete, mark_complete
from bench.jobs import Ended, run_here, run_jobs
from bench.progress import make_progress
from bench.request import Request
from bench.rundir import RunDir, refuse_difference, write_config
from bench.work import REPORT, SCORE, Job
from htgrpo.errors import EXIT_INCOMPLETE, EXIT_OK, UserError, suggest

TRACKERS = ("tensorboard", "trackio", "wandb")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Options:
    """How a request is run; none of it changes a result.

    jobs: worker processes, None = the default, 0 = none, all in this process. in_process: bench.train, of which several
    processes of an `accelerate launch` may work together. resume: insist on a training to go on with.
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


def execute(request: Request, root: Path, options: Options) -> int:
    """Runs `request` in the folder `root`; returns the exit code. Raises UserError for what stops it as a whole."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill is handled like Ctrl-C
    _check(options)
    run = RunDir(root)
    if not options.overwrite:
        old = run.config()
        if old is not None:
            refuse_difference(root, old, request)
        if not options.dry_run and is_complete(run, request, options.stages):
            say(f"nothing to do: everything asked for is in {root} already")
            return _finish(run, options, "unchanged", [])
    if options.dry_run:
        return _dry_run(run, request, options)
    main = machine.is_main_process()
    with run.locked() if main else contextlib.nullcontext():
        if options.overwrite and main:
            run.clear() if not options.in_process else run.clear_trainings(request)
        if main:
            run.sweep()
        ended = _work(run, request, options)
        complete = not any(one.sentence or one.missing for one in ended)
        if complete and main:
            mark_complete(run, request, options.stages)
        status = ("complete" if ended else "unchanged") if complete else "incomplete"
        return _finish(run, options, status, ended)


def say(text: str) -> None:
    """A line for the user, on standard error."""
    print(text, file=sys.stderr, flush=True)


def _check(options: Options) -> None:
    if options.device not in DEVICES:
        raise suggest(options.device, DEVICES, "device")
    if options.jobs is not None and options.jobs < 0:
        raise UserError(f"--jobs is {options.jobs}, but it takes a whole number of at least 0 (0: no worker processes)")
    if options.report_to is not None:
        from importlib.util import find_spec

        if options.report_to not in TRACKERS:
            raise suggest(options.report_to, TRACKERS, "tracker in --report-to")
        if find_spec(options.report_to) is None:
            raise UserError(f"the tracker {options.report_to!r} is not installed: pip install {options.report_to}")


def prepare(run: RunDir, request: Request, options: Options):
    """The context of a request, and how many jobs run at once."""
    say("loading")
    import torch

    from bench.plan import load_context

    there = torch.cuda.is_available()
    if options.device == "cuda" and not there:
        raise UserError("--device is 'cuda', but torch finds no CUDA device here: use --device cpu")
    device = options.device if options.device != "auto" else "cuda" if there else "cpu"
    default = machine.cores() if device == "cpu" and not options.in_process else 1
    at_once = default if options.jobs is None else max(1, options.jobs)
    threads = max(1, machine.cores() // at_once)
    return load_context(run, request, options.stages, device, threads, options.report_to), at_once


def _work(run: RunDir, request: Request, options: Options) -> list[Ended]:
    """Does all jobs, and then those of the equal-iterations milestone."""
    from bench import plan

    context, at_once = prepare(run, request, options)
    todo = plan.jobs(context)
    if options.resume and not any(context.run.train(m, s).is_dir() for m in request.methods for s in request.seeds):
        raise UserError(
            f"--resume: {str(run.root)!r} holds no training of {request.methods[0]} with seed {request.seeds[0]} yet: "
            "leave --resume out to start one"
        )
    joined = record(context, at_once) if machine.is_main_process() else request
    ended = _run(run, todo, at_once, options)
    if SCORE in options.stages and joined.equal_iterations:
        whole = plan.load_context(run, joined, options.stages, context.device, context.threads)
        more = plan.milestone_jobs(whole)
        ended += _run(run, more, at_once, options)
        todo += more
    if not todo:
        say(f"nothing to do: everything asked for is in {run.root} already")
    return ended


def record(context, at_once: int) -> Request:
    """Writes config.json and returns the request joined with what the run held before."""
    titles = sorted({benchmark.world for benchmark in context.benchmarks.values()})
    return write_config(
        context.run,
        context.request,
        {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "title": ", ".join(f"{title} world" for title in titles),
            "versions": machine.versions(),
            "git_commit": machine.git_commit(),
            "prompt_sets": {name: selection.sha256 for name, selection in context.selections.items()},
            "selections": {
                name: [p.id for p in selection.prompts]
                for name, selection in context.selections.items()
                if context.request.limit or name in context.request.subset
            },
            "machine": {
                "cpu": machine.cpu_name(),
                "cores": machine.cores(),
                "threads_per_job": context.threads,
                "jobs": at_once,
                "device": context.device,
            },
        },
    )


def _run(run: RunDir, todo: list[Job], at_once: int, options: Options) -> list[Ended]:
    if not todo:
        return []
    expected = estimate.wall_seconds([job.seconds for job in todo], at_once)
    many = f"{len(todo)} jobs, {min(at_once, len(todo))} at a time" if len(todo) > 1 else "1 job"
    say(f"{run.root}: {many}, about {estimate.in_words(expected)}")
    with make_progress(todo, expected) as progress:
        if options.in_process or options.jobs == 0:
            return run_here(todo, progress.event)
        return run_jobs(todo, at_once, progress.event)


def _dry_run(run: RunDir, request: Request, options: Options) -> int:
    """Prints what would be done. Writes nothing."""
    from bench import plan
    from bench.presets import timing

    context, at_once = prepare(replace_root(run, options), request, options)
    todo = plan.jobs(context)
    more = plan.milestone_jobs(context, dry=True) if SCORE in options.stages and request.equal_iterations else []
    seconds = estimate.wall_seconds([job.seconds for job in [*todo, *more]], at_once)
    if options.as_json:
        jobs = [{"job": job.name, "seconds": round(job.seconds), "work": list(job.notes)} for job in [*todo, *more]]
        print(json.dumps({"run": str(run.root), "jobs": jobs, "at_once": at_once, "expected_seconds": round(seconds)}, indent=2))
        return EXIT_OK
    lines = [f"Plan for {run.root} (nothing is written):"]
    for job in [*todo, *more]:
        lines += [f"  {job.name}, about {estimate.in_words(job.seconds)}", *(f"    {note}" for note in job.notes)]
    if request.equal_iterations and not more and todo:
        lines.append("  afterwards: the last common checkpoint of the methods that sample rollouts (equal iterations)")
    lines.append(f"jobs: {len(todo) + len(more)}, {at_once} at a time, {context.threads} compute threads each, on {context.device}")
    lines.append(f"expected time: about {estimate.in_words(seconds)} (rough: measured on {timing()['machine']})")
    print("\n".join(lines if todo or more else [f"nothing to do: everything asked for is in {run.root} already"]))
    return EXIT_OK


def replace_root(run: RunDir, options: Options) -> RunDir:
    """`run`, or for --overwrite an empty stand-in, so that a plan counts nothing that is there."""
    return replace(run, root=run.root / ".overwritten") if options.overwrite else run


def _finish(run: RunDir, options: Options, status: str, ended: list[Ended]) -> int:
    """Prints the report and what went wrong; returns the exit code."""
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
        say("some of it is missing: the same command does what is left")
        return EXIT_INCOMPLETE
    return EXIT_OK


def print_report(run: RunDir, allow_incomplete: bool, as_json: bool) -> dict[str, Any]:
    """Builds the report and prints its text (unless as_json); returns {"report": files, "rows": the lines of table.csv}."""
    import csv

    from reports.build import build

    report = build(run.root, allow_incomplete)
    if not as_json:
        print(report.terminal)
        return {}
    with open(run.root / "report" / "table.csv", newline="", encoding="utf-8") as stream:
        rows = [{key: value for key, value in row.items() if value != ""} for row in csv.DictReader(stream)]
    return {"report": [str(path) for path in report.files], "rows": rows}


def execute_report(root: Path, options: Options) -> int:
    """Only the report of the run in `root`."""
    run = RunDir(root)
    run.request()
    with run.locked():
        result = print_report(run, options.allow_incomplete, options.as_json)
    if options.as_json:
        print(json.dumps({"run": str(root), **result}, indent=2, ensure_ascii=False))
    return EXIT_OK
