"""Published weights: folders and hub snapshots as the backbones' authors lay them out, read with every doubt settled.

Sizes come from the tensors. What the configuration, the tokenizer and the backbone's record say must agree with them,
and the first disagreement is a sentence: a wrong id or a wrong vocabulary would go unnoticed and give noise.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from htgrpo.base.errors import UserError
from htgrpo.base.folders import FILE, verify
from htgrpo.policies.backbone import Backbone
from htgrpo.policies.llada import LLaDA, Size
from htgrpo.policies.model_files import CONFIG, HUB_ID, SIDECAR, ModelFolder, hub_snapshot
from htgrpo.policies.policy import Policy, Source
from htgrpo.policies.tokenizer import PublishedTokenizer
from htgrpo.policies.weights import TensorFiles, check_shapes, fill, save_weights, shapes_of

SMALL_CODEC = 1 << 30
"""A codec of at most so many bytes, found in the policy's own folder, is written again with it; a greater one is
referred to."""


@dataclass(frozen=True)
class Published:
    """What is known of a published backbone. hub: id of its weights and tokenizer. rows: of embedding and head. tokens:
    strings that must be one token, and its id. tokenizer_lengths: numbers of ids the tokenizer may have. codec:
    subfolder of the weights, or hub id. load_codec: reads the codec in a local folder to a device."""

    backbone: Backbone
    hub: str
    rows: int
    tokens: dict[str, int]
    tokenizer_lengths: range
    codec: str
    load_codec: Callable[[Path, str], Any]


@dataclass(frozen=True)
class NetworkConfig:
    """The fields of a published config.json that say which network it is; every other is ignored, and LLaDA-8B's values
    stand for missing ones. The first three cannot be read from the tensors. Sizes: None where the file does not say."""

    n_heads: int = 32
    rope_theta: float = 500_000.0
    rms_norm_eps: float = 1e-5
    n_kv_heads: int | None = None
    d_model: int | None = None
    n_layers: int | None = None
    mlp_hidden_size: int | None = None
    embedding_size: int | None = None

    @classmethod
    def read(cls, model: ModelFolder) -> "NetworkConfig":
        """Reads `model`'s configuration. Raises UserError naming the first field that describes another kind of
        network."""
        where = repr(str(model.path / CONFIG))
        for key, wanted in FIXED.items():
            if (value := model.config.get(key)) is not None and value != wanted:
                raise UserError(
                    f"{key} is {value!r} in {where}, but only networks with {wanted!r} are known here: this is another "
                    "model than the published backbones"
                )
        values: dict[str, Any] = {}
        for field in fields(cls):
            value = model.config.get(field.name, field.default)
            kinds = (int, float) if isinstance(field.default, float) else (int,)
            if value is not None and (not isinstance(value, kinds) or isinstance(value, bool) or value <= 0):
                raise UserError(
                    f"{field.name} is {value!r} in {where}, but it must be a number above 0: use the config.json "
                    "published with the weights"
                )
            values[field.name] = field.default if value is None else value
        config = cls(**values)
        if config.n_kv_heads not in (None, config.n_heads):
            raise UserError(
                f"n_kv_heads is {config.n_kv_heads} and n_heads {config.n_heads} in {where}, but grouped attention is "
                "not known here: this is another model than the published backbones"
            )
        return config


FIXED = {
    "block_type": "llama", "activation_type": "silu", "layer_norm_type": "rms", "layer_norm_with_affine": True,
    "bias_for_layer_norm": False, "include_bias": False, "include_qkv_bias": False, "attention_layer_norm": False,
    "rope": True, "rope_full_precision": True, "alibi": False, "multi_query_attention": False, "weight_tying": False,
    "scale_logits": False, "input_emb_norm": False, "block_group_size": 1,
}  # fmt: skip
"""Fields whose other values would be another network."""


def load(model: ModelFolder, record: Published, device: str, dtype: torch.dtype) -> Policy:
    """The policy in `model`. Weights go tensor by tensor to `device` in `dtype`, with no second copy. Raises
    UserError."""
    config = NetworkConfig.read(model)
    tensors = TensorFiles(model.shards)
    size = read_size(tensors, config, model)
    if size.embedding_size != record.rows:
        raise UserError(
            f"the embedding of policy {model.name!r} has {size.embedding_size} rows, but {record.backbone.name} has "
            f"{record.rows}: these are weights of another model; check --backbone"
        )
    with torch.device("meta"):
        net = LLaDA(size)
    whose = "the network of the other tensors' sizes"
    check_shapes(
        tensors.shapes(), shapes_of(net.state_dict()), tensors.place, whose, "use a checkpoint of one training run"
    )
    tokenizer = PublishedTokenizer(model.path)
    check_tokenizer(tokenizer, record, model.name)
    backbone = replace(record.backbone, grid=record.backbone.grid_of(model.sidecar.get("resolution", "")))
    folder, reference = find_codec(model, record)
    codec = record.load_codec(folder, device)
    if (len(codec), codec.patch) != (backbone.codebook_size, backbone.patch):
        raise UserError(
            f"the image codec in {str(folder)!r} has {len(codec)} codes for {codec.patch} pixels a side, but "
            f"{backbone.name} has {backbone.codebook_size} for {backbone.patch}: use the published codec"
        )
    fill(net, tensors, device, dtype)
    source = Source(model.name, model.revision, model.config, reference)
    return Policy(net, backbone, tokenizer, codec, model.sha256, model.random_weights, source)


def read_size(tensors: TensorFiles, config: NetworkConfig, model: ModelFolder) -> Size:
    """Sizes of the network in `tensors`. Raises UserError where they cannot be those of one, or are not those of the
    config."""

    def shape(key: str) -> tuple[int, ...]:
        key = f"model.transformer.{key}.weight"
        if key not in tensors.keys():
            raise UserError(f"{tensors.place} lacks key {key!r}: it does not hold this network")
        found = tensors.shape(key)
        if len(found) != 2 or min(found) < 1:
            raise UserError(
                f"{key!r} in {str(tensors.file(key))!r} has shape {list(found)}, but it must be a matrix: use an "
                "undamaged checkpoint"
            )
        return found

    rows, width = shape("wte")
    blocks = {
        int(match[1])
        for match in (re.match(r"model\.transformer\.blocks\.(\d+)\.", key) for key in tensors.keys())
        if match
    }
    size = Size(
        width,
        max(blocks, default=-1) + 1,
        config.n_heads,
        shape("blocks.0.ff_proj")[0],
        rows,
        float(config.rope_theta),
        float(config.rms_norm_eps),
    )
    for name in ("d_model", "n_layers", "mlp_hidden_size", "embedding_size"):
        if getattr(config, name) not in (None, getattr(size, name)):
            raise UserError(
                f"{name} is {getattr(config, name)} in {str(model.path / CONFIG)!r}, but the weights beside it have "
                f"{getattr(size, name)}: use the config.json published with these weights"
            )
    if width % config.n_heads or width // config.n_heads % 2:
        raise UserError(
            f"n_heads is {config.n_heads} in {str(model.path / CONFIG)!r}, but a width of {width} cannot be divided "
            "into as many heads of even width: use the config.json published with these weights"
        )
    return size


def check_tokenizer(tokenizer: PublishedTokenizer, record: Published, name: str) -> None:
    """Raises UserError unless every special string is the one token it must be and text ids end where image ids
    begin."""
    for text, wanted in record.tokens.items():
        if (found := tokenizer.encode(text)) != [wanted]:
            raise UserError(
                f"{text!r} is {found} to the tokenizer of policy {name!r}, but must be the one token {wanted} of "
                f"{record.backbone.name}: use the tokenizer published with the weights"
            )
    least, most = record.tokenizer_lengths[0], record.tokenizer_lengths[-1]
    if not least <= len(tokenizer) <= most:
        raise UserError(
            f"the tokenizer of policy {name!r} has {len(tokenizer)} ids, but that of {record.backbone.name} has "
            f"{least if least == most else f'{least} to {most}'}, and image ids follow: use the tokenizer published "
            "with the weights"
        )


def find_codec(model: ModelFolder, record: Published) -> tuple[Path, str]:
    """The local folder of the image codec, and how a folder written from this policy refers to it. Raises UserError."""
    given = str(model.sidecar.get("codec") or record.codec)
    inside = model.path / given
    if Path(given).name == given and inside.is_dir():
        small = sum(file.stat().st_size for file in inside.iterdir()) <= SMALL_CODEC
        return inside, given if small else str(inside.resolve())
    if Path(given).is_dir():
        if (Path(given).parent / FILE).is_file():  # in a folder of ours
            verify(Path(given).parent, below=f"{Path(given).name}/")
        return Path(given), str(Path(given).resolve())
    if HUB_ID.fullmatch(given):
        return hub_snapshot(given, noun="image codec"), given
    raise UserError(
        f"policy {model.name!r} lacks the folder {given!r} of its image codec: copy it there, or name another in the "
        f'"codec" of its {SIDECAR} (a subfolder, a folder or a hub id)'
    )


def write(policy: Policy, folder: Path) -> None:
    """Writes `policy` into an existing `folder` as its authors would: weights, their configuration and tokenizer files
    as they came, and htgrpo.json beside them."""
    source = policy.source
    published = source.config or {}
    save_weights(policy.net, folder)
    dtype = str(next(policy.net.parameters()).dtype).removeprefix("torch.")
    config = {key: dtype if key in ("torch_dtype", "dtype") else value for key, value in published.items()}
    _write_json(folder / CONFIG, config)
    policy.tokenizer.save(folder)
    if Path(source.codec).name == source.codec:
        policy.codec.save(folder / source.codec)
    _write_json(
        folder / SIDECAR,
        {
            "backbone": policy.backbone.name,
            "random_weights": policy.random_weights,
            "resolution": policy.backbone.resolution,
            "codec": source.codec,
        },
    )


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
