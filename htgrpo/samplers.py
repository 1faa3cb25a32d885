"""Samplers: which slots are drawn at a denoising step and which of them stay.

All draws come in as uniforms, one per slot and step, made from each image's own generator, so a sampler is a pure
function and a batch is just several images side by side. Shapes: B images, N slots, T steps.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from htgrpo.base.options import require


@dataclass(frozen=True)
class Draws:
    """Uniforms in [0, 1). code: float64 [B, T, N], picks codes by inverse CDF. order: float64 [B, T, N], the sampler's
    own choices. tie: float64 [B, N], orders slots revealed in one step."""

    code: Tensor
    order: Tensor
    tie: Tensor

    @staticmethod
    def make(generators: list[torch.Generator], steps: int, slots: int) -> "Draws":
        """Draws of as many images as generators; an image's draws depend on its generator only."""
        uniforms = torch.stack([torch.rand(2 * steps + 1, slots, generator=g, dtype=torch.float64) for g in generators])
        return Draws(uniforms[:, :steps], uniforms[:, steps:-1], uniforms[:, -1])

    def to(self, device: torch.device) -> "Draws":
        """The same draws on `device`."""
        return Draws(self.code.to(device), self.order.to(device), self.tie.to(device))


def cosine(t: float) -> float:
    """Share of slots still masked at time t in [0, 1] (both backbones' default schedule)."""
    return math.cos(math.pi * t / 2.0) if t < 1.0 else 0.0


def single_precision_mask(slots: int, t: float) -> int:
    """floor(slots x cos(pi t / 2)) as MMaDA and Lumina-DiMOO compute it, in fp32: at t = 2/3 the cosine falls just
    short of a half there, and an even number of slots keeps one slot fewer masked than floor(slots / 2)."""
    return int((slots * torch.cos(torch.tensor(t, dtype=torch.float32) * math.pi * 0.5)).floor())


def gumbel(uniforms: Tensor) -> Tensor:
    """Standard Gumbel noise of uniforms in [0, 1), finite at both ends."""
    return -(-uniforms.clamp_min(1e-20).log()).clamp_min(1e-20).log()


def most_confident(candidates: Tensor, confidence: Tensor, remask: Tensor) -> Tensor:
    """bool [B, N]: candidates without the `remask` (int64 [B, 1], below N) of lowest confidence in every row."""
    ranked = torch.where(candidates, confidence, torch.inf)
    return candidates & (ranked >= ranked.sort(dim=1)[0].gather(1, remask))


@dataclass(frozen=True)
class Sampler(ABC):
    """The loop's view of a sampler. Subclasses say which slots are drawn at a step, and which of those stay."""

    steps: int = 8

    def __post_init__(self):
        require(self.steps >= 1, "steps", self.steps, "it must be at least 1")

    @property
    def code_temperature(self) -> float:
        """Codes are drawn from softmax(logits / code_temperature), 0 being the likeliest code; log-probabilities handed
        to `keep` stay those of softmax(logits)."""
        return 1.0

    @abstractmethod
    def candidates(self, step: int, hidden: Tensor, draws: Draws) -> Tensor:
        """bool [B, N]: hidden slots whose code is drawn at `step`; the head runs on these only."""

    def keep(self, step: int, candidates: Tensor, log_prob: Tensor, draws: Draws) -> Tensor:
        """bool [B, N]: candidates that stay revealed. log_prob: float [B, N] of the drawn codes, -inf elsewhere."""
        return candidates


@dataclass(frozen=True)
class RandomOrder(Sampler):
    """A fixed number of slots per step in a random order; floor(N cos) slots stay masked."""

    def candidates(self, step: int, hidden: Tensor, draws: Draws) -> Tensor:
        slots = hidden.shape[1]
        position = draws.order[:, 0].argsort(dim=1).argsort(dim=1)
        return hidden & (position < slots - math.floor(slots * cosine((step + 1) / self.steps)))


@dataclass(frozen=True)
class Emerge(Sampler):
    """MaskGRPO's sampler: every masked slot stays masked with probability cos(next)/cos(now), independent of the
    rest."""

    def candidates(self, step: int, hidden: Tensor, draws: Draws) -> Tensor:
        stay = cosine((step + 1) / self.steps) / cosine(step / self.steps)
        return hidden & (draws.order[:, step] >= stay)


@dataclass(frozen=True)
class MaskGIT(Sampler):
    """Draw every masked slot, keep the most confident: log p + temperature x Gumbel noise.

    anneal: "compound" multiplies the temperature by 1 - t in place at each step, as MMaDA's code does (at T = 15: 0.93,
    0.81, 0.65, …); "linear" is temperature x (1 - t), as intended there.
    """

    temperature: float = 1.0
    anneal: Literal["compound", "linear"] = "compound"

    def candidates(self, step: int, hidden: Tensor, draws: Draws) -> Tensor:
        return hidden

    def temperatures(self) -> list[float]:
        """The temperature of every step."""
        temperatures, now = [], self.temperature
        for step in range(self.steps):
            left = 1.0 - (step + 1) / self.steps
            now = now * left if self.anneal == "compound" else self.temperature * left
            temperatures.append(now)
        return temperatures

    def __post_init__(self):
        super().__post_init__()
        require(self.temperature >= 0.0, "temperature", self.temperature, "it must be 0 or more")

    def keep(self, step: int, candidates: Tensor, log_prob: Tensor, draws: Draws) -> Tensor:
        if step == self.steps - 1:
            return candidates
        slots = candidates.shape[1]
        masked = single_precision_mask(slots, (step + 1) / self.steps)
        remask = (candidates.sum(1, keepdim=True) - 1).clamp_max(masked).clamp_min(1).clamp_max(slots - 1)
        noise = self.temperatures()[step] * gumbel(draws.order[:, step])
        return most_confident(candidates, log_prob + noise, remask)


@dataclass(frozen=True)
class Lumina(Sampler):
    """Lumina-DiMOO's sampler: as MaskGIT, with one temperature for the draw and for the Gumbel noise on log p, constant
    over steps.

    At least one masked slot is revealed at every step, so that with more steps than slots an image is finished early.
    """

    steps: int = 64
    temperature: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        require(self.temperature >= 0.0, "temperature", self.temperature, "it must be 0 or more")

    @property
    def code_temperature(self) -> float:
        return self.temperature

    def candidates(self, step: int, hidden: Tensor, draws: Draws) -> Tensor:
        return hidden

    def keep(self, step: int, candidates: Tensor, log_prob: Tensor, draws: Draws) -> Tensor:
        if step == self.steps - 1:
            return candidates
        masked = max(1, single_precision_mask(candidates.shape[1], (step + 1) / self.steps))
        remask = (candidates.sum(1, keepdim=True) - 1).clamp_max(masked).clamp_min(0)
        return most_confident(candidates, log_prob + self.temperature * gumbel(draws.order[:, step]), remask)
