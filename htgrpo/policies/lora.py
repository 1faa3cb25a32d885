"""Low-rank adapters (LoRA) on the network, through the peft library and in its file layout.

peft is imported where it is used: its import takes seconds.
"""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from htgrpo.base.errors import UserError
from htgrpo.policies.llada import Linear, LLaDA
from htgrpo.policies.weights import check_shapes, shapes_of

if TYPE_CHECKING:
    from peft import LoraConfig
    from peft.tuners.lora import LoraLayer

ADAPTED = r"model\.transformer\.blocks\.\d+\.(q_proj|k_proj|v_proj|attn_out|ff_proj|up_proj|ff_out)"
"""Whole names of the layers that get adapters: all seven linear maps of every block. Never by suffix: the head is
called ff_out as well, and the network reads its weight past any adapter on it."""
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What peft puts before a module's name in its files."""
NAME = "default"


def add_adapters(net: LLaDA, rank: int, alpha: float, dropout: float, generator: torch.Generator) -> None:
    """Freezes `net` and adds adapters that change nothing yet: A is drawn as peft draws it (uniform within
    1/sqrt(inputs)) but from `generator`, B is zero. They have the network's dtype, so that nothing is computed in another
    one; what an optimiser adds to them it keeps in fp32 (htgrpo.training.adamw)."""
    from peft import LoraConfig

    _inject(net, LoraConfig(r=rank, lora_alpha=cast(int, alpha), lora_dropout=dropout, target_modules=ADAPTED))
    with torch.no_grad():
        for _, layer in adapted(net):
            down, up = _weight(layer, "A"), _weight(layer, "B")
            down.copy_(nn.init.kaiming_uniform_(torch.empty(down.shape), a=math.sqrt(5), generator=generator))
            up.zero_()


def _inject(net: LLaDA, config: "LoraConfig") -> None:
    """Adds adapters with undefined weights. peft makes them on the meta device, where nothing is drawn from a global
    generator."""
    from peft import inject_adapter_in_model

    inject_adapter_in_model(config, net, adapter_name=NAME, low_cpu_mem_usage=True)
    for _, layer in adapted(net):
        base = cast(Linear, layer.get_base_layer()).weight
        for part in (layer.lora_A, layer.lora_B):
            part.to_empty(device=base.device).to(base.dtype)
    net.eval()


def adapted(net: LLaDA) -> Iterator[tuple[str, "LoraLayer"]]:
    """The layers with adapters and their names, in the network's order; none where there are no adapters."""
    if has_adapters(net):
        from peft.tuners.lora import LoraLayer

        yield from ((name, module) for name, module in net.named_modules() if isinstance(module, LoraLayer))


def has_adapters(net: LLaDA) -> bool:
    """Whether `net` carries adapters."""
    return hasattr(net, "peft_config")


def state(net: LLaDA) -> dict[str, Tensor]:
    """The adapters' weights under the keys of peft's files. Shares storage with `net`."""
    return {
        f"{PREFIX}{name}.lora_{part}.weight": _weight(layer, part)
        for name, layer in adapted(net)
        for part in ("A", "B")
    }


def _weight(layer: "LoraLayer", part: str) -> Tensor:
    """The weight of an adapter's A or B."""
    return cast(Tensor, getattr(layer, f"lora_{part}")[NAME].weight)


@contextmanager
def adapters_off(net: LLaDA) -> Iterator[None]:
    """Within it `net` is as it was before it got adapters."""
    layers = [layer for _, layer in adapted(net)]
    try:
        for layer in layers:
            layer.enable_adapters(False)
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def merge(net: LLaDA) -> float:
    """Adds the adapters to the weights they adapt and takes them off. Returns what half-precision weights lost of them
    to rounding: the norm of the error divided by the norm of the adapters' change (0 if that is 0)."""
    lost = changed = 0.0
    with torch.no_grad():
        for name, layer in list(adapted(net)):
            base = cast(Linear, layer.get_base_layer())
            wide = torch.promote_types(base.weight.dtype, torch.float32)
            delta = layer.scaling[NAME] * (_weight(layer, "B").to(wide) @ _weight(layer, "A").to(wide))
            exact = base.weight + delta
            base.weight.copy_(exact)
            lost += float((base.weight - exact).double().square().sum())
            changed += float(delta.double().square().sum())
            net.set_submodule(name, base)
    if has_adapters(net):
        del net.peft_config
    net.requires_grad_(True)
    return (lost / changed) ** 0.5 if changed else 0.0


