"""A tiny Mask2Former with a Swin backbone, its weights by MMDetection's names, and the way back to those names."""

import json
import random
import re
from pathlib import Path

import torch
from transformers import Mask2FormerConfig, SwinConfig

from bench.scorers.geneval import network

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "scorers" / "geneval_detector.json").read_text("utf-8"))
"""What mmdet 2.27.0 gave for this network: its keys and shapes, its input, logits and detections."""
SWIN = network.SWIN_S | {"embed_dim": 8, "depths": [1, 2, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 3}
SIZES = network.SIZES | {
    "num_labels": 5, "num_queries": 6, "feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32,
    "encoder_layers": 2, "encoder_feedforward_dim": 48, "decoder_layers": 5, "dim_feedforward": 40,
    "num_attention_heads": 2,
}  # fmt: skip
NAMES = ["cup", "dog", "cat", "bus", "kite"]


def config():
    """The tiny network's sizes."""
    return Mask2FormerConfig(backbone_config=SwinConfig(**SWIN), **SIZES)


def weights(shapes):
    """Weights for these MMDetection keys, from Python's random numbers, which never change: in order of name; norms 1 +
    0.2 n, biases 0.1 n, queries and levels 4 n, matrices n / sqrt(inputs), the classes' 4 n / sqrt(inputs) without a
    bias, the decoder's outputs half of that; n uniform with variance 1. Tables of relative positions as MMDetection
    computes them."""
    draws = random.Random(0)
    state = {}
    for key in sorted(shapes):
        shape = shapes[key]
        if key.endswith("relative_position_index"):
            state[key] = position_table(round(shape[0] ** 0.5))
            continue
        size = torch.Size(shape).numel()
        n = torch.tensor([(draws.random() - 0.5) * 12**0.5 for _ in range(size)]).reshape(shape)
        if key == "panoptic_head.cls_embed.bias":
            n = 0 * n
        elif len(shape) == 1:
            n = 1 + 0.2 * n if key.endswith("weight") else 0.1 * n
        elif "cls_embed" in key:
            n = 4 * n / shape[-1] ** 0.5
        elif "query" in key or "level" in key:
            n = 4 * n
        else:
            n = n / n[0].numel() ** 0.5
        if "transformer_decoder" in key and ("out_proj.weight" in key or "layers.1.weight" in key):
            n = 0.5 * n
        state[key] = n
    return state


def position_table(side):
    """MMDetection's: a sequence of row and column numbers, added to its own reverse."""
    steps = (torch.arange(side) * (2 * side - 1))[:, None] + torch.arange(side)
    steps = steps.reshape(1, -1)
    return (steps + steps.T).flip(1).contiguous()


BACK = (
    (r"model\.pixel_level_module\.encoder\.embeddings\.patch_embeddings\.", "backbone.patch_embed."),
    (r"model\.pixel_level_module\.encoder\.embeddings\.norm", "backbone.patch_embed.norm"),
    (r"model\.pixel_level_module\.encoder\.encoder\.layers\.(\d+)\.", r"backbone.stages.\1."),
    (r"attention\.output\.dense", "attn.w_msa.proj"),
    (r"attention\.self\.", "attn.w_msa."),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
    (r"intermediate\.dense", "ffn.layers.0.0"),
    (r"(blocks\.\d+\.)output\.dense", r"\1ffn.layers.1"),
    (r"model\.pixel_level_module\.encoder\.hidden_states_norms\.stage1", "backbone.norm0"),
    (r"model\.pixel_level_module\.encoder\.hidden_states_norms\.stage2", "backbone.norm1"),
    (r"model\.pixel_level_module\.encoder\.hidden_states_norms\.stage3", "backbone.norm2"),
    (r"model\.pixel_level_module\.encoder\.hidden_states_norms\.stage4", "backbone.norm3"),
    (r"model\.pixel_level_module\.decoder\.(encoder\.layers\.\d+\.)self_attn\.",
     r"panoptic_head.pixel_decoder.\1attentions.0."),
    (r"model\.pixel_level_module\.decoder\.(encoder\.layers\.\d+\.)self_attn_layer_norm",
     r"panoptic_head.pixel_decoder.\1norms.0"),
    (r"model\.pixel_level_module\.decoder\.(encoder\.layers\.\d+\.)final_layer_norm",
     r"panoptic_head.pixel_decoder.\1norms.1"),
    (r"model\.pixel_level_module\.decoder\.(encoder\.layers\.\d+\.)fc1",
     r"panoptic_head.pixel_decoder.\1ffns.0.layers.0.0"),
    (r"model\.pixel_level_module\.decoder\.(encoder\.layers\.\d+\.)fc2",
     r"panoptic_head.pixel_decoder.\1ffns.0.layers.1"),
    (r"model\.pixel_level_module\.decoder\.level_embed", "panoptic_head.pixel_decoder.level_encoding.weight"),
    (r"model\.pixel_level_module\.decoder\.input_projections\.(\d)\.0",
     r"panoptic_head.pixel_decoder.input_convs.\1.conv"),
    (r"model\.pixel_level_module\.decoder\.input_projections\.(\d)\.1",
     r"panoptic_head.pixel_decoder.input_convs.\1.gn"),
    (r"model\.pixel_level_module\.decoder\.adapter_1\.0", "panoptic_head.pixel_decoder.lateral_convs.0.conv"),
    (r"model\.pixel_level_module\.decoder\.adapter_1\.1", "panoptic_head.pixel_decoder.lateral_convs.0.gn"),
    (r"model\.pixel_level_module\.decoder\.layer_1\.0", "panoptic_head.pixel_decoder.output_convs.0.conv"),
    (r"model\.pixel_level_module\.decoder\.layer_1\.1", "panoptic_head.pixel_decoder.output_convs.0.gn"),
    (r"model\.pixel_level_module\.decoder\.mask_projection", "panoptic_head.pixel_decoder.mask_feature"),
    (r"model\.transformer_module\.queries_embedder", "panoptic_head.query_embed"),
    (r"model\.transformer_module\.queries_features", "panoptic_head.query_feat"),
    (r"model\.transformer_module\.level_embed", "panoptic_head.level_embed"),
    (r"model\.transformer_module\.decoder\.(layers\.\d+\.)cross_attn\.",
     r"panoptic_head.transformer_decoder.\1attentions.0.attn."),
    (r"model\.transformer_module\.decoder\.(layers\.\d+\.)self_attn\.",
     r"panoptic_head.transformer_decoder.\1attentions.1.attn."),
    (r"model\.transformer_module\.decoder\.(layers\.\d+\.)cross_attn_layer_norm",
     r"panoptic_head.transformer_decoder.\1norms.0"),
    (r"model\.transformer_module\.decoder\.(layers\.\d+\.)self_attn_layer_norm",
     r"panoptic_head.transformer_decoder.\1norms.1"),
    (r"model\.transformer_module\.decoder\.(layers\.\d+\.)final_layer_norm",
     r"panoptic_head.transformer_decoder.\1norms.2"),
    (r"model\.transformer_module\.decoder\.(layers\.\d+\.)fc1",
     r"panoptic_head.transformer_decoder.\1ffns.0.layers.0.0"),
    (r"model\.transformer_module\.decoder\.(layers\.\d+\.)fc2", r"panoptic_head.transformer_decoder.\1ffns.0.layers.1"),
    (r"model\.transformer_module\.decoder\.layernorm", "panoptic_head.transformer_decoder.post_norm"),
    (r"model\.transformer_module\.decoder\.mask_predictor\.mask_embedder\.0\.0", "panoptic_head.mask_embed.0"),
    (r"model\.transformer_module\.decoder\.mask_predictor\.mask_embedder\.1\.0", "panoptic_head.mask_embed.2"),
    (r"model\.transformer_module\.decoder\.mask_predictor\.mask_embedder\.2\.0", "panoptic_head.mask_embed.4"),
    (r"class_predictor", "panoptic_head.cls_embed"),
)  # fmt: skip


def to_mmdet(published, window):
    """The inverse of convert: transformers' published keys -> MMDetection's, the packs packed, the blocks channel by
    channel."""
    state, packs = {}, {}
    for key, value in published.items():
        name = key
        for pattern, replacement in BACK:
            name = re.sub(pattern, replacement, name)
        if ".downsample." in name:  # pixel by pixel, column by column -> channel by channel, row by row
            value = value.reshape(*value.shape[:-1], 2, 2, -1)  # column, row, channel
            value = value.movedim((-3, -2, -1), (-1, -2, -3)).flatten(-3)
        part = re.fullmatch(
            r"(.*)(w_msa\.|attentions\.1\.attn\.)(query|key|value|q_proj|k_proj|v_proj)\.(weight|bias)", name
        )
        if part:
            packed = "qkv." if part[2] == "w_msa." else "in_proj_"
            packs.setdefault(f"{part[1]}{part[2]}{packed}{part[4]}", {})[part[3][0]] = value
        else:
            state[name] = value
    for name, parts in packs.items():
        state[name] = torch.cat([parts[letter] for letter in "qkv"])
    for name in [name for name in state if name.endswith("relative_position_bias_table")]:
        state[name.replace("bias_table", "index")] = position_table(window)
    return state
