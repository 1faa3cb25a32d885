"""How the ranks of a launch hold the weights that learn, their gradients and the optimiser's state, and step together.

`Holding` is the plain way, `Sharded` is FSDP2. Learners call `net` and `step`, and know of no difference.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import nn

from htgrpo.parallel import sharding
from htgrpo.parallel.ranks import InStep, Ranks
from htgrpo.policies.llada import Network
from htgrpo.policies.weights import is_spread
from htgrpo.training.train_config import TrainConfig
from htgrpo.training.tuning import Tuning

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.utils import FullyShardedDataParallelPlugin


class Holding:
    """Every rank holds everything. optimizer: AdamW on the weights that learn, as checkpoints know it. net: the
    learning network, as learners call it."""

    net: Network

    def __init__(self, tuning: Tuning, config: TrainConfig, ranks: Ranks):
        self.ranks, self.max_norm = ranks, config.max_grad_norm
        self.network = self.net = tuning.policy.net
        self.optimizer = adamw(tuning, config)

    def weights(self) -> list[nn.Parameter]:
        """The weights that learn."""
        return [weight for group in self.optimizer.param_groups for weight in group["params"]]

    def step(self) -> float:
        """Sums gradients over ranks, clips, steps, clears; returns the norm before clipping (learners' losses are
        already divided by the number of groups of all ranks)."""
        self._add(self.weights())
        norm = self._clip()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def whole(self) -> AbstractContextManager[None]:
        """Within it the state dicts of network and optimiser hold whole tensors on the first rank, which alone may ask
        for them. All ranks enter together."""
        return nullcontext()

    def _add(self, weights: list[nn.Parameter]) -> None:
        if self.ranks.count > 1:
            gradients = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient
            self.ranks.add(gradients)

    def _clip(self) -> float:
        return float(torch.nn.utils.clip_grad_norm_(self.weights(), self.max_norm))


class Sharded(Holding):
    """Weights, gradients and moments are spread over all ranks. Where only adapters learn, those are whole
    everywhere."""

    def __init__(
        self,
        tuning: Tuning,
        config: TrainConfig,
        ranks: Ranks,
        accelerator: "Accelerator",
        settings: "FullyShardedDataParallelPlugin",
    ):
        for net in tuning.networks():
            sharding.shard(net, settings, accelerator)
        super().__init__(tuning, config, ranks)
        sharding.shard_loading(self.optimizer)
        self.net = InStep(self.network, ranks)

    def whole(self) -> AbstractContextManager[None]:
        spread = any(is_spread(weight) for weight in self.weights())
        return sharding.whole(self.network, self.optimizer, self.ranks.is_main) if spread else nullcontext()

    def _add(self, weights: list[nn.Parameter]) -> None:
        super()._add([weight for weight in weights if not is_spread(weight)])  # the others' are summed already

    def _clip(self) -> float:
        return float(sharding.whole_of(torch.nn.utils.clip_grad_norm_(self.weights(), self.max_norm)))


def adamw(tuning: Tuning, config: TrainConfig) -> torch.optim.AdamW:
    """A fresh optimiser of the weights that learn."""
    return torch.optim.AdamW(
        tuning.learning(), lr=config.lr, betas=(config.beta1, config.beta2), weight_decay=config.weight_decay
    )
