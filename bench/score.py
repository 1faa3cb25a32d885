"""Judges the pictures of a run by the benchmark's own rule."""

from bench.cli import run_main

DESCRIPTION = """\
Judges the pictures in RUN/images by the benchmark's own rule and writes a verdict for each into RUN/verdicts. A picture that is
damaged or missing is recorded as failed or skipped with the reason, never as a zero. Verdicts that are there already are kept.

examples:
  python -m bench.score runs/mine                            all policies of a run
  python -m bench.score --checkpoint ht=PATH --benchmarks geneval --out runs/other     after bench.generate with the same flags
"""


def main(argv: list[str] | None = None) -> int:
    """Scores; returns the exit code."""
    from bench.stages import run_stage, stage_parser
    from bench.work import SCORE

    parser = stage_parser("score", DESCRIPTION)
    return run_stage(parser.parse_args(argv), parser, (SCORE,))


if __name__ == "__main__":
    run_main(main)
