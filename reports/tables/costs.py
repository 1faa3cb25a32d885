"""The costs of every view as tables: short for the terminal, whole for table.md."""

from collections.abc import Iterable, Mapping

from reports.findings.costs import Cost, by_view
from reports.format import NONE, amount, split_columns, table
from reports.format import short as cut
from reports.run.load import labelled

SHORT_COST_NOTE = (
    "Rollouts are pictures, each put to the rewards once; unshared: the forwards had no two equal contexts been evaluated as one "
    "(dedup=none). Optimiser steps, forwards by phase, memory, reward and KL are in table.md."
)
COST_NOTE = (
    "Means over training seeds, up to where each view looks. Level: what shares a ratio; K: optimiser steps an iteration. "
    "Rollouts: pictures sampled; reward queries: pictures put to the "
    "rewards. Forwards: forward-equivalents, a training step counting three, and their phases. Unshared: what they would be had no "
    "context been evaluated once for several images or updates (dedup=none), which the paper does not do. Reward, KL and "
    "clip fraction are means over the last tenth of the iterations; a dash "
    "means that the run does not record the value. KL is measured in each method's own contexts and is not comparable "
    "between methods."
)
COSTS = {
    "iterations": "iterations", "steps": "optimiser steps", "rollouts": "rollouts", "queries": "reward queries",
    "forwards": "forwards", "rollout": "of these rollout", "old": "old", "ref": "ref", "train": "train",
    "undeduplicated": "unshared", "seconds": "train seconds", "memory": "peak memory MB", "reward": "final reward",
    "kl": "final KL", "clip": "clip fraction",
}  # fmt: skip
"""Column of each number of costs.Cost."""
SHORT_COSTS = {
    "iterations": "iter.", "rollouts": "rollouts", "forwards": "forwards", "undeduplicated": "unshared",
    "seconds": "seconds", "reward": "reward",
}  # fmt: skip
DIGITS = {"reward": 3, "kl": 4, "clip": 3}


def cost_cells(cost: Cost, names: Iterable[str] = COSTS) -> list[str]:
    """Numbers of a cost as text."""
    return [amount(getattr(cost, name), DIGITS.get(name, 0)) for name in names]


def cost_label(cost: Cost, names: Mapping[str, str] | None = None) -> str:
    """The method by its name for people, with the note on the weights it started from."""
    return labelled((names or {}).get(cost.method, cost.method), cost.weights)


def cost_tables(costs: list[Cost], short: bool, names: Mapping[str, str] | None = None) -> list[str]:
    """Cost and the state of training, a table for each view; `short` fits 80 columns."""
    parts = []
    for when, own in by_view(costs).items():
        parts.append(f"{when[:1].upper()}{when[1:]}:")
        if short:
            rows = [[cut(c.method, 16), *cost_cells(c, SHORT_COSTS)] for c in own]
            parts += split_columns(["method", *SHORT_COSTS.values()], rows)
        else:
            parts.append(
                table(
                    ["method", "seeds", "level", "K", *COSTS.values()],
                    [
                        [cost_label(c, names), str(c.seeds), c.level or NONE, amount(c.updates, 0), *cost_cells(c)]
                        for c in own
                    ],
                )
            )
    return parts
