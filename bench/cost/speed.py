"""Seconds and forwards of every phase and method on this machine, beside its matrix-multiply peak (bench.speed). Imports
no torch before something is measured.

Every phase is waited for before its clock stops. Shares are of the peak of products in the dtype that the phase computes
in, and count the operations that are needed: 2 per weight and token (2P) for a forward, 4P for an update of adapters
(forward, and the gradient of what goes in), 6P where all weights learn; attention and the head as much more often.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bench.cost.kernels import profiled
from bench.cost.sizes import SIZES, dtypes, policy_of

if TYPE_CHECKING:
    from htgrpo.interface import RolloutGroup
    from htgrpo.policies.policy import Policy
    from htgrpo.rollout import Rollouts

Sharing = Literal["all", "rollout", "none"]
"""Which equal contexts are shared, as in TrainConfig."""
T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One measured phase. gflop: what is needed, by `convention`. peak: GFLOP/s of products in `dtype` beside it. share:
    of that peak, 0..1; None where it would be more than all of it, which no phase can do: the machine was busier beside
    it, or operations are miscounted. pictures, tokens: a second; tokens are packed ones that went forward. memory_mb:
    peak of the device, or of the process so far on a CPU. clipped_first, old_gap: as in Totals."""

    name: str
    phase: str
    forwards: int
    seconds: float
    gflop: float
    peak: float
    share: float | None
    convention: str
    dtype: str
    tokens: float
    memory_mb: float
    pictures: float | None = None
    clipped_first: int | None = None
    old_gap: float | None = None


def matmul_peak(dtype: str = "float32", device: str = "cpu", repeats: int = 4) -> float:
    """GFLOP/s of a square matrix product on this machine: the best of a few."""
    import torch

    from htgrpo.base.device import finished

    size = 1536 if device == "cpu" else 8192
    a = torch.randn(size, size, generator=torch.Generator().manual_seed(0)).to(device, getattr(torch, dtype))
    best, place = float("inf"), torch.device(device)
    for _ in range(repeats + 1):
        finished(place)
        started = time.perf_counter()
        a @ a
        finished(place)
        best = min(best, time.perf_counter() - started)
    return 2.0 * size**3 / best / 1e9


def share_of(gflop: float, seconds: float, peak: float) -> float | None:
    """The part of `peak` that was reached; None where that is more than all of it."""
    share = gflop / seconds / peak if seconds else 0.0
    return round(share, 3) if share <= 1.0 else None


