"""A published training step beside ours on the same random weights, pictures, masks and rewards (bench.speed --upstream
DIR).

Of the checkout's trainer two functions run: its log-probabilities under its masks, for old and reference, and its loss.
What its module imports beside them (trl and wandb: the distributed loop around these functions) is stood in for by
classes that do nothing. Its old and reference log-probabilities are asked for update by update, as its loss asks for the
new ones; at once, as it does, all of its logits would not fit a machine without a large GPU.
"""

import importlib
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from htgrpo.base.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from htgrpo.interface import Method, RolloutGroup
    from htgrpo.policies.policy import Policy
    from htgrpo.training.engine import Engine

T = TypeVar("T")
UPDATES = 2
"""Of a cycle; all cost the same. The second one has ratios that are not 1."""
RATE, CLIP, BETA = 0.05, 0.2, 0.04
"""Step along the gradient between updates; the objective of both."""
AGREE = 0.001
"""Largest difference between the two gradients, as a part of the largest one."""
STOOD_IN = (
    "trl", "trl.data_utils", "trl.extras", "trl.extras.profiling", "trl.import_utils", "trl.models", "trl.trainer",
    "trl.trainer.grpo_config", "trl.trainer.grpo_trainer", "trl.trainer.utils", "wandb",
)  # fmt: skip


class _StandIn(ModuleType):
    """A module that has whatever is imported from it: decorators change nothing, questions are denied, all else is an
    empty class."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name.endswith("_decorator"):
            return lambda decorated: decorated
        return (lambda: False) if name.startswith("is_") else type(name, (), {})


@contextmanager
def trainer_of(module: str, name: str) -> Iterator[Any]:
    """The checkout's class, whose folder is importable, as long as the context lasts. What is drawn meanwhile from global
    generators, which it seeds, leaves them as they were."""
    import accelerate.utils  # noqa: F401  # which looks whether wandb is installed: before it seems to be
    import numpy as np
    import torch

    before = {one: sys.modules[one] for one in sys.modules if one.split(".")[0] in ("trl", "wandb")}
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    sys.modules |= {one: _StandIn(one) for one in STOOD_IN}
    try:
        with torch.random.fork_rng():
            yield getattr(importlib.import_module(module), name)
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        for one in STOOD_IN:
            del sys.modules[one]
        sys.modules |= before


def clocked(work: Callable[[], T], policy: "Policy") -> tuple[T, dict[str, float]]:
    """What `work` returns, and its seconds by the wall's clock and the CPU's."""
    from htgrpo.base.device import finished

    finished(policy.device)
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    finished(policy.device)
    return found, {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}


class Theirs:
    """MaskGRPO's functions on a group."""

    def __init__(self, kind: Any, net: Any, policy: "Policy", group: "RolloutGroup"):
        import torch

        backbone, size = policy.backbone, len(group.codes)
        self.net, self.reference = net, deepcopy(net).requires_grad_(False)
        self.trainer, self.device = object.__new__(kind), policy.device
        vars(self.trainer).update(
            args=SimpleNamespace(num_iterations=UPDATES, min_mask_rate=0.8, mask_id=backbone.mask, cfg_scale=0.0),
            accelerator=SimpleNamespace(gather_for_metrics=lambda value: value),
            control=SimpleNamespace(should_evaluate=False),
            _metrics=defaultdict(lambda: defaultdict(list)),
            version="uni",
            task="t2i",
            mean_method="grpo",
            beta=BETA,
            epsilon=CLIP,
            num_iterations=UPDATES,
        )
        codes = (group.codes + backbone.image_offset).to(self.device)
        prompt = torch.tensor(group.prompt, device=self.device).expand(size, -1)
        opening, closing = (
            torch.tensor(ids, device=self.device).expand(size, -1)
            for ids in (backbone.image_open, backbone.image_close)
        )
        self.whole = torch.cat([prompt, opening, codes, closing], 1)
        self.inputs: dict[str, Any] = {
            "prompt_ids": prompt,
            "completion_ids": codes,
            "mask_seeds": torch.arange(UPDATES),
            "advantages": group.advantage().to(self.device, torch.float32),
        }

    def before(self) -> "Tensor":
        """Old and reference log-probabilities of all updates; returns the masks, bool [K, G, N]."""
        import torch

        found = []
        with torch.no_grad():
            for net in (self.net, self.reference):
                found.append([self._log_probs(net, k) for k in range(UPDATES)])
        old, reference = (torch.cat([values for values, _ in one]) for one in found)
        masks = torch.cat([mask for _, mask in found[0]])
        self.inputs |= {"old_per_token_logps": old, "ref_per_token_logps": reference, "completion_mask": masks.int()}
        return masks

    def _log_probs(self, net: Any, k: int) -> "tuple[Tensor, Tensor]":
        seeds, slots = self.inputs["mask_seeds"], self.inputs["completion_ids"].shape[1]
        return self.trainer._get_per_token_logps(net, self.whole[None], slots, [seeds[k]], k)

    def learn(self, k: int) -> None:
        """Adds the gradient of update k."""
        self.trainer._step = k + 1  # which it has counted already when it comes to the loss
        self.trainer.compute_loss(self.net, self.inputs).backward()


