"""Policies with random weights in a published backbone's layout: to try everything before real ones are downloaded."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel

from htgrpo.base.folders import atomic_dir
from htgrpo.base.registry import BACKBONES
from htgrpo.base.rng import generator
from htgrpo.policies.codec import ImageCodec, initialise
from htgrpo.policies.llada import LLaDA, Size
from htgrpo.policies.published import Published
from htgrpo.policies.published_config import CONFIG, NAMES, SIZES, TEMPLATE_TOKENS, TINY_RESOLUTION

MADE_BY = "python -m bench.make_checkpoint"
SHARD_BYTES = 5 * 10**9
HEAD_SCALE, ATTENTION_SCALE = 3.0, 4.0
"""What makes a random network's pictures differ: logits with this standard deviation, and attention (else a mean of
many tokens, and so nearly the same for all prompts) that weighs as much as a slot's own state."""
WORDS_END = 126080
"""Where LLaDA's special tokens begin."""


def make(
    backbone: str,
    out: Path,
    tiny: bool = True,
    resolution: str | None = None,
    seed: int = 0,
    sizes: dict[str, int] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes the folder `out`, whole or not at all; `overwrite` replaces one that was made in here. resolution: default
    TINY_RESOLUTION or the published one; sizes: default those of SIZES. Raises UserError for a resolution that the
    backbone has no grid for, and where `out` cannot be written."""
    record = BACKBONES.get(backbone)
    if resolution is None:
        resolution = TINY_RESOLUTION if tiny else ""
    placed = replace(record.backbone, grid=record.backbone.grid_of(resolution))
    size = Size(**(sizes or {name: SIZES[name][not tiny] for name in SIZES}), embedding_size=record.rows)
    codec = "vqvae" if record.codec == "vqvae" else "vq"
    with atomic_dir(out, MADE_BY, overwrite) as folder:
        write_weights(size, folder, seed)
        config = {
            **NAMES[backbone],
            **CONFIG,
            **{name: getattr(size, name) for name in SIZES},
            "n_kv_heads": size.n_heads,
            "embedding_size": record.rows,
            "vocab_size": record.rows,
        }
        _write(folder / "config.json", config)
        write_tokenizer(record, folder, TEMPLATE_TOKENS.get(backbone, {}))
        random_codec(backbone, tiny, generator("make_checkpoint", seed, "codec")).save(folder / codec)
        sidecar = {"backbone": backbone, "random_weights": True, "resolution": placed.resolution, "codec": codec}
        _write(folder / "htgrpo.json", sidecar)


def write_weights(size: Size, folder: Path, seed: int) -> None:
    """Random bfloat16 weights in at least two shards with their index. One shard is held at a time; each tensor draws
    from a generator of its own."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in LLaDA(size).state_dict().items()}
    total = 2 * size.parameters()
    limit, used = min(SHARD_BYTES, total // 2 + 1), 0
    shards: list[list[str]] = [[]]
    for name, shape in shapes.items():
        if shards[-1] and used + 2 * shape.numel() > limit:
            shards.append([])
            used = 0
        shards[-1].append(name)
        used += 2 * shape.numel()
    index: dict[str, str] = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file({name: random_weight(name, shapes[name], seed) for name in names}, folder / file, {"format": "pt"})
        index |= dict.fromkeys(names, file)
    _write(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": index})


def random_weight(name: str, shape: torch.Size, seed: int) -> torch.Tensor:
    """One bfloat16 tensor: norms are 1, the embedding is standard normal, matrices have std 1/sqrt(inputs), those of
    attention's outputs and the head more."""
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16)
    std = 1.0 if "wte" in name else shape[1] ** -0.5
    if name == "model.transformer.ff_out.weight":
        std *= HEAD_SCALE
    elif "attn_out" in name:
        std *= ATTENTION_SCALE
    return torch.randn(shape, generator=generator("make_checkpoint", seed, name)).mul_(std).to(torch.bfloat16)


def write_tokenizer(record: Published, folder: Path, further: dict[str, int]) -> None:
    """A byte-level tokenizer in transformers' files: any script is bytes, special strings stand at their published ids,
    and ids that no text can give fill the rest up to where image ids begin."""
    names = {index: text for text, index in (record.tokens | further).items()}
    end = record.tokenizer_lengths[-1]
    vocabulary = {letter: index for index, letter in enumerate(sorted(ByteLevel.alphabet()))}
    vocabulary |= {f"[unused {index}]": index for index in range(len(vocabulary), WORDS_END)}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [
        {"id": index, "content": names.get(index, f"<|reserved_token_{index - 126084}|>"), **plain}
        for index in range(WORDS_END, end)
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model: dict[str, Any] = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
        "vocab": vocabulary, "merges": [],
    }  # fmt: skip
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": level, "post_processor": None, "decoder": level, "model": model,
    }  # fmt: skip
    _write(folder / "tokenizer.json", tokenizer)
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": names[126080], "eos_token": names[126081],
        "pad_token": names[126081], "model_max_length": 4096, "clean_up_tokenization_spaces": False,
    }  # fmt: skip
    _write(folder / "tokenizer_config.json", about)


def random_codec(backbone: str, tiny: bool, generator: torch.Generator) -> ImageCodec:
    """The backbone's image codec with random weights."""
    if backbone == "mmada":
        from htgrpo.policies import magvit, magvit_net

        if tiny:
            return magvit.tiny_magvit(generator)
        codec: ImageCodec = magvit.MagvitCodec(magvit_net.Magvit(magvit_net.PUBLISHED))
    else:
        from htgrpo.policies import vqmodel

        if tiny:
            return vqmodel.tiny_vqmodel(generator)
        codec = vqmodel.VQModelCodec(vqmodel.build(vqmodel.PUBLISHED))
    initialise(codec.net, generator)
    return codec


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
