"""Lists runs: what each is, how far it is, and its headline."""

import json
from pathlib import Path

from bench.ask import arguments, kinds
from bench.ask.cli import run_main
from bench.ask.flags import Parser
from htgrpo.base.errors import EXIT_OK

DESCRIPTION = """\
Lists the runs in a folder, newest first: running, complete, begun or damaged, what was compared, and the scores of the main
claim as the run's report has them. Reads files only and loads no torch.
"""
EXAMPLES = (("", "the runs in runs/"), ("/data/runs --json", "for a script"))


def parser() -> Parser:
    """The command line."""
    p = Parser("runs", DESCRIPTION, EXAMPLES)
    p.flag("folder FOLDER", kinds.Folder(), "where the runs lie", nargs="?", default=Path("runs"))
    arguments.add_json(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Lists; returns the exit code."""
    args = parser().parse_args(argv)
    folder = kinds.Folder()(str(args.folder), "FOLDER")
    from bench.record.listing import listed, told

    found = listed(folder)
    if args.json:
        print(json.dumps([one.record for one in found], indent=2, ensure_ascii=False))
    else:
        print(told(found) if found else f"no run in {folder}")
    return EXIT_OK


if __name__ == "__main__":
    run_main(main)
