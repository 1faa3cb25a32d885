"""Compares training methods: trains each from the same policy, generates on held-out prompts, scores, and reports."""

from bench.ask import arguments, kinds
from bench.ask.cli import run_main
from bench.ask.flags import EXITS, OUTPUT, SCORING, TRAINING, Parser
from bench.ask.request import PUBLISHED, SHARED_BY_ALL
from htgrpo.base.values import Names, Number, OneOf, Text

DESCRIPTION = """\
Which method trains the policy better, on which benchmark, and is the difference real?

Trains every method from the same weights at the same budget, makes pictures for held-out prompts with the same noise for all,
scores them by the benchmark's own rule and prints a comparison with intervals. The untrained policy ('base') always takes part.
It is bench.train, bench.generate, bench.score and bench.report in one; what a run has already is never done again, so an
interrupted command goes on where it was, and methods, seeds and benchmarks can be added later.
"""
EXAMPLES = (
    ("--methods mask,trace,ht", "a few minutes on a laptop"),
    ("--methods help", "a line on each method"),
    ("--preset full", "the whole study"),
    (
        "--methods ht --set ht.alpha=0.5 --set lr=3e-5 --budget iterations:20",
        "settings, an option of a method, the budget",
    ),
    ("--checkpoint ht=runs/a/train/ht/seed0/checkpoints/step_000040", "weights that are trained already"),
    ("--methods ht,uni --seeds 3 --dry-run", "the plan and how long it takes"),
    ("--backbone mmada --dry-run --gpu h100", "what the 8B study costs, without its weights"),
    ("--policy runs/tiny-mmada --budget iterations:2 --limit 12", "on a random policy in MMaDA's layout"),
)


def parser() -> Parser:
    """The command line."""
    p = Parser("compare", DESCRIPTION, EXAMPLES, EXITS)
    p.flag(
        "--methods NAMES",
        Names(),
        f"comma-separated methods to train: {arguments.method_names()}; or all, literature, adaptive; help tells what they "
        "are (default: the preset's, quick: mask,trace,ht)",
    )
    p.flag(
        "--seeds N|LIST",
        kinds.seeds,
        "training seeds: a count such as 4, or a list such as 0,1,2 (default: the preset's)",
        TRAINING,
    )
    p.flag(
        f"--hyperparameters {SHARED_BY_ALL}|{PUBLISHED}",
        OneOf((SHARED_BY_ALL, PUBLISHED), "kind of hyperparameters"),
        "those that all methods share, with tuned learning rates (default), or K, clip, penalty, advantage and options of each "
        "method's published code; a run has one kind",
        TRAINING,
    )
    arguments.add_preset(p)
    arguments.add_start(p)
    arguments.add_checkpoints(p)
    arguments.add_training(p)
    arguments.add_overrides(p)
    arguments.add_benchmarks(p)
    p.flag(
        "--claim BENCHMARK[/VIEW]",
        Text(),
        "the one comparison that is named before the run, under the main setting; all others are secondary. VIEW is a part of "
        "--budget, e.g. embedded_dpg/forwards:40000 (default: the first benchmark in the main view)",
        SCORING,
    )
    p.flag(
        "--margin SHARE",
        Number(0, 1, open_low=True),
        "share of a benchmark's scale within which two methods are called equal, named before anything is scored (default 0.02)",
        SCORING,
    )
    arguments.add_out(p, "runs/PRESET-HASH, where HASH stands for the settings")
    arguments.add_running(p)
    arguments.add_allow_incomplete(p)
    p.switch("--overwrite", "throw the run in RUN away and start it again", OUTPUT)
    return p


def main(argv: list[str] | None = None) -> int:
    """Compares; returns the exit code."""
    args = parser().parse_args(argv)
    from bench.ask.asked import from_arguments
    from bench.ask.options import Options
    from bench.record.work import GENERATE, REPORT, SCORE, TRAIN
    from bench.run.loop import execute

    parsed = from_arguments(args).told()
    options = Options.of(args, TRAIN, GENERATE, SCORE, REPORT)
    return execute(parsed.request, args.out or parsed.folder, options)


if __name__ == "__main__":
    run_main(main)
