"""Tunes every method with the same number of tries, the same forwards and the validation split, which no report ever shows.

    python -m bench.tune --out runs/tune                       # the grid of the shipped settings
    python -m bench.tune --methods ht --budget forwards:20000 --out runs/tune-ht

Each method gets the learning rate x 0.3, 1 and 3, and one try of its own choosing (bench/presets/tune.json). Finished tries are
kept; the same command goes on with the rest. The table says which try scored best: the mean of the validation split's six
GenEval category means, with the policy as it stands at the end of the budget.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cli import run_main

WRITTEN = ("tune.json", "tune.md", "tries")
RESULT = {"name": str, "method": str, "lr": float, "options": dict, "own_choice": bool, "geneval": float, "reward": float | None,
          "iterations": int, "forwards": int, "seconds": float}
GRID = Path(__file__).parent / "presets" / "tune.json"


@dataclass(frozen=True)
class Try:
    """One try: a method, its settings (TrainConfig fields and `options` of the method), a folder name."""

    method: str
    lr: float
    options: dict
    chosen: bool

    @property
    def name(self) -> str:
        """The folder of the try."""
        extra = "".join(f"-{key}={value}" for key, value in self.options.items())
        return f"{self.method}-lr={self.lr:g}{extra}"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m bench.tune", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--out", type=Path, required=True, help="folder for the tries and tune.json / tune.md")
    p.add_argument("--methods", help="comma-separated methods (default: all of the grid)")
    p.add_argument("--budget", help="budget of every try (default: the grid's)")
    p.add_argument("--policy", default="embedded", help="starting weights (default embedded)")
    p.add_argument("--seed", type=int, default=1000, help="training seed, one the reports do not use (default 1000)")
    p.add_argument("--samples", type=int, default=4, help="images per validation prompt (default 4)")
    p.add_argument("--jobs", type=int, default=0, help="tries side by side, one thread each (default: CPU cores)")
    p.add_argument("--dry-run", action="store_true", help="list the tries and stop")
    return p


def tries_of(grid: dict, methods: list[str]) -> list[Try]:
    """The same tries for every method: three learning rates, and the method's own choice."""
    tries = []
    for method in methods:
        tries += [Try(method, grid["lr"] * factor, {}, False) for factor in (0.3, 1.0, 3.0)]
        own = dict(grid["own_choice"].get(method, {}))
        tries.append(Try(method, own.pop("lr", grid["lr"]), own, True))
    return tries


def run_try(one: Try, settings: dict, policy_name: str, out: Path, seed: int, samples: int) -> dict:
    """Trains one try and judges it on the validation split; the result is kept in the try's folder."""
    from htgrpo import cpu

    cpu.tune(1)
    from htgrpo.files import atomic_json
    from htgrpo.options import build
    from htgrpo.policies import load_policy
    from htgrpo.run_files import read
    from htgrpo.train_config import TrainConfig
    from htgrpo.trainer import train
    from htgrpo.world.prompts import split_prompts

    folder = out / "tries" / one.name
    if (folder / "result.json").exists():
        return read(folder / "result.json", RESULT)
    config = build(TrainConfig, {**settings, "method": one.method, "lr": one.lr, "seed": seed}, "training")
    config = replace(config, method_options=one.options)
    policy = load_policy(policy_name)
    progress = train(policy, config, split_prompts("train"), folder)
    score, categories, reward = validate(policy, config, samples)
    result = {"name": one.name, "method": one.method, "lr": one.lr, "options": one.options, "own_choice": one.chosen,
              "geneval": score, "categories": categories, "reward": reward, "iterations": progress.iteration,
              "forwards": progress.forwards, "seconds": round(progress.seconds, 1)}
    atomic_json(folder / "result.json", result)
    return result


def validate(policy, config, samples: int) -> tuple[float, dict[str, float], float]:
    """(mean of category means, category means, mean training reward) on the validation prompts' images."""
    from bench.benchmarks.embedded_geneval import EmbeddedGenEval
    from bench.benchmarks.pixels import as_pictures
    from htgrpo.registry import SAMPLERS
    from htgrpo.rewards import WeightedReward
    from htgrpo.rollout import generate

    benchmark = EmbeddedGenEval()
    owners = [prompt for prompt in benchmark.prompts("validation") for _ in range(samples)]
    keys = [("tune", "validation", prompt.id, i % samples) for i, prompt in enumerate(owners)]
    sampler = SAMPLERS.get(config.sampler)(steps=config.steps)
    rollouts = generate(policy, [policy.prompt(p.text) for p in owners], keys, sampler, config.guidance)
    images = policy.decode(rollouts.codes)
    by_category: dict[str, list[float]] = {}
    for prompt, verdict in zip(owners, benchmark.judge(as_pictures(images), owners), strict=True):
        by_category.setdefault(prompt.category, []).append(verdict["score"])
    means = {category: round(sum(scores) / len(scores), 4) for category, scores in by_category.items()}
    reward = WeightedReward(config.rewards)(owners, images).total
    return round(sum(means.values()) / len(means), 4), means, round(float(reward.nanmean()), 4)


