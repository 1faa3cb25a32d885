"""ImageReward (arXiv 2304.05977): BLIP's picture and text encoders and a small head, as PyPI image-reward 1.5 computes
it.

The package needs an old transformers; here its network is made of transformers' own Blip classes. Only the first 35
tokens of a prompt are read, so that long prompts are mostly unseen, and pictures that are not square lose their sides.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from PIL import Image
from torch import Tensor, nn

from bench.scorers.base import Expectation, Judged
from bench.scorers.drawings import matching
from bench.scorers.native import Native, dtype_of
from bench.scorers.pixels import CLIP_MEAN, CLIP_STD
from bench.scorers.weights import Repository, build, fill, locate, open_shards, renaming
from htgrpo.policies.model_files import read_json
from htgrpo.policies.weights import TensorFiles

TOKENS = 35
MEAN, STD = 0.16717362830052426, 1.0333394966054072
VIT_LARGE = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
    "image_size": 224, "patch_size": 16, "layer_norm_eps": 1e-6, "hidden_act": "gelu",
}  # fmt: skip
"""The package's picture encoder; its configuration file describes only the text encoder."""

official = renaming(
    (r"^text\.", "blip.text_encoder."),
    (r"^vision\.", "blip.visual_encoder."),
    (r"visual_encoder\.embeddings\.class_embedding", "visual_encoder.cls_token"),
    (r"visual_encoder\.embeddings\.position_embedding", "visual_encoder.pos_embed"),
    (r"visual_encoder\.embeddings\.patch_embedding", "visual_encoder.patch_embed.proj"),
    (r"visual_encoder\.post_layernorm", "visual_encoder.norm"),
    (r"visual_encoder\.encoder\.layers", "visual_encoder.blocks"),
    (r"\.layer_norm(\d)\.", r".norm\1."),
    (r"\.self_attn\.qkv\.", ".attn.qkv."),
    (r"\.self_attn\.projection\.", ".attn.proj."),
)

if TYPE_CHECKING:
    from transformers import BertTokenizer
UNREAD = r"blip\.(vision_proj|text_proj)\.(weight|bias)|blip\.text_encoder\.embeddings\.position_ids"


class Network(nn.Module):
    """pixels [B, 3, size, size], token ids and mask [B, 35] -> float32 [B], the head's output before it is
    normalised."""

    def __init__(self, vision: dict[str, Any], med: dict[str, Any]):
        from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

        super().__init__()
        self.vision = BlipVisionModel(BlipVisionConfig(**vision))
        # the text encoder has cross-attention only as a decoder, yet it is used without a causal mask
        text = BlipTextConfig(
            **{key: med[key] for key in TEXT if key in med}, encoder_hidden_size=vision["hidden_size"], is_decoder=True
        )
        self.text = BlipTextModel(text, add_pooling_layer=False)
        # linear all through: the package has no activation between these layers
        layers = nn.Sequential(
            nn.Linear(text.hidden_size, 1024),
            nn.Dropout(0.2),
            nn.Linear(1024, 128),
            nn.Dropout(0.2),
            nn.Linear(128, 64),
            nn.Dropout(0.1),
            nn.Linear(64, 16),
            nn.Linear(16, 1),
        )
        self.mlp = nn.ModuleDict({"layers": layers})

    def forward(self, pixels: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        seen = self.vision(pixel_values=pixels).last_hidden_state
        read = self.text(
            ids,
            attention_mask=mask,
            encoder_hidden_states=seen,
            is_decoder=False,
            encoder_attention_mask=torch.ones(seen.shape[:-1], dtype=torch.long, device=seen.device),
        )
        return self.mlp["layers"](read.last_hidden_state[:, 0].float())[:, 0]


# fmt: off
TEXT = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "max_position_embeddings", "hidden_act", "layer_norm_eps", "pad_token_id", "hidden_dropout_prob",
    "attention_probs_dropout_prob",
)
# fmt: on
"""What med_config.json says of the text encoder, under the names that BlipTextConfig has too."""


class ImageReward(Native[tuple[Tensor, dict[str, Tensor], bool]]):
    """ImageReward v1.0. Evidence: "prompt_cut", whether the prompt was longer than is read."""

    name, title, version = "imagereward", "ImageReward", "1"
    needs_prompt, published_range = True, "unbounded, about -2.5..2; mean 0 and deviation 1 on its own data"
    repositories = (
        Repository("THUDM/ImageReward", ("med_config.json",), ("ImageReward.safetensors", "ImageReward.pt")),
        Repository("google-bert/bert-base-uncased", ("vocab.txt",)),
    )
    official_dtype = torch.float32

    def __init__(self, net: Network, tokenizer: "BertTokenizer", folders: list[Path], device: str, dtype: torch.dtype):
        from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

        super().__init__(folders, device, dtype)
        self.net, self.tokenizer = net, tokenizer
        size = net.vision.config.image_size
        self.crop = Compose([Resize(size, InterpolationMode.BICUBIC), CenterCrop(size)])
        self.pixels = Compose([ToTensor(), Normalize(CLIP_MEAN, CLIP_STD)])

    @classmethod
    def load(
        cls, weights: Path | None = None, device: str = "cpu", dtype: Any = None, vision: dict[str, Any] = VIT_LARGE
    ) -> Self:
        """See Scorer.load. vision: the sizes of the picture encoder, which no published file holds."""
        from transformers import BertTokenizer

        dtype, folders = dtype_of(dtype, cls.official_dtype), locate(cls.name, cls.repositories, weights)
        net = build(lambda: Network(vision, read_json(folders[0] / "med_config.json")))
        fill(
            net,
            TensorFiles(open_shards(folders[0], cls.repositories[0])),
            official,
            device,
            lambda key: torch.float32 if key.startswith("mlp.") else dtype,
            ignore=UNREAD,
        )
        tokenizer = BertTokenizer.from_pretrained(folders[1])
        tokenizer.add_tokens(["[DEC]", "[ENC]"], special_tokens=True)
        return cls(net, tokenizer, folders, device, dtype)

    def prepare(self, image: Image.Image, prompt: str) -> tuple[Tensor, dict[str, Tensor], bool]:
        """Pixels float32 [3, H, W], token ids and mask [1, 35], whether tokens were cut off."""
        # the package resizes and crops first, and only then makes other modes RGB
        pixels = self.pixels(self.crop(image).convert("RGB"))
        ids = self.tokenizer(prompt, padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt")
        cut = len(self.tokenizer(prompt, verbose=False)["input_ids"]) > TOKENS
        return pixels, {"ids": ids["input_ids"], "mask": ids["attention_mask"]}, cut

    def judge(self, items: list[tuple[Tensor, dict[str, Tensor], bool]]) -> list[Judged]:
        pixels, tokens, cut = zip(*items)
        ids, mask = (torch.cat([one[part] for one in tokens]).to(self.device) for part in ("ids", "mask"))
        raw = self.net(torch.stack(pixels).to(self.device, self.dtype), ids, mask)
        rewards = ((raw - MEAN) / STD).tolist()
        return [Judged.of(reward, {"prompt_cut": was_cut}) for reward, was_cut in zip(rewards, cut)]

    def expectations(self) -> list[Expectation]:
        return matching()
