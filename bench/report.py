"""Builds the report of a run again from its files."""

from bench.ask import arguments, kinds
from bench.ask.cli import run_main
from bench.ask.flags import Parser

DESCRIPTION = """\
Builds RUN/report from the files of a run, without loading a model: a table on the terminal, table.md, .csv and .tex, figures,
and index.html, one file with everything in it.
"""
EXAMPLES = (("runs/mine", ""),)


def parser() -> Parser:
    """The command line."""
    p = Parser("report", DESCRIPTION, EXAMPLES)
    p.flag("run RUN", kinds.RUN, "the run folder")
    arguments.add_allow_incomplete(p)
    arguments.add_json(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Reports; returns the exit code."""
    args = parser().parse_args(argv)
    from bench.ask.options import Options
    from bench.run.ending import execute_report

    return execute_report(args.run, Options.of(args))


if __name__ == "__main__":
    run_main(main)