def main(argv: list[str] | None = None) -> int:
    """Runs the missing tries and prints the table."""
    args = parser().parse_args(argv)
    from bench.rundir import RunDir
    from htgrpo.files import atomic_json, atomic_write_text
    from htgrpo.registry import METHODS
    from htgrpo.train_config import parse_budget

    grid = json.loads(GRID.read_text())
    settings = {**grid["settings"], "budget": args.budget or grid["budget"]}
    parse_budget(settings["budget"])
    methods = [METHODS.check(m) for m in (args.methods.split(",") if args.methods else grid["methods"])]
    tries = tries_of(grid, methods)
    _check_out(args.out)
    if args.dry_run:
        print("\n".join(one.name for one in tries))
        return 0
    with RunDir(args.out).locked():
        results, base = _run(args, tries, settings)
        atomic_json(args.out / "tune.json", {"settings": settings, "seed": args.seed, "base": base, "tries": results})
        text = render(results, base, settings)
        atomic_write_text(args.out / "tune.md", text)
    print(text)
    return 0


def _check_out(out: Path) -> None:
    """Raises UserError where `out` is something else than a folder of this command, or a new one."""
    from htgrpo.errors import UserError
    from htgrpo.folders import check_place

    check_place(out)
    strange = sorted(path.name for path in out.glob("*") if path.name not in WRITTEN and path.name[0] != ".")
    if strange or any((out / name).exists() and not (out / "tries").is_dir() for name in WRITTEN):
        raise UserError(f"--out is {str(out)!r}, which holds {(strange or [WRITTEN[0]])[0]!r} and is no folder of this command: "
                        "give a new or empty folder")


def _run(args: argparse.Namespace, tries: list[Try], settings: dict) -> tuple[list[dict], dict]:
    """The results of all tries in their order, those that are there already included, and of the starting policy."""
    import multiprocessing
    import os

    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from bench.worker import watch_parent

    results = []
    context = multiprocessing.get_context("spawn")
    jobs = args.jobs or len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=watch_parent) as pool, Progress(
        TextColumn("tuning"), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
    ) as bar:
        task = bar.add_task("", total=len(tries))
        pending = [pool.submit(run_try, one, settings, args.policy, args.out, args.seed, args.samples) for one in tries]
        for future in as_completed(pending):
            results.append(future.result())
            bar.update(task, advance=1, description=f"{results[-1]['name']}: {results[-1]['geneval']:.3f}")
    order = [one.name for one in tries]
    results.sort(key=lambda r: order.index(r["name"]))
    return results, run_base(args.policy, settings, args.samples)


def run_base(policy_name: str, settings: dict, samples: int) -> dict:
    """The starting policy on the same validation images."""
    from htgrpo.options import build
    from htgrpo.policies import load_policy
    from htgrpo.train_config import TrainConfig

    score, categories, reward = validate(load_policy(policy_name), build(TrainConfig, settings, "training"), samples)
    return {"geneval": score, "categories": categories, "reward": reward}


def render(results: list[dict], base: dict, settings: dict) -> str:
    """Every try, the best of each method marked."""
    start = f"base GenEval {base['geneval']:.3f}, reward {base['reward']:.3f}"
    lines = [f"Budget {settings['budget']} per try; validation split, {start}.", "",
             "| method | lr | own choice | iterations | forwards | seconds | GenEval | reward | |",
             "|---|---|---|---|---|---|---|---|---|"]
    for r in results:
        best = r is max((x for x in results if x["method"] == r["method"]), key=lambda x: x["geneval"])
        own = ", ".join(f"{k}={v}" for k, v in r["options"].items()) or ("lr" if r["own_choice"] else "")
        lines.append(f"| {r['method']} | {r['lr']:g} | {own} | {r['iterations']} | {r['forwards']} | {r['seconds']:.0f} "
                     f"| {r['geneval']:.3f} | {r['reward']:.3f} | {'best' if best else ''} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_main(main)
