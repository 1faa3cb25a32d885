"""Every setting of a training run, in one frozen record. Imports no torch, so that command lines start at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from htgrpo.base.errors import UserError
from htgrpo.base.options import build, check
from htgrpo.base.registry import METHODS, SAMPLERS
from htgrpo.base.values import SEED, Number, OneOf, Resolution, Whole, refuse

if TYPE_CHECKING:
    from htgrpo.interface import Method

TRACKERS = ("tensorboard", "trackio", "wandb")
"""What a training can be logged to beside its own files."""
SECONDS = "seconds"
"""The part of a list of budgets that asks for a view at equal training seconds, chosen afterwards. No training waits
for it."""

MOST = {"iterations": 10**7, "forwards": 10**13}
"""The largest budget of each kind."""
Kind = Literal["iterations", "forwards"]
Dtype = Literal["auto", "float32", "bfloat16", "float64"]
Steps = Annotated[int, Whole(1, 100_000)]
"""Of a sampler."""
Guidance = Annotated[float, Number(0, 1000)]
Sampler = Annotated[str, OneOf(SAMPLERS.names, "sampler")]


@dataclass(frozen=True)
class Budget:
    """How long to train: `amount` iterations, or `amount` forward-equivalents (rollouts and pre-training counted
    too)."""

    kind: Kind
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


def parse_budgets(text: str, name: str = "budget") -> tuple[Budget, ...]:
    """`iterations:N`, `forwards:N`, or several with commas between, each N >= 1; raises UserError otherwise.

    A training goes on until all are reached and keeps a checkpoint at each; the first one is the main view of a report.
    """
    found = tuple(_parse_budget(part.strip(), text, name) for part in str(text).split(","))
    if len(set(found)) < len(found):
        raise UserError(f"{name} is {text!r}, which names one of its parts twice: leave one of them out")
    return found


def _parse_budget(part: str, text: str, name: str) -> Budget:
    kind, _, amount = part.partition(":")
    digits = amount.replace("_", "")
    if kind not in MOST or not (digits.isascii() and digits.isdigit()) or not 1 <= int(digits[:20]) <= MOST[kind]:
        raise refuse(
            name,
            text,
            "it takes iterations:N or forwards:N with a whole N of at least 1 and at most "
            f"{MOST['iterations']:,} or {MOST['forwards']:,}, or several with commas between, such as iterations:50 or "
            "iterations:16,forwards:100_000",
        )
    return Budget(cast(Kind, kind), int(digits))


def milestones(budgets: Iterable[Budget], log: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Text of a budget -> the iteration that reached it, of the lines of a metrics.jsonl in order; only those that were
    reached."""
    found: dict[str, int] = {}
    for line in log:
        for budget in budgets:
            if budget.text not in found and budget.done(line["iteration"], line["forwards_total"], line["forwards"]):
                found[budget.text] = line["iteration"]
    return found


