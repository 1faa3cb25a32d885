"""Makes the pictures that a benchmark judges."""

from bench.cli import run_main

DESCRIPTION = """\
Makes the pictures that a benchmark judges: PNG files with a manifest, in RUN/images. Pictures that are there already, unchanged
and made by the same weights under the same setting, are kept; a damaged one is made again.

examples:
  python -m bench.generate runs/mine                         for all policies of a run
  python -m bench.generate --checkpoint ht=runs/a/train/ht/seed0/checkpoints/step_000040 --benchmarks geneval --out runs/b
"""


def main(argv: list[str] | None = None) -> int:
    """Generates; returns the exit code."""
    from bench.stages import run_stage, stage_parser
    from bench.work import GENERATE

    parser = stage_parser("generate", DESCRIPTION)
    return run_stage(parser.parse_args(argv), parser, (GENERATE,))


if __name__ == "__main__":
    run_main(main)
