"""Tunes every method by the same rule, seeds and milestone on the validation split, which no report shows."""

import argparse

from bench.ask import arguments, kinds, machine
from bench.ask.budgets import parse_views, training_budget
from bench.ask.cli import run_main
from bench.ask.flags import OUTPUT, RUNNING, SCORING, TRAINING, Parser
from bench.ask.methods import expanded, groups
from bench.ask.presets import preset, read
from bench.run.tries import Grid, Tuning, next_tries
from bench.run.tune import refuse_another, run_all, settle
from bench.run.tune_record import recorded, render
from htgrpo.base.errors import UserError
from htgrpo.base.files import atomic_json, atomic_write_text
from htgrpo.base.registry import METHODS
from htgrpo.base.values import Names, OneOf, Whole
from htgrpo.world.world import of_policy

DESCRIPTION = """\
Tunes every method by the same rule, seeds and milestone on the validation split, which no report shows.

Each method gets the learning rate x 0.3, 1 and 3; while the best of them lies at an end, the next one beyond it; and
last one try of its own choosing at the best rate (bench/ask/presets/tune.json). Every try is trained with at least two
seeds to the main view of the preset (one without rollouts to the first budget in forwards). Its score is the mean over
the seeds of the mean of the validation split's GenEval category means, with the policy as it stands at the end. What is
finished is kept: the same command goes on with the rest, and refuses other settings.
"""
EXAMPLES = (
    ("--out runs/tune", "the settings that are shipped"),
    ("--out runs/tune --write", "the same, and its result becomes the presets'"),
    ("--methods ht --budget iterations:8 --out runs/tune-ht", ""),
)


def parser() -> Parser:
    """The command line."""
    p = Parser("tune", DESCRIPTION, EXAMPLES)
    p.flag("--out", kinds.NewFolder(), "folder for the tries and tune.json / tune.md", OUTPUT, required=True)
    p.flag(
        "--methods",
        Names(OneOf(lambda: [*METHODS.names(), *groups()], "method")),
        "comma-separated methods, or all, literature, adaptive (default: all of the grid)",
    )
    p.flag("--budget", kinds.views, "budget of every try (default: the main view of the grid's preset)", TRAINING)
    p.flag("--policy", kinds.place, "starting weights", default="embedded")
    p.flag(
        "--seeds N|LIST",
        kinds.seeds,
        "training seeds of every try, at least two, which the reports do not use",
        TRAINING,
        default=[1000, 1001],
    )
    p.flag("--samples", Whole(1, 1000), "images per validation prompt", SCORING, default=4)
    p.flag("--jobs", Whole(1, arguments.JOBS.high), "tries side by side, one thread each (default: CPU cores)", RUNNING)
    p.switch("--dry-run", "list the first tries and stop", RUNNING)
    p.switch(
        "--write",
        "write the best settings to bench/ask/presets/methods.json and their record to bench/ask/presets/tuning_BACKBONE.json",
        OUTPUT,
    )
    return p


def asked(args: argparse.Namespace) -> Tuning:
    """What the command line asks for. Raises UserError; loads no torch."""
    from bench.ask.overrides import resolve
    from bench.ask.weights import inspect

    grid = read("tune")
    methods = expanded(args.methods or grid["methods"])
    if len(args.seeds) < 2:
        raise UserError(f"--seeds is {args.seeds}, but a try needs at least two training seeds, such as 1000,1001")
    weights = inspect(args.policy)
    world = of_policy(weights.backbone, weights.source, "tries are judged on an embedded world's validation prompts")
    defaults = preset(grid["preset"], weights.backbone)
    budget = training_budget(parse_views(args.budget if args.budget is not None else defaults["budget"]))
    settings = {**defaults["train"], "budget": budget, "save_every": 1000}
    for method in methods:  # before the first try, not after the last
        resolve(method, budget, [defaults["train"], grid["own_choice"].get(method, {})])
    rule = Grid(grid["lr"], tuple(grid["start"]), tuple(grid["ladder"]), grid["own_choice"], tuple(args.seeds))
    return Tuning(
        tuple(methods), weights.source, weights.sha256, world, defaults["benchmarks"][0], settings, args.samples, rule
    )


def main(argv: list[str] | None = None) -> int:
    """Runs what is missing and prints the table."""
    import signal

    lines = parser()
    args = lines.parse_args(argv)
    tuning = asked(args)
    refuse_another(args.out, tuning)
    if args.dry_run:
        lines.refuse(args, ("write", "jobs"), "with --dry-run")
        print("\n".join(one.name for method in tuning.methods for one in next_tries(tuning.grid, method, {})))
        return 0
    from bench.record.rundir import RunDir

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with RunDir(args.out).locked():
        settle(args.out, tuning)
        base = run_all(tuning, args.out, args.jobs or machine.cores())
        record = recorded(tuning, args.out, base)
        atomic_json(args.out / "tune.json", record)
        text = render(record)
        atomic_write_text(args.out / "tune.md", text)
    print(text)
    if args.write:
        from bench.ask.presets import write_tuned

        print("written: " + ", ".join(map(str, write_tuned(tuning.world.policy, record))))
    return 0


if __name__ == "__main__":
    run_main(main)
