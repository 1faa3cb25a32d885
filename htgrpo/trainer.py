"""The training loop: iterations until the budget is spent, a line of metrics each, checkpoints, resume.

Everything random is keyed by (seed, iteration, …), so a resumed run needs no generator state and repeats the interrupted
one bit for bit on a CPU.
"""

import math
import resource
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from htgrpo import checkpoints
from htgrpo.checkpoints import Progress
from htgrpo.errors import UserError
from htgrpo.files import append_jsonl, atomic_write_text, make_folder, read_jsonl, sha256_json
from htgrpo.interface import Method
from htgrpo.learner import Setup
from htgrpo.options import build
from htgrpo.policies.policy import Policy
from htgrpo.prompts import Prompt, prompt_set_sha256
from htgrpo.registry import METHODS
from htgrpo.rewards import WeightedReward
from htgrpo.train_config import TrainConfig, parse_budget

METRICS, TIMING = "metrics.jsonl", "timing.jsonl"
TRACKERS = ("tensorboard", "wandb", "trackio")
OnProgress = Callable[[dict[str, Any]], None]


def make_method(config: TrainConfig) -> Method:
    """The configured method with its options. Raises UserError for an unknown name, option or value."""
    return build(METHODS.get(config.method), config.method_options, config.method)


def train_identity(config: TrainConfig, policy: Policy, prompts: list[Prompt]) -> str:
    """Hex identity of a training run: settings, starting weights, prompt set."""
    return sha256_json([asdict(config), policy.sha256, prompt_set_sha256(prompts)])


def train(policy: Policy, config: TrainConfig, prompts: list[Prompt], out: Path, report_to: str | None = None,
          on_progress: OnProgress = lambda event: None) -> Progress:
    """Trains `policy` in place until the budget is spent, writing metrics.jsonl, timing.jsonl and checkpoints into `out`.

    Goes on from the newest checkpoint in `out`. on_progress gets {"iteration", "fraction", "phase", "reward_mean"}.
    Raises UserError for settings or folders that cannot work.
    """
    config.validate()
    method = make_method(config)
    if not prompts:
        raise UserError("there are no training prompts: give a prompt set that is not empty")
    accelerator = _accelerator(report_to, out)
    identity = train_identity(config, policy, prompts)
    optimizer = torch.optim.AdamW(policy.net.parameters(), lr=config.lr, betas=(config.beta1, config.beta2),
                                  weight_decay=config.weight_decay)
    reference = deepcopy(policy.net).requires_grad_(False)
    make_folder(out)
    progress = checkpoints.resume(out, policy, optimizer, identity)
    _rewind(out, progress.iteration)
    reward = WeightedReward(config.rewards, config.normalise_rewards)
    learner = method.learner(Setup(policy, reference, config, prompts, reward, optimizer, accelerator, _flat_iterations(out)))
    if report_to:
        accelerator.init_trackers("htgrpo", config={k: str(v) for k, v in asdict(config).items()})
    budget = parse_budget(config.budget)
    while not budget.done(progress.iteration, progress.forwards, progress.last):
        progress = _iterate(learner, config, optimizer, progress, out, accelerator, budget, on_progress)
        finished = budget.done(progress.iteration, progress.forwards, progress.last)
        if accelerator.is_main_process and (finished or progress.iteration % config.save_every == 0):
            checkpoints.save(out, policy, optimizer, progress, identity)
    accelerator.end_training()
    return progress


def _iterate(learner, config: TrainConfig, optimizer: torch.optim.Optimizer, progress: Progress, out: Path,
             accelerator: Accelerator, budget, on_progress: OnProgress) -> Progress:
    """One iteration and its two log lines."""
    number = progress.iteration + 1
    rate = config.lr * min(1.0, number / max(1, config.warmup))
    for group in optimizer.param_groups:
        group["lr"] = rate
    fraction = budget.fraction(progress.iteration, progress.forwards)
    started = time.perf_counter()
    done = learner.iteration(number, lambda phase: on_progress({"iteration": number, "fraction": fraction, "phase": phase}))
    seconds = time.perf_counter() - started
    forwards = {phase: int(accelerator.reduce(torch.tensor(n), "sum")) for phase, n in done.forwards.items()}
    spent = sum(forwards.values())
    progress = Progress(number, progress.forwards + spent, spent, progress.seconds + seconds)
    counted = {"iteration": number, "forwards": spent, "forwards_total": progress.forwards}
    metrics = {**counted, **{f"forwards_{phase}": n for phase, n in forwards.items()}, **done.metrics, "lr": rate}
    for name in ("loss", "grad_norm"):
        if not math.isfinite(metrics.get(name, 0.0)):
            raise UserError(f"{name} is {metrics[name]} at iteration {number}: training has diverged; use a smaller lr "
                            f"(now {rate:g}) or a larger beta, and start again in a new folder")
    if accelerator.is_main_process:
        append_jsonl(out / METRICS, metrics)
        append_jsonl(out / TIMING, {
            "iteration": number, "seconds_total": progress.seconds, "seconds": seconds, **done.seconds,
            "other": seconds - sum(done.seconds.values()), "peak_memory_mb": peak_memory_mb(),
        })
    numbers = {name: value for name, value in metrics.items() if isinstance(value, (int, float))}
    accelerator.log(numbers, step=number)
    on_progress({"iteration": number, "fraction": budget.fraction(number, progress.forwards), "phase": "done",
                 "reward_mean": metrics.get("reward_mean"), "loss": metrics.get("loss")})
    return progress


def _rewind(out: Path, iteration: int) -> None:
    """Drops log lines of iterations after the checkpoint that training goes on from."""
    for name in (METRICS, TIMING):
        if (out / name).exists():
            kept = [line for line in (out / name).read_text().splitlines(keepends=True)][:iteration]
            if len(read_jsonl(out / name)) < iteration:
                raise UserError(f"{str(out / name)!r} has fewer lines than the checkpoint has iterations ({iteration}): it was "
                                "edited; delete the training folder to start again")
            atomic_write_text(out / name, "".join(kept))


def _flat_iterations(out: Path) -> int:
    """How many of the newest logged iterations in a row had no spread of rewards, so that a restart does not count anew."""
    lines = read_jsonl(out / METRICS) if (out / METRICS).exists() else []
    flat = [line.get("groups") == line.get("groups_without_spread") for line in lines]
    return (flat[::-1] + [False]).index(False)


def peak_memory_mb() -> float:
    """Peak resident memory of this process in MiB, plus the accelerator's peak where there is one."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return round(peak + (torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0), 1)


def _accelerator(report_to: str | None, out: Path) -> Accelerator:
    if report_to is None:
        return Accelerator(cpu=not torch.cuda.is_available())
    if report_to not in TRACKERS:
        raise UserError(f"--report-to is {report_to!r}, but it takes one of {', '.join(TRACKERS)}")
    try:
        accelerator = Accelerator(cpu=not torch.cuda.is_available(), log_with=report_to, project_dir=str(out / "tracker"))
    except (ImportError, ValueError) as error:
        raise UserError(f"the tracker {report_to!r} is not installed ({error}): pip install {report_to}") from error
    if not accelerator.log_with:
        raise UserError(f"the tracker {report_to!r} is not installed: pip install {report_to}")
    return accelerator
