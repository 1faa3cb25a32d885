"""From a group's updates to what the engine evaluates: entries sorted by the context that judges them, equal contexts
once.

An entry is one token under one context, and carries its own part of the loss and of the penalty. Where a method judges
a token under several contexts at once (views), it has as many entries.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from htgrpo.base.options import require
from htgrpo.interface import Objective, RolloutGroup, Update
from htgrpo.policies.policy import sent
from htgrpo.training.tokens import Tokens, components, sort_tokens
from htgrpo.training.train_config import TrainConfig

SAME_NUMBER = "a method must give every group the same number, at least 1"


@dataclass(frozen=True)
class Step:
    """One group's part of one optimiser step: entries, and per entry (M): advantage x weight, share, KL share, unit,
    coefficient and power or None, old and reference log-probabilities; for the exact KL the reference's table and each
    entry's row in it. clip: bounds of the ratio. where: the entries' places among those of all updates."""

    tokens: Tokens
    objective: Objective
    clip: tuple[float, float]
    advantage: Tensor
    share: Tensor
    kl_share: Tensor
    unit: Tensor | None
    coef: Tensor | None
    power: Tensor | None
    where: Tensor
    old: Tensor | None = None
    ref: Tensor | None = None
    ref_table: Tensor | None = None
    ref_pair: Tensor | None = None

    def known(self, old: Tensor | None, ref: Tensor | None, table: Tensor | None, pair: Tensor | None) -> "Step":
        """With what was evaluated on the entries of all updates (table: at their distinct pairs)."""

        def own(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[self.where.to(values.device)]

        return replace(self, old=own(old), ref=own(ref), ref_table=table, ref_pair=own(pair))

    def on(self, device: torch.device) -> "Step":
        """With what its loss is computed of on `device`; units and pairs, which are worked out, stay on the host."""
        names = ("advantage", "share", "kl_share", "coef", "power")
        held = {name: sent(value, device) for name in names if (value := getattr(self, name)) is not None}
        return replace(self, **cast(dict[str, Any], held))


def plan_group(group: RolloutGroup, updates: list[Update], config: TrainConfig) -> tuple[Tokens, list[Step]]:
    """The union of a group's contexts with all entries, and the step of every update, without log-probabilities."""
    advantage = group.advantage()[:, None]
    steps, keys = [], []
    for k, update in enumerate(updates):
        at = judged(update)
        image, slot = at[-2:]
        contexts, row = _distinct(update.contexts, update.row[at], image, config)
        unit = _at(update.unit, at)
        tokens, order = sort_tokens(group, contexts, row, slot, group.codes[image, slot], unit)
        at = tuple(part[order] for part in at)
        own = advantage if update.advantage is None else update.advantage.double()
        keys.append((tokens.contexts, tokens.row, image[order], k))
        steps.append(
            Step(
                tokens,
                update.objective,
                update.clip or (1.0 - config.clip, 1.0 + config.clip),
                own.expand(update.share.shape)[at] * update.weight[at],
                update.share[at],
                _kl_share(update)[at],
                _at(update.unit, at),
                _at(update.coef, at),
                _at(update.power, at),
                where=order,
            )
        )
    contexts, row = _union(keys, config)
    slots, codes = (torch.cat([getattr(step.tokens, name) for step in steps]) for name in ("slot", "code"))
    union, order = sort_tokens(group, contexts, row, slots, codes)
    places = order.argsort().split([len(step.share) for step in steps])
    return union, [replace(step, where=where) for step, where in zip(steps, places, strict=True)]


def _at(values: Tensor | None, at: tuple[Tensor, ...]) -> Tensor | None:
    return None if values is None else values[at]


def _kl_share(update: Update) -> Tensor:
    return update.share if update.kl_share is None else update.kl_share


def judged(update: Update) -> tuple[Tensor, ...]:
    """([view,] image, slot) of the entries that carry loss or penalty."""
    return ((update.share > 0) | (_kl_share(update) > 0)).nonzero(as_tuple=True)


