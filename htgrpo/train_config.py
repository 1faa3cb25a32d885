"""Every setting of a training run, in one frozen record. Imports no torch, so that command lines start at once."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_type_hints

from htgrpo.errors import UserError
from htgrpo.options import convert, require
from htgrpo.registry import METHODS, SAMPLERS

SECONDS = "seconds"
"""The part of a list of budgets that asks for a view at equal training seconds, chosen afterwards. No training waits for it."""


@dataclass(frozen=True)
class Budget:
    """How long to train: `amount` iterations, or `amount` forward-equivalents (rollouts and pre-training counted too)."""

    kind: Literal["iterations", "forwards"]
    amount: int

    @property
    def text(self) -> str:
        """`iterations:N` or `forwards:N`, as parse_budgets takes it."""
        return f"{self.kind}:{self.amount}"

    def done(self, iterations: int, forwards: int, last: int) -> bool:
        """Whether to stop, given the forwards so far and those of the last iteration. A forwards budget ends at the
        iteration that comes nearest to it, and every budget runs at least one iteration."""
        if self.kind == "iterations":
            return iterations >= self.amount
        return iterations > 0 and forwards + last / 2 > self.amount

    def fraction(self, iterations: int, forwards: int) -> float:
        """Part of the budget that is spent, 0..1."""
        return min(1.0, (iterations if self.kind == "iterations" else forwards) / self.amount)


def parse_budgets(text: str) -> tuple[Budget, ...]:
    """`iterations:N`, `forwards:N`, or several with commas between, each N >= 1; raises UserError otherwise.

    A training goes on until all are reached and keeps a checkpoint at each; the first one is the main view of a report.
    """
    found = tuple(_parse_budget(part.strip(), text) for part in str(text).split(","))
    if len(set(found)) < len(found):
        raise UserError(f"budget is {text!r}, which names one of its parts twice: leave one of them out")
    return found


def _parse_budget(part: str, text: str) -> Budget:
    kind, _, amount = part.partition(":")
    amount = amount.replace("_", "")
    if kind not in ("iterations", "forwards") or not (amount.isascii() and amount.isdigit()) or int(amount) < 1:
        raise UserError(f"budget is {text!r}, but it takes iterations:N or forwards:N with a whole N of at least 1, or several "
                        "with commas between, such as iterations:50 or iterations:16,forwards:100000")
    return Budget(kind, int(amount))


def milestones(budgets: Iterable[Budget], log: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Text of a budget -> the iteration that reached it, of the lines of a metrics.jsonl in order; only those that were reached."""
    found: dict[str, int] = {}
    for line in log:
        for budget in budgets:
            if budget.text not in found and budget.done(line["iteration"], line["forwards_total"], line["forwards"]):
                found[budget.text] = line["iteration"]
    return found


def comparable(budgets: tuple[Budget, ...], rollouts: bool) -> tuple[Budget, ...]:
    """Those of the budgets at which a method is compared. One that samples no rollouts has iterations of its own, which nothing can
    be compared with: where a budget in forwards is given it takes part in that alone."""
    forwards = tuple(budget for budget in budgets if budget.kind == "forwards")
    return budgets if rollouts or not forwards else forwards


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run.

    method, method_options: a registered method and its options.  seed: of everything random.
    budget: iterations:N or forwards:N, or several with commas between (see parse_budgets).
    prompts_per_iteration x group_size images are sampled per iteration, by `sampler` in `steps` steps with `guidance` (0 = none),
    in `rollout_dtype` (auto: bfloat16 where the hardware has it).  rewards: name=weight pairs, comma-separated.
    lr (linear warm-up over `warmup` iterations), weight_decay, beta1, beta2: AdamW; max_grad_norm: clipping.
    clip, beta, kl, ddof, delta, dedup, tokens_per_forward, interleave: see engine.EngineConfig.
    pads: "attend" keeps upstream's attended pads.  resolution: HEIGHTxWIDTH in pixels, or one number; "" is the policy's own.
    tuning: all weights, or LoRA adapters (lora_rank, lora_alpha, lora_dropout) on the trunk's linear layers.  weights_dtype: of
    the network ("auto": bfloat16 for published backbones where the hardware has it).  recompute: blocks' activations are
    computed again in the backward pass instead of kept.  save_every: iterations between checkpoints.
    """

    method: str = "ht"
    method_options: dict = field(default_factory=dict)
    seed: int = 0
    budget: str = "iterations:50"
    group_size: int = 9
    prompts_per_iteration: int = 6
    sampler: str = "random"
    steps: int = 8
    guidance: float = 2.0
    rollout_dtype: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    rewards: str = "objects=1,attributes=1,relations=1,tidiness=1"
    normalise_rewards: bool = False
    lr: float = 1e-4
    warmup: int = 0
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.99
    max_grad_norm: float = 1.0
    clip: float = 0.2
    beta: float = 0.02
    kl: Literal["k3", "exact"] = "k3"
    ddof: int = 1
    delta: float = 1e-5
    dedup: Literal["all", "rollout", "none"] = "all"
    interleave: bool = False
    pads: Literal["strip", "attend"] = "strip"
    resolution: str = ""
    tuning: Literal["full", "lora"] = "full"
    lora_rank: int = 128
    lora_alpha: float = 64.0
    lora_dropout: float = 0.0
    weights_dtype: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    recompute: bool = False
    tokens_per_forward: int = 6144
    save_every: int = 10

    def validate(self) -> "TrainConfig":
        """Itself, or a UserError naming the first setting that cannot work."""
        for name, kind in get_type_hints(type(self)).items():
            convert(getattr(self, name), kind, name)
        METHODS.check(self.method)
        SAMPLERS.check(self.sampler)
        parse_budgets(self.budget)
        require(self.group_size >= 2, "group_size", self.group_size,
                "a group needs at least 2 images: the advantage compares images of one prompt")
        for name in ("prompts_per_iteration", "steps", "tokens_per_forward", "save_every", "lora_rank"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "it must be at least 1")
        for name in ("lr", "max_grad_norm", "clip", "delta", "lora_alpha"):
            require(getattr(self, name) > 0, name, getattr(self, name), "it must be greater than 0")
        for name in ("guidance", "warmup", "weight_decay", "beta"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "it must not be negative")
        require(self.ddof in (0, 1), "ddof", self.ddof, "it must be 0 (population) or 1 (sample)")
        for name in ("beta1", "beta2", "lora_dropout"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "it must lie in [0, 1)")
        return self
