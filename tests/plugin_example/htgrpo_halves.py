"""The halves of coupled-GRPO (DiffuCoder, arXiv 2506.20639): two complementary random masks per image, so that every
token is judged exactly once per update, under the codes that the other mask hides."""

from dataclasses import dataclass

import torch

from htgrpo.interface import HIDDEN, Method, RolloutGroup, Update, rollout_mean, uniform


@dataclass(frozen=True)
class Halves(Method):
    """Options of halves. rate: share of the slots that the first mask hides; the second hides the rest."""

    updates_per_rollout: int = 8
    rate: float = 0.5

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        codes, size = group.codes, len(group.codes)
        image, everything = torch.arange(size)[:, None], torch.ones_like(codes, dtype=torch.float64)
        updates = []
        for _ in range(self.updates_per_rollout):
            first = uniform(codes.shape, generator) < self.rate
            contexts = torch.cat([codes.where(~first, HIDDEN), codes.where(first, HIDDEN)])
            row = torch.where(first, image, image + size)
            updates.append(Update(contexts, row, share=rollout_mean(everything), weight=everything))
        return updates
