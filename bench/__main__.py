"""`python -m bench`: the list of commands."""

import sys
from importlib import import_module

from bench.ask.cli import run_main
from bench.ask.flags import Parser
from htgrpo.base.values import OneOf

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


def parser() -> Parser:
    """The command line without a command."""
    p = Parser(
        "", "HT-GRPO Bench: which RL method trains a masked image-token model better, and is the difference real?"
    )
    p.prog, listing = (
        "python -m bench",
        "\n".join(f"  python -m bench.{name:<15} {line}" for name, line in COMMANDS.items()),
    )
    p.usage, p.epilog = "python -m bench [COMMAND ...]", f"commands (each explains itself with --help):\n{listing}"
    return p


def main(argv: list[str] | None = None) -> int:
    """Prints the list, or runs a command given as the first word."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0][:1] != "-":
        return import_module(f"bench.{OneOf(COMMANDS, 'command')(words[0], 'command')}").main(words[1:])
    parser().parse_args(words)
    parser().print_help()
    return 0


if __name__ == "__main__":
    run_main(main)
