"""Samplers: which slots are drawn at a denoising step and which of them stay.

All draws come in as uniforms, one per slot and step, made from each image's own generator, so a sampler is a pure
function and a batch is just several images side by side. Shapes: B images, N slots, T steps.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
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

    def until(self, step: int, later: "Draws") -> "Draws":
        """These draws before `step`, and those of `later` from it on. Ties are broken as here."""
        code, order = (
            torch.cat([own[:, :step], other[:, step:]], 1)
            for own, other in ((self.code, later.code), (self.order, later.order))
        )
        return Draws(code, order, self.tie)

    def to(self, device: torch.device) -> "Draws":
        """The same draws on `device`."""
        return Draws(self.code.to(device), self.order.to(device), self.tie.to(device))


def cosine(t: float) -> float:
    """Share of slots still masked at time t in [0, 1] (both backbones' default schedule)."""
    return math.cos(math.pi * t / 2.0) if t < 1.0 else 0.0


@cache
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
class Sampler:
    """The loop's view of a sampler. Its schedule is known before anything is sampled, so that no step has to wait for
    the device: `reveals` of a sampler whose draws alone say when a slot is revealed, `hidden_at_most` of one that goes
    by confidence."""

    steps: int = 8

    def __post_init__(self):
        require(self.steps >= 1, "steps", self.steps, "it must be at least 1")

    @property
    def code_temperature(self) -> float:
        """Codes are drawn from softmax(logits / code_temperature), 0 being the likeliest code; log-probabilities handed
        to `keep` stay those of softmax(logits)."""
        return 1.0

    def reveals(self, draws: Draws) -> Tensor | None:
        """int64 [B, N]: the step at which every slot is drawn and stays; None where confidence decides."""
        return None

    def hidden_at_most(self, slots: int) -> list[int]:
        """How many slots of an image are hidden at the start of every step, at the most (equal confidences are kept
        together)."""
        return [slots] * self.steps

    def candidates(self, step: int, hidden: Tensor, draws: Draws) -> Tensor:
        """bool [B, N]: hidden slots whose code is drawn at `step`; the head runs on these only."""
        reveals = self.reveals(draws)
        return hidden if reveals is None else hidden & (reveals == step)

    def keep(self, step: int, candidates: Tensor, log_prob: Tensor, draws: Draws) -> Tensor:
        """bool [B, N]: candidates that stay revealed. log_prob: float [B, N] of the drawn codes, -inf elsewhere."""
        return candidates


@dataclass(frozen=True)
class RandomOrder(Sampler):
    """A fixed number of slots per step in a random order; floor(N cos) slots stay masked."""

    def reveals(self, draws: Draws) -> Tensor:
        slots = draws.order.shape[2]
        position = draws.order[:, 0].argsort(dim=1).argsort(dim=1)
        shown = [slots - math.floor(slots * cosine((step + 1) / self.steps)) for step in range(self.steps)]
        return torch.searchsorted(torch.tensor(shown, device=position.device), position, right=True)


@dataclass(frozen=True)
class Emerge(Sampler):
    """MaskGRPO's sampler: every masked slot stays masked with probability cos(next)/cos(now), independent of the
    rest."""

    def reveals(self, draws: Draws) -> Tensor:
        stay = [cosine((step + 1) / self.steps) / cosine(step / self.steps) for step in range(self.steps)]
        leaves = draws.order >= torch.tensor(stay, dtype=torch.float64, device=draws.order.device)[:, None]
        return leaves.byte().argmax(dim=1)  # the first step of several


@dataclass(frozen=True)
class ByConfidence(Sampler, ABC):
    """Draw every masked slot, keep the most confident: log p + a step's temperature x Gumbel noise."""

    @abstractmethod
    def remask(self, step: int, drawn: Tensor, slots: int) -> Tensor:
        """int64, as `drawn`: how many of the slots drawn in an image are hidden again after `step`, which is not the
        last."""

    @abstractmethod
    def noise(self, step: int) -> float:
        """The factor of the Gumbel noise."""

    def hidden_at_most(self, slots: int) -> list[int]:
        hidden = torch.full((1, 1), slots)
        counts = [hidden]
        for step in range(self.steps - 1):
            hidden = torch.minimum(hidden, self.remask(step, hidden, slots))
            counts.append(hidden)
        return torch.cat(counts).flatten().tolist()

    def keep(self, step: int, candidates: Tensor, log_prob: Tensor, draws: Draws) -> Tensor:
        if step == self.steps - 1:
            return candidates
        remask = self.remask(step, candidates.sum(1, keepdim=True), candidates.shape[1])
        return most_confident(candidates, log_prob + self.noise(step) * gumbel(draws.order[:, step]), remask)


@dataclass(frozen=True)
class MaskGIT(ByConfidence):
    """MMaDA's sampler.

    anneal: "compound" multiplies the temperature by 1 - t in place at each step, as MMaDA's code does (at T = 15: 0.93,
    0.81, 0.65, …); "linear" is temperature x (1 - t), as intended there.
    """

    temperature: float = 1.0
    anneal: Literal["compound", "linear"] = "compound"

    def __post_init__(self):
        super().__post_init__()
        require(self.temperature >= 0.0, "temperature", self.temperature, "it must be 0 or more")

    def temperatures(self) -> list[float]:
        """The temperature of every step."""
        temperatures, now = [], self.temperature
        for step in range(self.steps):
            left = 1.0 - (step + 1) / self.steps
            now = now * left if self.anneal == "compound" else self.temperature * left
            temperatures.append(now)
        return temperatures

    def remask(self, step: int, drawn: Tensor, slots: int) -> Tensor:
        masked = single_precision_mask(slots, (step + 1) / self.steps)
        return (drawn - 1).clamp_max(masked).clamp_min(1).clamp_max(slots - 1)

    def noise(self, step: int) -> float:
        return self.temperatures()[step]


@dataclass(frozen=True)
class Lumina(ByConfidence):
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

    def remask(self, step: int, drawn: Tensor, slots: int) -> Tensor:
        masked = max(1, single_precision_mask(slots, (step + 1) / self.steps))
        return (drawn - 1).clamp_max(masked).clamp_min(0)

    def noise(self, step: int) -> float:
        return self.temperature


class Schedule:
    """Which slots of a batch are drawn when, as positions in [B, N] read row by row. predict: all hidden ones of an image
    where any is drawn. counts: how many at every step, at the most; where confidence decides, some of them may be
    revealed already, which changes nothing. begin: the first step that draws any; first: what it draws, on the host."""

    def __init__(self, sampler: Sampler, draws: Draws, predict: bool, device: torch.device):
        self.images, slots = draws.tie.shape
        reveals = sampler.reveals(draws)
        self.by_confidence = reveals is None
        self._stays: tuple[Tensor, ...] = ()
        if reveals is None:
            self.counts = [self.images * most for most in sampler.hidden_at_most(slots)]
            self.first = torch.arange(self.images * slots)
            self.rows = torch.arange(0, self.images * slots, slots, device=device)[:, None]
        else:
            steps = torch.arange(sampler.steps)[:, None, None]
            drawn = reveals == steps
            wanted = (reveals >= steps) & drawn.any(2, keepdim=True) if predict else drawn
            self.counts = wanted.sum((1, 2)).tolist()
            step, image, slot = wanted.nonzero(as_tuple=True)
            order = image * slots + slot
            self.first = order[: next(count for count in self.counts if count)]
            self.known = order.to(device).split(self.counts)
            if predict:
                self._stays = (reveals.flatten()[order] == step).to(device).split(self.counts)
        self.begin = next(step for step, count in enumerate(self.counts) if count)

    def at(self, step: int, hidden: Tensor) -> Tensor:
        """int64 [P], ascending: the slots drawn at `step`, when `hidden` (bool [B, N]) are."""
        if not self.by_confidence:
            return self.known[step]
        first = hidden.byte().argsort(dim=1, descending=True, stable=True)
        return (self.rows + first[:, : self.counts[step] // self.images]).flatten()

    def stays(self, step: int) -> Tensor | None:
        """bool [P]: which of them stay, where that is known beforehand; None for all."""
        return self._stays[step] if self._stays else None
