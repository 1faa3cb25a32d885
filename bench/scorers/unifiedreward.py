"""UnifiedReward on this machine: the models that are Qwen2.5-VL or Qwen3-VL, by transformers' own classes. Where it is
on an OpenAI-compatible server instead, `--scorer-url unifiedreward=openai+http://HOST:8080` asks there
(unifiedreward_client)."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from PIL import Image
from torch import Tensor

from bench.scorers.base import Expectation, Judged, Unscorable
from bench.scorers.drawings import matching
from bench.scorers.native import Native, dtype_of
from bench.scorers.qwen2vl import chat_template
from bench.scorers.unifiedreward_answers import TOKENS, VARIANT, question, read
from bench.scorers.weights import Repository, build, fill, locate, open_shards, renaming
from htgrpo.base.errors import UserError
from htgrpo.policies.model_files import read_json
from htgrpo.policies.weights import TensorFiles

if TYPE_CHECKING:
    from transformers import (
        GenerationConfig,
        PretrainedConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen3VLForConditionalGeneration,
    )

    Network = Qwen2_5_VLForConditionalGeneration | Qwen3VLForConditionalGeneration
KINDS = {"qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration", "qwen3_vl": "Qwen3VLForConditionalGeneration"}
"""Classes of transformers by the model type that a folder names."""
IMAGE, TURN = "<|image_pad|>", "<|im_start|>"
EMBEDDING, HEAD = "model.language_model.embed_tokens.weight", "lm_head.weight"
older = renaming((r"^model\.visual\.", "visual."), (r"^model\.language_model\.", "model."))
"""Our keys to those of checkpoints that transformers wrote before version 4.52."""


@dataclass(frozen=True)
class Prepared:
    """ids: of the whole conversation. pixels: float32 [patches, channels]; grid: int64 [1, 3]."""

    ids: list[int]
    pixels: Tensor
    grid: Tensor


class UnifiedReward(Native[Prepared]):
    """UnifiedReward 2.0 on Qwen-VL, by default Qwen3-VL-8B. Written greedily; evidence as in
    unifiedreward_answers.read.

    Pictures are seen as they are, where clients of servers send JPEG. A repetition penalty in generation_config.json is
    kept, as upstream does.
    """

    name, title, version = "unifiedreward", "UnifiedReward", "1"
    needs_prompt, published_range, reward_scale = True, "1..5", 0.2
    assets = ("scorer_prompts",)
    repositories = (
        Repository(
            "CodeGoat24/UnifiedReward-2.0-qwen3vl-8b",
            ("config.json", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"),
            ("model.safetensors",),
            sharded=True,
            note="or serve it elsewhere and give --scorer-url unifiedreward=openai+http://HOST:8080",
        ),
    )
    official_dtype = torch.bfloat16
    batch_size = 8

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
        self.writing = _greedy(folders[0], TOKENS)
        # transformers 5 wants to be told which tokens are a picture's
        self.told_kinds = "mm_token_type_ids" in inspect.signature(net.forward).parameters

    @classmethod
    def load(cls, weights: Path | None = None, device: str = "cpu", dtype: Any = None) -> Self:
        """See Scorer.load."""
        import transformers

        dtype, folders = dtype_of(dtype, cls.official_dtype), locate(cls.name, cls.repositories, weights)
        folder, kind = folders[0], read_json(folders[0] / "config.json").get("model_type")
        if kind not in KINDS:
            raise UserError(
                f"{str(folder)!r} holds a model of type {kind!r}, but unifiedreward runs here as {' or '.join(KINDS)}: "
                "use a UnifiedReward-2.0-qwen model, or a server for others"
            )
        config = transformers.AutoConfig.from_pretrained(folder)
        with torch.random.fork_rng(devices=[]):
            net: Network = build(lambda: getattr(transformers, KINDS[kind])(config))
        tensors = TensorFiles(open_shards(folder, cls.repositories[0]))
        fill(net, tensors, _official(tensors, config), device, lambda key: dtype)
        tokenizer = transformers.Qwen2Tokenizer.from_pretrained(folder)
        return cls(net, tokenizer, transformers.Qwen2VLImageProcessor.from_pretrained(folder), folders, device, dtype)

    def identity(self) -> dict[str, Any]:
        """Beside the common keys "model", "width" (which tells its sizes apart), "variant" and "repetition_penalty"."""
        return super().identity() | {
            "model": self.net.config.model_type,
            "width": self.net.config.get_text_config().hidden_size,
            "variant": VARIANT,
            "repetition_penalty": self.writing.repetition_penalty,
        }

    @classmethod
    def planned_identity(cls) -> dict[str, Any]:
        (folder,) = cls.folders()
        config = read_json(folder / "config.json")
        width = config.get("text_config", config).get("hidden_size")
        return super().planned_identity() | {
            "model": config.get("model_type"),
            "width": width,
            "variant": VARIANT,
            "repetition_penalty": _greedy(folder, 1).repetition_penalty,
        }

    def prepare(self, image: Image.Image, prompt: str) -> Prepared:
        """Raises Unscorable for a picture the model takes in no size, and a prompt with the model's own control
        tokens."""
        try:
            seen = self.images(images=[image.convert("RGB")], return_tensors="pt")
        except ValueError as error:  # of proportions beyond 200 : 1
            raise Unscorable(f"the picture is {image.width} x {image.height}: {error}") from error
        count = int(seen["image_grid_thw"].prod()) // self.images.merge_size**2
        ids, bare = self._conversation(prompt, count), self._conversation("", count)
        if self._controls(ids) != self._controls(bare):
            raise Unscorable("the prompt contains a token by which the model is controlled")
        return Prepared(ids, seen["pixel_values"], seen["image_grid_thw"])

    def _conversation(self, prompt: str, count: int) -> list[int]:
        """Ids of the whole, the picture being `count` tokens."""
        turn = {"role": "user", "content": [{"type": "image", "image": ""}, {"type": "text", "text": question(prompt)}]}
        chat = self.tokenizer.apply_chat_template(
            [turn], tokenize=False, add_generation_prompt=True, chat_template=self.template
        )
        return self.tokenizer(chat.replace(IMAGE, IMAGE * count, 1))["input_ids"]

    def _controls(self, ids: list[int]) -> list[int]:
        return [token for token in ids if token in self.special]

    def judge(self, items: list[Prepared]) -> list[Judged]:
        return [read(text) for text in self.write(items)]

    def write(self, items: list[Prepared]) -> list[str]:
        """What the model writes about each."""
        longest = max(len(item.ids) for item in items)
        # padded on the left with a token that all have, so that a repetition penalty is the same for all
        pad = self.tokenizer.convert_tokens_to_ids(TURN)
        ids = torch.tensor([[pad] * (longest - len(item.ids)) + item.ids for item in items], device=self.device)
        mask = torch.tensor(
            [[0] * (longest - len(item.ids)) + [1] * len(item.ids) for item in items], device=self.device
        )
        kinds = {"mm_token_type_ids": torch.eq(ids, self.image).long()} if self.told_kinds else {}
        written = self.net.generate(
            input_ids=ids,
            attention_mask=mask,
            pixel_values=torch.cat([item.pixels for item in items]).to(self.device, self.dtype),
            image_grid_thw=torch.cat([item.grid for item in items]).to(self.device),
            generation_config=self.writing,
            **kinds,
        )
        return self.tokenizer.batch_decode(
            written[:, longest:], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def expectations(self) -> list[Expectation]:
        return matching()


def _official(tensors: TensorFiles, config: "PretrainedConfig") -> Any:
    """A function of our keys to those of a checkpoint, whichever version of transformers wrote it."""
    published = older if any(key.startswith("visual.") for key in tensors.keys()) else lambda key: key
    tied = config.tie_word_embeddings and HEAD not in tensors.keys()
    return lambda key: published(EMBEDDING if tied and key == HEAD else key)


def _greedy(folder: Path, tokens: int) -> "GenerationConfig":
    """The model's own way of writing, without chance."""
    from transformers import GenerationConfig

    file = folder / "generation_config.json"
    config = GenerationConfig.from_pretrained(folder) if file.is_file() else GenerationConfig()
    config.update(do_sample=False, num_beams=1, temperature=None, top_p=None, top_k=None, max_new_tokens=tokens)
    return config
