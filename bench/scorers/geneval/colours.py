"""The colour of a detected object, as GenEval asks CLIP ViT-L/14 for it (clip_benchmark 1.4.0's zero-shot
classification).

The object alone, on grey, against ten colour names. OpenAI's weights belong to QuickGELU: open_clip 3 builds "ViT-L-14"
with GELU, which changes colours without an error, so the activation is checked here.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize

from bench.scorers.geneval.detector import Detection
from bench.scorers.geneval.rule import COLOURS
from bench.scorers.instructions import instruction
from bench.scorers.weights import Repository, locate, open_shards, revision
from htgrpo.base.errors import UserError

if TYPE_CHECKING:
    import open_clip

ARCHITECTURE = "ViT-L-14-quickgelu"
CLIP = Repository(
    "timm/vit_large_patch14_clip_224.openai", (), ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
)
FOLDER = "geneval-colours"
"""Its folder below $HTGRPO_WEIGHTS."""
BACKGROUND = (0x99, 0x99, 0x99)


def check_activation(net: nn.Module) -> None:
    """Raises UserError unless every activation of a CLIP network is QuickGELU."""
    import open_clip
    from open_clip.transformer import QuickGELU

    kinds = {type(module) for module in net.modules() if "gelu" in type(module).__name__.lower()}
    if kinds != {QuickGELU}:
        found = ", ".join(sorted(kind.__name__ for kind in kinds)) or "none"
        raise UserError(
            f"open_clip {open_clip.__version__} built {ARCHITECTURE} with the activation {found} instead of QuickGELU, "
            "which gives other colours: install another version of open_clip_torch"
        )


def cut_out(image: np.ndarray, found: Detection) -> Image.Image:
    """The detection's box of a picture uint8 RGB [H, W, 3], with everything outside its mask in grey."""
    left, top, right, bottom = (round(side) for side in found.box)
    picture = np.where(found.mask[..., None], image, np.asarray(BACKGROUND, np.uint8))
    return Image.fromarray(picture[top:bottom, left:right])


class Colours:
    """Names the colour of objects. transform: PIL picture -> float [3, H, W]; templates: with {color} and
    {classname}."""

    def __init__(
        self,
        net: "open_clip.CLIP",
        tokenizer: Callable[[list[str]], Tensor],
        transform: Callable[[Image.Image], Tensor],
        templates: Sequence[str],
        identity: dict[str, Any],
        device: str | torch.device,
    ):
        check_activation(net)
        self.net, self.tokenizer, self.transform, self.templates = net, tokenizer, transform, tuple(templates)
        self.identity, self.device = identity, torch.device(device)
        self._texts: dict[str, Tensor] = {}

    @classmethod
    def load(cls, weights: Path | None = None, device: str = "cpu") -> Self:
        """CLIP from the folder `weights`, $HTGRPO_WEIGHTS/geneval-colours or the hub's cache. Raises UserError."""
        import open_clip

        (folder,) = locate(FOLDER, (CLIP,), weights)
        (file,) = open_shards(folder, CLIP).files
        with torch.random.fork_rng(devices=[]):  # the constructor draws weights that are overwritten
            net = open_clip.create_model(ARCHITECTURE, pretrained=None)
        try:
            open_clip.load_checkpoint(net, str(file), strict=True, weights_only=True)
        except (RuntimeError, KeyError, OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(
                f"{str(file)!r} does not hold the weights of {ARCHITECTURE} ({reason}): run `{CLIP.command}`"
            ) from error
        transform = open_clip.image_transform(net.visual.image_size, is_train=False)
        return cls(
            net.to(device).eval().requires_grad_(False),
            open_clip.get_tokenizer(ARCHITECTURE),
            transform,
            instruction("geneval.color_templates"),
            identity_of(folder, device),
            device,
        )

    def of(self, image: np.ndarray, found: Detection) -> str:
        """The colour of one detection in a picture uint8 RGB [H, W, 3]: one of COLOURS, always, of equally likely ones
        the first. Raises ValueError for an empty box."""
        logits = self.logits(image, found)
        if not logits:
            raise ValueError(f"the {found.cls} detected at {found.box} has no pixel")
        return max(logits, key=logits.__getitem__)

    def logits(self, image: np.ndarray, found: Detection) -> dict[str, float]:
        """100 x cosine of one detection and every one of COLOURS; none for an empty box."""
        cut = cut_out(image, found)
        if math.prod(cut.size) == 0:
            return {}
        with torch.inference_mode(), self._official_precision():
            features = normalize(self.net.encode_image(self.transform(cut)[None].to(self.device)), dim=-1)
            logits = 100.0 * features @ self._classifier(found.cls)
        return dict(zip(COLOURS, logits[0].float().tolist(), strict=True))

    def _official_precision(self) -> torch.autocast:
        """fp16 autocast on a GPU, as upstream has it; float32 elsewhere."""
        return torch.autocast("cuda", torch.float16, enabled=self.device.type == "cuda")

    def _classifier(self, classname: str) -> Tensor:
        """[D, 10]: for each colour the unit mean of the unit embeddings of the templates."""
        if classname not in self._texts:
            columns = []
            for colour in COLOURS:
                texts = [template.format(color=colour, classname=classname) for template in self.templates]
                mean = normalize(self.net.encode_text(self.tokenizer(texts).to(self.device)), dim=-1).mean(0)
                columns.append(mean / mean.norm())
            self._texts[classname] = torch.stack(columns, 1)
        return self._texts[classname]


def identity_of(folder: Path, device: str | torch.device) -> dict[str, Any]:
    """{"colours", "colours_revision", "colours_dtype"} of CLIP's folder."""
    on_gpu = torch.device(device).type == "cuda"
    return {
        "colours": f"CLIP {ARCHITECTURE}",
        "colours_revision": revision(folder, CLIP),
        "colours_dtype": "float16 autocast" if on_gpu else "float32 (official: float16 autocast on a GPU)",
    }
