"""Does "what is revealed first is structure" hold for a policy, sampler by sampler?"""

import json
from collections.abc import Callable
from typing import Any

from bench.ask import arguments, kinds
from bench.ask.cli import run_main
from bench.ask.flags import OUTPUT, SCORING, TRAINING, Parser
from bench.ask.width import fitted
from htgrpo.base.values import SEED, Whole
from htgrpo.policies.model_files import EMBEDDED

DESCRIPTION = """\
HT-GRPO rests on the premise that tokens revealed first are structure, which decides what a picture is, and later ones detail.
This command measures it for a policy under random order and under confidence order, with guidance and without: the entropy
of tokens by the rank at which they are revealed; what share of the reward's variance within a prompt (which is what
advantages are made of) the draws of the early steps decide alone, those of the late steps alone, and both together; and how
far pictures that share their first tokens share their reward, against as many random ones.
"""
EXAMPLES = (
    ("", "the tiny world's policy on its validation prompts"),
    ("--policy runs/large --out runs/premise", "that of the large world; premise.json, premise.png"),
)
PARTS, SETS = ("early", "late", "both"), ("early", "random", "late")
WAYS = (("random", 0.0), ("random", 1.0), ("maskgit", 0.0), ("maskgit", 1.0))


def parser() -> Parser:
    """The command line."""
    p = Parser("premise", DESCRIPTION, EXAMPLES)
    p.flag("--policy NAME_OR_PATH", kinds.place, "a policy of an embedded world (default embedded)", default=EMBEDDED)
    p.flag("--reward SPEC", kinds.reward, "name=weight,… (default: that of the preset)", TRAINING)
    p.flag("--steps N", Whole(2, 1000), "denoising steps (default 12)", SCORING, default=12)
    p.flag(
        "--prompts N",
        Whole(2, 10_000),
        "validation prompts, spread over the categories (default 28)",
        SCORING,
        default=28,
    )
    p.flag("--seed N", Whole(0, SEED), "of the noise (default 0)", SCORING, default=0)
    p.flag("--out DIR", kinds.NewFolder(), "folder for premise.json and premise.png", OUTPUT)
    arguments.add_json(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Measures, prints and writes."""
    args = parser().parse_args(argv)
    from bench.ask.cli import say
    from bench.ask.machine import threads
    from bench.ask.presets import preset
    from bench.ask.selection import select
    from bench.ask.weights import inspect
    from bench.run import premise
    from htgrpo.base import cpu
    from htgrpo.base.registry import SAMPLERS
    from htgrpo.policies.storage import load_policy
    from htgrpo.training.rewards import check_names
    from htgrpo.training.train_config import TrainConfig
    from htgrpo.world.prompts import split_prompts
    from htgrpo.world.world import of_policy

    weights = inspect(args.policy)
    world = of_policy(
        weights.backbone, weights.source, "the premise is measured with an embedded world's exact rewards"
    )
    reward = args.reward or preset("full", weights.backbone)["train"].get("rewards", TrainConfig.rewards)
    check_names(reward)
    cpu.tune(threads())
    prompts = select("validation", split_prompts(world, "validation"), None, args.prompts)
    policy, measured = load_policy(weights.source), []
    for name, guidance in WAYS:
        way = premise.Way(name, SAMPLERS.get(name)(steps=args.steps), guidance)
        say(f"{name}, guidance {guidance:g}: {len(prompts)} prompts x {premise.EARLY * premise.LATE} pictures")
        measured.append(premise.measure(policy, prompts, reward, way, args.seed))
    result = {
        "policy_sha256": weights.sha256,
        "world": world.name,
        "rewards": reward,
        "seed": args.seed,
        "ways": measured,
    }
    if args.out:
        _write(args.out, result, f"The premise in the {world.title}")
    print(json.dumps(result) if args.json else fitted(_lines(measured)))
    return 0


def _write(out: Any, result: dict[str, Any], title: str) -> None:
    from htgrpo.base.folders import atomic_dir
    from reports.figures.premise import figure

    with atomic_dir(out, "python -m bench.premise") as folder:
        (folder / "premise.json").write_text(json.dumps(result, indent=2) + "\n")
        figure(result["ways"], title).savefig(folder / "premise.png", dpi=150)


def _lines(measured: list[dict[str, Any]]) -> list[str]:
    """The result as three tables."""
    from reports.figures.premise import name
    from reports.format import table

    def part(header: list[str], cells: Callable[[dict[str, Any]], list[str]]) -> list[str]:
        return [*table(["", *header], [[name(one), *cells(one)] for one in measured]).split("\n"), ""]

    def share(value: dict[str, float]) -> str:
        return f"{value['estimate']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"

    def kin(value: dict[str, float]) -> str:
        return f"{value['estimate']:+.3f} ± {value['error']:.3f}"

    return [
        "Mean entropy in nats by eighth of the unmasking rank, first to last:",
        *part(["entropy"], lambda one: [" ".join(f"{value:.2f}" for value in one["entropy"])]),
        "Share of the reward's variance within a prompt that draws decide [95 %]:",
        *part(["early alone", "late alone", "both"], lambda one: [share(one["shares"][p]) for p in PARTS]),
        "How far pictures that share tokens share their reward (0: not at all):",
        *part(["first 30 %", "random 30 %", "last 30 %"], lambda one: [kin(one["agreement"][p]) for p in SETS]),
    ]


if __name__ == "__main__":
    run_main(main)
