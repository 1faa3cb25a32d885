"""Recomputes a run from its raw records and says whether everything in it still fits together."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.ask import arguments, kinds
from bench.ask.cli import run_main
from bench.ask.flags import Parser
from bench.ask.request import Request
from htgrpo.base.errors import UserError
from htgrpo.base.run_config import read_config

if TYPE_CHECKING:
    from bench.checking.findings import Findings

DESCRIPTION = """\
Checks the folder of a run, offline, and changes nothing in it:

  prompts and settings   config.json against the prompt sets, the pictures, the verdicts and the trainings
  pictures               every file against the hash in its manifest; weights against the hash the pictures were made with
  verdicts               every (prompt, sample) once; pictures are judged again where the scorer needs no weights
  trainings              logs that add up; checkpoints and settings that belong to them
  all files              every byte of each, against complete.json and the report's files.json, and what nobody has written there
  report                 every table and figure made again from the records and compared byte for byte (pictures only where
                         the versions of the drawing libraries are recorded and equal)

Of a report that was kept without its run (docs/study), the table is made again from its scores.json and compared.

Exit code: 0 all matches, 1 mismatch (each named in one line), 2 usage, 3 no mismatch, but something is missing. What cannot be
compared here is said, with the reason, and changes no exit code.
A check finds what contradicts itself. It cannot find a run that was invented as a whole, with pictures made elsewhere.
"""
EXAMPLES = (("runs/mine", ""),)
VERDICTS = "verdicts/*/*/*.meta.json"
STEPS = ("trainings", "every byte of all files", "report, made again")


def parser() -> Parser:
    """The command line."""
    p = Parser("check", DESCRIPTION, EXAMPLES)
    p.flag("run RUN", kinds.RUN_OR_KEPT, "the run folder, or one that holds the scores.json and table of its report")
    arguments.add_json(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Checks; returns the exit code."""
    args = parser().parse_args(argv)
    from bench.run.progress import steps

    files = sum(1 for _ in args.run.glob(VERDICTS))
    with steps(count=files + len(STEPS), quiet=args.json) as tell:
        findings = check(args.run, tell)
    if args.json:
        parts = {name: getattr(findings, name) for name in ("status", "mismatches", "missing", "unchecked", "counts")}
        print(json.dumps({"run": str(args.run), **parts}, indent=2, ensure_ascii=False))
        return findings.exit_code
    for label, lines in (
        ("mismatch", findings.mismatches),
        ("missing", findings.missing),
        ("not checked", findings.unchecked),
    ):
        for line in lines:
            print(f"{label}: {line}")
    done = ", ".join(f"{count} {name}" for name, count in findings.counts.items())
    print(f"{findings.status}: {args.run} (compared: {done or 'nothing'})")
    return findings.exit_code


def check(root: Path, tell: Callable[[str], None] = lambda text: None) -> "Findings":
    """What there is to say about the run in `root`. Reads only. tell: is told what it comes to: every verdict file and
    STEPS."""
    from bench.checking.chain import check_scores, load_benchmarks
    from bench.checking.findings import Findings
    from bench.checking.kept import check_kept
    from bench.checking.report import check_report
    from bench.checking.seal import check_complete
    from bench.checking.training import check_trainings
    from bench.record.rundir import CONFIG, GIVEN, RunDir

    run, findings = RunDir(root), Findings()
    if not (root / CONFIG).exists():
        check_kept(root, findings)
        return findings
    try:
        config = read_config(root / CONFIG)
        request = Request.read(config, CONFIG)
    except UserError as error:
        findings.mismatches.append(f"{CONFIG}: {error.message}")
        check_complete(run, findings)
        return findings
    check_scores(run, request, config, load_benchmarks(request, config, findings), findings, tell)
    if config.get("kind") != GIVEN:  # given pictures have no training
        tell(STEPS[0])
        check_trainings(run, request, findings)
    whole = not findings.missing
    tell(STEPS[1])
    check_complete(run, findings)
    if any(root.glob(VERDICTS)):
        tell(STEPS[2])
        check_report(run, config, whole, findings)
    return findings


if __name__ == "__main__":
    run_main(main)
