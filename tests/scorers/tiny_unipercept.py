"""A random UniPercept checkpoint with the published layout, small."""

from safetensors.torch import save_file

from tests.scorers.tiny import draw, linear, norm, qwen2, write_byte_tokenizer, write_json

ADDED = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"]
ANSWERS = [
    first + chr(ord("a") + number)
    for first, count in (("a", 26), ("c", 25), ("d", 25), ("e", 25))
    for number in range(count)
]
VISION = {
    "architectures": ["InternVisionModel"], "model_type": "intern_vit_6b", "hidden_size": 32, "intermediate_size": 64,
    "num_hidden_layers": 2, "num_attention_heads": 2, "qkv_bias": True, "qk_normalization": False,
    "norm_type": "layer_norm", "layer_norm_eps": 1e-6, "hidden_act": "gelu", "image_size": 56, "patch_size": 14,
    "num_channels": 3, "dropout": 0.0, "drop_path_rate": 0.0, "attention_dropout": 0.0, "initializer_factor": 1.0,
    "use_flash_attn": False,
}  # fmt: skip
LANGUAGE = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 64, "intermediate_size": 96,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu",
    "rms_norm_eps": 1e-6, "max_position_embeddings": 32768, "rope_theta": 1000000.0,
    "rope_scaling": {"factor": 2.0, "rope_type": "dynamic", "type": "dynamic"}, "use_sliding_window": False,
    "sliding_window": None, "max_window_layers": 3, "attention_dropout": 0.0, "tie_word_embeddings": False,
    "top_k": 50, "torch_dtype": "bfloat16", "vocab_size": 256 + len(ANSWERS) + len(ADDED) + 5,
}  # fmt: skip


def shapes():
    """Key -> shape, under the published names."""
    width, seen, vocab = LANGUAGE["hidden_size"], VISION["hidden_size"], LANGUAGE["vocab_size"]
    keys = qwen2("language_model.model", 3, width, LANGUAGE["intermediate_size"], 4, 2, vocab)
    keys |= linear("language_model.lm_head", vocab, width, bias=False)
    at = "vision_model.embeddings"
    keys |= {f"{at}.class_embedding": (1, 1, seen), f"{at}.position_embedding": (1, 17, seen)}
    keys |= {f"{at}.patch_embedding.weight": (seen, 3, 14, 14), f"{at}.patch_embedding.bias": (seen,)}
    for layer in range(VISION["num_hidden_layers"]):
        at = f"vision_model.encoder.layers.{layer}"
        keys |= norm(f"{at}.norm1", seen) | norm(f"{at}.norm2", seen) | {f"{at}.ls1": (seen,), f"{at}.ls2": (seen,)}
        keys |= linear(f"{at}.attn.qkv", 3 * seen, seen) | linear(f"{at}.attn.proj", seen, seen)
        keys |= linear(f"{at}.mlp.fc1", 64, seen) | linear(f"{at}.mlp.fc2", seen, 64)
    return keys | norm("mlp1.0", 4 * seen) | linear("mlp1.1", width, 4 * seen) | linear("mlp1.3", width, width)


def tiny_checkpoint(folder, generator, answers=tuple(ANSWERS)):
    """Writes two model-0000x-of-00002.safetensors with their index, config.json and the tokenizer into `folder`;
    returns the state."""
    folder.mkdir(parents=True, exist_ok=True)
    state = draw(shapes(), generator)
    state["language_model.lm_head.weight"] *= 4  # so that answers differ, as a trained model's do
    keys, where = sorted(state), {}
    for part, names in enumerate((keys[::2], keys[1::2]), 1):
        file = f"model-0000{part}-of-00002.safetensors"
        save_file({key: state[key] for key in names}, folder / file, {"format": "pt"})
        where |= dict.fromkeys(names, file)
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": where})
    write_json(
        folder / "config.json",
        {
            "architectures": ["InternVLChatModel"], "model_type": "internvl_chat", "template": "internvl2_5",
            "select_layer": -1, "ps_version": "v2", "downsample_ratio": 0.5, "force_image_size": 56,
            "dynamic_image_size": True, "use_thumbnail": True, "use_backbone_lora": 0, "use_llm_lora": 0,
            "pad2square": False, "torch_dtype": "bfloat16", "hidden_size": 64, "tie_word_embeddings": False,
            "vision_config": VISION, "llm_config": LANGUAGE,
        },
    )  # fmt: skip
    write_byte_tokenizer(folder, ADDED, merged=answers, unk_token=None, bos_token=None)
    return state
