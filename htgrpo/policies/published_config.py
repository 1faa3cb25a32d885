"""What the folders of the published backbones say of themselves, as data: sizes, configuration, tokens. Imports no torch."""

from typing import Any

SIZES = {"d_model": (8, 4096), "n_heads": (2, 32), "n_layers": (2, 32), "mlp_hidden_size": (24, 12288)}
"""Of the network: with --tiny, and published."""
TINY_RESOLUTION = "64"
CONFIG = {
    "block_type": "llama", "activation_type": "silu", "layer_norm_type": "rms", "rms_norm_eps": 1e-5,
    "layer_norm_with_affine": True, "bias_for_layer_norm": False, "attention_layer_norm": False,
    "attention_layer_norm_with_affine": True, "rope": True, "rope_full_precision": True, "rope_theta": 500000.0,
    "alibi": False, "alibi_bias_max": 8.0, "include_bias": False, "include_qkv_bias": False, "weight_tying": False,
    "scale_logits": False, "input_emb_norm": False, "attention_dropout": 0.0, "residual_dropout": 0.0,
    "embedding_dropout": 0.0, "flash_attention": False, "block_group_size": 1, "mlp_ratio": 4,
    "multi_query_attention": None, "max_sequence_length": 4096, "init_fn": "mitchell", "init_std": 0.02,
    "init_cutoff_factor": None, "init_device": "meta", "precision": "amp_bf16", "use_cache": False,
    "eos_token_id": 126081, "pad_token_id": 126081, "mask_token_id": 126336, "torch_dtype": "bfloat16",
}  # fmt: skip
"""Fields of the published config.json besides the sizes."""
NAMES: dict[str, dict[str, Any]] = {
    "mmada": {
        "model_type": "mmada", "architectures": ["MMadaModelLM"], "llm_vocab_size": 126464, "codebook_size": 8192,
        "new_vocab_size": 134656, "num_new_special_tokens": 0, "num_vq_tokens": 1024,
    },
    "lumina-dimoo": {"model_type": "llada", "architectures": ["LLaDAForMultiModalGeneration"]},
}  # fmt: skip
"""Fields that one backbone has and the other has not."""
TEMPLATE_TOKENS = {
    "lumina-dimoo": {
        "<|startoftext|>": 126080, "<|endoftext|>": 126081, "<system>": 126085, "</system>": 126086, "<user>": 126087,
        "</user>": 126088, "<IMAGE>": 126349, "</IMAGE>": 126350, "<answer>": 126354, "</answer>": 126355,
    },
}  # fmt: skip
"""Further strings that the made tokenizer knows; which ids the first six really have is not published."""
