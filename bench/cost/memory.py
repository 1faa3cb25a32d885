"""How much memory a training takes, found by asking network and tuning themselves: at full width without any data
(torch's meta device) for what they hold, and on a network some sizes smaller for what a forward keeps for its backward
pass."""

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import nn

from htgrpo.policies.llada import HALF, LLaDA, Packed, Size
from htgrpo.policies.policy import Policy
from htgrpo.training.train_config import TrainConfig
from htgrpo.training.tuning import TUNINGS, Tuning

GIB = 2**30
SMALL_WIDTH = 256
LOGIT_BYTES_TRAIN = 20
"""Per logit of a training forward: itself and its gradient in bf16, and in fp32 a copy, the log-softmax and their
gradients."""
LOGIT_BYTES_SAMPLE = 26
"""Per logit that is sampled from: itself in bf16, and in fp32 a copy, the guided one, log-probability, probability, its
cumulated sum, and the summand of the entropy."""


@dataclass(frozen=True)
class Held:
    """adapters: number of weights of adapters. Bytes: weights of the network; extra: adapters and further copies;
    optimiser: gradients, Adam's two moments, and masters of weights in half precision; kept: what a training forward
    keeps per token and layer; block: what one block keeps per token, computed again in the backward pass (0 where
    nothing is)."""

    adapters: int
    weights: int
    extra: int
    optimiser: int
    kept: float
    block: float

    def activations(self, tokens: float, layers: int) -> float:
        """Bytes that a training forward of `tokens` packed tokens keeps."""
        return tokens * (layers * self.kept + self.block)


def held_by(size: Size, config: TrainConfig, dtype: torch.dtype) -> Held:
    """What training a network of `size` in `dtype` under `config` holds on the accelerator."""
    if config.rollout_dtype == "auto":
        config = replace(config, rollout_dtype=cast(Any, str(dtype).removeprefix("torch.")))
    one, two = (_views(replace(size, n_layers=layers), config, dtype) for layers in (1, 2))
    own, learning, held = (a + (size.n_layers - 1) * (b - a) for a, b in zip(one, two, strict=True))
    weights = size.parameters() * dtype.itemsize
    whole = _kept(size, replace(config, recompute=False), dtype)
    kept, block = (_kept(size, config, dtype), whole) if config.recompute else (whole, 0.0)
    return Held(own - size.parameters(), weights, held - weights, learning, kept, block)


def _tuning(size: Size, config: TrainConfig, dtype: torch.dtype, device: str) -> Tuning:
    with torch.device(device):
        net = LLaDA(size).to(dtype)
    return TUNINGS[config.tuning](Policy(net, *cast(tuple[Any, Any, Any], (None, None, None))), config)


def _views(size: Size, config: TrainConfig, dtype: torch.dtype) -> tuple[int, int, int]:
    """Number of the network's weights, bytes that an optimiser of those that learn holds, and bytes of all that are
    held, without allocating any."""
    tuning = _tuning(size, config, dtype, "meta")
    views = [view for view in (tuning.policy.net, tuning.reference(), tuning.sampling()) if isinstance(view, nn.Module)]
    everything = {id(weight): weight for view in views for weight in view.parameters()}
    return (
        sum(w.numel() for w in tuning.policy.net.parameters()),
        sum(4 * 4 * w.numel() if w.dtype in HALF else 3 * w.nbytes for w in tuning.learning()),
        sum(w.nbytes for w in everything.values()),
    )


def _kept(size: Size, config: TrainConfig, dtype: torch.dtype) -> float:
    """Bytes per token and layer that a forward keeps, from the difference a second layer makes on a network whose
    widths are all smaller by one factor (what is kept grows as they do; attention keeps nothing per pair of tokens)."""
    width = min(SMALL_WIDTH, size.d_model)
    factor = size.d_model / width
    small = Size(width, 1, min(4, size.n_heads), round(size.mlp_hidden_size / factor), 16)
    config = replace(config, lora_rank=max(1, round(config.lora_rank / factor)), beta=0.0)
    one, two = (_saved(_tuning(replace(small, n_layers=layers), config, dtype, "cpu").policy.net) for layers in (1, 2))
    return (two - one) * factor


def _saved(net: LLaDA) -> float:
    """Bytes per token that a forward of `net` saves for its backward pass, its weights excepted."""
    weights = {weight.untyped_storage().data_ptr() for weight in net.parameters()}
    lengths, saved = (16, 16), {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        saved[value.untyped_storage().data_ptr()] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        net(Packed(torch.zeros(sum(lengths), dtype=torch.long), lengths), torch.arange(2), slice(0, 8))
    kept = [value.untyped_storage().nbytes() for place, value in saved.items() if place not in weights]
    return sum(kept) / sum(lengths)
