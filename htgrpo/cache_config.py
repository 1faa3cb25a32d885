"""Settings of Lumina-DiMOO's ML-Cache (htgrpo.policies.lumina_cache). Imports no torch, so that command lines start at once."""

from dataclasses import dataclass

from htgrpo.options import require

NO_TRAINING = "training needs the policy's own log-probabilities and unmasking order"
"""Why rollouts to train on must not come out of a cache."""


@dataclass(frozen=True)
class CacheConfig:
    """cache_ratio: share of positions not run again on a step between full ones, in [0, 1). warmup_ratio: share of the steps, from
    the first, that are full, in [0, 1]. refresh_interval: every how many steps after those a step is full, at least 1."""

    cache_ratio: float = 0.9
    warmup_ratio: float = 0.3
    refresh_interval: int = 5

    def __post_init__(self):
        require(0.0 <= self.cache_ratio < 1.0, "cache_ratio", self.cache_ratio, "it must be at least 0 and less than 1")
        require(0.0 <= self.warmup_ratio <= 1.0, "warmup_ratio", self.warmup_ratio, "it must lie between 0 and 1")
        require(self.refresh_interval >= 1, "refresh_interval", self.refresh_interval, "it must be at least 1")

    def full(self, step: int, steps: int) -> bool:
        """Whether `step` of `steps` runs whole sequences."""
        warm = int(steps * self.warmup_ratio)
        return step <= warm or (step - warm) % self.refresh_interval == 0

    def computed(self, steps: int) -> float:
        """Share of positions that `steps` steps run, in (0, 1]: all of them on full steps, 1 - cache_ratio on the others."""
        return sum(1.0 if self.full(step, steps) else 1.0 - self.cache_ratio for step in range(steps)) / steps
