"""What scorers that are Qwen-VL chat models share: network, tokenizer and picture processor out of one folder, and one
turn of a conversation, a picture and then a text."""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from PIL import Image
from torch import Tensor

from bench.scorers.base import Unscorable
from bench.scorers.native import Item, Native, dtype_of
from bench.scorers.qwen2vl import chat_template
from bench.scorers.weights import build, fill, locate, open_shards, renaming
from htgrpo.base.errors import UserError
from htgrpo.policies.model_files import read_json
from htgrpo.policies.weights import TensorFiles

if TYPE_CHECKING:
    from transformers import (
        PretrainedConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen3VLForConditionalGeneration,
    )

    Network = Qwen2_5_VLForConditionalGeneration | Qwen3VLForConditionalGeneration
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json")
IMAGE = "<|image_pad|>"
EMBEDDING, HEAD = "model.language_model.embed_tokens.weight", "lm_head.weight"
older = renaming((r"^model\.visual\.", "visual."), (r"^model\.language_model\.", "model."))
"""Our keys to those of checkpoints that transformers wrote before version 4.52."""


class QwenVL(Native[Item]):
    """kinds: classes of transformers by the model type that a folder names. advice: what to use in place of another
    kind."""

    official_dtype = torch.bfloat16
    batch_size = 8
    kinds: ClassVar[dict[str, str]] = {"qwen3_vl": "Qwen3VLForConditionalGeneration"}
    advice: ClassVar[str]

    def __init__(
        self,
        net: "Network",
        tokenizer: Any,
        images: "Qwen2VLImageProcessor",
        folders: list[Path],
        device: str,
        dtype: torch.dtype,
    ):
        super().__init__(folders, device, dtype)
        self.net: Any = net  # whose `generate` is typed for a class that it is not
        self.tokenizer, self.images = tokenizer, images
        self.template = chat_template(folders[0], tokenizer)
        self.image = net.config.image_token_id
        self.special = frozenset(tokenizer.added_tokens_decoder)
        # transformers 5 wants to be told which tokens are a picture's
        self.told_kinds = "mm_token_type_ids" in inspect.signature(net.forward).parameters

    @classmethod
    def load(cls, weights: Path | None = None, device: str = "cpu", dtype: Any = None) -> Self:
        """See Scorer.load."""
        import transformers

        dtype, folders = dtype_of(dtype, cls.official_dtype), locate(cls.name, cls.repositories, weights)
        folder, kind = folders[0], read_json(folders[0] / "config.json").get("model_type")
        if kind not in cls.kinds:
            raise UserError(
                f"{str(folder)!r} holds a model of type {kind!r}, but {cls.name} runs here as {' or '.join(cls.kinds)}: "
                f"{cls.advice}"
            )
        config = transformers.AutoConfig.from_pretrained(folder)
        with torch.random.fork_rng(devices=[]):
            net: Network = build(lambda: getattr(transformers, cls.kinds[kind])(config))
        tensors = TensorFiles(open_shards(folder, cls.repositories[0]))
        fill(net, tensors, _official(tensors, config), device, lambda key: dtype)
        tokenizer = transformers.Qwen2Tokenizer.from_pretrained(folder)
        return cls(net, tokenizer, transformers.Qwen2VLImageProcessor.from_pretrained(folder), folders, device, dtype)

    def look(self, image: Image.Image) -> tuple[Tensor, Tensor, int]:
        """Pixels float32 [patches, channels], grid int64 [1, 3], and how many tokens the picture is. Raises Unscorable
        for one that the model takes in no size."""
        try:
            seen = self.images(images=[image.convert("RGB")], return_tensors="pt")
        except ValueError as error:  # of proportions beyond 200 : 1
            raise Unscorable(f"the picture is {image.width} x {image.height}: {error}") from error
        grid = seen["image_grid_thw"]
        return seen["pixel_values"], grid, int(grid.prod()) // self.images.merge_size**2

    def conversation(self, text: str, count: int, bare: str = "") -> list[int]:
        """Ids of a picture of `count` tokens, `text`, and the start of the answer. Raises Unscorable where `text` has
        other control tokens than `bare`."""
        ids = self._conversation(text, count)
        if self._controls(ids) != self._controls(self._conversation(bare, count)):
            raise Unscorable("the prompt contains a token by which the model is controlled")
        return ids

    def _conversation(self, text: str, count: int) -> list[int]:
        turn = {"role": "user", "content": [{"type": "image", "image": ""}, {"type": "text", "text": text}]}
        chat = self.tokenizer.apply_chat_template(
            [turn], tokenize=False, add_generation_prompt=True, chat_template=self.template
        )
        return self.tokenizer(chat.replace(IMAGE, IMAGE * count, 1))["input_ids"]

    def _controls(self, ids: list[int]) -> list[int]:
        return [token for token in ids if token in self.special]

    def told(self, ids: Tensor) -> dict[str, Tensor]:
        """What the network is told beside ids: which of them are a picture's, where it asks."""
        return {"mm_token_type_ids": torch.eq(ids, self.image).long()} if self.told_kinds else {}


def _official(tensors: TensorFiles, config: "PretrainedConfig") -> Any:
    """A function of our keys to those of a checkpoint, whichever version of transformers wrote it."""
    published = older if any(key.startswith("visual.") for key in tensors.keys()) else lambda key: key
    tied = config.tie_word_embeddings and HEAD not in tensors.keys()
    return lambda key: published(EMBEDDING if tied and key == HEAD else key)
