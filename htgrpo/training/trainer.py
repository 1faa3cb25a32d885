"""The training loop: iterations until the budget is spent, a line of metrics each, checkpoints, resume.

Everything random is keyed by (seed, iteration, …), so a resumed run needs no generator state and repeats the
interrupted one bit for bit on a CPU. Several ranks (htgrpo.parallel.ranks) train together; the first one writes the
files, which all read.
"""

import json
import math
import resource
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from htgrpo.base.errors import UserError
from htgrpo.base.files import append_jsonl, atomic_json, atomic_write_text, make_folder, read_object, sha256_json
from htgrpo.base.prompts import Prompt, prompt_set_sha256
from htgrpo.base.records import log_lines
from htgrpo.interface import Method
from htgrpo.parallel import sharding
from htgrpo.parallel.ranks import Ranks
from htgrpo.policies.policy import Policy
from htgrpo.training import checkpoints
from htgrpo.training.batching import rollout_tokens
from htgrpo.training.checkpoints import Progress
from htgrpo.training.holding import Holding, Sharded
from htgrpo.training.learner import GroupLearner, Setup
from htgrpo.training.rewards import WeightedReward
from htgrpo.training.train_config import Budget, TrainConfig, comparable, make_method, milestones, parse_budgets
from htgrpo.training.tuning import TUNINGS, Tuning

METRICS, TIMING, REWARDERS = "metrics.jsonl", "timing.jsonl", "rewards.json"
OnProgress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Trained:
    """How far a training came. reached: text of every budget -> the iteration that reached it, whose checkpoint is
    kept."""

    progress: Progress
    reached: dict[str, int]


class Diverged(UserError):
    """A loss or gradient that is no number any more."""


LATER = {"compile": "auto", "rollout_tokens": 0}
"""Settings that trainings made before them lack, with their defaults."""


def train_identity(config: TrainConfig, policy_sha256: str, prompts_sha256: str) -> str:
    """Hex identity of a training run: settings, starting weights, prompt set. Settings that came later do not count while
    they have their defaults, so that trainings made before go on."""
    settings = {key: value for key, value in asdict(config).items() if LATER.get(key, ...) != value}
    return sha256_json([settings, policy_sha256, prompts_sha256])


def train(
    policy: Policy,
    config: TrainConfig,
    prompts: list[Prompt],
    out: Path,
    report_to: str | None = None,
    on_progress: OnProgress = lambda event: None,
) -> Trained:
    """Trains `policy` in place until every budget is reached, writing metrics.jsonl, timing.jsonl, rewards.json (what
    rewarded it) and checkpoints into `out`.

    Goes on from the newest checkpoint in `out`. on_progress gets {"iteration", "fraction", "phase", "reward_mean"}.
    Raises UserError for settings or folders that cannot work; with several ranks all of them raise it.
    """
    config.validate()
    policy = policy.sized(config.resolution)
    method = make_method(config)
    if not prompts:
        raise UserError("there are no training prompts: give a prompt set that is not empty")
    accelerator = _accelerator(report_to, out, policy.device)
    ranks = Ranks(accelerator)
    with ranks.phase(), closing(WeightedReward(config.rewards, config.normalise_rewards)) as reward:
        run = _start(policy, config, method, prompts, out, accelerator, ranks, reward)
        if report_to:
            accelerator.init_trackers("htgrpo", config={k: str(v) for k, v in asdict(config).items()})
        if method.rewarded and not run.done():
            run.load_rewards(on_progress)
        while not run.done():
            if run.iterate(on_progress) or run.progress.iteration % config.save_every == 0:
                run.save()
        ranks.wait()  # the first rank may still be writing
    for tracker in accelerator.trackers:  # end_training would part the ranks, who may have more to do together
        tracker.finish()
    return Trained(run.progress, run.reached)


