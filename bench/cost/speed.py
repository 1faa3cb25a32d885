"""Seconds and forwards of every phase and method on this machine, beside its matrix-multiply peak (bench.speed). Imports
no torch before something is measured."""

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from htgrpo.interface import RolloutGroup
    from htgrpo.rollout import Rollouts

Sharing = Literal["all", "rollout", "none"]
"""Which equal contexts are shared, as in TrainConfig."""
T = TypeVar("T")
FASTER = "(busy)"
"""Stands in a table in place of a share above 100 %."""


@dataclass(frozen=True)
class Setup:
    """What is sampled: pictures a prompt, steps, guidance, prompts."""

    group: int
    steps: int
    guidance: float
    prompts: int


SIZES = {"embedded": Setup(9, 8, 2.0, 6), "mid": Setup(9, 12, 3.5, 1)}
"""By the size of the policy (bench.cost.sizes)."""
MID_UNCONDITIONAL = 3
"""Ids that stand for no prompt at mid, whose tokenizer has no words: task, beginning, end."""


@dataclass(frozen=True)
class Row:
    """One measured phase. peak: GFLOP/s of matrix products beside it. share: of that peak, 0..1, on the FLOPs that are
    needed; None where it would be more than all of it, which says that the machine was busier beside the phase than in
    it."""

    name: str
    phase: str
    forwards: int
    seconds: float
    gflop: float
    peak: float
    share: float | None


