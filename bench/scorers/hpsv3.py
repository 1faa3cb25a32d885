"""HPSv3: Qwen2-VL-7B with a small head at a special token, as PyPI hpsv3 1.0.0 computes it. The score is mu, its first
output.

The package's model runs under transformers 4.45.2; here it is made of today's Qwen2VLModel, with what the weights were
trained with and today's class would do otherwise: see `Network`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from PIL import Image
from torch import Tensor, nn

from bench.scorers.base import Expectation, Judged, Unscorable
from bench.scorers.drawings import matching
from bench.scorers.instructions import instruction
from bench.scorers.native import Native, dtype_of, padded
from bench.scorers.qwen2vl import VisionRotary, chat_template, patches, round_frequencies, smart_size
from bench.scorers.weights import Repository, build, fill, locate, open_shards, renaming
from htgrpo.base.errors import UserError
from htgrpo.policies.model_files import read_json
from htgrpo.policies.weights import TensorFiles

if TYPE_CHECKING:
    from transformers import Qwen2VLConfig

REWARD, IMAGE = "<|Reward|>", "<|image_pad|>"
PIXELS = 256 * 28 * 28
"""Every picture is brought near this many pixels."""

official = renaming((r"^backbone\.visual\.", "visual."), (r"^backbone\.language_model\.", "model."))


class Network(nn.Module):
    """Tokens with one picture each -> float32 [B, 2], (mu, s), at the one reward token of every row.

    Three things are as the weights were trained, not as Qwen2VLModel does them by default: positions are counted one by
    one over text and picture alike, not in M-RoPE's three axes; rotary frequencies are rounded to bf16, since the
    package casts the whole model, buffers included; the head is float32.
    """

    def __init__(self, config: "Qwen2VLConfig"):
        from transformers import Qwen2VLModel

        super().__init__()
        self.backbone = Qwen2VLModel(config)
        self.rm_head = nn.Sequential(
            nn.Linear(config.get_text_config().hidden_size, 1024),
            nn.ReLU(),
            nn.Dropout(0.05),
            nn.Linear(1024, 16),
            nn.ReLU(),
            nn.Linear(16, 2),
        )

    def forward(self, ids: Tensor, mask: Tensor, pixels: Tensor, grids: Tensor, reward: int) -> Tensor:
        """ids, mask int64 [B, L]; pixels [patches, channels], grids int64 [B, 3]; reward: the id of the reward
        token."""
        positions = torch.arange(ids.shape[1], device=ids.device).expand(3, *ids.shape)
        hidden = self.backbone(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            pixel_values=pixels,
            image_grid_thw=grids,
            use_cache=False,
        ).last_hidden_state
        return self.rm_head(hidden.float())[ids == reward]


@dataclass(frozen=True)
class Prepared:
    """ids: of the whole conversation. pixels: float32 [patches, channels]; grid: (1, rows, columns) of patches."""

    ids: list[int]
    pixels: Tensor
    grid: tuple[int, int, int]


class HPSv3(Native[Prepared]):
    """HPSv3. Evidence: "sigma", exp of the second output, the uncertainty that the model was trained with."""

    name, title, version = "hpsv3", "HPSv3", "1"
    needs_prompt, published_range = True, "unbounded, about -5..15"
    reward_scale = 0.2
    assets = ("scorer_prompts",)
    repositories = (
        Repository("MizzenAI/HPSv3", weights=("HPSv3.safetensors",)),
        Repository(
            "Qwen/Qwen2-VL-7B-Instruct",
            ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.json"),
        ),
    )
    official_dtype = torch.bfloat16
    batch_size = 8

    def __init__(self, net: Network, tokenizer: Any, folders: list[Path], device: str, dtype: torch.dtype):
        super().__init__(folders, device, dtype)
        self.net, self.tokenizer = net, tokenizer
        self.reward, self.image = tokenizer.convert_tokens_to_ids([REWARD, IMAGE])
        self.template = chat_template(folders[1], tokenizer)
        self.instruction = instruction("hpsv3.INSTRUCTION")
        self.question = instruction("hpsv3.prompt_with_special_token")

    @classmethod
    def load(cls, weights: Path | None = None, device: str = "cpu", dtype: Any = None) -> Self:
        """See Scorer.load."""
        from transformers import Qwen2Tokenizer, Qwen2VLConfig

        dtype, folders = dtype_of(dtype, cls.official_dtype), locate(cls.name, cls.repositories, weights)
        tokenizer = Qwen2Tokenizer.from_pretrained(folders[1])
        tokenizer.add_tokens([REWARD], special_tokens=True)
        config = Qwen2VLConfig.from_dict(read_json(folders[1] / "config.json"))
        if config.image_token_id != tokenizer.convert_tokens_to_ids(IMAGE):
            raise UserError(
                f"config.json in {str(folders[1])!r} and the tokenizer beside it disagree on the id of {IMAGE} "
                f"({config.image_token_id} and {tokenizer.convert_tokens_to_ids(IMAGE)}): download both again"
            )
        config.get_text_config().vocab_size = len(tokenizer)  # the package cuts the embedding to the tokenizer's length
        net = build(lambda: Network(config))
        fill(
            net,
            TensorFiles(open_shards(folders[0], cls.repositories[0])),
            official,
            device,
            lambda key: torch.float32 if key.startswith("rm_head.") else dtype,
            ignore=r"lm_head\.weight",
        )
        round_frequencies(net)
        visual = net.backbone.visual
        visual.rotary_pos_emb = VisionRotary(visual.rotary_pos_emb.inv_freq, dtype)
        return cls(net, tokenizer, folders, device, dtype)

    def prepare(self, image: Image.Image, prompt: str) -> Prepared:
        """Raises Unscorable for a picture over 200 times as long as wide, and a prompt with the model's own control
        tokens."""
        image = image.convert("RGB")
        size = smart_size(image.height, image.width, PIXELS)
        pixels, grid = patches(image.resize(size, Image.Resampling.BICUBIC))
        text = self.instruction.format(text_prompt=prompt) + self.question
        turn = {"role": "user", "content": [{"type": "image", "image": ""}, {"type": "text", "text": text}]}
        chat = self.tokenizer.apply_chat_template(
            [turn], tokenize=False, add_generation_prompt=True, chat_template=self.template
        )
        seen = grid[1] * grid[2] // 4
        ids = self.tokenizer(chat.replace(IMAGE, IMAGE * seen, 1))["input_ids"]
        if ids.count(self.reward) != 1 or ids.count(self.image) != seen:
            raise Unscorable(f"the prompt contains {REWARD} or {IMAGE}, by which the model is controlled")
        return Prepared(ids, pixels, grid)

    def judge(self, items: list[Prepared]) -> list[Judged]:
        # padded on the right: neither pads nor what follows the reward token is seen by it
        ids, mask = padded([item.ids for item in items], self.tokenizer.pad_token_id, self.device)
        grids = torch.tensor([item.grid for item in items], device=self.device)
        pixels = torch.cat([item.pixels for item in items]).to(self.device, self.dtype)
        out = self.net(ids, mask, pixels, grids, self.reward)
        return [Judged.of(mu, {"sigma": sigma}) for mu, sigma in zip(out[:, 0].tolist(), out[:, 1].exp().tolist())]

    def expectations(self) -> list[Expectation]:
        return matching()
