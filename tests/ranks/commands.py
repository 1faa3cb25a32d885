"""A command line of the bench, run by `accelerate launch -m tests.ranks.commands CODES MODULE ARGUMENT…`.

Batches are small, so that a few pictures make work for every process, and the report has no figures. Each process
writes its exit code into the folder CODES.
"""

import importlib
import os
import sys
from pathlib import Path

import bench.judge.images
import bench.judge.judging
import bench.run.ending
from bench.ask.cli import run_main
from tests.bench.tiny_runs import print_quickly

IMAGES, VERDICTS = 4, 5


def main(codes: Path, module: str, argv: list[str]) -> None:
    """Runs the command."""
    bench.judge.images.BATCH, bench.judge.judging.BATCH = IMAGES, VERDICTS
    bench.run.ending.print_report = print_quickly
    try:
        run_main(lambda: importlib.import_module(module).main(argv))
    except SystemExit as done:
        (codes / os.environ["RANK"]).write_text(str(done.code))
        raise


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