def comparable(budgets: tuple[Budget, ...], rollouts: bool) -> tuple[Budget, ...]:
    """Those of the budgets at which a method is compared. One that samples no rollouts has iterations of its own, which
    nothing can be compared with: where a budget in forwards is given it takes part in that alone."""
    forwards = tuple(budget for budget in budgets if budget.kind == "forwards")
    return budgets if rollouts or not forwards else forwards


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run.

    method, method_options: a registered method and its options.  seed: of everything random. budget: iterations:N or
    forwards:N, or several with commas between (see parse_budgets). prompts_per_iteration x group_size images are
    sampled per iteration, by `sampler` in `steps` steps with `guidance` (0 = none), in `rollout_dtype` (auto: bfloat16
    where the hardware has it).  rewards: name=weight pairs, comma-separated. lr (linear warm-up over `warmup`
    iterations), weight_decay, beta1, beta2: AdamW; max_grad_norm: clipping. clip: epsilon of the ratio, 1 +- clip.
    beta: factor of the KL penalty, 0 drops the reference. kl: "k3" is exp(d) - d - 1 with d = log ref - log pi (a
    penalty: codes come from guided sampling, so it is not an unbiased KL), "exact" sums over the codebook. ddof, delta:
    of the advantage. dedup: "all" shares equal contexts within a group, "rollout" only within one image, "none" repeats
    them at every update too. tokens_per_forward: packed tokens that go through the network together; rollout_tokens:
    that many when rollouts are sampled (0: as many on a CPU; on an accelerator what is measured to be fastest when a
    training starts, and kept). interleave:
    upstream MaskGRPO's slip of advancing the update index per micro-batch: group p of n takes update (k n + p) mod K.
    pads: "attend" keeps upstream's attended pads.  resolution:
    HEIGHTxWIDTH in pixels, or one number; "" is the policy's own. tuning: all weights, or LoRA adapters (lora_rank,
    lora_alpha, lora_dropout) on the trunk's linear layers.  weights_dtype: of the network ("auto": bfloat16 for
    published backbones where the hardware has it).  recompute: blocks' activations are computed again in the backward
    pass instead of kept.  compile: the network's small operations are fused by torch.compile ("auto": on CUDA, where
    the network is whole in a process).  save_every: iterations between checkpoints.
    """

    method: Annotated[str, OneOf(METHODS.names, "method")] = "ht"
    method_options: dict = field(default_factory=dict)
    seed: Annotated[int, Whole(0, SEED)] = 0
    budget: str = "iterations:50"
    group_size: Annotated[int, Whole(2, 4096, "the advantage compares images of one prompt")] = 9
    prompts_per_iteration: Annotated[int, Whole(1, 100_000)] = 6
    sampler: Sampler = "random"
    steps: Steps = 8
    guidance: Guidance = 2.0
    rollout_dtype: Dtype = "auto"
    rewards: str = "objects=1,attributes=1,relations=1,tidiness=1"
    normalise_rewards: bool = False
    lr: Annotated[float, Number(0, 1e30, open_low=True)] = 1e-4
    warmup: Annotated[int, Whole(0, MOST["iterations"])] = 0
    weight_decay: Annotated[float, Number(0, 100)] = 0.0
    beta1: Annotated[float, Number(0, 1, open_high=True)] = 0.9
    beta2: Annotated[float, Number(0, 1, open_high=True)] = 0.99
    max_grad_norm: Annotated[float, Number(0, 1e12, open_low=True)] = 1.0
    clip: Annotated[float, Number(0, 1e12, open_low=True)] = 0.2
    beta: Annotated[float, Number(0, 1e6)] = 0.02
    kl: Literal["k3", "exact"] = "k3"
    ddof: Annotated[int, Whole(0, 1, "population or sample")] = 1
    delta: Annotated[float, Number(0, 1e6, open_low=True)] = 1e-5
    dedup: Literal["all", "rollout", "none"] = "all"
    interleave: bool = False
    pads: Literal["strip", "attend"] = "strip"
    resolution: Annotated[str, Resolution()] = ""
    tuning: Literal["full", "lora"] = "full"
    lora_rank: Annotated[int, Whole(1, 65536)] = 128
    lora_alpha: Annotated[float, Number(0, 1e6, open_low=True)] = 64.0
    lora_dropout: Annotated[float, Number(0, 1, open_high=True)] = 0.0
    weights_dtype: Dtype = "auto"
    recompute: bool = False
    compile: Literal["auto", "on", "off"] = "auto"
    tokens_per_forward: Annotated[int, Whole(1, 10**9)] = 6144
    rollout_tokens: Annotated[int, Whole(0, 10**9)] = 0
    save_every: Annotated[int, Whole(1, MOST["iterations"])] = 10

    def validate(self) -> "TrainConfig":
        """Itself, or a UserError naming the first setting that cannot work."""
        check(self)
        parse_budgets(self.budget)
        return self


def make_method(config: TrainConfig) -> "Method":
    """The configured method with its options. Raises UserError for an unknown name, option or value."""
    return build(METHODS.get(config.method), config.method_options, config.method)
