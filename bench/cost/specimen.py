"""What a method does with a group of rollouts, read from its own updates on a made-up one: what it hides, what it
trains, at which level, and what that costs."""

import math

import numpy as np
import torch
from torch import Tensor

from htgrpo.base.options import require
from htgrpo.base.registry import METHODS
from htgrpo.base.rng import generator
from htgrpo.interface import HIDDEN, Method, RolloutGroup, Update
from htgrpo.training.planning import judged, plan_group
from htgrpo.training.train_config import TrainConfig
from reports.findings.explained import Explained, Moment

GRID, IMAGES, STEPS, CODES = (8, 8), 9, 8, 64
SHOWN = 4
"""Moments that are shown of a method: updates spread evenly from the first to the last; where an update has several
contexts of a picture, these of the first one, and of the next where they are few."""


def specimen(seed: int = 0, other: bool = True) -> RolloutGroup:
    """Nine pictures of 8 x 8 slots, revealed in eight steps of the cosine schedule from the middle outwards, with
    falling entropies."""
    g = generator("specimen", seed)
    slots = GRID[0] * GRID[1]
    row, column = torch.arange(slots) // GRID[1], torch.arange(slots) % GRID[1]
    distance = ((row - 3.5) ** 2 + (column - 3.5) ** 2).double()
    rank = (distance + 5.0 * torch.rand(IMAGES, slots, generator=g, dtype=torch.float64)).argsort(1).argsort(1) + 1
    revealed = torch.tensor([slots - math.floor(slots * math.cos(math.pi * t / 2 / STEPS)) for t in range(1, STEPS)])
    reveal_step = torch.searchsorted(revealed, rank, right=False)
    codes = torch.randint(CODES, (IMAGES, slots), generator=g)
    settled = reveal_step[:, None] <= torch.arange(STEPS)[None, :, None]
    guessed = torch.rand(IMAGES, STEPS, slots, generator=g) < torch.arange(STEPS)[None, :, None] / STEPS
    predicted = torch.where(settled | guessed, codes[:, None], (codes[:, None] + 1) % CODES)
    entropy = 3.0 * (1.0 - rank.double() / slots) + torch.rand(IMAGES, slots, generator=g, dtype=torch.float64)
    reward = torch.linspace(0.0, 1.0, IMAGES, dtype=torch.float64)[torch.randperm(IMAGES, generator=g)]
    beside = specimen(seed + 1, other=False) if other else None
    return RolloutGroup((1, 2, 3), GRID, codes, reveal_step, rank, reward, entropy, predicted, beside)


def explained(name: str, method: Method | None = None) -> Explained:
    """A method, by default with its default options, on the specimen. Raises UserError for one without rollouts."""
    method = method or METHODS.get(name)()
    require(method.rewarded, "--methods", name, "it samples no rollouts, so that there is nothing to show")
    group = specimen()
    updates = method.updates(group, generator("specimen", name))
    union, steps = plan_group(group, updates, TrainConfig())
    trained, once = [len(step.tokens.contexts) for step in steps], len(union.contexts)
    passes = 1 if updates[0].objective == "likelihood" else 2
    by_update = [_moments(group, update, k) for k, update in enumerate(updates)]
    if max(map(len, by_update)) == 1:
        moments = [by_update[k][0] for k in spread(len(updates)) if by_update[k]]
    else:
        first = [moment for of_update in by_update for moment in of_update]
        own = next(of_update for of_update in by_update if of_update)
        moments = first[:SHOWN] if len(own) <= SHOWN else [own[c] for c in spread(len(own))]
    weights = sorted({round(float(w), 3) for u in updates for w in u.weight[u.share > 0].unique()})
    return Explained(
        name,
        method.title or name,
        level(updates[0]),
        updates[0].objective,
        len(updates),
        sum(trained) / len(trained),
        3 * sum(trained) + passes * once,
        _ends([float((row != HIDDEN).double().mean()) for step in steps for row in step.tokens.contexts]),
        _ends([float(_trained(update).double().mean()) for update in updates]),
        _ends(weights),
        moments,
    )


def _ends(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)


def _trained(update: Update) -> Tensor:
    """bool [G, N]: tokens that carry loss, under whichever context."""
    support = update.share > 0
    return support.any(0) if support.ndim == 3 else support


def spread(count: int) -> list[int]:
    """Evenly spread, at most SHOWN numbers from 0 to count - 1."""
    shown = min(SHOWN, count)
    return [k * (count - 1) // max(1, shown - 1) for k in range(shown)]


def level(update: Update) -> str:
    """What shares a ratio: none, token, image, image and sample, or group; and how, where it is a product."""
    if update.objective == "likelihood":
        return "none"
    if update.unit is None:
        return "token"
    at = judged(update)
    unit, image, slot = update.unit[at], at[-2], at[-1]

    def most(of: Tensor, by: Tensor) -> int:
        """The most different values of `of` that go with one of `by`."""
        pairs = torch.unique(torch.stack([by, of]), dim=1)
        return int(torch.unique(pairs[0], return_counts=True)[1].max())

    if most(image, unit) > 1:
        return "group"
    if most(image * update.share.shape[-1] + slot, unit) == 1:
        return "token"
    product = update.coef is not None and bool((update.coef[at] == 1.0).all())
    return ("image" if most(unit, image) == 1 else "image and sample") + (", product" if product else "")


def _moments(group: RolloutGroup, update: Update, k: int) -> list[Moment]:
    """One update of the first image, a moment a context, the least shown first: what is shown, where the loss under it
    is."""
    at = judged(update)
    mine = at[-2] == 0
    row, slot, part = update.row[at][mine], at[-1][mine], (update.share[at] * update.weight[at]).double()[mine]
    contexts, place = torch.unique(update.contexts[row], dim=0, return_inverse=True)
    trained = torch.zeros(contexts.shape, dtype=torch.float64).index_put_((place, slot), part, accumulate=True)
    shown = (contexts != HIDDEN).double()
    whole = (trained / trained.max()).reshape(-1, *GRID).numpy() if len(trained) else trained.numpy()
    order = shown.sum(1).argsort(stable=True).tolist()
    return [
        Moment(k, number + 1, len(order), shown[c].reshape(GRID).numpy(), whole[c]) for number, c in enumerate(order)
    ]


def reveal_steps() -> np.ndarray:
    """int [h, w]: the step at which each slot of the first image was revealed."""
    return specimen(other=False).reveal_step[0].reshape(GRID).numpy()
