"""How the ranks of a launch hold the weights that learn, their gradients and the optimiser's state, and step together.

`Holding` is the plain way, `Sharded` is FSDP2. Learners call `net` and `step`, and know of no difference.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from htgrpo.base.errors import UserError
from htgrpo.parallel import sharding
from htgrpo.parallel.ranks import InStep, Ranks
from htgrpo.policies.llada import LLaDA, Network
from htgrpo.policies.weights import is_spread
from htgrpo.training.adamw import AdamW
from htgrpo.training.train_config import TrainConfig
from htgrpo.training.tuning import Tuning

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.utils import FullyShardedDataParallelPlugin


class Holding:
    """Every rank holds everything. optimizer: of the weights that learn, as checkpoints know it. net: the
    learning network, as learners call it."""

    net: Network

    def __init__(self, tuning: Tuning, config: TrainConfig, ranks: Ranks):
        self.ranks, self.max_norm = ranks, config.max_grad_norm
        self.network = self.net = tuning.policy.net
        self.optimizer = AdamW(tuning.learning(), config.lr, (config.beta1, config.beta2), config.weight_decay)

    def weights(self) -> list[nn.Parameter]:
        """What gradients are on."""
        return self.optimizer.weights

    def step(self) -> Tensor:
        """Sums gradients over ranks, clips, steps, clears; returns the norm before clipping, on the device (learners'
        losses are already divided by the number of groups of all ranks)."""
        self._add(self.weights())
        norm = self._clip()
        self.optimizer.step()
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

    def _clip(self) -> Tensor:
        return torch.nn.utils.clip_grad_norm_(self.weights(), self.max_norm)


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
        if config.compile == "on":
            raise UserError("compile is 'on', but this launch spreads the network over processes: set compile=off")
        for net in tuning.networks():
            cast(LLaDA, net).fuse(False)
            sharding.shard(net, settings, accelerator)
        super().__init__(tuning, config, ranks)
        self.net = InStep(self.network, ranks)

    def whole(self) -> AbstractContextManager[None]:
        spread = any(is_spread(weight) for weight in self.weights())
        return sharding.whole(self.network, self.optimizer, self.ranks.is_main) if spread else nullcontext()

    def _add(self, weights: list[nn.Parameter]) -> None:
        super()._add([weight for weight in weights if not is_spread(weight)])  # the others' are summed already

    def _clip(self) -> Tensor:
        return sharding.whole_of(super()._clip())
