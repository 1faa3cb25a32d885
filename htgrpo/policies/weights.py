"""A network's weights in files: read tensor by tensor straight to where they are wanted, checked key by key, written in
shards."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from htgrpo.base.errors import UserError
from htgrpo.policies.model_files import Shards, find_shards

SHARD_SIZE = "5GB"


class TensorFiles:
    """The tensors of several files. Nothing is read before it is asked for: files are mapped into memory, so that
    weights pass through it one at a time. Raises UserError for a file that is damaged, or that lacks a key its index
    places there."""

    def __init__(self, shards: Shards):
        self.files = shards.files
        self._handles = {file: _open(file) for file in shards.files}
        self._where = {key: file for file, handle in self._handles.items() for key in handle.keys()}
        for key, file in (shards.index or {}).items():
            if key not in self._handles[file].keys():
                raise UserError(
                    f"{str(file)!r} lacks key {key!r}, which the index beside it places there: copy or download both "
                    "again"
                )
            self._where[key] = file

    @property
    def place(self) -> str:
        """What a sentence calls these files."""
        return repr(str(self.files[0] if len(self.files) == 1 else self.files[0].parent))

    def keys(self) -> set[str]:
        """All keys."""
        return set(self._where)

    def file(self, key: str) -> Path:
        """The file that holds `key`."""
        return self._where[key]

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of `key`, without reading it."""
        handle = self._handles[self._where[key]]
        return tuple(handle[key].shape if isinstance(handle, dict) else handle.get_slice(key).get_shape())

    def get(self, key: str, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> Tensor:
        """A copy of `key` on `device` in `dtype` (default: as it is stored). Raises UserError when it is not
        floating-point."""
        handle = self._handles[self._where[key]]
        value = handle[key] if isinstance(handle, dict) else handle.get_tensor(key)
        if not value.is_floating_point():
            raise UserError(
                f"{key!r} in {str(self._where[key])!r} is {value.dtype}: only floating-point weights can be used; "
                "take a checkpoint that is not quantised"
            )
        return value.to(device, dtype or value.dtype, copy=True)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every key."""
        return {key: self.shape(key) for key in self._where}


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of every key of a state dict."""
    return {key: tuple(value.shape) for key, value in state.items()}


def check_shapes(
    found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]], place: str, whose: str, remedy: str
) -> None:
    """Raises UserError naming the first key of `found` that is missing, unexpected or of another shape than in
    `wanted`. place: what a sentence calls the file; whose: the weights that are wanted."""
    for key in sorted(wanted.keys() ^ found.keys()):
        raise UserError(
            f"{place} {'lacks' if key in wanted else 'has the unexpected'} key {key!r}: it does not hold {whose}; "
            f"{remedy}"
        )
    for key, shape in wanted.items():
        if found[key] != shape:
            raise UserError(f"{key!r} in {place} has shape {list(found[key])}, but {whose} has {list(shape)}: {remedy}")


def _open(file: Path) -> Any:
    """A mapped safetensors file, or the mapped tensors of a legacy one (read as tensors only, so that it cannot run
    code)."""
    legacy = file.suffix in (".bin", ".pt")
    try:
        if not legacy:
            return safe_open(file, framework="pt")
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):  # a training's checkpoint
            state = state["state_dict"]
    except Exception as error:  # both formats raise untyped errors for damaged files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{str(file)!r} cannot be read as {'a file of tensors' if legacy else 'safetensors'} ({reason}): the file "
            "is damaged or cut off; copy it again or use an earlier checkpoint"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{str(file)!r} is not a plain dictionary of tensors: use the published file")
    return state


def fill(net: nn.Module, tensors: TensorFiles, device: str | torch.device, dtype: torch.dtype) -> None:
    """Makes `tensors` the weights of `net`, which lies on the meta device. They must have been checked."""
    net.load_state_dict({key: tensors.get(key, device, dtype) for key in net.state_dict()}, assign=True)


def load_weights(net: nn.Module, path: Path) -> None:
    """Copies the weights in the folder or file `path` into `net`, keeping its device and dtype. Raises UserError naming
    the first key or shape that disagrees."""
    tensors = TensorFiles(find_shards(path) if path.is_dir() else Shards((path,)))
    state = net.state_dict()
    whose = "the network of the configuration beside it"
    check_shapes(tensors.shapes(), shapes_of(state), tensors.place, whose, "use a checkpoint of one training run")
    with torch.no_grad():
        for key, value in state.items():
            value.copy_(part_of(tensors.get(key), value))


def save_weights(net: nn.Module, folder: Path) -> None:
    """Writes model.safetensors, or from SHARD_SIZE on shards with their index, in the hub's layout."""
    from huggingface_hub import save_torch_state_dict

    save_torch_state_dict(
        {key: value.detach() for key, value in net.state_dict().items()}, folder, max_shard_size=SHARD_SIZE
    )


def is_spread(value: Tensor) -> bool:
    """Whether each rank holds a part of `value` (a DTensor)."""
    return hasattr(value, "full_tensor")


def part_of(value: Tensor, weight: Tensor) -> Tensor:
    """`value`, whole on every rank, spread as `weight` is; itself where that is not spread."""
    if not is_spread(weight):
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(weight, DTensor)
    return distribute_tensor(value.to(weight.device), weight.device_mesh, weight.placements, src_data_rank=None)
