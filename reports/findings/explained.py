"""What a method does with a group of rollouts, in numbers; reports/figures/methods.py draws it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moment:
    """One image under one of its contexts at update k (from 0). number: which of `contexts` (from 1). shown: float
    [h, w], 1 where a code is visible; trained: float [h, w], a slot's part of the loss under it beside the update's
    largest."""

    k: int
    number: int
    contexts: int
    shown: np.ndarray
    trained: np.ndarray


@dataclass(frozen=True)
class Explained:
    """A method on a made-up group. contexts: different ones an update trains on, in the mean; forwards: of the whole
    group with a penalty. The least and the most that a context shows of a picture (shown) and that an update trains of
    the group's tokens (trained), as parts of all; weights: the smallest and the largest of a token."""

    name: str
    title: str
    level: str
    objective: str
    updates: int
    contexts: float
    forwards: int
    shown: tuple[float, float]
    trained: tuple[float, float]
    weights: tuple[float, float]
    moments: list[Moment]
