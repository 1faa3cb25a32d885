"""`python -m bench`, or `htgrpo-bench`: the list of commands, and each of them by its first word."""

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
    "paper": "the paper's tables and figures with what your runs have measured beside them",
    "explain": "draw what methods hide and train, from their own updates",
    "report": "tables, figures and one HTML page from a run",
    "runs": "list runs with their state and headline",
    "check": "recompute a run from its raw records, offline, and name what does not match",
    "premise": "is what is revealed first structure? measured for a policy, sampler by sampler",
    "power": "what a run can see, from what differences varied with in a finished one",
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
DESCRIPTION = """\
HT-GRPO Bench: which RL method trains a masked image-token model better, and is the difference real?

commands, each of which explains itself with --help; `htgrpo-bench NAME` is `python -m bench.NAME`:
"""
SHELLS = ("bash", "zsh")
EXAMPLES = (
    ("python -m bench.compare --help", ""),
    ("source <(python -m bench --completion bash)", "TAB completes what htgrpo-bench takes; a line for ~/.bashrc"),
)


def parser() -> Parser:
    """The command line without a command."""
    listing = "".join(f"  {name:<15}  {line}\n" for name, line in COMMANDS.items())
    p = Parser("", DESCRIPTION + listing, EXAMPLES, prog="python -m bench")
    p.usage = "python -m bench [COMMAND ...] [FLAG ...]"
    p.flag(
        f"--completion {'|'.join(SHELLS)}",
        OneOf(SHELLS, "shell"),
        "print what makes that shell complete commands, flags and their values after htgrpo-bench",
    )
    return p


def main(argv: list[str] | None = None) -> int:
    """Prints the list, or runs a command given as the first word."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0][:1] != "-":
        return import_module(f"bench.{OneOf(COMMANDS, 'command')(words[0], 'command')}").main(words[1:])
    args = parser().parse_args(words)
    if args.completion:
        from bench.ask.completion import script

        print(script(args.completion, {name: import_module(f"bench.{name}").parser() for name in COMMANDS}))
    else:
        parser().print_help()
    return 0


def run() -> None:
    """The console script `htgrpo-bench`."""
    run_main(main)


if __name__ == "__main__":
    run()
