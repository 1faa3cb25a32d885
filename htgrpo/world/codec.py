"""The embedded world's image codec: a dictionary of all 8 x 8 patches any picture of the world can contain.

Code 0 is plain background. Encoding a rendered scene and decoding it again is exact.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from htgrpo.base.errors import UserError
from htgrpo.world.scenes import Scene, sprites
from htgrpo.world.vocabulary import CLASS_INDEX, COLOUR_INDEX, GRID, LATTICE, OBJECT, palette

FILE_NAME = "codebook.safetensors"


@cache
def _dictionary() -> tuple[np.ndarray, np.ndarray]:
    """(patches uint8 [K, 8, 8, 3], codes int64 [classes, colours, 2, 2]): all distinct patches, and where each object
    uses them.
    """
    half = OBJECT // LATTICE
    pictures = sprites()
    classes, colours = pictures.shape[:2]
    tiles = pictures.reshape(classes, colours, half, LATTICE, half, LATTICE, 3).transpose(0, 1, 2, 4, 3, 5, 6)
    background = np.empty((LATTICE, LATTICE, 3), np.uint8)
    background[:] = palette()[0]
    number = {background.tobytes(): 0}
    patches = [background]
    codes = np.empty((classes, colours, half, half), np.int64)
    for place in np.ndindex(codes.shape):
        patch = tiles[place]
        codes[place] = number.setdefault(patch.tobytes(), len(patches))
        if codes[place] == len(patches):
            patches.append(patch)
    return np.stack(patches), codes


def encode_scene(scene: Scene) -> np.ndarray:
    """The codes of a scene, int64 [36] in raster order, by table: equal to encoding its rendered picture, and much
    faster.
    """
    codes = np.zeros((GRID, GRID), np.int64)
    table = _dictionary()[1]
    for item in scene.objects:
        codes[item.y : item.y + 2, item.x : item.x + 2] = table[CLASS_INDEX[item.cls], COLOUR_INDEX[item.colour]]
    return codes.reshape(-1)


class PatchCodec:
    """Pictures as grids of dictionary patches. `codebook` is float32 [K, 8, 8, 3] in 0..1; code k stands for patch
    k."""

    def __init__(self, codebook: torch.Tensor):
        if codebook.dim() != 4 or codebook.shape[1:] != (LATTICE, LATTICE, 3):
            raise UserError(
                f"a patch codebook of shape {tuple(codebook.shape)} cannot be used: "
                f"it must be [K, {LATTICE}, {LATTICE}, 3]; take the one that belongs to the policy"
            )
        self.codebook = codebook.to(torch.float32)

    @classmethod
    def build(cls) -> "PatchCodec":
        """The exact dictionary of the embedded world."""
        return cls(torch.from_numpy(_dictionary()[0].astype(np.float32) / 255))

    @classmethod
    def load(cls, path: Path) -> "PatchCodec":
        """Reads the `codebook` tensor of a safetensors file, or of the folder that holds "codebook.safetensors"."""
        path = Path(path)
        path = path / FILE_NAME if path.is_dir() else path
        tensors = load_file(path)
        if "codebook" not in tensors:
            raise UserError(f"{str(path)!r} holds {sorted(tensors)} and no tensor 'codebook': it is not a patch codec")
        return cls(tensors["codebook"])

    def save(self, folder: Path) -> Path:
        """Writes "codebook.safetensors" into `folder` and returns its path."""
        path = Path(folder) / FILE_NAME
        save_file({"codebook": self.codebook.contiguous()}, path)
        return path

    def __len__(self) -> int:
        return len(self.codebook)

    def encode(self, images: np.ndarray | torch.Tensor) -> torch.Tensor:
        """uint8 [B, H, W, 3] (H, W multiples of 8) -> int64 [B, H/8 * W/8], the nearest patch of each place in squared
        distance.
        """
        pixels = torch.as_tensor(images).to(torch.float32) / 255
        batch, height, width, _ = pixels.shape
        rows, columns = height // LATTICE, width // LATTICE
        tiles = pixels.reshape(batch, rows, LATTICE, columns, LATTICE, 3).permute(0, 1, 3, 2, 4, 5)
        flat, book = tiles.reshape(batch * rows * columns, -1), self.codebook.reshape(len(self), -1)
        distance = book.square().sum(1) - 2 * flat @ book.T
        return distance.argmin(1).reshape(batch, rows * columns)

    def decode(self, codes: torch.Tensor, grid: tuple[int, int] = (GRID, GRID)) -> torch.Tensor:
        """int64 [B, N] with N = h * w of `grid`, values 0..K-1 -> float32 [B, 3, 8h, 8w] in 0..1.

        Raises UserError for a code outside the dictionary.
        """
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < len(self):
            raise UserError(
                f"image codes from {int(codes.min())} to {int(codes.max())} cannot be decoded: "
                f"this codec has 0..{len(self) - 1}; use the codec that belongs to the policy"
            )
        rows, columns = grid
        tiles = self.codebook.to(codes.device)[codes].reshape(-1, rows, columns, LATTICE, LATTICE, 3)
        return tiles.permute(0, 5, 1, 3, 2, 4).reshape(-1, 3, rows * LATTICE, columns * LATTICE)

    def pca(self, dimension: int) -> torch.Tensor:
        """float32 [K, dimension]: the patches on their first principal axes, centred; columns by falling variance.

        Each axis points to where its largest entry is positive, so that no linear algebra library chooses the sign.
        Dimensions beyond the rank of the dictionary are zero.
        """
        flat = self.codebook.reshape(len(self), -1).double()
        flat = flat - flat.mean(0)
        axes = torch.linalg.svd(flat, full_matrices=False).Vh
        axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
        result = torch.zeros(len(self), dimension, dtype=torch.float32)
        kept = min(dimension, len(axes))
        result[:, :kept] = (flat @ axes[:kept].T).float()
        return result
