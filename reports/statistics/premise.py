"""How much of the variance of rewards within a prompt is decided early, late, or by both together."""

import math
from dataclasses import dataclass

import numpy as np

FLIPS = 2000


@dataclass(frozen=True)
class Share:
    """A share of the variance, with its 95 % interval over prompts, and the mutual information in nats that a normal
    variable which explains so much has with the reward: -log(1 - share) / 2."""

    estimate: float
    low: float
    high: float
    nats: float


def shares(rewards: np.ndarray, seed: int = 0) -> dict[str, Share]:
    """ "early", "late" and "both" of rewards, float [prompts, E, L], all finite, with early draws e and late draws l.

    The components of each prompt's two-way layout are estimated without bias from its mean squares, and added over
    prompts before they are divided, so that prompts whose reward hardly varies count as little as in training. Shares
    can come out slightly below zero. The interval is a bootstrap over prompts, drawn from `seed`.
    """
    parts = np.array([_components(one) for one in rewards])
    generator = np.random.default_rng(seed)
    drawn = parts[generator.integers(0, len(parts), (FLIPS, len(parts)))].sum(1)
    found, spread = _divided(parts.sum(0)[None])[0], _divided(drawn)
    low, high = np.nanquantile(spread, (0.025, 0.975), axis=0)
    return {
        name: Share(*(round(float(value), 4) for value in (found[i], low[i], high[i], _nats(found[i]))))
        for i, name in enumerate(("early", "late", "both"))
    }


def _components(table: np.ndarray) -> tuple[float, float, float]:
    """Variance components of one prompt: early, late, and their interaction (the pictures' own noise included)."""
    early, late = table.shape
    left = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    both = float((left**2).sum()) / ((early - 1) * (late - 1))
    return (float(table.mean(1).var(ddof=1)) - both / late, float(table.mean(0).var(ddof=1)) - both / early, both)


def _divided(parts: np.ndarray) -> np.ndarray:
    total = parts.sum(1, keepdims=True)
    return np.divide(parts, total, out=np.full_like(parts, np.nan), where=total > 0)


def _nats(share: float) -> float:
    return -0.5 * math.log(1 - min(max(share, 0.0), 1 - 1e-12)) if share == share else math.nan