def matmul_peak(dtype: str = "float32", size: int = 1536, repeats: int = 4) -> float:
    """GFLOP/s of a square matrix product on this machine: the best of a few."""
    import torch

    a = torch.randn(size, size, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    best = float("inf")
    for _ in range(repeats + 1):
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
    return 2.0 * size**3 / best / 1e9


def beside(work: Callable[[], T]) -> tuple[T, float]:
    """What `work` returns, and the better of the peaks before and after it."""
    before = matmul_peak()
    return work(), max(before, matmul_peak())


def share_of(gflop: float, seconds: float, peak: float) -> float | None:
    """The part of `peak` that was reached; None where that is more than all of it."""
    share = gflop / seconds / peak if seconds else 0.0
    return round(share, 3) if share <= 1.0 else None


class Speed:
    """The policy to measure with its prompts; once `rollout` has sampled, their groups are there to learn from."""

    def __init__(self, size: str, prompts: int, repeats: int):
        from bench.cost.sizes import policy_of

        self.setup, self.repeats = SIZES[size], repeats
        self.policy, self.texts = policy_of(size, prompts)
        image = len(self.policy.backbone.image_block(self.policy.backbone.grid))
        self.length = sum(map(len, self.texts)) / len(self.texts) + image
        bare = len(self.policy.unconditional()) if size == "embedded" else MID_UNCONDITIONAL
        self.rollout_length = (self.length + bare + image) / 2
        self.trained_head = self.policy.net.get_parameter("model.transformer.ff_out.weight").requires_grad
        self.groups: list[RolloutGroup] = []

    def rollout(self) -> list[Row]:
        """One rollout of all groups."""
        from htgrpo.base.rng import generator
        from htgrpo.interface import RolloutGroup

        (rollouts, best), peak = beside(lambda: self._fastest(self.policy))
        for index, text in enumerate(self.texts):
            part = slice(index * self.setup.group, (index + 1) * self.setup.group)
            self.groups.append(
                RolloutGroup(
                    text,
                    self.policy.backbone.grid,
                    rollouts.codes[part],
                    rollouts.reveal_step[part],
                    rollouts.rank[part],
                    _rewards(self.setup.group, generator("speed", "reward", index)),
                )
            )
        return [self._row("(all)", "rollout", rollouts.forwards, rollouts.heads, best, self.rollout_length, peak)]

    def compiled(self) -> list[Row]:
        """The same by the compiled network, and what compiling it costs."""
        import torch

        network = self.policy.with_net(torch.compile(self.policy.net, dynamic=True))  # type: ignore[arg-type]  # wraps it
        # the second meets shapes that the first made dynamic
        compiling = sum(self._sample(network)[1] for _ in range(2))
        (rollouts, best), peak = beside(lambda: self._fastest(network))
        return [
            self._row("(all)", name, rollouts.forwards, rollouts.heads, seconds, self.rollout_length, peak)
            for name, seconds in (("compiled", best), ("compiling", compiling - 2 * best))
        ]

    def updates(self, method: str, sharing: Sharing) -> list[Row]:
        """One update cycle (old, reference, K updates) of a method on the groups, each phase the fastest of all."""
        start, reference = deepcopy(self.policy.net.state_dict()), deepcopy(self.policy.net).requires_grad_(False)
        fastest: dict[str, Row] = {}
        for _ in range(self.repeats):
            self.policy.net.load_state_dict(start)
            for row in self._cycle(method, sharing, reference):
                if row.phase not in fastest or row.seconds < fastest[row.phase].seconds:
                    fastest[row.phase] = row
        self.policy.net.load_state_dict(start)
        return list(fastest.values())

    def _cycle(self, method: str, sharing: Sharing, reference: Any) -> list[Row]:
        import torch

        from htgrpo.base.registry import METHODS
        from htgrpo.base.rng import generator
        from htgrpo.training.engine import Engine
        from htgrpo.training.train_config import TrainConfig

        weights = [weight for weight in self.policy.net.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=1e-5, weight_decay=0.0)

        def step() -> float:
            norm = torch.nn.utils.clip_grad_norm_(self.policy.net.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            return float(norm)

        engine = Engine(self.policy, reference, TrainConfig(dedup=sharing))
        streams = [generator("speed", method, i) for i in range(len(self.groups))]
        totals, peak = beside(partial(engine.run, self.groups, METHODS.get(method)(), streams, step))
        name, found = f"{method} ({sharing})", []
        for phase, counter in (("old", "old"), ("ref", "ref"), ("update", "train")):
            forwards, heads = totals.forwards[counter], totals.heads[counter]
            found.append(self._row(name, phase, forwards, heads, totals.seconds[phase], self.length, peak))
        return found

    def _sample(self, policy: Any) -> "tuple[Rollouts, float]":
        from htgrpo.rollout import generate
        from htgrpo.samplers import RandomOrder

        owners = [text for text in self.texts for _ in range(self.setup.group)]
        keys = [("speed", i) for i in range(len(owners))]
        started = time.perf_counter()
        found = generate(policy, owners, keys, RandomOrder(self.setup.steps), self.setup.guidance)
        return found, time.perf_counter() - started

    def _fastest(self, policy: Any) -> "tuple[Rollouts, float]":
        return min((self._sample(policy) for _ in range(self.repeats)), key=lambda pair: pair[1])

    def _row(self, name: str, phase: str, forwards: int, heads: int, seconds: float, length: float, peak: float) -> Row:
        net = self.policy.net.size
        frozen = phase == "update" and not self.trained_head
        head = 2.0 * heads * (2 / 3 if frozen else 1) * net.d_model * self.policy.backbone.codebook_size
        gflop = (forwards * net.forward_flops(length, 0, 0) + head) / 1e9  # a frozen head has no weight gradient
        share = share_of(gflop, seconds, peak)
        return Row(name, phase, forwards, round(seconds, 3), round(gflop, 1), round(peak, 1), share)


def _rewards(count: int, generator: Any) -> Any:
    import torch

    return torch.rand(count, generator=generator, dtype=torch.float64)


def measure(
    size: str, methods: list[str], sharings: list[Sharing], prompts: int | None, repeats: int, compiled: bool = False
) -> list[Row]:
    """One rollout (and one by the compiled network), then one update cycle of every method and way of sharing
    contexts."""
    speed = Speed(size, prompts or SIZES[size].prompts, repeats)
    rows = [*speed.rollout(), *(speed.compiled() if compiled else ())]
    return rows + [row for method in methods for sharing in sharings for row in speed.updates(method, sharing)]


def render(result: dict) -> str:
    """The table a person reads."""
    least = min(row["peak"] for row in result["rows"])
    lines = [
        f"size {result['size']}, {result['threads']} threads, matrix-multiply peak {result['peak_gflops']} GFLOP/s (fp32), "
        f"best of all; shares are of the peak beside each phase, {least} at the least",
        "",
        f"{'method':18} {'phase':8} {'forwards':>9} {'seconds':>9} {'GFLOP':>9} {'of peak':>8}",
    ]
    names = list(dict.fromkeys(row["name"] for row in result["rows"]))
    for name in names:
        rows = [row for row in result["rows"] if row["name"] == name]
        for r in rows:
            share = FASTER if r["share"] is None else f"{r['share']:.0%}"
            lines.append(
                f"{r['name']:18} {r['phase']:8} {r['forwards']:9} {r['seconds']:9.3f} {r['gflop']:9.1f} {share:>8}"
            )
        if len(rows) > 1:
            total = sum(r["seconds"] for r in rows)
            lines.append(f"{name:18} {'= cycle':8} {sum(r['forwards'] for r in rows):9} {total:9.3f}")
    if any(row["share"] is None for row in result["rows"]):
        lines.append(
            f"{FASTER}: faster than the matrix products before and after it, so the machine was busy with something else "
            "while those ran, and no share of the peak can be told. Measure again when it is idle."
        )
    return "\n".join(lines)