def _distinct(contexts: Tensor, row: Tensor, image: Tensor, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Distinct contexts that carry loss, and each entry's row among them, as far as `dedup` lets contexts be shared."""
    used, row = torch.unique(row, return_inverse=True)
    contexts = contexts[used]
    if config.dedup == "all":
        contexts, back = _distinct_rows(contexts)
        return contexts, back[row]
    context, _, row = _pairs(row, image)
    return contexts[context], row


def _pairs(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct pairs of two int64 [M] that are not negative, in ascending order, and the place of every given pair among
    them."""
    wide = int(other.max()) + 1 if len(other) else 1
    distinct, back = torch.unique(one * wide + other, return_inverse=True)
    return distinct // wide, distinct % wide, back


def _distinct_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct rows of int64 [R, C] in ascending order, and the place of every given row among them: torch.unique's
    answer, for which it compares all rows one by one."""
    seen: dict[bytes, int] = {}
    given = rows.contiguous().numpy()
    back = np.array([seen.setdefault(row.tobytes(), len(seen)) for row in given], dtype=np.int64)
    first = np.unique(back, return_index=True)[1]
    order = np.lexsort(given[first].T[::-1]) if rows.shape[1] else np.arange(len(first))
    return rows[torch.from_numpy(first[order])], torch.from_numpy(order.argsort()[back])


def _union(keys: list[tuple[Tensor, Tensor, Tensor, int]], config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Distinct contexts over all updates and each entry's row among them."""
    marked, rows, used = [], [], 0
    for contexts, row, image, k in keys:
        owner = torch.zeros(len(contexts), 2, dtype=torch.long)
        if config.dedup != "all":
            owner[row, 0] = image
        if config.dedup == "none":
            owner[:, 1] = k
        marked.append(torch.cat([owner, contexts], dim=1))
        rows.append(row + used)
        used += len(contexts)
    distinct, back = _distinct_rows(torch.cat(marked))
    return distinct[:, 2:].contiguous(), back[torch.cat(rows)]


def needs_look(objective: Objective, power: Tensor | None, unmoved: bool) -> bool:
    """Whether the gradient at some of a unit's log-probabilities goes by values of the others that are not known yet. A
    likelihood without power is linear in them; else they are the old ones as long as the weights are `unmoved`."""
    return power is not None if objective == "likelihood" else not unmoved


def unshared(updates: list[Update], fit: int, moved: bool) -> tuple[int, int]:
    """Forwards of a group under dedup="none", where an image has its own contexts at each update: before the weights
    move, and of training, which counts three a context and one more where units of more than `fit` contexts are looked
    at beforehand. moved: even the first update's values are not the old ones."""
    once = trained = 0
    for k, update in enumerate(updates):
        at = judged(update)
        image, context, row = _pairs(at[-2], update.row[at])
        trained += 3 * len(image)
        contexts = update.contexts[context].numpy()
        once += len({(i, tokens.tobytes()) for i, tokens in zip(image.tolist(), contexts, strict=True)})
        looks = needs_look(update.objective, update.power, unmoved=k == 0 and not moved)
        if update.unit is not None and looks and len(image) > max(1, fit):
            sizes = torch.bincount(components(row, update.unit[at], len(image)))
            trained += int(sizes[sizes > max(1, fit)].sum())
    return once, trained


def check(drawn: list[list[Update]]) -> None:
    """Raises UserError where a method broke its contract: another number of updates, fields of different shapes, or
    numbers that cannot be."""
    counts = {len(updates) for updates in drawn}
    require(len(counts) == 1 and 0 not in counts, "the number of updates per group", sorted(counts), SAME_NUMBER)
    updates = [update for updates in drawn for update in updates]
    objectives = {update.objective for update in updates}
    require(
        len(objectives) == 1, "the objective of the updates", sorted(objectives), "a method must have one objective"
    )
    for update in updates:
        _check_numbers(update)


def _check_numbers(update: Update) -> None:
    share = update.share
    require(
        bool((torch.isfinite(share) & (share >= 0)).all()),
        "a token's share",
        float(share.min()),
        "a method's shares must be finite and not negative",
    )
    for name in ("row", "weight", "kl_share", "unit", "coef", "power", "advantage"):
        values = getattr(update, name)
        if values is None:
            continue
        fits = values.shape == share.shape or (name == "advantage" and values.ndim <= share.ndim)
        require(
            fits,
            f"the shape of an update's {name}",
            tuple(values.shape),
            f"it must be its share's {tuple(share.shape)}",
        )
        finite = bool(torch.isfinite(values).all()) and not (name in ("kl_share", "power") and bool((values < 0).any()))
        require(finite, f"an update's {name}", float(values.min()), "it must be finite, and no share or power negative")
    if update.coef is not None:
        stray = int(((update.coef != 0) & (share == 0)).sum())
        require(stray == 0, "the number of coefficients without a share", stray, "a unit would miss these entries")
    low, high = update.clip or (0.0, math.inf)
    require(0.0 <= low < 1.0 < high, "an update's clip", update.clip, "its bounds must hold 0 <= low < 1 < high")
