"""How a command ends: what went wrong, the report, the exit code."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.ask.cli import say
from bench.ask.machine import is_main_process
from bench.ask.options import Options
from bench.record.complete import begin
from bench.record.pictures import changed
from bench.record.rundir import RunDir
from bench.record.work import GENERATE, REPORT, SCORE
from bench.run.jobs import Ended
from bench.run.progress import steps
from htgrpo.base.errors import EXIT_INCOMPLETE, EXIT_OK, UserError

LEFT = "the same command does what is left"


def finish(run: RunDir, options: Options, ended: list[Ended], remedy: str = LEFT) -> int:
    """Prints the report of a run and what went wrong, with the remedy; returns the exit code."""
    if SCORE in options.stages and GENERATE not in options.stages and not ended and (strange := changed(run)):
        raise UserError(
            f"{str(strange[0])!r} is no longer the picture that was scored: run the command of this run, or python -m "
            "bench.generate on it, which makes the picture again"
        )
    wanted = REPORT in options.stages
    return tell(run.root, options, ended, (lambda: print_report(run, options)) if wanted else None, remedy)


def tell(
    root: Path, options: Options, ended: list[Ended], report: Callable[[], dict[str, Any]] | None, remedy: str = LEFT
) -> int:
    """Prints what went wrong in `root`, and what `report` prints or, for --json, returns; returns the exit code."""
    failed = {one.job.name: one.sentence for one in ended if one.sentence}
    gaps = [sentence for one in ended for sentence in one.missing]
    for line in [
        *(f"failed: {name}: {sentence}" for name, sentence in failed.items()),
        *(f"incomplete: {gap}" for gap in gaps),
    ]:
        say(line)
    status = "incomplete" if failed or gaps else "complete" if ended else "unchanged"
    result: dict[str, Any] = {"run": str(root), "status": status, "failed": failed, "incomplete": gaps}
    if report:
        try:
            result |= report()
        except UserError as error:
            if not failed:
                raise
            say(f"no report: {error.message}")
    elif not options.json:
        print(f"{status}: {root}")
    if options.json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
    if failed or (gaps and not options.allow_incomplete):
        say(f"some of it is missing: {remedy}")
        return EXIT_INCOMPLETE
    return EXIT_OK


def print_report(run: RunDir, options: Options) -> dict[str, Any]:
    """Builds the report and prints its text (unless it is for --json); returns {"report": files, "rows": the lines of
    table.csv}."""
    from reports.pages.build import build

    with steps("tables, figures and page", quiet=options.json):
        report = build(run.root, options.allow_incomplete)
    if not options.json:
        print(report.terminal)
        return {}
    return {"report": [str(path) for path in report.files], "rows": report.rows}


def execute_report(root: Path, options: Options) -> int:
    """Only the report of the run in `root`."""
    run = RunDir(root)
    run.request()
    if not is_main_process():
        return EXIT_OK
    with run.locked():
        with steps("are the pictures as they were scored?", quiet=options.json):
            begin(run, (REPORT,))
            strange = changed(run)
        if strange:
            more = f", the first of {len(strange)} such pictures" if len(strange) > 1 else ""
            say(
                f"warning: {str(strange[0])!r} is gone or no longer the picture that was scored{more}: scores are those of before"
            )
        result = print_report(run, options)
    if options.json:
        print(json.dumps({"run": str(root), **result}, indent=2, ensure_ascii=False))
    return EXIT_OK
