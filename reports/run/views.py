"""The views of a run: at which iteration of every training each of them looks. Reads what bench.run.views has
chosen."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pandas as pd

from htgrpo.base.errors import UserError
from htgrpo.base.records import FINAL
from htgrpo.training.train_config import SECONDS, comparable, milestones, parse_budgets

"""The one view of a run without trainings: its policies as they are."""
CHOSEN = "equal_seconds.json"
Shown = dict[tuple[str, int], int]
"""(method, training seed) -> iteration."""


def find_views(config: dict[str, Any], metrics: pd.DataFrame, root: Path) -> dict[str, Shown]:
    """The views that config.json names in its budget, the main one first. Raises UserError for a budget that cannot be
    read."""
    names = [name for name in str(config.get("budget") or "").split(",") if name]
    if not names:
        return {FINAL: {}}
    views: dict[str, Shown] = {name: {} for name in names}
    budgets = parse_budgets(",".join(name for name in names if name != SECONDS))
    for pair, lines in trainings(metrics) if "forwards_total" in metrics else ():
        log = lines.sort_values("iteration")[["iteration", "forwards_total", "forwards"]].to_dict("records")
        for name, iteration in milestones(
            comparable(budgets, has_rollouts(lines)), cast(list[dict[str, Any]], log)
        ).items():
            views[name][pair] = int(iteration)
    if SECONDS in views:
        chosen = read_chosen(root) or {"checkpoints": {}}
        places = {name.rpartition(" seed "): one["iteration"] for name, one in chosen["checkpoints"].items()}
        views[SECONDS] = {
            (method, int(seed)): iteration for (method, _, seed), iteration in places.items() if iteration
        }
    return views


def trainings(metrics: pd.DataFrame) -> Iterator[tuple[tuple[str, int], pd.DataFrame]]:
    """((method, training seed), its lines) for each."""
    for key, lines in metrics.groupby(["method", "seed"], sort=False):
        yield cast(tuple[str, int], key), lines


def has_rollouts(lines: pd.DataFrame) -> bool:
    """Whether a method samples rollouts, by its metrics."""
    return "reward_mean" in lines and bool(lines["reward_mean"].notna().any())


def read_chosen(root: Path) -> dict[str, Any] | None:
    """What was chosen for equal seconds: {"limit", "of", "checkpoints": {"METHOD seed N": {"iteration", "seconds"}}};
    iteration 0 stands for a training without a checkpoint by then. None before anything was chosen. Raises UserError
    for a damaged file."""
    path = root / CHOSEN
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
        places = found["checkpoints"].items()
        whole = all(
            isinstance(one["iteration"], int) and one["seconds"] >= 0 and name.rpartition(" ")[2].isdecimal()
            for name, one in places
        )
        if whole and found["limit"] > 0 and isinstance(found["of"], str):
            return found
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise UserError(f"{str(path)!r} is damaged: restore it, or delete it so that equal seconds are chosen again")
