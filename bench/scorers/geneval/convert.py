"""MMDetection's Mask2Former weights under the names that transformers' published Mask2Former weights have, key by key.

The two are the same network. Three things differ beside the names: MMDetection packs query, key and value of the
backbone's attention and of the decoder's self-attention into one tensor; its patch merging takes a 2 x 2 block channel
by channel, pixels row by row, where transformers takes it pixel by pixel, column by column; and it stores the
backbone's table of relative positions, which is computed here. Names after mmdet 2.27.0, whose class was run beside
transformers' with the same random weights (tests/golden/scorers/geneval_detector.json).
"""

import re

import torch
from torch import Tensor

from htgrpo.base.errors import UserError

BACKBONE, DECODER, HEAD = (
    "model.pixel_level_module.encoder",
    "model.pixel_level_module.decoder",
    "model.transformer_module",
)
_BLOCK = r"backbone\.stages\.(\d+)\.blocks\.(\d+)\."
_ENCODER = r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\."
_LAYER = r"panoptic_head\.transformer_decoder\.layers\.(\d+)\."
RENAMES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"backbone\.patch_embed\.projection", rf"{BACKBONE}.embeddings.patch_embeddings.projection"),
        (r"backbone\.patch_embed\.norm", rf"{BACKBONE}.embeddings.norm"),
        (rf"{_BLOCK}attn\.w_msa\.proj", rf"{BACKBONE}.encoder.layers.\1.blocks.\2.attention.output.dense"),
        (rf"{_BLOCK}attn\.w_msa\.", rf"{BACKBONE}.encoder.layers.\1.blocks.\2.attention.self."),
        (rf"{_BLOCK}norm1", rf"{BACKBONE}.encoder.layers.\1.blocks.\2.layernorm_before"),
        (rf"{_BLOCK}norm2", rf"{BACKBONE}.encoder.layers.\1.blocks.\2.layernorm_after"),
        (rf"{_BLOCK}ffn\.layers\.0\.0", rf"{BACKBONE}.encoder.layers.\1.blocks.\2.intermediate.dense"),
        (rf"{_BLOCK}ffn\.layers\.1", rf"{BACKBONE}.encoder.layers.\1.blocks.\2.output.dense"),
        (r"backbone\.stages\.(\d+)\.downsample\.", rf"{BACKBONE}.encoder.layers.\1.downsample."),
        (r"backbone\.norm(\d)", lambda found: f"{BACKBONE}.hidden_states_norms.stage{int(found[1]) + 1}"),
        (r"panoptic_head\.pixel_decoder\.input_convs\.(\d+)\.conv", rf"{DECODER}.input_projections.\1.0"),
        (r"panoptic_head\.pixel_decoder\.input_convs\.(\d+)\.gn", rf"{DECODER}.input_projections.\1.1"),
        (rf"{_ENCODER}attentions\.0", rf"{DECODER}.encoder.layers.\1.self_attn"),
        (rf"{_ENCODER}ffns\.0\.layers\.0\.0", rf"{DECODER}.encoder.layers.\1.fc1"),
        (rf"{_ENCODER}ffns\.0\.layers\.1", rf"{DECODER}.encoder.layers.\1.fc2"),
        (rf"{_ENCODER}norms\.0", rf"{DECODER}.encoder.layers.\1.self_attn_layer_norm"),
        (rf"{_ENCODER}norms\.1", rf"{DECODER}.encoder.layers.\1.final_layer_norm"),
        (r"panoptic_head\.pixel_decoder\.level_encoding\.weight", rf"{DECODER}.level_embed"),
        (r"panoptic_head\.pixel_decoder\.lateral_convs\.0\.conv", rf"{DECODER}.adapter_1.0"),
        (r"panoptic_head\.pixel_decoder\.lateral_convs\.0\.gn", rf"{DECODER}.adapter_1.1"),
        (r"panoptic_head\.pixel_decoder\.output_convs\.0\.conv", rf"{DECODER}.layer_1.0"),
        (r"panoptic_head\.pixel_decoder\.output_convs\.0\.gn", rf"{DECODER}.layer_1.1"),
        (r"panoptic_head\.pixel_decoder\.mask_feature", rf"{DECODER}.mask_projection"),
        (rf"{_LAYER}attentions\.0\.attn", rf"{HEAD}.decoder.layers.\1.cross_attn"),
        (rf"{_LAYER}attentions\.1\.attn", rf"{HEAD}.decoder.layers.\1.self_attn"),
        (rf"{_LAYER}ffns\.0\.layers\.0\.0", rf"{HEAD}.decoder.layers.\1.fc1"),
        (rf"{_LAYER}ffns\.0\.layers\.1", rf"{HEAD}.decoder.layers.\1.fc2"),
        (rf"{_LAYER}norms\.0", rf"{HEAD}.decoder.layers.\1.cross_attn_layer_norm"),
        (rf"{_LAYER}norms\.1", rf"{HEAD}.decoder.layers.\1.self_attn_layer_norm"),
        (rf"{_LAYER}norms\.2", rf"{HEAD}.decoder.layers.\1.final_layer_norm"),
        (r"panoptic_head\.transformer_decoder\.post_norm", rf"{HEAD}.decoder.layernorm"),
        (r"panoptic_head\.query_embed", rf"{HEAD}.queries_embedder"),
        (r"panoptic_head\.query_feat", rf"{HEAD}.queries_features"),
        (r"panoptic_head\.level_embed", rf"{HEAD}.level_embed"),
        (r"panoptic_head\.cls_embed", "class_predictor"),
        (
            r"panoptic_head\.mask_embed\.(\d)",
            lambda found: f"{HEAD}.decoder.mask_predictor.mask_embedder.{int(found[1]) // 2}.0",
        ),
    )
)
PACKS = (
    (re.compile(r"(.*\.attention\.self\.)qkv\.(weight|bias)"), ("query", "key", "value")),
    (re.compile(r"(.*\.decoder\.layers\.\d+\.self_attn\.)in_proj_(weight|bias)"), ("q_proj", "k_proj", "v_proj")),
)
"""Packed query, key and value. The cross-attention stays packed in transformers too."""
MERGED = re.compile(r".*\.downsample\.(norm\.weight|norm\.bias|reduction\.weight)")
TABLE = ".relative_position_index"


