"""InternVL's published configuration and keys, in the terms of transformers' own InternVL classes."""

from typing import TYPE_CHECKING, Any

from bench.scorers.weights import Origin, renaming
from htgrpo.base.errors import UserError

if TYPE_CHECKING:
    from transformers import InternVLConfig

ONLY = {"select_layer": (-1,), "ps_version": ("v2",), "use_backbone_lora": (0, None), "use_llm_lora": (0, None)}
"""The settings for which those classes compute what the published code computes."""
PARTS = {"q_proj": 0, "k_proj": 1, "v_proj": 2}
# fmt: off
VISION = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "norm_type", "layer_norm_eps",
    "hidden_act",
)
TEXT = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "hidden_act", "max_position_embeddings", "rms_norm_eps", "rope_theta", "rope_scaling",
    "use_sliding_window", "sliding_window", "max_window_layers",
)
# fmt: on

_renamed = renaming(
    (r"^lm_head\.", "language_model.lm_head."),
    (r"^model\.language_model\.", "language_model.model."),
    (r"^model\.multi_modal_projector\.layer_norm\.", "mlp1.0."),
    (r"^model\.multi_modal_projector\.linear_1\.", "mlp1.1."),
    (r"^model\.multi_modal_projector\.linear_2\.", "mlp1.3."),
    (r"^model\.vision_tower\.", "vision_model."),
    (r"^(vision_model\.embeddings)\.cls_token", r"\1.class_embedding"),
    (r"^(vision_model\.embeddings)\.patch_embeddings\.projection", r"\1.patch_embedding"),
    (r"^(vision_model\.embeddings)\.position_embeddings", r"\1.position_embedding"),
    (r"^vision_model\.encoder\.layer\.", "vision_model.encoder.layers."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.lambda_([12])$", r".ls\1"),
    (r"\.attention\.projection_layer\.", ".attn.proj."),
    (r"\.attention\.([qk])_norm\.", r".attn.\1_norm."),
)


def official(key: str) -> Origin:
    """The published key of one of ours: the picture encoder's queries, keys and values lie in one tensor there."""
    before, between, after = key.partition(".attention.")
    name, _, kind = after.partition(".")
    if between and name in PARTS:
        return f"{_renamed(before)}.attn.qkv.{kind}", PARTS[name], 3
    return _renamed(key)


def network_config(published: dict[str, Any], image_token: int | None) -> "InternVLConfig":
    """The configuration of a published InternVL chat model. Raises UserError for settings that its network has here no
    part for."""
    from transformers import InternVLConfig

    vision, text = published.get("vision_config"), published.get("llm_config")
    if not isinstance(vision, dict) or not isinstance(text, dict) or image_token is None:
        raise UserError(
            'config.json describes no InternVL chat model (it lacks "vision_config" or "llm_config", or its '
            "tokenizer lacks <IMG_CONTEXT>): use the published files"
        )
    for key, accepted in ONLY.items():
        if published.get(key, accepted[0]) not in accepted:
            raise _refusal(key, published[key], accepted[0])
    if text.get("architectures") != ["Qwen2ForCausalLM"]:
        raise _refusal("the language model", text.get("architectures"), ["Qwen2ForCausalLM"])
    for key in (*VISION, "image_size", "patch_size", "qkv_bias", "qk_normalization"):
        if key not in vision:
            raise UserError(f'config.json lacks {key!r} in its "vision_config": use the published files')
    side, patch, ratio = vision["image_size"], vision["patch_size"], published.get("downsample_ratio", 0.5)
    if (published.get("force_image_size") or side) != side:
        raise _refusal("force_image_size", published["force_image_size"], side)
    return InternVLConfig(
        vision_config={key: vision[key] for key in VISION}
        | {
            "attention_bias": vision["qkv_bias"],
            "use_qk_norm": vision["qk_normalization"],
            "image_size": [side, side],
            "patch_size": [patch, patch],
            "use_mean_pooling": True,  # with it no final norm is built, which the published encoder does not have
        },
        text_config={"model_type": "qwen2"} | {key: text[key] for key in TEXT if key in text},
        image_token_id=image_token,
        image_seq_length=int((side // patch) ** 2 * ratio**2),
        downsample_ratio=ratio,
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )


def _refusal(what: str, seen: Any, accepted: Any) -> UserError:
    return UserError(f"config.json says {what} {seen!r}, but only {accepted!r} is known: use the published files")
