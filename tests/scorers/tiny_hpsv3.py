"""A random HPSv3 checkpoint with the published layout, small, and the folder of its base model."""

import json

from safetensors.torch import save_file

from tests.scorers.tiny import draw, linear, norm, qwen2, write_byte_tokenizer, write_json

ADDED = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
]  # fmt: skip
TEXT = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "hidden_act": "silu", "rms_norm_eps": 1e-6, "max_position_embeddings": 32768,
    "rope_theta": 1000000.0, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
    "use_sliding_window": False, "sliding_window": 32768, "max_window_layers": 3, "attention_dropout": 0.0,
    "initializer_range": 0.02, "tie_word_embeddings": False,
}  # fmt: skip
VISION = {
    "depth": 2, "embed_dim": 32, "num_heads": 2, "mlp_ratio": 4, "hidden_size": 64, "in_chans": 3, "patch_size": 14,
    "spatial_merge_size": 2, "spatial_patch_size": 14, "temporal_patch_size": 2,
}  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% for content in message['content'] %}{% if content['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VOCAB = 256 + len(ADDED)


def shapes(vocab):
    """Key -> shape, under the published names, for a tokenizer of that length."""
    width, seen = TEXT["hidden_size"], VISION["embed_dim"]
    keys = qwen2("model", 3, width, TEXT["intermediate_size"], 4, 2, vocab) | linear(
        "lm_head", vocab, width, bias=False
    )
    keys |= {"visual.patch_embed.proj.weight": (seen, 3, 2, 14, 14)} | norm("visual.merger.ln_q", seen)
    keys |= linear("visual.merger.mlp.0", 4 * seen, 4 * seen) | linear("visual.merger.mlp.2", width, 4 * seen)
    for layer in range(VISION["depth"]):
        at = f"visual.blocks.{layer}"
        keys |= norm(f"{at}.norm1", seen) | norm(f"{at}.norm2", seen)
        keys |= linear(f"{at}.attn.qkv", 3 * seen, seen) | linear(f"{at}.attn.proj", seen, seen)
        keys |= linear(f"{at}.mlp.fc1", 4 * seen, seen) | linear(f"{at}.mlp.fc2", seen, 4 * seen)
    sizes = [width, 1024, 16, 2]
    for layer, rows, columns in zip((0, 3, 5), sizes[1:], sizes):
        keys |= linear(f"rm_head.{layer}", rows, columns)
    return keys


def tiny_checkpoint(folder, generator):
    """Writes HPSv3.safetensors into `folder` and the base model's configuration and tokenizer into its subfolder
    Qwen2-VL-7B-Instruct; returns the state."""
    base = folder / "Qwen2-VL-7B-Instruct"
    base.mkdir(parents=True, exist_ok=True)
    state = draw(shapes(VOCAB + 1), generator)
    save_file(state, folder / "HPSv3.safetensors", {"format": "pt"})
    number = {token: 256 + place for place, token in enumerate(ADDED)}
    write_json(
        base / "config.json",
        TEXT
        | {
            "architectures": ["Qwen2VLForConditionalGeneration"],
            "model_type": "qwen2_vl",
            "torch_dtype": "bfloat16",
            "vocab_size": VOCAB + 12,  # the base model's embedding is longer than its tokenizer
            "bos_token_id": number["<|endoftext|>"],
            "eos_token_id": number["<|im_end|>"],
            "vision_start_token_id": number["<|vision_start|>"],
            "vision_end_token_id": number["<|vision_end|>"],
            "vision_token_id": number["<|image_pad|>"],
            "image_token_id": number["<|image_pad|>"],
            "video_token_id": number["<|video_pad|>"],
            "vision_config": VISION,
        },
    )
    write_byte_tokenizer(base, ADDED)
    write_json(base / "chat_template.json", {"chat_template": TEMPLATE})
    write_json(
        base / "preprocessor_config.json",
        {
            "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2VLProcessor",
            "min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2,
            "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
        },
    )  # fmt: skip
    write_fast_tokenizer(base)
    return state


def write_fast_tokenizer(base, merges=()):
    """tokenizer.json of the same tokenizer; merges: pairs of tokens that become one, the first first."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.BPE(json.loads((base / "vocab.json").read_text("utf-8")), list(merges)))
    tokenizer.normalizer = normalizers.NFC()
    words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in ADDED])
    tokenizer.save(str(base / "tokenizer.json"))