def convert(state: dict[str, Tensor], place: str) -> dict[str, Tensor]:
    """MMDetection's state dict -> the same weights under transformers' published names. place: what a sentence calls
    the file.

    Raises UserError for a key that MMDetection's Mask2Former with a Swin backbone does not have. Whether any is missing
    shows when the network is filled.
    """
    converted: dict[str, Tensor] = {}
    for key, value in state.items():
        name = _renamed(key, place)
        if name.endswith(TABLE):
            _check_table(key, value, place)
            continue
        if MERGED.fullmatch(name):
            value = by_pixel(value)
        for pack, parts in PACKS:
            if found := pack.fullmatch(name):
                converted |= {
                    f"{found[1]}{part}.{found[2]}": piece.clone() for part, piece in zip(parts, value.chunk(3))
                }
                break
        else:
            converted[name] = value
    return converted


def _renamed(key: str, place: str) -> str:
    for pattern, replacement in RENAMES:
        if found := pattern.match(key):
            return (replacement(found) if callable(replacement) else found.expand(replacement)) + key[found.end() :]
    raise UserError(
        f"{place} has the unexpected key {key!r}: it is not a Mask2Former with a Swin backbone from MMDetection; give "
        "GenEval's detector, `python -m bench.fetch geneval_detector`"
    )


def by_pixel(value: Tensor) -> Tensor:
    """[..., 4c] with index 4 * channel + 2 * row + column -> [..., 4c] with index c * (row + 2 * column) + channel."""
    channels = value.shape[-1] // 4
    blocks = value.reshape(*value.shape[:-1], channels, 4)[..., [0, 2, 1, 3]]
    return blocks.transpose(-1, -2).reshape(value.shape).clone()


def _check_table(key: str, value: Tensor, place: str) -> None:
    """Raises UserError unless `value` int64 [n, n] numbers the relative positions in a square window as transformers
    computes them."""
    side = round(value.shape[0] ** 0.5)
    row, column = (part.flatten() for part in torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"))
    expected = (row[:, None] - row + side - 1) * (2 * side - 1) + column[:, None] - column + side - 1
    if value.shape != expected.shape or not torch.equal(value.cpu(), expected):
        raise UserError(
            f"{key!r} in {place} numbers relative positions in another order than this network: use GenEval's detector"
        )
