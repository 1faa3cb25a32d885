"""Builds the report of a run again from its files, or lays several runs beside one another."""

import json
from pathlib import Path

from bench.ask import arguments, kinds
from bench.ask.cli import run_main
from bench.ask.flags import OUTPUT, Parser
from bench.record.rundir import CONFIG
from htgrpo.base.errors import EXIT_OK, UserError

DESCRIPTION = """\
Builds RUN/report from the files of a run, without loading a model: a table on the terminal, table.md, .csv and .tex, figures,
and index.html, one file with everything in it.

Of several runs it makes one comparison, of all their methods on the same prompts and noise, and names the settings in
which the runs differ. Runs that start from different policies, look at different budgets or judge differently are
refused.
"""
EXAMPLES = (
    ("runs/mine", ""),
    ("runs/mine runs/yours", "one table of both, on the terminal"),
    ("runs/mine runs/yours --out runs/both", "with a page, runs/both/report/index.html"),
)


def parser() -> Parser:
    """The command line."""
    p = Parser("report", DESCRIPTION, EXAMPLES)
    p.flag("runs RUN", kinds.RUN, "the run folder, or several", nargs="+")
    p.flag(
        "--out FOLDER", kinds.NewFolder(), "where the report of several runs goes (default: the terminal only)", OUTPUT
    )
    arguments.add_allow_incomplete(p)
    arguments.add_json(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Reports; returns the exit code."""
    args = parser().parse_args(argv)
    from bench.ask.options import Options
    from bench.run.ending import execute_report

    if len(args.runs) > 1:
        return _together(args.runs, args.out, args.allow_incomplete, args.json)
    if args.out:
        raise UserError(
            f"--out {str(args.out)!r} is for several runs: the report of one lies in it, {args.runs[0]}/report"
        )
    return execute_report(args.runs[0], Options.of(args))


def _together(roots: list[Path], out: Path | None, allow_incomplete: bool, as_json: bool) -> int:
    """One comparison of several runs, printed, and written where `out` names a folder."""
    from bench.run.progress import steps
    from reports.pages.together import together

    if out and (out / CONFIG).is_file():
        raise UserError(
            f"--out is {str(out)!r}, which is a run whose own report would be lost: give another folder, there or not"
        )
    with steps("tables, figures and page" if out else "tables", quiet=as_json):
        text, rows, files = together(roots, out, allow_incomplete)
    if as_json:
        told = {"runs": [str(root) for root in roots], "report": [str(path) for path in files], "rows": rows}
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        print(text)
    return EXIT_OK


if __name__ == "__main__":
    run_main(main)
