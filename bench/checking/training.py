"""Trainings: logs that add up, checkpoints that belong to them, and settings that are still those of config.json."""

from dataclasses import asdict, fields
from pathlib import Path

from bench.ask.request import Request
from bench.checking.findings import Damaged, Findings, read_records
from bench.record.rundir import RunDir
from bench.sources import training_prompts
from htgrpo.base.errors import UserError
from htgrpo.base.folders import read_seal
from htgrpo.base.prompts import prompt_set_sha256
from htgrpo.base.records import MetricsLine, TimingLine
from htgrpo.base.registry import METHODS
from htgrpo.training.checkpoints import STATE, read_state, with_state
from htgrpo.training.train_config import TrainConfig, comparable, milestones, parse_budgets
from htgrpo.training.trainer import METRICS, TIMING, train_identity

SUMS = ("forwards_total", "forwards_undeduplicated")
"""Counts of forwards that are no phase of an iteration."""


def check_trainings(run: RunDir, request: Request, findings: Findings) -> None:
    """Every training folder, and whether every method has one."""
    folders = sorted(path for path in run.root.glob("train/*/seed*") if path.is_dir())
    for folder in folders:
        method, seed = folder.parent.name, folder.name.removeprefix("seed")
        where = run.relative(folder)
        if method not in request.methods or not seed.isdigit() or int(seed) not in request.seeds:
            findings.mismatches.append(f"{where}: config.json knows no method {method!r} with seed {seed}")
            continue
        with findings.stopped(f"{where}/"):
            _check_training(folder, where, request, method, int(seed), findings)
    trained = {folder.parent.name for folder in folders}
    findings.missing += [
        f"train/{method}: {method} has not been trained" for method in request.methods if method not in trained
    ]
    if trained:
        _check_prompts(request, findings)


def _check_prompts(request: Request, findings: Findings) -> None:
    """Whether what was trained on is still to be had: trainings are compared with the hash of the prompts, not with
    their file."""
    try:
        found = prompt_set_sha256(training_prompts.load(request.train_prompts))
    except (UserError, OSError) as error:
        findings.not_checked(f"config.json: train_prompts: {error}")
        return
    if found != request.train_prompts["sha256"]:
        findings.not_checked(
            f"config.json: train_prompts: the embedded world's training prompts were others "
            f"({request.train_prompts['sha256'][:12]}) than those of this version ({found[:12]})"
        )


def _check_training(folder: Path, where: str, request: Request, method: str, seed: int, findings: Findings) -> None:
    metrics = read_records(folder / METRICS, MetricsLine, f"{METRICS} ")
    findings.counts["training iterations"] += len(metrics)
    _check_log(metrics, f"{where}/{METRICS}", findings)
    clock = [record["iteration"] for record in read_records(folder / TIMING, TimingLine, f"{TIMING} ")]
    findings.same(f"{where}/{TIMING}", "the list of iterations", clock, [r["iteration"] for r in metrics], METRICS)
    states = with_state(folder)
    if not states or not metrics:
        findings.missing.append(
            f"{where}: has no checkpoint with the trainer's state, so that its settings cannot be checked"
        )
        return
    newest, last = states[-1], metrics[-1]
    name = f"{where}/checkpoints/{newest.name}/{STATE}/state.json"
    try:
        state = read_state(newest)
    except UserError as error:
        raise Damaged(f"checkpoints/{newest.name}/{STATE}/state.json: {error.message}") from error
    for key, value in (
        ("iteration", last["iteration"]),
        ("forwards", last["forwards_total"]),
        ("last", last["forwards"]),
    ):
        findings.same(name, key, getattr(state.progress, key), value, f"the last line of {METRICS}")
    try:
        written = read_seal(newest).files
    except UserError as error:
        raise Damaged(f"checkpoints/{newest.name}: {error.message}") from error
    for file, sha256 in state.policy.items():
        findings.same(name, f"policy.{file}", sha256, written.get(file), "the list of the checkpoint's files")
    _check_settings(name, state.identity, request, method, seed, findings)
    budgets = comparable(parse_budgets(request.train[method]["budget"]), METHODS.get(method).rewarded)
    for text in [budget.text for budget in budgets if budget.text not in milestones(budgets, metrics)]:
        findings.missing.append(f"{where}: stopped at iteration {last['iteration']}, before {text} was reached")


def _check_log(metrics: list[MetricsLine], where: str, findings: Findings) -> None:
    """Iterations without a gap, and forwards that add up."""
    lines, total = [], 0
    for number, record in enumerate(metrics, 1):
        total += record["forwards"]
        phases = [n for key, n in record.items() if key.startswith("forwards_") and key not in SUMS]
        if record["iteration"] != number:
            lines.append(f"line {number} is of iteration {record['iteration']}: a record was dropped, added or moved")
            break
        if record["forwards_total"] != total or record["forwards"] != sum(n for n in phases if isinstance(n, int)):
            lines.append(f"the forwards of iteration {number} do not add up")
    findings.several(where, lines)


def _check_settings(where: str, identity: str, request: Request, method: str, seed: int, findings: Findings) -> None:
    """The settings, starting weights and prompts of config.json against what the trainer has recorded."""
    recorded, ours = {*request.train[method], "seed"}, {field.name for field in fields(TrainConfig)}
    if recorded != ours:
        findings.unchecked.append(
            f"{where}: settings (config.json was written by a version with other ones: "
            f"{', '.join(sorted(recorded ^ ours))})"
        )
        return
    config = request.config(method, seed)
    if identity != train_identity(config, request.policy_sha256, request.train_prompts["sha256"]):
        findings.mismatches.append(
            f"{where}: was not trained with the settings that config.json has as train.{method} "
            f"({len(asdict(config))} settings with the seed), its policy_sha256 and its train_prompts"
        )
    else:
        findings.counts["trainings"] += 1
