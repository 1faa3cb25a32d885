"""`python -m bench`: the list of commands."""

import argparse

from bench.cli import run_main

COMMANDS = {
    "compare": "train methods, generate, score and report: the main job",
    "train": "train one method from a policy",
    "generate": "make the pictures that a benchmark judges",
    "score": "judge pictures by the benchmark's own rule",
    "ablate": "the paper's five ablation studies: which parts of HT-GRPO matter here",
    "paper": "the paper's tables and figure 4 with what your runs have measured beside them",
    "report": "tables, figures and one HTML page from a run",
    "check": "recompute a run from its raw records, offline, and name what does not match",
    "regress": "two gates for a CI: has anything changed, and has quality fallen?",
    "tune": "try settings of every method on the validation prompts",
    "speed": "measure seconds and forwards of every method",
    "text": "ask a policy for text through lm-eval: has its language survived?",
    "fetch": "bring the benchmarks' prompts, questions and instruction texts, by pinned source",
    "doctor": "which scorers can judge here, and what the others lack",
    "verify_scorer": "compare one of our scorers with the official package",
    "serve": "let a scorer judge over HTTP",
    "export": "write a trained policy as one plain checkpoint that upstream code loads, adapters merged",
    "card": "write a checkpoint's model card for the hub, with its results",
    "campaign": "before a release: kills, nonsense, damage, pressure, and the calibration of the statistics",
    "pretrain": "make the embedded policy from random weights",
    "make_checkpoint": "make a random policy in a published backbone's layout, to try everything with",
}


def main(argv: list[str] | None = None) -> int:
    """Prints the list, or runs a command given as the first word."""
    listing = "\n".join(f"  python -m bench.{name:<15} {line}" for name, line in COMMANDS.items())
    p = argparse.ArgumentParser(
        prog="python -m bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="HT-GRPO Bench: which RL method trains a masked image-token model better, and is the difference real?",
        epilog=f"commands (each explains itself with --help):\n{listing}",
    )
    p.add_argument("command", nargs="?", metavar="COMMAND", help="one of the commands below")
    p.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its arguments")
    args = p.parse_args(argv)
    if args.command is None:
        p.print_help()
        return 0
    from importlib import import_module

    from htgrpo.errors import suggest

    if args.command not in COMMANDS:
        raise suggest(args.command, COMMANDS, "command")
    return import_module(f"bench.{args.command}").main(args.arguments)


if __name__ == "__main__":
    run_main(main)
