"""Counts what a method costs by running it: sampler, method and engine at work on a network that answers at once.

No cost is written down per method. One prompt's group is sampled and updated by the code that trains, and the stand-in
for the network adds up the floating-point operations that the real one would have done.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from htgrpo.base.registry import SAMPLERS
from htgrpo.base.rng import generator
from htgrpo.interface import Method, RolloutGroup
from htgrpo.parallel.totals import Totals
from htgrpo.policies.backbone import Backbone
from htgrpo.policies.llada import LLaDA, Packed, Size
from htgrpo.policies.policy import Policy
from htgrpo.policies.tokenizer import Tokenizer
from htgrpo.rollout import TOKENS_PER_FORWARD, generate
from htgrpo.training.engine import Engine
from htgrpo.training.train_config import TrainConfig

ROLLOUT, OLD, REF, LOOK, TRAIN = "rollout", "old", "ref", "look", "train"
"""Phases. LOOK: of what is larger than a batch, before it is trained on (htgrpo.training.two_passes)."""
CODES = 64
"""Codes of the stand-in: enough for contexts to differ, few enough to be quick. Operations are counted for the real
codebook."""


@dataclass
class Spent:
    """What one phase asked of the network. flop: of forwards alone, adapters not counted. length: all their packed
    tokens. tokens, heads: of the largest forward."""

    forwards: int = 0
    flop: float = 0.0
    length: int = 0
    tokens: int = 0
    heads: int = 0


class Meter(nn.Module):
    """Called as LLaDA.forward is; answers random logits (equal ones would tie where samplers rank by confidence). steps: of
    the optimiser, in the iteration that was counted."""

    def __init__(self, size: Size):
        super().__init__()
        self.size = size
        self.phase, self.spent = ROLLOUT, {phase: Spent() for phase in (ROLLOUT, OLD, REF, LOOK, TRAIN)}
        self.steps = 0
        self.shift = nn.Parameter(torch.zeros(1, 1))
        self.noise = generator("meter", "logits")

    def forward(self, packed: Packed, at: Tensor | None = None, columns: slice = slice(None)) -> Tensor:
        tokens = sum(packed.lengths)
        heads = tokens if at is None else len(at)
        width = len(range(*columns.indices(self.size.embedding_size)))
        spent = self.spent[TRAIN if torch.is_grad_enabled() else self.phase]
        spent.forwards += len(packed.lengths)
        spent.length += tokens
        spent.flop += sum(count * self.size.forward_flops(length, 0, 0) for count, length in packed.runs())
        spent.flop += self.size.forward_flops(0, heads, width)
        spent.tokens, spent.heads = max(spent.tokens, tokens), max(spent.heads, heads)
        return torch.randn(heads, CODES, generator=self.noise) + self.shift

    def during(self, phase: str) -> "During":
        """The network as it is called in `phase`."""
        return During(self, phase)


@dataclass(frozen=True)
class During:
    """A meter as it is called in one phase."""

    meter: Meter
    phase: str

    def __call__(self, packed: Packed, at: Tensor | None = None, columns: slice = slice(None)) -> Tensor:
        """As LLaDA.forward."""
        before, self.meter.phase = self.meter.phase, self.phase
        try:
            return self.meter(packed, at, columns)
        finally:
            self.meter.phase = before

    def parameters(self) -> Iterator[nn.Parameter]:
        """None that count."""
        return self.meter.parameters()


@dataclass(frozen=True)
class Standin(Policy):
    """A policy whose network is a meter and whose tokenizer is a function from a text to ids."""

    encode: Callable[[str], list[int]] = field(default=lambda text: [])

    def prompt(self, text: str, pads: str = "strip") -> tuple[int, ...]:
        return self.backbone.prompt(text, self.encode, pads)

    def unconditional(self, pads: str = "strip") -> tuple[int, ...]:
        return self.prompt(self.backbone.unconditional, pads)


def standin(meter: Meter, backbone: Backbone, encode: Callable[[str], list[int]]) -> Standin:
    """A policy to count with."""
    return Standin(cast(LLaDA, meter), backbone, cast(Tokenizer, None), None, encode=encode)


def count_pictures(
    policy: Standin,
    text: str,
    count: int,
    sampler: str,
    steps: int,
    guidance: float,
    grid: tuple[int, int],
    tokens_per_forward: int | None = None,
    pads: str = "strip",
    predict: bool = False,
) -> RolloutGroup:
    """Samples `count` pictures of one prompt; returns them as a group with rewards that differ. predict: as in
    htgrpo.rollout.generate."""
    prompt, keys = policy.prompt(text, pads), [("meter", i) for i in range(count)]
    order, limit = SAMPLERS.get(sampler)(steps=steps), tokens_per_forward or TOKENS_PER_FORWARD
    made = generate(policy, [prompt] * count, keys, order, guidance, grid, limit, pads=pads, predict=predict)
    reward = torch.arange(count, dtype=torch.float64)
    return RolloutGroup(prompt, grid, made.codes, made.reveal_step, made.rank, reward, made.entropy, made.predicted)


def count_iteration(
    policy: Standin, method: Method, config: TrainConfig, text: str, grid: tuple[int, int]
) -> dict[str, Spent]:
    """What one iteration of `method` asks of the network for one prompt, by phase; a training forward is counted once
    here."""
    meter = cast(Meter, policy.net)
    group = count_pictures(
        policy,
        text,
        config.group_size,
        config.sampler,
        config.steps,
        config.guidance,
        grid,
        config.tokens_per_forward,
        config.pads,
        "predicted" in method.needs,
    )
    engine, totals = Engine(policy, meter.during(REF), config), Totals()
    meter.phase = OLD
    steps = engine.plan([group], method, [generator("meter")], totals)
    meter.phase, meter.steps = LOOK, len(steps)
    for k, step in enumerate(steps):
        engine.accumulate(step, 1, totals, unmoved=k == 0)
    return meter.spent
