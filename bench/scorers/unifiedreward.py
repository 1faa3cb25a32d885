"""UnifiedReward on this machine: the models that are Qwen2.5-VL or Qwen3-VL, by transformers' own classes. Where it is
on an OpenAI-compatible server instead, `--scorer-url unifiedreward=openai+http://HOST:8080` asks there
(unifiedreward_client)."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from bench.scorers.base import Expectation, Judged
from bench.scorers.drawings import matching
from bench.scorers.qwenvl import FILES, QwenVL
from bench.scorers.unifiedreward_answers import TOKENS, VARIANT, question, read
from bench.scorers.weights import Repository
from htgrpo.policies.model_files import read_json

if TYPE_CHECKING:
    from transformers import GenerationConfig

    from bench.scorers.qwenvl import Network
TURN = "<|im_start|>"


@dataclass(frozen=True)
class Prepared:
    """ids: of the whole conversation. pixels: float32 [patches, channels]; grid: int64 [1, 3]."""

    ids: list[int]
    pixels: Tensor
    grid: Tensor


class UnifiedReward(QwenVL[Prepared]):
    """UnifiedReward 2.0 on Qwen-VL, by default Qwen3-VL-8B. Written greedily; evidence as in
    unifiedreward_answers.read.

    Pictures are seen as they are, where clients of servers send JPEG. A repetition penalty in generation_config.json is
    kept, as upstream does.
    """

    name, title, version = "unifiedreward", "UnifiedReward", "1"
    needs_prompt, published_range, reward_scale = True, "1..5", 0.2
    assets = ("scorer_prompts",)
    kinds: ClassVar[dict[str, str]] = {"qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration"} | QwenVL.kinds
    advice = "use a UnifiedReward-2.0-qwen model, or a server for others"
    repositories = (
        Repository(
            "CodeGoat24/UnifiedReward-2.0-qwen3vl-8b",
            FILES,
            ("model.safetensors",),
            sharded=True,
            note="or serve it elsewhere and give --scorer-url unifiedreward=openai+http://HOST:8080",
        ),
    )

    def __init__(self, net: "Network", *parts: Any):
        super().__init__(net, *parts)
        self.writing = _greedy(self._folders[0], TOKENS)

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
        pixels, grid, count = self.look(image)
        return Prepared(self.conversation(question(prompt), count, question("")), pixels, grid)

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
        written = self.net.generate(
            input_ids=ids,
            attention_mask=mask,
            pixel_values=torch.cat([item.pixels for item in items]).to(self.device, self.dtype),
            image_grid_thw=torch.cat([item.grid for item in items]).to(self.device),
            generation_config=self.writing,
            **self.told(ids),
        )
        return self.tokenizer.batch_decode(
            written[:, longest:], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def expectations(self) -> list[Expectation]:
        return matching()


def _greedy(folder: Path, tokens: int) -> "GenerationConfig":
    """The model's own way of writing, without chance."""
    from transformers import GenerationConfig

    file = folder / "generation_config.json"
    config = GenerationConfig.from_pretrained(folder) if file.is_file() else GenerationConfig()
    config.update(do_sample=False, num_beams=1, temperature=None, top_p=None, top_k=None, max_new_tokens=tokens)
    return config
