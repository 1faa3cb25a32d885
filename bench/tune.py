"""Tunes every method by the same rule, seeds and milestone on the validation split, which no report shows.

    python -m bench.tune --out runs/tune                       # the settings that are shipped
    python -m bench.tune --out runs/tune --write               # the same, and its result becomes the presets'
    python -m bench.tune --methods ht --budget iterations:8 --out runs/tune-ht

Each method gets the learning rate x 0.3, 1 and 3; while the best of them lies at an end, the next one beyond it; and last one try
of its own choosing at the best rate (bench/presets/tune.json). Every try is trained with at least two seeds to the main view of the
preset (one without rollouts to the first budget in forwards). Its score is the mean over the seeds of the mean of the validation
split's GenEval category means, with the policy as it stands at the end. What is finished is kept: the same command goes on with the
rest, and refuses other settings.
"""

import argparse
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import arguments, kinds
from bench.cli import run_main
from bench.flags import Parser
from bench.presets import preset, read
from bench.tries import Grid, Try, next_tries
from bench.tune_record import JUDGED, missing_runs, recorded, render, result_file
from htgrpo.errors import UserError
from htgrpo.files import atomic_json, atomic_write_text
from htgrpo.folders import check_place
from htgrpo.run_files import read as read_kinds
from htgrpo.values import Names, Whole

CONFIG = "tune_config.json"
SPLIT = "validation"


@dataclass(frozen=True)
class Tuning:
    """What is tuned and how: all that decides a score. settings: TrainConfig fields that all tries share, and the budgets of the
    preset. Methods may be added later."""

    methods: tuple[str, ...]
    policy: str
    policy_sha256: str
    settings: dict[str, Any]
    samples: int
    grid: Grid

    def identity(self) -> dict[str, Any]:
        """What a folder of tries must agree on, as JSON."""
        from bench.benchmarks.embedded_geneval import EmbeddedGenEval
        from htgrpo.prompts import prompt_set_sha256
        from htgrpo.world.prompts import split_prompts

        own = {method: self.grid.own_choice.get(method, {}) for method in self.methods}
        return {
            "policy_sha256": self.policy_sha256, "settings": self.settings, "samples": self.samples, "seeds": list(self.grid.seeds),
            "lr": self.grid.lr, "start": list(self.grid.start), "ladder": list(self.grid.ladder), "own_choice": own, "split": SPLIT,
            "prompts": {"train": prompt_set_sha256(split_prompts("train")), SPLIT: prompt_set_sha256(split_prompts(SPLIT))},
            "benchmark": f"{EmbeddedGenEval.name} {EmbeddedGenEval.version}",
        }


def parser() -> Parser:
    """The command line."""
    p = Parser("tune", __doc__)
    p.add_argument("--out", type=kinds.NewFolder(), required=True, help="folder for the tries and tune.json / tune.md")
    p.add_argument("--methods", type=Names(arguments.METHOD), help="comma-separated methods (default: all of the grid)")
    p.add_argument("--budget", type=kinds.views, help="budget of every try (default: the main view of the grid's preset)")
    p.add_argument("--policy", type=kinds.place, default="embedded", help="starting weights (default embedded)")
    p.add_argument("--seeds", type=kinds.seeds, default=[1000, 1001], metavar="N|LIST",
                   help="training seeds of every try, at least two, which the reports do not use (default 1000,1001)")
    p.add_argument("--samples", type=Whole(1, 1000), default=4, help="images per validation prompt (default 4)")
    p.add_argument("--jobs", type=Whole(1, arguments.JOBS.high), help="tries side by side, one thread each (default: CPU cores)")
    p.add_argument("--dry-run", action="store_true", help="list the first tries and stop")
    p.add_argument("--write", action="store_true",
                   help="write the best settings to bench/presets/methods.json and their record to bench/presets/tuning.json")
    return p


def asked(args: argparse.Namespace) -> Tuning:
    """What the command line asks for. Raises UserError; loads no torch."""
    from bench.budgets import parse_views, training_budget
    from bench.weights import EMBEDDED, inspect

    grid = read("tune")
    methods = args.methods or grid["methods"]
    if len(args.seeds) < 2:
        raise UserError(f"--seeds is {args.seeds}, but a try needs at least two training seeds, such as 1000,1001")
    defaults = preset(grid["preset"], EMBEDDED)
    budget = training_budget(parse_views(args.budget if args.budget is not None else defaults["budget"]))
    settings = {**defaults["train"], "budget": budget, "save_every": 1000}
    weights = inspect(args.policy)
    rule = Grid(grid["lr"], tuple(grid["start"]), tuple(grid["ladder"]), grid["own_choice"], tuple(args.seeds))
    return Tuning(tuple(methods), weights.source, weights.sha256, settings, args.samples, rule)


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
    from bench import machine
    from bench.rundir import RunDir

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
        from bench.presets import write_tuned

        print("written: " + ", ".join(map(str, write_tuned(record))))
    return 0


def refuse_another(out: Path, tuning: Tuning) -> None:
    """Raises UserError where `out` holds something else, or tries of other settings, naming the first difference."""
    check_place(out)
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {str(out)!r} is a file: give a folder")
    if not (out / CONFIG).is_file():
        strange = sorted(path.name for path in out.glob("*") if path.name[0] != ".")
        if strange:
            raise UserError(f"--out {str(out)!r} holds {strange[0]!r} and no {CONFIG}: give a new or empty folder")
        return
    old = read_kinds(out / CONFIG, {"own_choice": dict[str, dict[str, Any]]}, remedy="restore it, or use another --out")
    new = tuning.identity()
    both = set(old.get("own_choice") or ()) & set(new["own_choice"])
    old, new = ({**one, "own_choice": {m: one["own_choice"][m] for m in sorted(both)}} if both else one for one in (old, new))
    for key, had, has in _differences(old, new):
        if both or not key.startswith("own_choice"):
            raise UserError(f"{str(out)!r} holds tries with {key} = {had!r}, but this command says {has!r}: use another --out")