def write_adapters(net: LLaDA, folder: Path, base: str | None = None) -> None:
    """Writes the adapters into an existing `folder` as peft does. base: hub id or folder of the published network below
    them."""
    config = copy(cast("dict[str, LoraConfig]", net.peft_config)[NAME])
    config.inference_mode, config.base_model_name_or_path = True, base
    config.save_pretrained(str(folder))
    save_file(
        {key: value.detach().cpu().contiguous() for key, value in state(net).items()},
        folder / WEIGHTS,
        {"format": "pt"},
    )


def apply_adapter(net: LLaDA, folder: Path) -> None:
    """Adds the adapters in `folder`, made by this program or by peft, to a `net` without any; nothing learns
    afterwards.

    Raises UserError when the folder holds no plain LoRA adapter of the blocks' linear layers, or one of another
    network."""
    from peft import LoraConfig, PeftConfig

    folder = Path(folder)
    try:
        config = PeftConfig.from_pretrained(str(folder)) if (folder / CONFIG).is_file() else None
    except Exception as error:  # peft raises untyped errors for what it does not know
        raise UserError(
            f"{str(folder / CONFIG)!r} cannot be read as the configuration of an adapter ({error}): use an undamaged "
            "checkpoint"
        ) from error
    plain = isinstance(config, LoraConfig) and config.init_lora_weights in (True, False, "gaussian")
    if (
        not isinstance(config, LoraConfig)
        or not plain
        or config.use_dora
        or getattr(config, "alora_invocation_tokens", None)
    ):
        raise UserError(
            f"{str(folder)!r} holds no plain LoRA adapter: give a folder with {CONFIG} (peft_type LORA, no variant "
            f"such as DoRA or PiSSA) and {WEIGHTS}"
        )
    if has_adapters(net):
        raise UserError(
            f"the policy below the adapter in {str(folder)!r} carries an adapter itself: merge that one with "
            "`python -m bench.export` first"
        )
    weights = _read(folder)
    for key in weights:
        if not re.fullmatch(rf"{re.escape(PREFIX)}{ADAPTED}\.lora_[AB]\.weight", key):
            raise UserError(
                f"{str(folder / WEIGHTS)!r} has the unexpected key {key!r}: only the linear layers of the blocks can "
                "carry adapters"
            )
    config.inference_mode = True
    try:
        _inject(net, config)
    except ValueError as error:  # no layer of this name
        raise UserError(
            f"the adapter in {str(folder)!r} does not fit the network ({error}): load it on the policy it was trained "
            "from"
        ) from error
    _copy(net, weights, folder)


def load_adapters(net: LLaDA, folder: Path) -> None:
    """Loads the weights in `folder` into the adapters that `net` has. Raises UserError naming the first key that
    disagrees."""
    _copy(net, _read(folder), folder)


def _read(folder: Path) -> dict[str, Tensor]:
    try:
        return load_file(folder / WEIGHTS)
    except Exception as error:  # safetensors raises its own untyped errors for damaged files
        raise UserError(
            f"{str(folder / WEIGHTS)!r} cannot be read as safetensors ({error}): the file is missing, damaged or cut "
            "off; copy it again or use an earlier checkpoint"
        ) from error


def _copy(net: LLaDA, weights: dict[str, Tensor], folder: Path) -> None:
    wanted = state(net)
    whose, remedy = f"the adapter that {CONFIG} makes of this network", "load it on the policy it was trained from"
    check_shapes(shapes_of(weights), shapes_of(wanted), repr(str(folder / WEIGHTS)), whose, remedy)
    with torch.no_grad():
        for key, value in wanted.items():
            value.copy_(weights[key])
