"""The images of an iteration, as the log tells of them."""

import math
from typing import Any

import torch
from torch import Tensor

from htgrpo.interface import advantages
from htgrpo.training.rewards import RewardBatch, WeightedReward
from htgrpo.training.train_config import TrainConfig


class Images:
    """The images of an iteration, of all ranks, as their records tell of them. groups: numbers of the prompts that make
    a group, with at least two images that have a finite reward."""

    def __init__(self, records: list[dict], size: int, reward: WeightedReward):
        self.records, self.size = records, size
        names = records[0]["answers"]
        answers = {name: [value for record in records for value in record["answers"][name]] for name in names}
        self.rewards: RewardBatch = reward.combine(answers)
        self.failed = {
            name: sum(value is not None and not math.isfinite(value) for value in values)
            for name, values in answers.items()
        }
        self.groups = [i for i in range(len(records)) if len(self.finite(i)) >= 2]

    def reward(self, prompt: int) -> Tensor:
        """float64 [G]: rewards of one prompt's images, NaN where they failed."""
        return self.rewards.total[prompt * self.size : (prompt + 1) * self.size]

    def finite(self, prompt: int) -> Tensor:
        """The rewards of one prompt's images that are finite."""
        reward = self.reward(prompt)
        return reward[torch.isfinite(reward)]

    def spread(self, prompt: int) -> float:
        """The deviation of one group's rewards; exactly 0 where all are equal."""
        reward = self.finite(prompt)
        return float(reward.std()) if float(reward.max()) > float(reward.min()) else 0.0

    def why(self) -> str:
        """The first reward that failed and its reason, where it gives one."""
        return next(
            (
                f"{name}: {record['reasons'][name]}"
                for record in self.records
                for name, count in self.failed.items()
                if count and name in record["reasons"]
            ),
            "",
        )

    def metrics(self, config: TrainConfig) -> dict[str, Any]:
        """What is logged of them."""
        total, spreads = self.rewards.total, [self.spread(i) for i in self.groups]
        sizes = [advantages(self.finite(i), config.ddof, config.delta).abs() for i in self.groups]
        by_rank = torch.tensor([record["entropy_by_rank"] for record in self.records], dtype=torch.float64)
        metrics: dict[str, Any] = {
            "reward_mean": _mean(total[torch.isfinite(total)]),
            "reward_std": _mean(torch.tensor(spreads, dtype=torch.float64)),
            "advantage_abs": _mean(torch.cat(sizes) if sizes else torch.zeros(0)),
            "entropy": _mean(torch.tensor([record["entropy"] for record in self.records], dtype=torch.float64)),
            "entropy_by_rank": by_rank.mean(0).tolist(),
            "groups": len(self.groups),
            "groups_without_spread": sum(spread == 0.0 for spread in spreads),
            "images_dropped": int((~torch.isfinite(total)).sum()),
        }
        for name, values in self.rewards.parts.items():
            metrics[f"reward/{name}"] = _mean(values[torch.isfinite(values)])
        metrics |= {f"failed/{name}": count for name, count in self.failed.items() if count}
        if why := self.why():
            metrics["failure"] = why
        return metrics


def _mean(values: Tensor) -> float | None:
    """The mean as a float; None (JSON null) of nothing."""
    return float(values.double().mean()) if len(values) else None
