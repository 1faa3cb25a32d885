"""Image codecs: pictures as grids of integer codes, the published ones behind one small class.

Outside, pictures are always RGB in [0, 1]; what range a network works in is its codec's own affair.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file
from safetensors.torch import save as tensor_bytes
from torch import Tensor, nn

from htgrpo.base.errors import UserError
from htgrpo.base.files import atomic_write_bytes, atomic_write_text
from htgrpo.policies.weights import check_shapes, shapes_of

_GPU_SHARE, _LIVE = 16, 6
"""A batch may take a sixteenth of a GPU's memory. At most six of the widest activations live at once: the peak of both
published networks over their weights was 2.5 to 6.0 of them (on a CPU, one picture of 256 x 256)."""
_OUTER_TAP, _BRANCH = 0.25, 0.1
"""Random codecs (`initialise`): at 4 x 4 codes one code then moves its own patch three or more times as far as other
patches."""


class ImageCodec(ABC):
    """A frozen network that turns pictures into codes 0..len(codec)-1 and back, one code per `patch` x `patch` pixels.

    `pixels_per_batch`: pictures go through the network together up to this many pixels, and one at a time where a
    single picture has more. The default on a GPU fills a fixed share of its memory. On a CPU it is one picture: batches
    gain little there, and torch takes other kernels for them, so that a picture would differ in the last bits with its
    neighbours.
    """

    def __init__(self, net: nn.Module, codes: int, patch: int, channels: int):
        """`channels`: of the widest activation that `net` has at full resolution."""
        self.net = net.requires_grad_(False).eval()
        self.patch, self._codes, self._channels = patch, codes, channels
        self.pixels_per_batch = self._default_pixels()

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """The codec in the local `folder`, in the layout its authors published. Raises UserError for anything else."""

    @abstractmethod
    def save(self, folder: Path) -> Path:
        """Writes the published layout into `folder` and returns the path of the weights. Raises UserError if it
        cannot."""

    @abstractmethod
    def _decode(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, rows, columns] on the codec's device -> [B, 3, H, W], nominally in [0, 1]."""

    @abstractmethod
    def _encode(self, images: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1], of the codec's device and dtype -> int64 with B * N entries in raster
        order."""

    def __len__(self) -> int:
        """The size of the codebook."""
        return self._codes

    @property
    def device(self) -> torch.device:
        """Where the weights lie and the work is done."""
        return next(self.net.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the weights and of the work."""
        return next(self.net.parameters()).dtype

    def to(self, device: str | torch.device) -> Self:
        """Moves this codec to `device`, with the default `pixels_per_batch` of that device, and returns it."""
        self.net.to(device)
        self.pixels_per_batch = self._default_pixels()
        return self

    def decode(self, codes: Tensor, grid: tuple[int, int]) -> Tensor:
        """Pictures of `codes` int64 [B, N], N = rows * columns of `grid` in raster order: float32 [B, 3, rows * patch,
        columns * patch] in [0, 1] on the CPU.

        Raises UserError for a code outside the codebook and for codes that do not fill the grid.
        """
        rows, columns = grid
        if codes.dim() != 2 or codes.dtype != torch.int64 or min(grid) < 1 or codes.shape[1] != rows * columns:
            raise UserError(
                f"image codes of shape {list(codes.shape)} and type {codes.dtype} do not fill a grid of {rows} x {columns}: "
                f"give int64 codes of shape [pictures, {rows * columns}]"
            )
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < len(self):
            raise UserError(
                f"image codes from {int(codes.min())} to {int(codes.max())} cannot be decoded: "
                f"this codec has 0..{len(self) - 1}; use the codec that belongs to the policy"
            )
        images = torch.empty(len(codes), 3, rows * self.patch, columns * self.patch)
        with torch.no_grad(), _single_precision():
            for part in self._parts(images):
                images[part] = (
                    self._decode(codes[part].to(self.device).unflatten(1, (rows, columns))).float().clamp(0, 1).cpu()
                )
        return images

    def encode(self, images: Tensor) -> Tensor:
        """Codes of `images` (floating point [B, 3, H, W] in [0, 1]): int64 [B, H / patch * W / patch] in raster order
        on the CPU.

        Raises UserError for another shape or range, and for sides that are not multiples of `patch`.
        """
        if images.dim() != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise UserError(
                f"pictures of shape {list(images.shape)} and type {images.dtype} cannot be encoded: "
                "give floating-point RGB of shape [pictures, 3, height, width] in [0, 1]"
            )
        height, width = images.shape[2:]
        if min(height, width) < 1 or height % self.patch or width % self.patch:
            raise UserError(
                f"pictures of {height} x {width} pixels cannot be encoded: both sides must be multiples of "
                f"{self.patch}; crop or resize them first"
            )
        if images.numel() and not (float(images.min()) >= 0 and float(images.max()) <= 1):
            raise UserError(
                f"pictures with values from {float(images.min()):g} to {float(images.max()):g} cannot be encoded: "
                "values must lie in [0, 1]; scale them first"
            )
        codes = torch.empty(len(images), height // self.patch * (width // self.patch), dtype=torch.int64)
        with torch.no_grad(), _single_precision():
            for part in self._parts(images):
                found = self._encode(images[part].to(self.device, self.dtype))
                codes[part] = found.reshape(-1, codes.shape[1]).cpu()
        return codes

    def _parts(self, images: Tensor) -> Iterator[slice]:
        step = max(1, int(self.pixels_per_batch) // images[0, 0].numel()) if len(images) else 1
        return (slice(start, start + step) for start in range(0, len(images), step))

    def _default_pixels(self) -> int:
        if self.device.type != "cuda":
            return 1
        memory = torch.cuda.get_device_properties(self.device).total_memory
        return memory // _GPU_SHARE // (_LIVE * self._channels * self.dtype.itemsize)


@contextmanager
def _single_precision() -> Iterator[None]:
    """float32 convolutions in float32. By default torch lets a GPU round their inputs to ten bits, differently for
    different batches, and codes near a decision boundary flip."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def read_tensors(folder: Path, names: Sequence[str]) -> tuple[Path, dict[str, Tensor]]:
    """The tensors of the first of the files `names` in `folder` that exists, and its path. A ".bin" is read as tensors
    only, so that it cannot run code. Raises UserError where there is none or it cannot be read."""
    folder = Path(folder)
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        hint = "" if folder.is_dir() else f" (there is no folder {str(folder)!r})"
        raise UserError(f"no image codec in {str(folder)!r}{hint}: give the folder that holds {' or '.join(names)}")
    try:
        if path.suffix == ".safetensors":
            return path, load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both formats raise untyped errors for damaged files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{str(path)!r} cannot be read as a file of tensors ({reason}): it is damaged, cut off or holds other "
            "things; download it again"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{str(path)!r} is not a plain dictionary of tensors: download the published file again")
    return path, dict(state)


def assign(net: nn.Module, state: dict[str, Tensor], path: Path, dtype: torch.dtype, expected: str) -> None:
    """Makes `state` the weights of `net` (which may lie on the meta device), in `dtype`.

    Raises UserError naming the first key or shape of the file `path` that disagrees; `expected` says who expects it.
    """
    wanted = net.state_dict()
    check_shapes(shapes_of(state), shapes_of(wanted), repr(str(path)), expected, "download it again")
    for key, value in wanted.items():
        if value.is_floating_point() and not state[key].is_floating_point():
            raise UserError(
                f"{key!r} in {str(path)!r} is of type {state[key].dtype}: only floating-point weights can be used; "
                "take the published file"
            )
    net.load_state_dict(state, assign=True)
    nn.Module.to(net, dtype)  # diffusers' own warns of parts to keep in fp32 where there are none


def write(net: nn.Module, folder: Path, weights: str, config: str) -> Path:
    """Writes the tensors of `net` and the JSON text `config` as the files `weights` and "config.json" of `folder`, each
    whole or not at all, and returns the path of the first. Raises UserError where that is refused."""
    path = Path(folder) / weights
    state = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    atomic_write_bytes(path, tensor_bytes(state, metadata={"format": "pt"}))
    atomic_write_text(path.with_name("config.json"), config.rstrip("\n") + "\n")
    return path


def initialise(net: nn.Module, generator: torch.Generator) -> None:
    """Random weights for a small codec, drawn on the CPU, with which codes matter and mostly where they stand: kernels
    have std 1/sqrt(fan-in) with quiet outer taps, residual branches add little, norms are 1 and biases 0."""
    state = {}
    for name, value in net.named_parameters():
        if value.dim() == 1:
            state[name] = torch.ones(value.shape) if name.endswith("weight") else torch.zeros(value.shape)
            continue
        taps = torch.ones(value.shape[2:])
        if value.dim() == 4 and value.shape[2] == 3:
            taps.fill_(_OUTER_TAP)[1, 1] = 1.0
        std = float(value.shape[1] * taps.square().sum()) ** -0.5
        if name.endswith(("conv2.weight", "proj_out.weight")):
            std *= _BRANCH
        state[name] = torch.randn(value.shape, generator=generator) * (std * taps)
    net.load_state_dict(state, strict=False, assign=True)
