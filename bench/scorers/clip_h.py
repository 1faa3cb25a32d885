"""PickScore (arXiv 2305.01569) and HPSv2.1 (arXiv 2306.09341): two CLIP ViT-H/14 that were trained on people's choices
between pictures, hence two votes that are not independent. What differs is how a picture and a prompt are read, and the
scale.

PickScore is exp(logit_scale) x cosine, as the authors' inference code with transformers' processor for PIL pictures.
HPSv2.1 is the cosine, as PyPI hpsv2 1.2.0 has it, but in float32 throughout: on a GPU the package multiplies under
autocast, so that its scores move in steps of 0.00024.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from bench.scorers.base import Unscorable
from bench.scorers.clip_score import ClipScore
from bench.scorers.native import NETWORK, dtype_of
from bench.scorers.pixels import CLIP_MEAN, CLIP_STD, as_tensor
from bench.scorers.weights import Origin, Repository, build, fill, locate, open_shards, renaming
from htgrpo.base.errors import UserError
from htgrpo.policies.weights import TensorFiles

if TYPE_CHECKING:
    from transformers import CLIPModel

KNOWN, KNOWN_IDS = "a photo of a cat", [49406, 320, 1125, 539, 320, 2368, 49407]
END = KNOWN_IDS[-1]
"""The end token. The network reads a prompt where the highest id stands first, which is here as long as this one is the
vocabulary's last."""

VIT_H: dict[str, Any] = {
    "projection_dim": 1024,
    "text_config": {
        "vocab_size": 49408, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
        "num_attention_heads": 16, "max_position_embeddings": 77, "hidden_act": "gelu", "layer_norm_eps": 1e-5,
        "projection_dim": 1024, "bos_token_id": 49406, "eos_token_id": END, "pad_token_id": 0,
    },
    "vision_config": {
        "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16,
        "image_size": 224, "patch_size": 14, "hidden_act": "gelu", "layer_norm_eps": 1e-5, "projection_dim": 1024,
    },
}  # fmt: skip
"""open_clip's ViT-H-14, for weights that come without a configuration file."""


class ClipH(ClipScore):
    """What both share. Raises UserError where the network's activation or the tokens are not CLIP ViT-H/14's."""

    version = "1"

    def __init__(self, net: "CLIPModel", tokenizer: Any, folders: list[Path], device: str, dtype: torch.dtype):
        super().__init__(net, tokenizer, folders, device, dtype)
        config: Any = net.config
        where = f"in {str(folders[0])!r}: use the published files of {self.repositories[0].id}"
        acts = {part.hidden_act for part in (config.text_config, config.vision_config)}
        if acts != {"gelu"}:
            raise UserError(f"{self.title} is computed with the activation gelu, got {', '.join(sorted(acts))} {where}")
        if config.text_config.vocab_size != END + 1 or config.text_config.eos_token_id not in (2, END):
            raise UserError(
                f"{self.title} reads a prompt at token {END}, the last of its vocabulary, got a vocabulary of "
                f"{config.text_config.vocab_size} and the end token {config.text_config.eos_token_id} {where}"
            )
        if (found := self.read(KNOWN)) != KNOWN_IDS:
            raise UserError(
                f"the tokenizer for {self.title} reads {KNOWN!r} as {found} instead of {KNOWN_IDS}: use the files of "
                f"{self.repositories[-1].id}, with the versions in constraints.txt"
            )

    def prepare(self, image: Image.Image, prompt: str) -> tuple[Tensor, list[int], bool]:
        """See ClipScore.prepare. Raises Unscorable for a prompt with an end token in it."""
        pixels, ids, cut = super().prepare(image, prompt)
        if ids.index(END) != len(ids) - 1:
            raise Unscorable("the prompt contains CLIP's end token, after which nothing would be read")
        return pixels, ids, cut


class PickScore(ClipH):
    """PickScore v1. Evidence: "prompt_cut", whether the prompt was longer than the 77 tokens that are read."""

    name, title = "pickscore", "PickScore"
    published_range = "unbounded, about 17..24"
    reward_scale = 1 / 26
    repositories = (
        Repository("yuvalkirstain/PickScore_v1", ("config.json",), ("model.safetensors",)),
        Repository("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", ("vocab.json", "merges.txt")),
    )

    @property
    def scale(self) -> float:
        """What a cosine is multiplied by, which was learnt."""
        return self.net.logit_scale.float().exp().item()


