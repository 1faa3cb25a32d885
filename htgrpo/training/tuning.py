"""Which weights of a policy's network learn, and how the network is had as it was before learning and for sampling."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from htgrpo.base.cpu import sampling_dtype
from htgrpo.base.device import global_draws
from htgrpo.base.errors import UserError
from htgrpo.base.rng import generator
from htgrpo.policies import lora
from htgrpo.policies.llada import LLaDA, Network, Packed
from htgrpo.policies.model_files import SIDECAR
from htgrpo.policies.policy import Policy
from htgrpo.policies.storage import write_policy
from htgrpo.policies.weights import load_weights
from htgrpo.rollout import rollout_net
from htgrpo.training.train_config import TrainConfig


class Tuning(ABC):
    """One way of training. Made before the first weight moves and before a checkpoint is loaded. Raises UserError for a
    policy or settings that it cannot train."""

    def __init__(self, policy: Policy, config: TrainConfig):
        if lora.has_adapters(policy.net):
            raise UserError(
                "the starting policy is an adapter on another one: merge the two with `python -m bench.export "
                "CHECKPOINT --out FOLDER` and start from that folder"
            )
        self.policy, self.config = policy, config
        policy.net.eval()
        policy.net.recompute = config.recompute
        policy.net.fuse(config.compile == "on" or (config.compile == "auto" and policy.device.type == "cuda"))

    @abstractmethod
    def learning(self) -> list[nn.Parameter]:
        """The weights that learn, always in the same order."""

    def networks(self) -> list[nn.Module]:
        """Every network that is held, the learning one first; several ranks may spread their weights
        (htgrpo.parallel.sharding)."""
        return [self.policy.net]

    @abstractmethod
    def reference(self) -> Network | None:
        """The network with the weights from before training, without gradient."""

    @abstractmethod
    def sampling(self) -> Network:
        """The network to sample rollouts from, with the weights as they are now."""

    def updating(self, iteration: int) -> AbstractContextManager[None]:
        """What the log-probabilities and gradients of `iteration` are computed within."""
        return nullcontext()

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Writes the policy as it is now into an existing `folder`, from which load_policy and `load` read it."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Goes on with what `write` put into `folder`, bit for bit. Raises UserError when it does not fit or cannot be
        read."""


class Full(Tuning):
    """All weights learn; reference and rollouts have copies of their own, the latter in `rollout_dtype`.

    On weights in half precision the optimiser has masters in fp32 (htgrpo.training.adamw): for 8e9 weights 32 GB each
    for masters and gradients and 64 GB for moments, which several ranks may spread."""

    def __init__(self, policy: Policy, config: TrainConfig):
        super().__init__(policy, config)
        self._reference = deepcopy(policy.net).requires_grad_(False) if config.beta else None
        self._sampling = rollout_net(policy.net, sampling_dtype(config.rollout_dtype, policy.device))

    def learning(self) -> list[nn.Parameter]:
        return [weight for weight in self.policy.net.parameters() if weight.requires_grad]

    def networks(self) -> list[nn.Module]:
        return [net for net in (self.policy.net, self._reference, self._sampling) if net is not None]

    def reference(self) -> Network | None:
        return self._reference

    def sampling(self) -> Network:
        self._sampling.load_state_dict(self.policy.net.state_dict())
        return self._sampling

    def write(self, folder: Path) -> None:
        write_policy(self.policy, folder)

    def load(self, folder: Path) -> None:
        load_weights(self.policy.net, folder)


class _WithoutAdapters:
    """A network as it was before it got adapters."""

    def __init__(self, net: LLaDA):
        self.net = net

    @torch.no_grad()
    def __call__(self, packed: Packed, at: Tensor | None = None, columns: slice = slice(None)) -> Tensor:
        """As LLaDA.forward."""
        with lora.adapters_off(self.net):
            return self.net(packed, at, columns)

    def parameters(self) -> Iterator[nn.Parameter]:
        """All weights, those of the adapters too."""
        return self.net.parameters()


class LoRA(Tuning):
    """Adapters learn (htgrpo.policies.lora) and all other weights stay as they are, so nothing is ever copied: the
    reference is the network with its adapters off, and rollouts come from the network itself, in its own dtype.

    lora_dropout (default 0) is there for parity with MaskGRPO: it acts, as upstream, on old and new log-probabilities
    alike, with other draws at every forward, so that even the first update's ratios are not 1 and equal contexts share
    a draw. It acts on neither rollouts nor reference."""

    def __init__(self, policy: Policy, config: TrainConfig):
        super().__init__(policy, config)
        dtype = str(next(policy.net.parameters()).dtype).removeprefix("torch.")
        if config.rollout_dtype not in ("auto", dtype):
            raise UserError(
                f"rollout_dtype is {config.rollout_dtype!r}, but with tuning=lora rollouts come from the network "
                f"itself, which is {dtype}: set rollout_dtype=auto, or weights_dtype={config.rollout_dtype}"
            )
        lora.add_adapters(
            policy.net, config.lora_rank, config.lora_alpha, config.lora_dropout, generator(config.seed, "lora")
        )
        self._learning = [weight for weight in policy.net.parameters() if weight.requires_grad]

    def learning(self) -> list[nn.Parameter]:
        return self._learning

    def reference(self) -> Network:
        return _WithoutAdapters(self.policy.net)

    def sampling(self) -> Network:
        return self.policy.net

    @contextmanager
    def updating(self, iteration: int) -> Iterator[None]:
        if not self.config.lora_dropout:
            yield
            return
        with global_draws(self.policy.device) as draws:
            draws.manual_seed(generator(self.config.seed, "dropout", iteration).initial_seed())
            self.policy.net.train()
            try:
                yield
            finally:
                self.policy.net.eval()

    def write(self, folder: Path) -> None:
        """The adapters in peft's layout, and a sidecar that says what they belong on."""
        policy, source = self.policy, self.policy.source
        lora.write_adapters(policy.net, folder, source.name if source.config else None)
        base = {"source": source.name, "revision": source.revision, "sha256": policy.sha256}
        sidecar = {
            "backbone": policy.backbone.name,
            "base": base,
            "random_weights": policy.random_weights,
            "resolution": policy.backbone.resolution,
        }
        (folder / SIDECAR).write_text(json.dumps(sidecar, indent=2) + "\n")

    def load(self, folder: Path) -> None:
        lora.load_adapters(self.policy.net, folder)


TUNINGS: dict[str, Callable[[Policy, TrainConfig], Tuning]] = {"full": Full, "lora": LoRA}
