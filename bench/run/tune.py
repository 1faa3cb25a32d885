"""How methods are tuned: what decides a score, the runs that are missing, and each of them trained and judged."""

from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

from bench.run.tries import SPLIT, Try, Tuning
from bench.run.tune_record import Judged, missing_runs, result_file
from htgrpo.base.errors import UserError
from htgrpo.base.files import atomic_json
from htgrpo.base.folders import check_place
from htgrpo.base.records import read as read_kinds

CONFIG = "tune_config.json"


class TuneConfig(TypedDict):
    """tune_config.json: what a folder of tries must agree on; see Tuning.identity for the rest."""

    own_choice: dict[str, dict[str, Any]]


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
    old: dict[str, Any] = dict(read_kinds(out / CONFIG, TuneConfig, "restore it, or use another --out"))
    new = tuning.identity()
    both = set(old.get("own_choice") or ()) & set(new["own_choice"])
    old, new = (
        {**one, "own_choice": {m: one["own_choice"][m] for m in sorted(both)}} if both else one for one in (old, new)
    )
    for key, had, has in _differences(old, new):
        if both or not key.startswith("own_choice"):
            raise UserError(
                f"{str(out)!r} holds tries with {key} = {had!r}, but this command says {has!r}: use another --out"
            )


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
        new["own_choice"] = {**read_kinds(out / CONFIG, TuneConfig)["own_choice"], **new["own_choice"]}
    atomic_json(out / CONFIG, new)


def run_all(tuning: Tuning, out: Path, jobs: int) -> dict[str, Any]:
    """Every run that is missing, as the rule asks for them; returns how the starting policy scores. A stopped command
    leaves what is finished."""
    import multiprocessing

    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from bench.run.worker import leave_with_parent

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
                        bar.update(task, total=(bar.tasks[0].total or 0) + len(runs))
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
    from htgrpo.base import cpu

    cpu.tune(1)
    from bench.ask.overrides import resolve
    from htgrpo.base.registry import METHODS
    from htgrpo.policies.storage import load_policy
    from htgrpo.training.train_config import comparable, parse_budgets
    from htgrpo.training.trainer import Diverged, train
    from htgrpo.world.prompts import split_prompts

    file = result_file(out, one, seed)
    budget = comparable(parse_budgets(tuning.settings["budget"]), METHODS.get(one.method).rewarded)[0].text
    shared = {name: value for name, value in tuning.settings.items() if name != "budget"}
    config = replace(resolve(one.method, budget, [shared, {"lr": one.lr, **dict(one.options)}]), seed=seed)
    policy = load_policy(tuning.policy)
    result = {"name": one.name, "method": one.method, "lr": one.lr, "options": dict(one.options), "seed": seed}
    try:
        done = train(policy, config, split_prompts(tuning.world, "train"), file.parent).progress
        result |= {
            **validate(policy, config, tuning.benchmark, tuning.samples),
            "iterations": done.iteration,
            "forwards": done.forwards,
            "seconds": round(done.seconds, 1),
        }
    except Diverged as error:
        result |= {"geneval": None, "diverged": error.message}
    atomic_json(file, result)
    return result


def validate(policy, config, name: str, samples: int) -> dict[str, Any]:
    """Mean of category means, category means, and the mean training reward on the images of the validation prompts of the
    benchmark called so."""
    from htgrpo.base.pictures import as_pictures
    from htgrpo.base.registry import BENCHMARKS, SAMPLERS
    from htgrpo.rollout import generate
    from htgrpo.training.rewards import WeightedReward

    benchmark = BENCHMARKS.get(name)()
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
    from htgrpo.base import cpu

    cpu.tune(1)
    from htgrpo.base.options import build
    from htgrpo.policies.storage import load_policy
    from htgrpo.training.train_config import TrainConfig

    file = out / "base.json"
    if not file.is_file():
        config = build(TrainConfig, tuning.settings, "training")
        atomic_json(file, validate(load_policy(tuning.policy), config, tuning.benchmark, tuning.samples))
    return dict(read_kinds(file, Judged))