def _origin(key: str) -> Origin:
    """open_clip's key, or the part of it, that a key of transformers' CLIPModel comes from."""
    name = _names(key)
    head, joined, tail = name.partition("_proj_of_in.")
    return (f"{head[:-1]}in_proj_{tail}", "qkv".index(head[-1]), 3) if joined else name


_names: Callable[[str], str] = renaming(
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"^visual_projection\.weight$", "visual.proj"),
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"^text_projection\.weight$", "text_projection"),
    (r"\.layer_norm(\d)\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"\.self_attn\.([qkv])_proj\.", r".attn.\1_proj_of_in."),
)


class _OpenClipFiles(TensorFiles):
    """open_clip's weights, whose two projections are multiplied from the right and hence read transposed."""

    TURNED = ("visual.proj", "text_projection")

    def shape(self, key: str) -> tuple[int, ...]:
        return super().shape(key)[:: -1 if key in self.TURNED else 1]

    def get(self, key: str, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> Tensor:
        value = super().get(key, device, dtype)
        return value.T.contiguous() if key in self.TURNED else value


class HPSv2(ClipH):
    """HPSv2.1, never v2.0, whose scale is another. The whole picture is seen, its longer side made 224 and the rest
    black. Evidence: as PickScore's.

    antialias: whether a picture is smoothed when it is made smaller. The package leaves that to torchvision, which does
    it from 0.17 on and did not before; which one the published table was made with is not known.
    """

    name, title = "hpsv2", "HPSv2.1"
    published_range = "-1..1 (about 0.10..0.35; tables print it times 100)"
    repositories = (Repository("xswu/HPSv2", weights=("HPS_v2.1_compressed.safetensors", "HPS_v2.1_compressed.pt")),)
    libraries = (*NETWORK, "open_clip_torch", "ftfy")
    antialias: ClassVar[bool] = True

    @classmethod
    def load(
        cls, weights: Path | None = None, device: str = "cpu", dtype: Any = None, sizes: dict[str, Any] = VIT_H
    ) -> Self:
        """See Scorer.load. sizes: of the network, which no published file holds."""
        from open_clip import SimpleTokenizer
        from transformers import CLIPConfig, CLIPModel

        dtype, folders = dtype_of(dtype, cls.official_dtype), locate(cls.name, cls.repositories, weights)
        net = build(lambda: CLIPModel(CLIPConfig.from_dict(sizes)))
        fill(net, _OpenClipFiles(open_shards(folders[0], cls.repositories[0])), _origin, device, lambda key: dtype)
        return cls(net, SimpleTokenizer(), folders, device, dtype)

    @classmethod
    def _identity_with(cls, revisions: list[str], dtype: torch.dtype) -> dict[str, Any]:
        return super()._identity_with(revisions, dtype) | {"weights": "v2.1", "antialias": cls.antialias}

    def pixels(self, image: Image.Image) -> Tensor:
        """Float32 [3, size, size]. Raises Unscorable for a picture of which less than half a row would be left."""
        from torchvision.transforms.functional import InterpolationMode, normalize, resize

        share = self.size / max(image.size)
        size = [round(side * share) for side in (image.height, image.width)]
        if not all(size):
            raise Unscorable(f"the picture of {image.width} x {image.height} is too long for {self.title}")
        seen = as_tensor(image)
        if share != 1:
            seen = resize(seen, size, InterpolationMode.BICUBIC, antialias=self.antialias)
        below, right = (self.size - side for side in size)
        seen = pad(seen, (right // 2, right - right // 2, below // 2, below - below // 2))
        return normalize(seen, list(CLIP_MEAN), list(CLIP_STD))

    @property
    def pad_id(self) -> int:
        return 0

    def read(self, prompt: str) -> list[int]:
        return [KNOWN_IDS[0], *self.tokenizer.encode(prompt), END]


class HPSv2Aliased(HPSv2):
    """HPSv2.1 as torchvision before 0.17 made it: a picture is made smaller without being smoothed."""

    name, title = "hpsv2_aliased", "HPSv2.1 (no antialias)"
    antialias = False
