"""CLIP score: the cosine between a picture's and its prompt's features in OpenAI's CLIP ViT-L/14, as PyPI clip-score
0.2.1 has it.

Neither times 100 nor times 2.5, and not cut off at zero. Unlike the package a prompt is cut at 77 tokens instead of
failing. The package's features are tensors; from transformers 5 on they are the `pooler_output` of what the same
functions return.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor

from bench.scorers.base import Expectation, Judged
from bench.scorers.drawings import matching
from bench.scorers.native import Native, dtype_of, padded
from bench.scorers.pixels import CLIP_MEAN, CLIP_STD, centre, normalised, shorter_side
from bench.scorers.weights import Repository, build, fill, locate, open_shards
from htgrpo.policies.model_files import read_json
from htgrpo.policies.weights import TensorFiles

if TYPE_CHECKING:
    from transformers import CLIPModel, CLIPTokenizer


class ClipScore(Native[tuple[Tensor, list[int], bool]]):
    """CLIP ViT-L/14's cosine of picture and prompt. Evidence: "prompt_cut", whether the prompt was longer than is
    read."""

    name, title, version = "clip", "CLIP score", "1"
    needs_prompt, published_range = True, "-1..1 (about 0.15..0.35)"
    repositories: ClassVar[tuple[Repository, ...]] = (
        Repository(
            "openai/clip-vit-large-patch14", ("config.json", "vocab.json", "merges.txt"), ("model.safetensors",)
        ),
    )
    official_dtype = torch.float32

    def __init__(
        self, net: "CLIPModel", tokenizer: "CLIPTokenizer", folders: list[Path], device: str, dtype: torch.dtype
    ):
        super().__init__(folders, device, dtype)
        self.net, self.tokenizer = net, tokenizer
        config: Any = net.config  # whose parts are typed as what they may be given as
        self.size: int = config.vision_config.image_size
        self.tokens: int = config.text_config.max_position_embeddings

    @classmethod
    def load(cls, weights: Path | None = None, device: str = "cpu", dtype: Any = None) -> Self:
        """See Scorer.load."""
        from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

        dtype, folders = dtype_of(dtype, cls.official_dtype), locate(cls.name, cls.repositories, weights)
        net = build(lambda: CLIPModel(CLIPConfig.from_dict(read_json(folders[0] / "config.json"))))
        fill(
            net,
            TensorFiles(open_shards(folders[0], cls.repositories[0])),
            lambda key: key,
            device,
            lambda key: dtype,
            ignore=r"(text|vision)_model\.embeddings\.position_ids",
        )
        return cls(net, CLIPTokenizer.from_pretrained(folders[-1]), folders, device, dtype)

    def prepare(self, image: Image.Image, prompt: str) -> tuple[Tensor, list[int], bool]:
        """Pixels float32 [3, H, W], token ids, whether some were cut off."""
        ids = self.read(prompt)
        cut = len(ids) > self.tokens
        return self.pixels(image.convert("RGB")), ids[: self.tokens - 1] + ids[-1:] if cut else ids, cut

    @property
    def scale(self) -> float:
        """What a cosine is multiplied by."""
        return 1.0

    @property
    def pad_id(self) -> int:
        """The id that fills shorter rows up."""
        return self.tokenizer.pad_token_id

    def pixels(self, image: Image.Image) -> Tensor:
        """Float32 [3, H, W] of an RGB picture: its central square."""
        return normalised(centre(shorter_side(image, self.size), self.size), CLIP_MEAN, CLIP_STD)

    def read(self, prompt: str) -> list[int]:
        """All token ids of a prompt, from start to end."""
        return self.tokenizer(prompt, verbose=False)["input_ids"]

    def judge(self, items: list[tuple[Tensor, list[int], bool]]) -> list[Judged]:
        pixels, ids, cut = zip(*items)
        pictures = unit(
            features(self.net.get_image_features(pixel_values=torch.stack(pixels).to(self.device, self.dtype)))
        )
        text, mask = padded(ids, self.pad_id, self.device)
        prompts = unit(features(self.net.get_text_features(input_ids=text, attention_mask=mask)))
        scores = ((pictures * prompts).sum(-1) * self.scale).tolist()
        return [Judged.of(score, {"prompt_cut": was_cut}) for score, was_cut in zip(scores, cut)]

    def expectations(self) -> list[Expectation]:
        return matching()


def features(output: Any) -> Tensor:
    """The projected features [B, D]: transformers 4 returns them, transformers 5 an object with others beside them."""
    return output if isinstance(output, Tensor) else output.pooler_output


def unit(vectors: Tensor) -> Tensor:
    """Float32 [B, D], each row of length 1."""
    return vectors.float() / vectors.float().norm(dim=1, keepdim=True)
