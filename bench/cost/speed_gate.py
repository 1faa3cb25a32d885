"""Has anything become slower? (bench.speed --gate)

Seconds of one machine say nothing of another, and on a busy one nothing at all. So the gate compares ratios within one
process, of CPU time on one thread in fp32, each part at its fastest of rounds that alternate: what else the machine does
then falls on numerator and denominator alike.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.cost.speed import Sharing, Speed
from htgrpo.base.files import atomic_json

BASELINE = Path(__file__).parent / "speed_gate.json"
"""{"tolerance", "ratios", and where they were measured}."""
PROMPTS, ROUNDS, TOLERANCE = 3, 5, 1.4
SHARING: Sharing = "all"
ROLLOUT, LEARNING, SHARED = "rollout / product", "cycle of mask / product", "cycle of ht / cycle of mask"


@dataclass(frozen=True)
class Compared:
    """A ratio, what it was, and whether it has grown by more than the tolerance."""

    name: str
    now: float
    then: float
    slower: bool


class Clock:
    """CPU seconds of every part at its fastest of all rounds so far."""

    def __init__(self, parts: dict[str, Callable[[], Any]]):
        self.parts, self.best = parts, dict.fromkeys(parts, float("inf"))
        for part in parts.values():
            part()  # imports, tables and memory that only a first call needs

    def go_round(self, rounds: int) -> dict[str, float]:
        """The ratios after `rounds` more rounds."""
        for _ in range(rounds):
            for name, part in self.parts.items():
                started = time.process_time()
                part()
                self.best[name] = min(self.best[name], time.process_time() - started)
        product, rollout, ht, mask = self.best.values()
        ratios = {ROLLOUT: rollout / product, LEARNING: mask / product, SHARED: ht / mask}
        return {name: round(ratio, 4) for name, ratio in ratios.items()}


def ready() -> Clock:
    """The embedded policy's rollout, the update cycles of two methods on what it sampled, and matrix products in the
    shape of its feed-forward layers with as many operations as the rollout needs."""
    import torch

    from htgrpo.base.rng import generator
    from htgrpo.rollout import TOKENS_PER_FORWARD

    speed = Speed("embedded", PROMPTS, 1, "cpu")
    sample = partial(speed.sample, speed.policy, speed.setup.samplers[0])
    rollouts = sample()
    speed.groups = speed.grouped(rollouts)
    size, noise = speed.policy.net.size, generator("speed", "gate")
    tokens = torch.randn(TOKENS_PER_FORWARD, size.d_model, generator=noise)
    weight = torch.randn(size.d_model, size.mlp_hidden_size, generator=noise)
    needed = rollouts.forwards * size.forward_flops(speed.rollout_length, 0, 0)
    times = round(needed / (2.0 * tokens.numel() * size.mlp_hidden_size))

    def product() -> None:
        for _ in range(times):
            tokens @ weight

    cycles = {name: partial(speed.learn, name, SHARING if name == "ht" else "all") for name in ("ht", "mask")}
    return Clock({"product": product, "rollout": sample, **cycles})


def compare(path: Path) -> list[Compared]:
    """Every ratio against the stored one. One that seems too high is looked at for twice as long again: a slower program
    stays slow, a busy moment passes."""
    stored, clock = json.loads(path.read_text()), ready()
    found = compared(stored, clock.go_round(ROUNDS))
    return compared(stored, clock.go_round(2 * ROUNDS)) if any(one.slower for one in found) else found


def compared(stored: dict[str, Any], ratios: dict[str, float]) -> list[Compared]:
    """`ratios` beside those of a baseline."""
    then = stored["ratios"]
    return [Compared(name, now, then[name], now > stored["tolerance"] * then[name]) for name, now in ratios.items()]


def write(path: Path, where: dict[str, str]) -> dict[str, float]:
    """Measures and stores the ratios; where: what they were measured on."""
    ratios = ready().go_round(3 * ROUNDS)
    atomic_json(path, {"tolerance": TOLERANCE, "ratios": ratios, **where})
    return ratios
