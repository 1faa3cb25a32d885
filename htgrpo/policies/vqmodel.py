"""The image codec of Lumina-DiMOO: the library diffusers' VQModel, in aMUSEd-512's configuration.

Pictures lie in [0, 1] inside too. Importing this module imports diffusers, which takes seconds; import it where it is
used.
"""

import inspect
import json
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import VQModel
from torch import Tensor

from htgrpo.base.errors import UserError
from htgrpo.policies.codec import ImageCodec, assign, initialise, read_tensors, write

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
PUBLISHED = {
    "down_block_types": ("DownEncoderBlock2D",) * 5, "up_block_types": ("UpDecoderBlock2D",) * 5,
    "block_out_channels": (128, 256, 256, 512, 768), "layers_per_block": 2, "latent_channels": 64,
    "num_vq_embeddings": 8192, "mid_block_add_attention": False, "lookup_from_codebook": True, "force_upcast": True,
}  # fmt: skip
"""aMUSEd-512's settings, as Lumina-DiMOO uses them; every other one is the library's default."""
TINY = PUBLISHED | {"block_out_channels": (8,) * 5, "layers_per_block": 1, "latent_channels": 8, "norm_num_groups": 2}


class VQModelCodec(ImageCodec):
    """A diffusers VQModel as an image codec (published: 8192 codes of 16 x 16 pixels)."""

    net: Any  # a VQModel, which diffusers does not type

    def __init__(self, net: Any):
        config = net.config
        # the model says that fp16 overflows in it
        net = net.float() if net.dtype == torch.float16 and config.force_upcast else net
        # doubling happens before a level's own blocks: the finest activation has the width of the level above
        widths = config.block_out_channels
        super().__init__(net, config.num_vq_embeddings, 2 ** (len(widths) - 1), max(widths[:2]))
        self._entry = config.latent_channels if config.vq_embed_dim is None else config.vq_embed_dim

    @classmethod
    def load(cls, folder: Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Self:
        """The codec in the local `folder`: "config.json" and "diffusion_pytorch_model.safetensors".

        float16 becomes float32 where the configuration asks for it (`force_upcast`). Raises UserError for a
        configuration that is none, that looks no codes up, or that disagrees with the tensors.
        """
        path, state = read_tensors(folder, (WEIGHTS,))
        net = build(read_config(path.parent / CONFIG), path.parent / CONFIG)
        assign(net, state, path, dtype, f"the VQModel of its {CONFIG}")
        return cls(net).to(device)

    def save(self, folder: Path) -> Path:
        """Writes "config.json" and "diffusion_pytorch_model.safetensors" into `folder` and returns the path of the
        latter."""
        return write(self.net, folder, WEIGHTS, self.net.to_json_string())

    def _decode(self, codes: Tensor) -> Tensor:
        return self.net.decode(codes, force_not_quantize=True, shape=(*codes.shape, self._entry)).sample

    def _encode(self, images: Tensor) -> Tensor:
        return self.net.quantize(self.net.encode(images).latents)[2][2]


def read_config(path: Path) -> dict[str, Any]:
    """The settings in `path` that VQModel knows. Raises UserError where they are not those of a codec of RGB
    pictures."""
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{str(path)!r} cannot be read as JSON ({error}): a VQModel's weights need the configuration published "
            "beside them; download it again"
        ) from error
    known = inspect.signature(VQModel.__init__).parameters
    config = {key: value for key, value in config.items() if key in known} if isinstance(config, dict) else {}
    for key, wanted in (("lookup_from_codebook", True), ("in_channels", 3), ("out_channels", 3)):
        value = config.get(key, known[key].default)
        if value != wanted:
            raise UserError(
                f"{key!r} in {str(path)!r} is {value!r}: only a VQModel with {wanted!r} turns codes into RGB pictures; "
                "use the configuration published beside the weights"
            )
    return config


def build(config: dict[str, Any], origin: str | Path = "the configuration") -> Any:
    """A VQModel without memory (on the meta device), so that its making neither costs anything nor draws from the
    global generator. Raises UserError, naming `origin`, where diffusers cannot make it."""
    try:
        with torch.device("meta"):
            return VQModel(**config)
    except Exception as error:  # diffusers raises whatever the first wrong value leads to
        raise UserError(
            f"{str(origin)!r} describes no VQModel ({type(error).__name__}: {error}): use the configuration published "
            "beside the weights"
        ) from error


def tiny_vqmodel(generator: torch.Generator, codes: int = 8192) -> VQModelCodec:
    """A random codec in the published layout with `codes` codes of 16 x 16 pixels and few channels.

    Draws from `generator` only. Different codes give visibly different pictures.
    """
    net = build(TINY | {"num_vq_embeddings": codes})
    initialise(net, generator)
    with torch.no_grad():  # pictures lie in [0, 1]: around grey, and seldom beyond
        net.decoder.conv_out.weight.mul_(0.5)
        net.decoder.conv_out.bias.fill_(0.5)
    return VQModelCodec(net)
