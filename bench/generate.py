"""Makes the pictures that a benchmark judges."""

from bench.ask.cli import run_main
from bench.ask.flags import Parser
from bench.run.stages import run_stage, stage_parser

DESCRIPTION = """\
Makes the pictures that a benchmark judges: PNG files with a manifest, in RUN/images. Pictures that are there already, unchanged
and made by the same weights under the same setting, are kept; a damaged one is made again.
"""
EXAMPLES = (
    ("runs/mine", "for all policies of a run"),
    (
        "--checkpoint ht=runs/a/train/ht/seed0/checkpoints/step_000040 --benchmarks geneval --out runs/b",
        "for weights of one's own",
    ),
)


def parser() -> Parser:
    """The command line."""
    return stage_parser("generate", DESCRIPTION, EXAMPLES)


def main(argv: list[str] | None = None) -> int:
    """Generates; returns the exit code."""
    from bench.record.work import GENERATE

    lines = parser()
    return run_stage(lines.parse_args(argv), lines, (GENERATE,))


if __name__ == "__main__":
    run_main(main)
