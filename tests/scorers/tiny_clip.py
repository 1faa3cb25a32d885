"""A random CLIP checkpoint with the published layout, small."""

import torch
from safetensors.torch import save_file

from tests.scorers.tiny import byte_letters, draw, linear, norm, write_json

SIZES = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
    "projection_dim": 48, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "attention_dropout": 0.0,
}  # fmt: skip
VOCAB = 514


def shapes():
    """Key -> shape, under the published names."""
    width, wide = SIZES["hidden_size"], SIZES["intermediate_size"]
    at = "vision_model.embeddings"
    keys = {
        f"{at}.class_embedding": (width,),
        f"{at}.patch_embedding.weight": (width, 3, 14, 14),
        f"{at}.position_embedding.weight": (26, width),
        "text_model.embeddings.token_embedding.weight": (VOCAB, width),
        "text_model.embeddings.position_embedding.weight": (77, width),
        "logit_scale": (),
    }
    keys |= norm("vision_model.pre_layrnorm", width) | norm("vision_model.post_layernorm", width)
    keys |= norm("text_model.final_layer_norm", width)
    keys |= linear("visual_projection", 48, width, bias=False) | linear("text_projection", 48, width, bias=False)
    for tower in ("vision_model", "text_model"):
        for layer in range(SIZES["num_hidden_layers"]):
            at = f"{tower}.encoder.layers.{layer}"
            for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                keys |= linear(f"{at}.self_attn.{name}", width, width)
            keys |= norm(f"{at}.layer_norm1", width) | norm(f"{at}.layer_norm2", width)
            keys |= linear(f"{at}.mlp.fc1", wide, width) | linear(f"{at}.mlp.fc2", width, wide)
    return keys


def tiny_checkpoint(folder, generator):
    """Writes model.safetensors, config.json and the tokenizer's and processor's files into `folder`; returns the
    state."""
    folder.mkdir(parents=True, exist_ok=True)
    state = draw(shapes(), generator)
    state["text_model.embeddings.position_ids"] = torch.arange(77).unsqueeze(0)
    state["vision_model.embeddings.position_ids"] = torch.arange(26).unsqueeze(0)
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    text = SIZES | {
        "vocab_size": VOCAB, "max_position_embeddings": 77, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
    }  # fmt: skip
    write_json(
        folder / "config.json",
        {
            "architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": 48,
            "logit_scale_init_value": 2.6592, "text_config": text | {"model_type": "clip_text_model"},
            "torch_dtype": "float32",
            "vision_config": SIZES
            | {"model_type": "clip_vision_model", "image_size": 70, "patch_size": 14, "num_channels": 3},
        },
    )  # fmt: skip
    (folder / "merges.txt").write_text("#version: 0.2\n")
    vocab = {}
    letters = byte_letters()
    for token in [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]:
        vocab[token] = len(vocab)
    write_json(folder / "vocab.json", vocab)
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "CLIPTokenizer", "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>",
            "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "model_max_length": 77, "do_lower_case": True,
        },
    )  # fmt: skip
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor", "do_resize": True, "size": {"shortest_edge": 70},
            "resample": 3, "do_center_crop": True, "crop_size": {"height": 70, "width": 70}, "do_normalize": True,
            "do_rescale": True, "do_convert_rgb": True, "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
        },
    )  # fmt: skip
    return state
