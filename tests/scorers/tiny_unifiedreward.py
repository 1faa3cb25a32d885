"""Random UnifiedReward checkpoints in the layout of the hub, small: of Qwen2.5-VL as older and newer versions write it,
and of Qwen3-VL."""

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from tests.scorers.tiny import draw, write_byte_tokenizer, write_json
from tests.scorers.tiny_hpsv3 import ADDED, TEMPLATE, VOCAB, write_fast_tokenizer

IDS = {
    name: 256 + ADDED.index(token)
    for name, token in (
        ("vision_start_token_id", "<|vision_start|>"),
        ("vision_end_token_id", "<|vision_end|>"),
        ("image_token_id", "<|image_pad|>"),
        ("video_token_id", "<|video_pad|>"),
    )
}
TEXT = {
    "vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
}  # fmt: skip


def old_config(tied=False):
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1000000.0}
    vision = {
        "depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "out_hidden_size": 64,
        "patch_size": 14, "fullatt_block_indexes": [1], "window_size": 56,
    }  # fmt: skip
    return Qwen2_5_VLConfig(
        text_config={**TEXT, "rope_scaling": rope, "rope_theta": 1000000.0, "tie_word_embeddings": tied},
        vision_config=vision,
        tie_word_embeddings=tied,
        **IDS,
    )


def new_config(tied=False):
    rope = {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True, "rope_theta": 5000000.0}
    vision = {
        "depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "out_hidden_size": 64,
        "patch_size": 16, "deepstack_visual_indexes": [0], "num_position_embeddings": 64,
    }  # fmt: skip
    return Qwen3VLConfig(
        text_config={
            **TEXT, "head_dim": 16, "rope_scaling": rope, "rope_theta": 5000000.0, "tie_word_embeddings": tied,
        },
        vision_config=vision,
        tie_word_embeddings=tied,
        **IDS,
    )  # fmt: skip


CLASSES = {
    "qwen2_5_vl": (Qwen2_5_VLForConditionalGeneration, old_config, 14),
    "qwen3_vl": (Qwen3VLForConditionalGeneration, new_config, 16),
}


def write_checkpoint(folder, kind, older=False, tied=False, penalty=1.0):
    """Writes a checkpoint of that kind into `folder` and returns the network that wrote it. older: with the keys of
    before 4.52."""
    make, configure, patch = CLASSES[kind]
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        net = make(configure(tied)).eval()
    generator = torch.Generator().manual_seed(7)
    state = {key: value.shape for key, value in net.state_dict().items() if not (tied and key == "lm_head.weight")}
    net.load_state_dict(draw({key: tuple(shape) for key, shape in state.items()}, generator), strict=False)
    net.tie_weights()
    net.save_pretrained(folder)
    if older:
        file = folder / "model.safetensors"
        rename = {"model.visual.": "visual.", "model.language_model.": "model."}
        weights = {
            next((new + key.removeprefix(old) for old, new in rename.items() if key.startswith(old)), key): value
            for key, value in load_file(file).items()
        }
        save_file(weights, file, {"format": "pt"})
    write_json(
        folder / "generation_config.json",
        {
            "do_sample": True, "temperature": 0.1, "top_k": 5, "repetition_penalty": penalty,
            "eos_token_id": [IDS["image_token_id"] - 3], "pad_token_id": 256,
        },
    )  # fmt: skip
    Qwen2VLImageProcessor(patch_size=patch, min_pixels=56 * 56, max_pixels=12845056).save_pretrained(folder)
    write_byte_tokenizer(folder, ADDED)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    write_fast_tokenizer(folder)
    return net
