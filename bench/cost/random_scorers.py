"""Scorers with random weights, for measuring how fast they are and for nothing else: what they answer means nothing and
is never shown. CLIP, ImageReward and GenEval have their full size, the scorers of 7B and 8B the same parts, small."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.convert_slow_tokenizer import bytes_to_unicode

from bench.scorers.base import Scorer
from bench.scorers.weights import build

LETTERS = tuple(bytes_to_unicode().values())
"""What stands for bytes in vocabularies."""
WORDS = "a photo of red blue green cup dog left right above below the and two three in on with light".split()
QWEN = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n<|vision_start|><|image_pad|><|vision_end|>"
    "{{ m['content'][1]['text'] }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
}
EYES = {"depth": 2, "num_heads": 2, "in_chans": 3, "in_channels": 3, "spatial_merge_size": 2, "temporal_patch_size": 2}


def random_scorer(name: str, device: str, folder: Path) -> tuple[Scorer, str]:
    """The scorer `name` of MAKERS and its size in words. folder: an empty one, for tokenizers' files. Raises UserError
    where an asset that the scorer's questions are taken from is missing."""
    make, size = MAKERS[name]
    return make(device, folder), size


def filled(make: Callable[[], nn.Module], device: str) -> nn.Module:
    """The network with vectors of ones and matrices of small uniform numbers, from a generator of its own, in
    float32."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        net = build(make)
    state = {
        key: torch.ones(value.shape) if value.dim() < 2 else (torch.rand(value.shape, generator=generator) - 0.5) / 16
        for key, value in net.state_dict().items()
        if value.is_meta
    }
    net.load_state_dict(state, strict=False, assign=True)
    return net.to(device)


def _clip(device: str, folder: Path) -> Scorer:
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    from bench.scorers.clip_score import ClipScore

    config = CLIPConfig(
        text_config={"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
        vision_config={
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "patch_size": 14,
        },
        projection_dim=768,
    )
    vocabulary = [*LETTERS, *(letter + "</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    _vocabulary(folder, vocabulary)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    return ClipScore(filled(lambda: CLIPModel(config), device), tokenizer, [folder], device, torch.float32)


def _imagereward(device: str, folder: Path) -> Scorer:
    from transformers import BertTokenizer

    from bench.scorers.imagereward import VIT_LARGE, ImageReward, Network

    text = {
        "vocab_size": 30524,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 512,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    tokenizer = BertTokenizer.from_pretrained(folder)
    return ImageReward(filled(lambda: Network(VIT_LARGE, text), device), tokenizer, [folder], device, torch.float32)


def _geneval(device: str, folder: Path) -> Scorer:
    import open_clip
    from transformers import Mask2FormerForUniversalSegmentation

    from bench.scorers.geneval.colours import ARCHITECTURE, Colours
    from bench.scorers.geneval.detector import Detector
    from bench.scorers.geneval.network import official_config
    from bench.scorers.geneval.scorer import GenEvalScorer

    net = filled(lambda: Mask2FormerForUniversalSegmentation(official_config()), device)
    with torch.random.fork_rng(devices=[]):
        clip = open_clip.create_model(ARCHITECTURE, pretrained=None).to(device).eval().requires_grad_(False)
    transform = open_clip.image_transform(clip.visual.image_size, is_train=False)
    colours = Colours(
        clip, open_clip.get_tokenizer(ARCHITECTURE), transform, ["a photo of a {color} {classname}"] * 3, {}, device
    )
    return GenEvalScorer(Detector(net, [f"class {number}" for number in range(80)], {}, device), colours)


def _hpsv3(device: str, folder: Path) -> Scorer:
    from transformers import Qwen2VLConfig

    from bench.scorers.hpsv3 import REWARD, HPSv3, Network

    tokenizer = _qwen(folder, [*QWEN, REWARD])
    config = Qwen2VLConfig.from_dict(
        {
            **SMALL,
            "vocab_size": len(tokenizer),
            "rope_theta": 1e6,
            "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
            "vision_config": {
                **EYES,
                "embed_dim": 32,
                "hidden_size": 64,
                "mlp_ratio": 4,
                "patch_size": 14,
                "spatial_patch_size": 14,
            },
            "image_token_id": tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        }
    )
    return HPSv3(filled(lambda: Network(config), device), tokenizer, [folder, folder], device, torch.float32)


def _unipercept(device: str, folder: Path) -> Scorer:
    from transformers import InternVLForConditionalGeneration

    from bench.scorers.internvl import network_config
    from bench.scorers.unipercept import ANSWERS, UniPercept

    tokenizer = _qwen(
        folder, ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"], ANSWERS
    )
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "norm_type": "layer_norm",
        "layer_norm_eps": 1e-6,
        "hidden_act": "gelu",
        "image_size": 448,
        "patch_size": 14,
        "qkv_bias": True,
        "qk_normalization": False,
    }
    text = {
        **SMALL,
        "architectures": ["Qwen2ForCausalLM"],
        "vocab_size": len(tokenizer),
        "hidden_act": "silu",
        "rope_theta": 1e6,
        "rope_scaling": None,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": 2,
    }
    config = network_config(
        {"vision_config": vision, "llm_config": text}, tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    )
    return UniPercept(
        filled(lambda: InternVLForConditionalGeneration(config), device),
        tokenizer,
        None,
        [folder],
        device,
        torch.float32,
    )


def _unifiedreward(device: str, folder: Path) -> Scorer:
    from transformers import Qwen2VLImageProcessor, Qwen3VLConfig, Qwen3VLForConditionalGeneration

    from bench.scorers.unifiedreward import UnifiedReward

    tokenizer = _qwen(folder, QWEN)
    ids = {
        f"{kind}_token_id": tokenizer.convert_tokens_to_ids(f"<|{token}|>")
        for kind, token in (
            ("image", "image_pad"),
            ("video", "video_pad"),
            ("vision_start", "vision_start"),
            ("vision_end", "vision_end"),
        )
    }
    rope = {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True, "rope_theta": 5e6}
    text = {**SMALL, "vocab_size": len(tokenizer), "head_dim": 16, "rope_scaling": rope, "rope_theta": 5e6}
    config = Qwen3VLConfig(
        text_config=text,
        vision_config={
            **EYES,
            "hidden_size": 32,
            "intermediate_size": 48,
            "out_hidden_size": 64,
            "patch_size": 16,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        **ids,
    )
    images = Qwen2VLImageProcessor(patch_size=16, min_pixels=65536, max_pixels=16777216)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": len(tokenizer) + 1}))
    scorer = UnifiedReward(
        filled(lambda: Qwen3VLForConditionalGeneration(config), device),
        tokenizer,
        images,
        [folder],
        device,
        torch.float32,
    )
    scorer.writing.update(max_new_tokens=60, min_new_tokens=60)
    return scorer


def _vocabulary(folder: Path, tokens: list[str]) -> None:
    (folder / "vocab.json").write_text(
        json.dumps({token: number for number, token in enumerate(tokens)}), encoding="utf-8"
    )
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")


def _qwen(folder: Path, special: list[str], merged: tuple[str, ...] = ()) -> Any:
    """A tokenizer of bytes, the tokens `merged`, and special tokens, with a chat template for a picture and a text."""
    from transformers import Qwen2Tokenizer

    _vocabulary(folder, [*LETTERS, *merged])
    tokenizer = Qwen2Tokenizer.from_pretrained(folder, pad_token=special[0], eos_token=special[2])
    tokenizer.add_tokens(special, special_tokens=True)
    (folder / "chat_template.jinja").write_text(CHAT, encoding="utf-8")
    return tokenizer


MAKERS: dict[str, tuple[Callable[[str, Path], Scorer], str]] = {
    "clip": (_clip, "full size"),
    "imagereward": (_imagereward, "full size"),
    "geneval": (_geneval, "full size"),
    "hpsv3": (_hpsv3, "tiny configuration"),
    "unipercept": (_unipercept, "tiny configuration"),
    "unifiedreward": (_unifiedreward, "tiny configuration, 60 tokens written"),
}