def _start(
    policy: Policy,
    config: TrainConfig,
    method: Method,
    prompts: list[Prompt],
    out: Path,
    accelerator: Accelerator,
    ranks: Ranks,
    reward: WeightedReward,
) -> "_Run":
    """A run at its beginning, or where its newest checkpoint left it."""
    identity = train_identity(config, policy.sha256, prompt_set_sha256(prompts))
    tuning = TUNINGS[config.tuning](policy, config)
    holding = _holding(accelerator, tuning, config, ranks)
    policy = policy.with_net(holding.net)
    if ranks.is_main:
        make_folder(out)
        checkpoints.tidy(out)
    ranks.wait()
    progress = checkpoints.resume(out, tuning, holding.optimizer, identity)
    if len(set(ranks.gather(progress.iteration))) > 1:
        raise UserError(
            f"the machines of this launch see different checkpoints in {str(out)!r}: use a folder that they share"
        )
    if ranks.is_main:
        _rewind(out, progress.iteration)
    ranks.wait()  # from here on all may read what was rewound
    together = rollout_tokens(config, policy, tuning.sampling, ranks, out) if method.rewarded else 0
    setup = Setup(policy, tuning, config, prompts, reward, holding, ranks, _flat_iterations(out), together)
    budgets = comparable(parse_budgets(config.budget), method.rewarded)
    reached = milestones(budgets, _log(out, progress.iteration))
    return _Run(
        setup,
        method.learner(setup) or GroupLearner(method, setup),
        budgets,
        reached,
        progress,
        out,
        identity,
        accelerator,
    )


def _holding(accelerator: Accelerator, tuning: Tuning, config: TrainConfig, ranks: Ranks) -> Holding:
    """What the launch asks for. Raises UserError for what is not supported."""
    if (settings := sharding.plugin(accelerator)) is not None:
        return Sharded(tuning, config, ranks, accelerator, settings)
    return Holding(tuning, config, ranks)


@dataclass
class _Run:
    """A training under way. reached: the iteration at which each budget was reached so far."""

    setup: Setup
    learner: Any
    budgets: tuple[Budget, ...]
    reached: dict[str, int]
    progress: Progress
    out: Path
    identity: str
    accelerator: Accelerator

    def here(self) -> dict[str, Any]:
        """{"iteration", "fraction"}: the iteration that comes next and the part of the longest budget that is spent."""
        return {"iteration": self.progress.iteration + 1, "fraction": self.fraction()}

    def fraction(self) -> float:
        """The part of the longest budget that is spent."""
        return min(budget.fraction(self.progress.iteration, self.progress.forwards) for budget in self.budgets)

    def load_rewards(self, on_progress: OnProgress) -> None:
        """Gets what rewards ready, and records it."""
        on_progress({**self.here(), "phase": "load rewards"})
        self.setup.reward.start(self.setup.policy.device)
        if self.setup.ranks.is_main:
            _record_rewards(self.out, self.setup.reward, self.progress.iteration)

    def done(self) -> bool:
        """Whether every budget is reached."""
        return len(self.reached) == len(self.budgets)

    def iterate(self, on_progress: OnProgress) -> bool:
        """One iteration and its two log lines; returns whether it reached a budget, whose checkpoint is kept."""
        config, before = self.setup.config, self.progress
        now, number = self.here(), before.iteration + 1
        rate = config.lr * min(1.0, number / max(1, config.warmup))
        self.setup.holding.optimizer.rate = rate
        started, worked = time.perf_counter(), time.process_time()
        done = self.learner.iteration(number, lambda phase: on_progress({**now, "phase": phase}))
        seconds = time.perf_counter() - started
        spent = sum(done.forwards.values())
        self.progress = Progress(number, before.forwards + spent, spent, before.seconds + seconds)
        counted = {"iteration": number, "forwards": spent, "forwards_total": self.progress.forwards}
        metrics = {
            **counted,
            **{f"forwards_{phase}": n for phase, n in done.forwards.items()},
            **done.metrics,
            "lr": rate,
        }
        for name in ("loss", "grad_norm"):
            if not math.isfinite(metrics.get(name, 0.0)):
                raise Diverged(
                    f"{name} is {metrics[name]} at iteration {number}: training has diverged; use a smaller lr "
                    f"(now {rate:g}) or a larger beta, and start again in a new folder"
                )
        if self.setup.ranks.is_main:
            append_jsonl(self.out / METRICS, metrics)
            append_jsonl(
                self.out / TIMING,
                {
                    "iteration": number,
                    "seconds_total": self.progress.seconds,
                    "seconds": seconds,
                    **done.seconds,
                    "other": seconds - sum(done.seconds.values()),
                    "cpu_seconds": time.process_time() - worked - done.reward_cpu,
                    "peak_memory_mb": peak_memory_mb(),
                },
            )
        self.accelerator.log(
            {name: value for name, value in metrics.items() if isinstance(value, (int, float))}, step=number
        )
        on_progress(
            {
                "iteration": number,
                "fraction": self.fraction(),
                "phase": "done",
                "reward_mean": metrics.get("reward_mean"),
                "loss": metrics.get("loss"),
            }
        )
        new = milestones([budget for budget in self.budgets if budget.text not in self.reached], [metrics])
        self.reached |= new
        return bool(new)

    def save(self) -> None:
        """A checkpoint, written by the first rank. Weights that are spread are gathered by all."""
        tuning, holding, ranks = self.setup.tuning, self.setup.holding, self.setup.ranks
        with holding.whole():
            if ranks.is_main:
                checkpoints.save(self.out, tuning, holding.optimizer, self.progress, self.identity)