class Speed:
    """The policy to measure with its prompts; once `rollout` has sampled, their groups are there to learn from."""

    def __init__(self, size: str, prompts: int, repeats: int, device: str):
        from htgrpo.parallel.ranks import ALONE
        from htgrpo.training.holding import Holding
        from htgrpo.training.train_config import TrainConfig
        from htgrpo.training.tuning import TUNINGS

        self.setup, self.repeats, self.device = SIZES[size], repeats, device
        self.policy, self.texts = policy_of(size, prompts, device)
        self.config = TrainConfig(lr=1e-9, **dict(self.setup.config))
        self.tuning = TUNINGS[self.config.tuning](self.policy, self.config)
        self.holding = Holding(self.tuning, self.config, ALONE)
        self.sampled, self.learnt = dtypes(self.policy, self.config.tuning)
        image = len(self.policy.backbone.image_block(self.policy.backbone.grid))
        self.length = sum(map(len, self.texts)) / len(self.texts) + image
        self.rollout_length = (self.length + len(self.policy.unconditional()) + image) / 2
        self.trained_head = self.policy.net.get_parameter("model.transformer.ff_out.weight").requires_grad
        self.groups: list[RolloutGroup] = []

    def rollout(self, sampler: str) -> list[Row]:
        """One rollout of all groups."""
        policy = self.policy.with_net(self.tuning.sampling())
        rollouts, seconds, peak, memory = self._fastest(partial(self.sample, policy, sampler), self.sampled)
        self.groups = self.groups or self.grouped(rollouts)
        row = self._row(sampler, "rollout", rollouts.forwards, rollouts.heads, seconds, self.rollout_length, 1, peak)
        pictures = len(rollouts.codes) / seconds if seconds else 0.0
        return [replace(row, memory_mb=memory, pictures=round(pictures, 2))]

    def compiled(self) -> list[Row]:
        """The same by the compiled network, and what compiling it costs."""
        net: Any = self.tuning.sampling()
        net.fuse(True)
        started = time.perf_counter()
        for _ in range(2):  # the second meets shapes that the first made dynamic
            self.sample(self.policy.with_net(net), self.setup.samplers[0])
        compiling = time.perf_counter() - started
        (row,) = self.rollout(self.setup.samplers[0])
        net.fuse(self.device == "cuda")
        return [
            replace(row, phase="compiled"),
            replace(row, phase="compiling", seconds=round(max(0.0, compiling - 2 * row.seconds), 3)),
        ]

    def updates(self, method: str, sharing: Sharing) -> list[Row]:
        """One update cycle (old, reference, K updates) of a method on the groups, each phase the fastest of all."""
        fastest: dict[str, Row] = {}
        for _ in range(self.repeats):
            for row in self._cycle(method, sharing):
                if row.phase not in fastest or row.seconds < fastest[row.phase].seconds:
                    fastest[row.phase] = row
        return list(fastest.values())

    def kernels(self, method: str) -> dict[str, dict[str, float]]:
        """Where the time of a rollout (of two steps) and of an update cycle goes."""
        policy = self.policy.with_net(self.tuning.sampling())
        return {
            "rollout": profiled(partial(self.sample, policy, self.setup.samplers[0], 2), self.device),
            f"cycle of {method}": profiled(partial(self.learn, method, "all"), self.device),
        }

    def grouped(self, rollouts: "Rollouts") -> "list[RolloutGroup]":
        import torch

        from htgrpo.base.rng import generator
        from htgrpo.interface import RolloutGroup

        size, found = self.setup.group, []
        for index, text in enumerate(self.texts):
            part = rollouts.part(slice(index * size, (index + 1) * size))
            reward = torch.rand(size, generator=generator("speed", "reward", index), dtype=torch.float64)
            grid = self.policy.backbone.grid
            found.append(RolloutGroup(text, grid, part.codes, part.reveal_step, part.rank, reward, part.entropy))
        return found

    def learn(self, method: str, sharing: Sharing) -> Any:
        from htgrpo.base.registry import METHODS
        from htgrpo.base.rng import generator
        from htgrpo.training.engine import Engine

        engine = Engine(self.policy, self.tuning.reference(), replace(self.config, dedup=sharing))
        streams = [generator("speed", method, i) for i in range(len(self.groups))]
        return engine.run(self.groups, METHODS.get(method)(), streams, self.holding.step)

    def _cycle(self, method: str, sharing: Sharing) -> list[Row]:
        totals, _, peak, memory = self._fastest(partial(self.learn, method, sharing), self.learnt, 1)
        name, found = f"{method} ({sharing})", []
        times = 2 if self.setup.tuning == "lora" else 3
        metrics = totals.metrics()
        for phase, counter, factor in (("old", "old", 1), ("ref", "ref", 1), ("update", "train", times)):
            once = 3 if phase == "update" else 1  # Totals count a trained forward thrice
            forwards, heads = totals.forwards[counter], totals.heads[counter] // once
            row = self._row(name, phase, forwards, heads, totals.seconds[phase], self.length, factor, peak, once)
            found.append(replace(row, memory_mb=memory))
        clips = {"clipped_first": metrics.get("clipped_first"), "old_gap": metrics.get("old_gap")}
        return [*found[:-1], replace(found[-1], **clips)]

    def sample(self, policy: "Policy", sampler: str, steps: int | None = None) -> "Rollouts":
        from htgrpo.base.registry import SAMPLERS
        from htgrpo.rollout import generate

        owners = [text for text in self.texts for _ in range(self.setup.group)]
        keys = [("speed", i) for i in range(len(owners))]
        return generate(
            policy, owners, keys, SAMPLERS.get(sampler)(steps=steps or self.setup.steps), self.setup.guidance
        )

    def _fastest(self, work: Callable[[], T], dtype: Any, repeats: int | None = None) -> tuple[T, float, float, float]:
        """What `work` returns, its seconds at best, the better of the peaks before and after it, and its memory."""
        import torch

        from htgrpo.base.device import finished

        name, place = str(dtype).removeprefix("torch."), self.policy.device
        before, best = matmul_peak(name, self.device), float("inf")
        if self.device == "cuda":
            work()  # choosing kernels, compiling
            torch.cuda.reset_peak_memory_stats()
        for _ in range(repeats or self.repeats):
            finished(place)
            started = time.perf_counter()
            found = work()
            finished(place)
            best = min(best, time.perf_counter() - started)
        return found, best, max(before, matmul_peak(name, self.device)), self._memory()

    def _memory(self) -> float:
        import torch

        from htgrpo.training.trainer import peak_memory_mb

        return round(torch.cuda.max_memory_allocated() / 2**20, 1) if self.device == "cuda" else peak_memory_mb()

    def _row(
        self,
        name: str,
        phase: str,
        forwards: int,
        heads: int,
        seconds: float,
        length: float,
        factor: int,
        peak: float,
        once: int = 1,
    ) -> Row:
        """forwards: as budgets count them, `once` times those that were run; factor: forwards' worth of operations that
        one costs."""
        net, ran = self.policy.net.size, forwards / once
        head = 2.0 * heads * net.d_model * self.policy.backbone.codebook_size
        head *= factor if self.trained_head else min(2, factor)  # a frozen head has no weight gradient
        gflop = (factor * ran * net.forward_flops(length, 0, 0) + head) / 1e9
        dtype = str(self.sampled if phase == "rollout" else self.learnt).removeprefix("torch.")
        tokens = round(ran * length / seconds, 1) if seconds else 0.0
        share = share_of(gflop, seconds, peak)
        numbers = (round(seconds, 3), round(gflop, 1), round(peak, 1), share)
        return Row(name, phase, forwards, *numbers, f"{2 * factor}P", dtype, tokens, 0.0)


