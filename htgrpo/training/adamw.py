"""AdamW on the weights that learn, in fp32 also where the network is not.

torch's function does the arithmetic: its optimiser class imports a compiler when it is first used, which takes seconds
of every training, and several times as long for a small network's step. Weights in half precision have masters in fp32,
which gradients are summed up on and steps are taken on; the network gets them rounded. A step that is too small for
half precision is thus not lost.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from htgrpo.policies.llada import HALF
from htgrpo.policies.weights import is_spread, part_of

MASTER, STEP = "master", "step"


class AdamW:
    """The optimiser of `learning`, in that order. rate: of the next step. weights: what gradients are on: the learning
    weights themselves, or their masters. moments: by number of the weight, from its first gradient on; under "master"
    what the weight is rounded from, where it is."""

    def __init__(
        self, learning: list[nn.Parameter], rate: float, betas: tuple[float, float], weight_decay: float = 0.0
    ):
        self.learning, self.rate, self.betas, self.weight_decay = learning, rate, betas, weight_decay
        self.weights = [_master(weight) if weight.dtype in HALF else weight for weight in learning]
        self.moments: dict[int, dict[str, Tensor]] = {}
        self.gathered: dict[int, dict[str, Tensor]] | None = None

    @torch.no_grad()
    def step(self) -> None:
        """One step along the gradients, which it clears. Weights without one stay as they are."""
        moved = {i: weight for i, weight in enumerate(self.weights) if weight.grad is not None}
        for number, weight in moved.items():
            if STEP not in self.moments.setdefault(number, {}):
                self.moments[number] |= {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
                self.moments[number][STEP] = torch.zeros((), dtype=torch.float32, device=weight.device)
        if not moved:
            return

        def state(name: str) -> list[Tensor]:
            return [_local(self.moments[number][name]) for number in moved]

        adamw(
            [_local(weight) for weight in moved.values()],
            [_local(weight.grad) for weight in moved.values() if weight.grad is not None],
            state("exp_avg"),
            state("exp_avg_sq"),
            [],
            state(STEP),
            fused=True,
            amsgrad=False,
            maximize=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=self.rate,
            weight_decay=self.weight_decay,
            eps=1e-8,
        )
        for number, weight in moved.items():
            weight.grad = None
            if weight is not self.learning[number]:
                self.moments[number][MASTER] = weight.detach()
                self.learning[number].copy_(weight)

    def state(self) -> dict[int, dict[str, Tensor]]:
        """What a checkpoint holds: `moments`, or what was gathered of them."""
        return self.moments if self.gathered is None else self.gathered

    @torch.no_grad()
    def load(self, moments: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Goes on from whole `moments` of a checkpoint whose weights are loaded already."""
        self.moments = {}
        for number, (weight, master) in enumerate(zip(self.learning, self.weights, strict=True)):
            if master is not weight:
                master.copy_(weight)
            for name, value in moments.get(number, {}).items():
                own = self.moments.setdefault(number, {})
                if name == MASTER:
                    master.copy_(part_of(value.to(master.dtype), master))
                    own[name] = master.detach()
                elif name == STEP:
                    own[name] = value.to(master.device, torch.float32, copy=True)
                else:
                    own[name] = part_of(value.to(master.device, master.dtype, copy=True), master)


def _master(weight: nn.Parameter) -> nn.Parameter:
    """The weight in fp32, which takes up its gradients as they come."""
    master = nn.Parameter(weight.detach().float())
    weight.register_post_accumulate_grad_hook(partial(_take, master))
    return master


@torch.no_grad()
def _take(master: nn.Parameter, weight: Tensor) -> None:
    assert weight.grad is not None
    if master.grad is None:
        master.grad = weight.grad.float()
    else:
        master.grad += weight.grad
    weight.grad = None


def _local(value: Tensor) -> Tensor:
    """This rank's part of `value`, itself where that is not spread."""
    return value.to_local() if is_spread(value) else value  # type: ignore[attr-defined]