def _with(masks: "Tensor") -> "Method":
    """MaskGRPO as published, with these masks."""
    from htgrpo.base.registry import METHODS

    class Given(METHODS.get("mask")):  # type: ignore[misc]
        def masks(self, group: "RolloutGroup", generator: Any) -> "list[Tensor]":
            return list(masks.cpu())

    return Given(updates_per_rollout=UPDATES, mask_agg="all_iterations", loss_norm="token_mean")


def training_beside(
    kind: Any, net: Any, policy: "Policy", prompt: tuple[int, ...], size: int, repeats: int, clock: str
) -> dict[str, Any]:
    """{"updates", "pictures", "gradients_apart", "rounds", "ratio_before", "ratio_update"}: the largest difference of
    gradients as a part of the largest one; in every round seconds of both sides "before" the weights move (old and
    reference) and of all updates; how many times theirs ours is, in the fastest of each by `clock`. The weights, which
    `net` shares with the policy, move between updates."""
    import torch

    from htgrpo.base.rng import generator
    from htgrpo.interface import RolloutGroup
    from htgrpo.training.engine import Engine
    from htgrpo.training.train_config import TrainConfig

    noise, grid = generator("upstream", "training"), policy.backbone.grid
    slots = grid[0] * grid[1]
    codes = torch.randint(policy.backbone.codebook_size, (size, slots), generator=noise)
    reward = torch.rand(size, generator=noise, dtype=torch.float64)
    rank = torch.arange(1, slots + 1).expand(size, -1)
    group = RolloutGroup(prompt, grid, codes, torch.zeros_like(codes), rank, reward)
    twins = dict(net.named_parameters())
    learning = {name: (weight, twins[name]) for name, weight in policy.net.named_parameters() if weight.requires_grad}
    for name, twin in twins.items():
        twin.requires_grad_(name in learning)
    theirs = Theirs(kind, net, policy, group)
    engine = Engine(policy, deepcopy(policy.net).requires_grad_(False), TrainConfig(clip=CLIP, beta=BETA))
    cycles = [_cycle(theirs, engine, group, list(learning.values())) for _ in range(repeats)]
    apart, rounds = max(gap for _, gap in cycles), [spent for spent, _ in cycles]
    if apart > AGREE:
        raise UserError(
            f"--upstream: its loss has another gradient than ours on the same weights and masks, by {apart:.1%} of the "
            "largest one, so that times of the two say nothing: use a checkout of the published code"
        )
    best = {
        (phase, side): min(one[phase][side][clock] for one in rounds)
        for phase in ("before", "update")
        for side in ("ours", "theirs")
    }
    ratios = {f"ratio_{phase}": round(best[phase, "theirs"] / best[phase, "ours"], 2) for phase in ("before", "update")}
    return {"updates": UPDATES, "pictures": size, "gradients_apart": apart, "rounds": rounds, **ratios}


def _cycle(
    theirs: Theirs, engine: "Engine", group: "RolloutGroup", learning: list[tuple[Any, Any]]
) -> tuple[dict[str, dict[str, dict[str, float]]], float]:
    """Seconds by phase and side, the updates' summed, and how far apart gradients were. learning: weights of ours and
    theirs, which are the same memory."""
    import torch

    from htgrpo.base.rng import generator
    from htgrpo.parallel.totals import Totals

    policy, totals, gap = engine.policy, Totals(), 0.0
    masks, before = clocked(theirs.before, policy)
    steps, own = clocked(partial(engine.plan, [group], _with(masks), [generator("upstream")], totals), policy)
    update = {side: {"seconds": 0.0, "cpu_seconds": 0.0} for side in ("ours", "theirs")}
    for k, step in enumerate(steps):
        sides = {"theirs": partial(theirs.learn, k), "ours": partial(engine.accumulate, step, 1, totals, k == 0)}
        for side, work in sides.items():
            for name, seconds in clocked(work, policy)[1].items():
                update[side][name] += seconds
        gap = max(gap, _apart([(ours.grad, other.grad) for ours, other in learning]))
        with torch.no_grad():
            for ours, other in learning:
                ours -= RATE * ours.grad
                ours.grad = other.grad = None
    return {"before": {"ours": own, "theirs": before}, "update": update}, gap


def _apart(gradients: list[Any]) -> float:
    """The largest difference within pairs, as a part of the largest value."""
    largest = max(float(other.abs().max()) for _, other in gradients)
    return max(float((own - other).abs().max()) for own, other in gradients) / largest