def measure(
    size: str,
    methods: list[str],
    sharings: list[Sharing],
    prompts: int | None,
    repeats: int,
    compiled: bool = False,
    device: str = "cpu",
    limit: float | None = None,
) -> dict[str, Any]:
    """{"rows", "kernels", "left_out"}: a rollout by every sampler (and one by the compiled network), one update cycle of
    every method and way of sharing contexts, and a profile; what has not begun after `limit` seconds is left out."""
    started = time.perf_counter()
    speed = Speed(size, prompts or SIZES[size].prompts, repeats, device)
    rows: list[Row] = []
    kernels: dict[str, dict[str, float]] = {}
    left_out: list[str] = []
    jobs: list[tuple[str, Callable[[], list[Row]]]] = [
        (f"rollout by {name}", partial(speed.rollout, name)) for name in SIZES[size].samplers
    ]
    if compiled:
        jobs.append(("compiled rollout", speed.compiled))
    jobs += [(f"{method} ({way})", partial(speed.updates, method, way)) for method in methods for way in sharings]
    for name, job in jobs:
        if limit is not None and rows and time.perf_counter() - started > limit:
            left_out.append(name)
        else:
            rows += job()
    if limit is not None and time.perf_counter() - started > limit:
        left_out.append("profile")
    else:
        kernels = speed.kernels(methods[0])
    return {"rows": rows, "kernels": kernels, "left_out": left_out}