def _differences(old: dict, new: dict, above: str = "") -> list[tuple[str, Any, Any]]:
    """(key, old value, new value) of everything in which two records differ."""
    found = []
    for key in dict.fromkeys([*old, *new]):
        had, has = old.get(key), new.get(key)
        if isinstance(had, dict) and isinstance(has, dict):
            found += _differences(had, has, f"{above}{key}.")
        elif had != has:
            found.append((f"{above}{key}", had, has))
    return found


def settle(out: Path, tuning: Tuning) -> None:
    """Writes down what the folder is for, methods of an earlier command included."""
    refuse_another(out, tuning)
    new = tuning.identity()
    if (out / CONFIG).is_file():
        new["own_choice"] = {**read_kinds(out / CONFIG, {"own_choice": dict[str, Any]})["own_choice"], **new["own_choice"]}
    atomic_json(out / CONFIG, new)


def run_all(tuning: Tuning, out: Path, jobs: int) -> dict[str, Any]:
    """Every run that is missing, as the rule asks for them; returns how the starting policy scores. A stopped command leaves what
    is finished."""
    import multiprocessing

    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from bench.worker import leave_with_parent

    context = multiprocessing.get_context("spawn")
    columns = TextColumn("tuning"), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=leave_with_parent)
    try:
        with Progress(*columns) as bar:
            task = bar.add_task("", total=0)
            first = pool.submit(run_base, tuning, out)
            pending: dict[Future, str] = {first: ""}
            while True:
                for method in tuning.methods:
                    if method not in pending.values():
                        runs = missing_runs(tuning, method, out)
                        pending |= {pool.submit(run_try, tuning, one, seed, out): method for one, seed in runs}
                        bar.update(task, total=bar.tasks[0].total + len(runs))
                if not pending:
                    break
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    if pending.pop(future):
                        score = "diverged" if result["geneval"] is None else f"{result['geneval']:.3f}"
                        bar.update(task, advance=1, description=f"{result['name']} seed {result['seed']}: {score}")
        return first.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()


def run_try(tuning: Tuning, one: Try, seed: int, out: Path) -> dict[str, Any]:
    """Trains one try with one seed and judges it on the validation split; the result is kept."""
    from htgrpo import cpu

    cpu.tune(1)
    from bench.overrides import resolve
    from htgrpo.policies import load_policy
    from htgrpo.registry import METHODS
    from htgrpo.train_config import comparable, parse_budgets
    from htgrpo.trainer import Diverged, train
    from htgrpo.world.prompts import split_prompts

    file = result_file(out, one, seed)
    budget = comparable(parse_budgets(tuning.settings["budget"]), METHODS.get(one.method).rewarded)[0].text
    shared = {name: value for name, value in tuning.settings.items() if name != "budget"}
    config = replace(resolve(one.method, budget, [shared, {"lr": one.lr, **dict(one.options)}]), seed=seed)
    policy = load_policy(tuning.policy)
    result = {"name": one.name, "method": one.method, "lr": one.lr, "options": dict(one.options), "seed": seed}
    try:
        done = train(policy, config, split_prompts("train"), file.parent).progress
        result |= {**validate(policy, config, tuning.samples), "iterations": done.iteration, "forwards": done.forwards,
                   "seconds": round(done.seconds, 1)}
    except Diverged as error:
        result |= {"geneval": None, "diverged": error.message}
    atomic_json(file, result)
    return result


def validate(policy, config, samples: int) -> dict[str, Any]:
    """Mean of category means, category means, and the mean training reward on the validation prompts' images."""
    from bench.benchmarks.embedded_geneval import EmbeddedGenEval
    from bench.benchmarks.pixels import as_pictures
    from htgrpo.registry import SAMPLERS
    from htgrpo.rewards import WeightedReward
    from htgrpo.rollout import generate

    benchmark = EmbeddedGenEval()
    owners = [prompt for prompt in benchmark.prompts(SPLIT) for _ in range(samples)]
    keys = [("tune", SPLIT, prompt.id, i % samples) for i, prompt in enumerate(owners)]
    sampler = SAMPLERS.get(config.sampler)(steps=config.steps)
    rollouts = generate(policy, [policy.prompt(p.text) for p in owners], keys, sampler, config.guidance)
    images = policy.decode(rollouts.codes)
    by_category: dict[str, list[float]] = {}
    for prompt, verdict in zip(owners, benchmark.judge(as_pictures(images), owners), strict=True):
        by_category.setdefault(prompt.category, []).append(verdict["score"])
    means = {category: round(sum(scores) / len(scores), 4) for category, scores in by_category.items()}
    reward = WeightedReward(config.rewards)(owners, images).total
    score, rewarded = round(sum(means.values()) / len(means), 4), round(float(reward.nanmean()), 4)
    return {"geneval": score, "categories": means, "reward": rewarded}


def run_base(tuning: Tuning, out: Path) -> dict[str, Any]:
    """The starting policy on the same validation images, judged once."""
    from htgrpo import cpu

    cpu.tune(1)
    from htgrpo.options import build
    from htgrpo.policies import load_policy
    from htgrpo.train_config import TrainConfig

    file = out / "base.json"
    if not file.is_file():
        config = build(TrainConfig, tuning.settings, "training")
        atomic_json(file, validate(load_policy(tuning.policy), config, tuning.samples))
    return read_kinds(file, JUDGED)


if __name__ == "__main__":
    run_main(main)
