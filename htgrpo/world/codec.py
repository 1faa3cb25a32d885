"""The embedded worlds' image codec: a dictionary of all patches that any picture of a world can contain.

Code 0 is plain background. Encoding a rendered scene and decoding it again is exact.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from htgrpo.base.errors import UserError
from htgrpo.world.scenes import Scene, ground_patches, sprites
from htgrpo.world.world import World

FILE_NAME = "codebook.safetensors"


@cache
def _dictionary(world: World) -> tuple[np.ndarray, np.ndarray]:
    """(patches uint8 [K, patch, patch, 3], codes int64 [classes, colours, looks, n, n]): all distinct patches, those of
    the background first, and where each object of n x n patches uses them."""
    side, patch = world.object // world.patch, world.patch
    pictures = sprites(world)
    tiles = pictures.reshape(*pictures.shape[:3], side, patch, side, patch, 3).swapaxes(4, 5)
    patches = list(ground_patches(world))
    number = {one.tobytes(): index for index, one in enumerate(patches)}
    codes = np.empty((*pictures.shape[:3], side, side), np.int64)
    for place in np.ndindex(codes.shape):
        tile = tiles[place]
        codes[place] = number.setdefault(tile.tobytes(), len(patches))
        if codes[place] == len(patches):
            patches.append(tile)
    return np.stack(patches), codes


def encode_scene(world: World, scene: Scene) -> np.ndarray:
    """The codes of a scene, int64 [N] in raster order, by table: equal to encoding its rendered picture, and much
    faster.
    """
    codes = np.array(scene.ground or [0] * world.grid**2, np.int64).reshape(world.grid, world.grid)
    table, step = _dictionary(world)[1], world.lattice // world.patch
    for item in scene.objects:
        own = table[world.class_index[item.cls], world.colour_index[item.colour], item.look]
        y, x = item.y * step, item.x * step
        codes[y : y + len(own), x : x + len(own)] = own
    return codes.reshape(-1)


class PatchCodec:
    """Pictures as grids of dictionary patches. `codebook` is float32 [K, patch, patch, 3] in 0..1; code k stands for
    patch k."""

    def __init__(self, codebook: torch.Tensor):
        if codebook.dim() != 4 or codebook.shape[1] != codebook.shape[2] or codebook.shape[3] != 3:
            raise UserError(
                f"a patch codebook of shape {tuple(codebook.shape)} cannot be used: "
                "it must be [K, patch, patch, 3]; take the one that belongs to the policy"
            )
        self.codebook = codebook.to(torch.float32)

    @classmethod
    def build(cls, world: World) -> "PatchCodec":
        """The exact dictionary of a world."""
        return cls(torch.from_numpy(_dictionary(world)[0].astype(np.float32) / 255))

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

    @property
    def patch(self) -> int:
        """Pixels along a side of a patch."""
        return self.codebook.shape[1]

    def __len__(self) -> int:
        return len(self.codebook)

    def encode(self, images: np.ndarray | torch.Tensor) -> torch.Tensor:
        """uint8 [B, H, W, 3] (H, W multiples of the patch) -> int64 [B, N] in raster order, the nearest patch of each
        place in squared distance."""
        pixels = torch.as_tensor(images).to(torch.float32) / 255
        batch, height, width, _ = pixels.shape
        rows, columns = height // self.patch, width // self.patch
        tiles = pixels.reshape(batch, rows, self.patch, columns, self.patch, 3).permute(0, 1, 3, 2, 4, 5)
        flat, book = tiles.reshape(batch * rows * columns, -1), self.codebook.reshape(len(self), -1)
        distance = book.square().sum(1) - 2 * flat @ book.T
        return distance.argmin(1).reshape(batch, rows * columns)

    def decode(self, codes: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """int64 [B, N] with N = h * w of `grid`, values 0..K-1 -> float32 [B, 3, patch h, patch w] in 0..1.

        Raises UserError for a code outside the dictionary.
        """
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < len(self):
            raise UserError(
                f"image codes from {int(codes.min())} to {int(codes.max())} cannot be decoded: "
                f"this codec has 0..{len(self) - 1}; use the codec that belongs to the policy"
            )
        rows, columns = grid
        tiles = self.codebook.to(codes.device)[codes].reshape(-1, rows, columns, self.patch, self.patch, 3)
        return tiles.permute(0, 5, 1, 3, 2, 4).reshape(-1, 3, rows * self.patch, columns * self.patch)

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
