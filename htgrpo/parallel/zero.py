"""DeepSpeed's ZeRO-2, for a launch that asks for it: every rank holds all weights, and its part of gradients and of
Adam's moments.

DeepSpeed's engine reduces gradients during every backward pass, so that ranks must make as many of them
(htgrpo.parallel.ranks.InStep), and clips and steps by itself. It is told that an accumulation ends where we call
`step`, and its mean over ranks is made a sum again. deepspeed is an extra (`pip install 'htgrpo-bench[deepspeed]'`),
imported where it is used: that takes seconds.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from htgrpo.base.errors import UserError
from htgrpo.parallel.ranks import InStep, Ranks
from htgrpo.parallel.sharding import refuse_mixed_precision
from htgrpo.policies.llada import Packed
from htgrpo.training.holding import Holding, adamw
from htgrpo.training.train_config import TrainConfig
from htgrpo.training.tuning import Tuning

if TYPE_CHECKING:
    from accelerate import Accelerator

MOMENTS = ("exp_avg", "exp_avg_sq")
EXTRA = "pip install 'htgrpo-bench[deepspeed]'"


def asked_for() -> bool:
    """Whether this process belongs to a launch with DeepSpeed. On CPUs accelerate reads its settings but does not act
    on them."""
    return os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"


def plugin(accelerator: "Accelerator") -> dict[str, Any] | None:
    """DeepSpeed's `zero_optimization` section as accelerate was told it; None where nobody asks for DeepSpeed, or there
    is one process. Raises UserError for what is not supported."""
    if accelerator.num_processes == 1 or not asked_for():
        return None
    from accelerate.utils import DeepSpeedPlugin

    refuse_mixed_precision(accelerator)
    config = (getattr(accelerator.state, "deepspeed_plugin", None) or DeepSpeedPlugin()).deepspeed_config
    section = {name: value for name, value in config["zero_optimization"].items() if value != "auto"}
    if section.get("stage") != 2:
        raise UserError(
            f"this launch asks for DeepSpeed's ZeRO stage {section.get('stage')}: set zero_stage to 2, or use "
            "fsdp2_8gpu.yaml, which spreads weights too"
        )
    for name in ("offload_optimizer", "offload_param"):
        device = (section.pop(name, None) or {}).get("device", "none")
        if device != "none":
            raise UserError(f"this launch asks for {name}_device {device}: set it to none")
    return section


class Zero2(Holding):
    """Gradients and moments are spread over all ranks by DeepSpeed, weights are whole. `optimizer` never steps: it is
    what checkpoints know of the moments, and gets the learning rate. Raises UserError for weights that are not fp32, of
    which DeepSpeed would learn fp32 copies that no checkpoint of ours has."""

    def __init__(
        self, tuning: Tuning, config: TrainConfig, ranks: Ranks, accelerator: "Accelerator", section: dict[str, Any]
    ):
        super().__init__(tuning, config, ranks)
        dtypes = {str(weight.dtype).removeprefix("torch.") for weight in self.weights()}
        if dtypes != {"float32"}:
            raise UserError(
                f"with DeepSpeed, weights that learn must be float32, not {', '.join(sorted(dtypes))}: use --set "
                "weights_dtype=float32, or --set tuning=lora, whose adapters are float32 on a bfloat16 network"
            )
        self.engine = _engine(self.network, adamw(tuning, config), config, section, accelerator)
        self.zero = self.engine.optimizer
        self.net = InStep(_Summed(self.engine, ranks.count), ranks)
        self.optimizer.register_load_state_dict_post_hook(lambda optimizer: self._take(optimizer.state))

    def step(self) -> float:
        for group in self.zero.param_groups:
            group["lr"] = self.optimizer.param_groups[0]["lr"]
        self.engine.step()
        return float(self.engine.get_global_grad_norm())

    @contextmanager
    def whole(self) -> Iterator[None]:
        from deepspeed.utils import safe_get_full_fp32_param

        moments: dict[int, dict[str, Tensor]] = {}
        for name in MOMENTS if self._state else ():
            with self._in_place_of_weights() as parts:
                for part in parts:
                    part.copy_(self._state[part][name])
                for index, weight in enumerate(self.weights()):
                    full = safe_get_full_fp32_param(weight)  # gathered by all ranks, one weight at a time
                    if self.ranks.is_main:
                        steps = self._state[parts[0]]["step"]
                        moments.setdefault(index, {"step": steps.cpu().clone()})[name] = full.cpu()
        hook = self.optimizer.register_state_dict_post_hook(lambda _, state: {**state, "state": moments})
        try:
            yield
        finally:
            hook.remove()

    def close(self) -> None:
        self.engine.destroy()

    def _take(self, whole: dict[Tensor, dict[str, Tensor]]) -> None:
        """Goes on with the network's weights as they are now, and with whole moments, which are dropped afterwards."""
        from deepspeed.utils import safe_set_full_fp32_param

        for name in MOMENTS if whole else ():
            with self._in_place_of_weights() as parts:
                for weight in self.weights():
                    safe_set_full_fp32_param(weight, whole[weight][name])
                for part in parts:
                    steps = whole[self.weights()[0]]["step"]
                    self._state.setdefault(part, {"step": steps.clone()})[name] = part.clone()
        self.zero.refresh_fp32_params()
        whole.clear()

    @property
    def _state(self) -> dict[Tensor, dict[str, Tensor]]:
        """Moments of this rank's parts of the weights, in the optimiser that DeepSpeed steps; none before the first
        step."""
        return self.zero.optimizer.state

    @contextmanager
    def _in_place_of_weights(self) -> Iterator[list[Tensor]]:
        """This rank's parts of the weights, fp32. DeepSpeed gathers and splits only these without a step before, so
        moments take their place; in the end they are what the network says again."""
        with torch.no_grad():
            yield [part for group in self.zero.optimizer.param_groups for part in group["params"]]
            self.zero.refresh_fp32_params()


class _Summed:
    """The engine, called as the network is. Gradients are multiplied by the number of ranks, over which DeepSpeed takes
    a mean."""

    def __init__(self, engine: Any, count: int):
        self.engine, self.count = engine, count
        self.parameters: Callable[[], Iterator[torch.nn.Parameter]] = engine.parameters

    def __call__(self, packed: Packed, at: Tensor | None = None, columns: slice = slice(None)) -> Tensor:
        logits = self.engine(packed, at, columns)
        if logits.requires_grad:
            logits.register_hook(lambda gradient: gradient * self.count)
        return logits


def _engine(
    net: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    section: dict[str, Any],
    accelerator: "Accelerator",
) -> Any:
    """DeepSpeed's engine around `net`, whose weights it moves into buffers of its own."""
    os.environ.setdefault("DS_ACCELERATOR", accelerator.device.type)
    try:
        import deepspeed
    except ImportError as error:
        raise UserError(f"this launch asks for DeepSpeed, which cannot be imported ({error}): {EXTRA}") from error
    if not hasattr(deepspeed.DeepSpeedEngine, "managed_gradient_accumulation"):
        raise UserError(
            f"DeepSpeed {deepspeed.__version__} cannot be told where an accumulation of gradients ends: {EXTRA}"
        )
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    settings = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": config.max_grad_norm,
        "zero_optimization": section,
    }
    return deepspeed.initialize(model=net, optimizer=optimizer, config=settings)[0]
