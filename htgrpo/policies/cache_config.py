"""Settings of Lumina-DiMOO's ML-Cache (htgrpo.policies.lumina_cache). Imports no torch, so that command lines start at
once."""

from dataclasses import dataclass
from typing import Annotated

from htgrpo.base.options import check
from htgrpo.base.values import Number, Whole

NO_TRAINING = "training needs the policy's own log-probabilities and unmasking order"
"""Why rollouts to train on must not come out of a cache."""

CacheRatio = Annotated[float, Number(0, 1, open_high=True)]
WarmupRatio = Annotated[float, Number(0, 1)]
RefreshInterval = Annotated[int, Whole(1, 100_000)]


@dataclass(frozen=True)
class CacheConfig:
    """cache_ratio: share of positions not run again on a step between full ones, in [0, 1). warmup_ratio: share of the
    steps, from the first, that are full, in [0, 1]. refresh_interval: every how many steps after those a step is full,
    at least 1."""

    cache_ratio: CacheRatio = 0.9
    warmup_ratio: WarmupRatio = 0.3
    refresh_interval: RefreshInterval = 5

    def __post_init__(self):
        check(self)

    def full(self, step: int, steps: int) -> bool:
        """Whether `step` of `steps` runs whole sequences."""
        warm = int(steps * self.warmup_ratio)
        return step <= warm or (step - warm) % self.refresh_interval == 0

    def computed(self, steps: int) -> float:
        """Share of positions that `steps` steps run, in (0, 1]: all of them on full steps, 1 - cache_ratio on the
        others."""
        return sum(1.0 if self.full(step, steps) else 1.0 - self.cache_ratio for step in range(steps)) / steps