def _record_rewards(out: Path, reward: WeightedReward, iteration: int) -> None:
    """Records what rewards this training. Raises UserError where something else did before this iteration."""
    path, now = out / REWARDERS, reward.identities()
    if iteration and path.is_file():
        before = read_object(path, "delete the training folder to start again, or restore it from a copy")
        for name in sorted(name for name in {*before, *now} if before.get(name) != now.get(name)):
            raise UserError(
                f"{str(out)!r} was rewarded with {name} = {json.dumps(before.get(name))} up to iteration {iteration}, "
                f"but now it would be {json.dumps(now.get(name))}: bring the same scorer, or use a new folder"
            )
    atomic_json(path, now)


def _rewind(out: Path, iteration: int) -> None:
    """Drops log lines of iterations after the checkpoint that training goes on from."""
    for name in (METRICS, TIMING):
        if (out / name).exists():
            kept = [line for line in (out / name).read_text().splitlines(keepends=True)][:iteration]
            if len(log_lines(out / name)) < iteration:
                raise UserError(
                    f"{str(out / name)!r} has fewer lines than the checkpoint has iterations ({iteration}): it was "
                    "edited; delete the training folder to start again"
                )
            atomic_write_text(out / name, "".join(kept))


def _log(out: Path, iteration: int) -> list[dict[str, Any]]:
    """The metrics of the iterations up to the checkpoint. Raises UserError where they are not there."""
    lines = log_lines(out / METRICS)
    if [line["iteration"] for line in lines] != list(range(1, iteration + 1)):
        raise UserError(
            f"{str(out / METRICS)!r} does not hold the iterations 1 to {iteration} of the checkpoint that training "
            "goes on from: it was edited or removed; delete the training folder to start again"
        )
    return lines


def _flat_iterations(out: Path) -> int:
    """How many of the newest logged iterations in a row had no spread of rewards, so that a restart does not count
    anew."""
    lines = log_lines(out / METRICS)
    flat = [line.get("groups") == line.get("groups_without_spread") for line in lines]
    return (flat[::-1] + [False]).index(False)


def peak_memory_mb() -> float:
    """Peak resident memory of this process in MiB, plus the accelerator's peak where there is one."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return round(peak + (torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0), 1)


def _accelerator(report_to: str | None, out: Path, device: torch.device) -> Accelerator:
    cpu = device.type == "cpu"
    if report_to is None:
        return Accelerator(cpu=cpu)
    try:
        accelerator = Accelerator(cpu=cpu, log_with=report_to, project_dir=str(out / "tracker"))
    except (ImportError, ValueError) as error:
        raise UserError(f"the tracker {report_to!r} is not installed ({error}): pip install {report_to}") from error
    if not accelerator.log_with:
        raise UserError(f"the tracker {report_to!r} is not installed: pip install {report_to}")
    return accelerator
