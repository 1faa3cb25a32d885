"""Networks whose weights are spread over ranks: FSDP2, as accelerate's plugin configures it.

Sharding happens in place and keeps the names of weights. Loading into a sharded network or optimiser works as on one
process, since every rank reads the file and keeps its part (`part_of`); `whole` makes saving work in the same way.
torch's FSDP and DTensor are imported where they are used: that takes seconds.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, cast

from torch import Tensor, nn

from htgrpo.base.errors import UserError
from htgrpo.policies.weights import is_spread

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.utils import FullyShardedDataParallelPlugin
    from torch.distributed.tensor import DTensor

BLOCKS = ["Block"]
"""Classes whose weights are gathered together, where the configuration names none."""


def plugin(accelerator: "Accelerator") -> "FullyShardedDataParallelPlugin | None":
    """How accelerate was told to shard; None where it was not, or there is one process. Raises UserError for what is
    not supported.

    On CPUs accelerate reads the settings of FSDP but does not act on them; we do.
    """
    if accelerator.num_processes == 1:
        return None
    _refuse(accelerator)
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return None
    from accelerate.utils import FullyShardedDataParallelPlugin

    settings = getattr(accelerator.state, "fsdp_plugin", None) or FullyShardedDataParallelPlugin()
    if settings.fsdp_version != 2:
        raise UserError(f"this launch asks for FSDP version {settings.fsdp_version}: set fsdp_version to 2")
    if settings.activation_checkpointing:
        raise UserError(
            "this launch asks for fsdp_activation_checkpointing: set it to false, and use --set recompute=true"
        )
    return settings


def _refuse(accelerator: "Accelerator") -> None:
    """Raises UserError for a launch in which accelerate would choose dtypes, or DeepSpeed would step."""
    if accelerator.mixed_precision != "no":
        raise UserError(
            f"this launch asks for mixed_precision={accelerator.mixed_precision}: set it to no, and choose the "
            "network's dtype by --set weights_dtype=bfloat16"
        )
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        raise UserError(
            "this launch asks for DeepSpeed: use fsdp2_zero2_8gpu.yaml, by which FSDP2 does what ZeRO-2 does"
        )


class Gathered(Protocol):
    """An optimiser whose `moments` may be spread; while `gathered` is set, that is its state."""

    moments: dict[int, dict[str, Tensor]]
    gathered: dict[int, dict[str, Tensor]] | None


def shard(net: nn.Module, settings: "FullyShardedDataParallelPlugin", accelerator: "Accelerator") -> None:
    """Spreads the weights of `net` over all ranks, in place: each block is gathered when it is needed, the rest with
    the network.

    Every rank passes the same weights. Where only some weights learn (adapters), those are few, and every rank keeps
    them whole: their gradients are added up by the training loop; those of sharded weights are by FSDP, set to sums
    instead of means."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    learning = {weight for weight in net.parameters() if weight.requires_grad}
    mixed = len(learning) < len(list(net.parameters()))
    names = settings.transformer_cls_names_to_wrap or BLOCKS
    parts = [module for module in net.modules() if type(module).__name__ in names]
    for part in [*parts, net]:
        # The root is resharded as well: weights that stay whole after a forward without backward would miss an optimiser step.
        sharded = fully_shard(
            part,
            mesh=mesh,
            reshard_after_forward=settings.reshard_after_forward or part is net,
            offload_policy=settings.cpu_offload,
            ignored_params=learning if mixed else None,
        )
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)  # gloo knows no other


def whole_of(value: Tensor) -> Tensor:
    """`value` in one piece, gathered from all ranks where it is spread: then all ranks must call this together."""
    return cast("DTensor", value).full_tensor() if is_spread(value) else value


@contextmanager
def whole(net: nn.Module, optimizer: Gathered, keep: bool) -> Iterator[None]:
    """Within it the state of a sharded `net` and of its optimiser holds whole tensors on the CPU. All ranks enter
    together; those that do not `keep` anything hold nothing, and must not ask for them."""
    weights: dict[str, Tensor] = {}
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in net.state_dict().items():
        full = whole_of(value)
        if keep:
            weights[name] = full.cpu()
    for index, state in optimizer.moments.items():
        for name, value in state.items():
            full = whole_of(value)
            if keep:
                moments.setdefault(index, {})[name] = full.cpu()
    hook = net.register_state_dict_post_hook(lambda module, state, prefix, metadata: state.update(weights))
    optimizer.gathered = moments
    try:
        yield
    finally:
        optimizer.gathered = None
        hook.remove()
