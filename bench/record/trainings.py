"""How far a training of a run has come. Imports no torch before a checkpoint is read."""

from dataclasses import dataclass, field
from pathlib import Path

from bench.ask.request import Request
from bench.record.rundir import RunDir
from htgrpo.base.errors import UserError
from htgrpo.base.records import log_lines
from htgrpo.base.registry import METHODS
from htgrpo.training.train_config import comparable, milestones, parse_budgets


@dataclass(frozen=True)
class Training:
    """How far a training has come. folder: its newest checkpoint, None before the first; reached: the iteration of each
    budget."""

    done: bool
    iteration: int
    forwards: int
    folder: Path | None
    reached: dict[str, int] = field(default_factory=dict)


def training_of(run: RunDir, request: Request, method: str, seed: int) -> Training:
    """How far the training of (method, seed) has come. Raises UserError when its folder holds a training of other
    settings."""
    from htgrpo.training.checkpoints import read_state, with_state

    folder, config = run.train(method, seed), request.config(method, seed)
    states = with_state(folder)
    if not states:
        return Training(False, 0, 0, None)
    from htgrpo.training.trainer import METRICS, train_identity

    state = read_state(states[-1])
    if state.identity != train_identity(config, request.policy_sha256, request.train_prompts["sha256"]):
        raise UserError(
            f"{str(folder)!r} holds a training run of other settings: use another --out, or --overwrite to start again"
        )
    budgets = comparable(parse_budgets(config.budget), METHODS.get(method).rewarded)
    now = state.progress
    lines = [line for line in log_lines(folder / METRICS) if line["iteration"] <= now.iteration]
    reached = milestones(budgets, lines)
    return Training(len(reached) == len(budgets), now.iteration, now.forwards, states[-1], reached)
