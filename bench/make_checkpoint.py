"""Makes a policy with random weights in a published backbone's layout."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ask import kinds
from bench.ask.cli import run_main
from bench.ask.flags import OUTPUT, Parser
from htgrpo.base.values import SEED, OneOf, Resolution, Whole

if TYPE_CHECKING:
    import torch

    from htgrpo.policies.codec import ImageCodec
    from htgrpo.policies.llada import Size
    from htgrpo.policies.published import Published

MADE_BY = "python -m bench.make_checkpoint"
SIZES = {"d_model": (8, 4096), "n_heads": (2, 32), "n_layers": (2, 32), "mlp_hidden_size": (24, 12288)}
"""Of the network: with --tiny, and published."""
TINY_RESOLUTION = "64"
SHARD_BYTES = 5 * 10**9
HEAD_SCALE, ATTENTION_SCALE = 3.0, 4.0
"""What makes a random network's pictures differ: logits with this standard deviation, and attention (else a mean of
many tokens, and so nearly the same for all prompts) that weighs as much as a slot's own state."""
CONFIG = {
    "block_type": "llama",
    "activation_type": "silu",
    "layer_norm_type": "rms",
    "rms_norm_eps": 1e-5,
    "layer_norm_with_affine": True,
    "bias_for_layer_norm": False,
    "attention_layer_norm": False,
    "attention_layer_norm_with_affine": True,
    "rope": True,
    "rope_full_precision": True,
    "rope_theta": 500000.0,
    "alibi": False,
    "alibi_bias_max": 8.0,
    "include_bias": False,
    "include_qkv_bias": False,
    "weight_tying": False,
    "scale_logits": False,
    "input_emb_norm": False,
    "attention_dropout": 0.0,
    "residual_dropout": 0.0,
    "embedding_dropout": 0.0,
    "flash_attention": False,
    "block_group_size": 1,
    "mlp_ratio": 4,
    "multi_query_attention": None,
    "max_sequence_length": 4096,
    "init_fn": "mitchell",
    "init_std": 0.02,
    "init_cutoff_factor": None,
    "init_device": "meta",
    "precision": "amp_bf16",
    "use_cache": False,
    "eos_token_id": 126081,
    "pad_token_id": 126081,
    "mask_token_id": 126336,
    "torch_dtype": "bfloat16",
}
"""Fields of the published config.json besides the sizes."""
NAMES = {
    "mmada": {
        "model_type": "mmada",
        "architectures": ["MMadaModelLM"],
        "llm_vocab_size": 126464,
        "codebook_size": 8192,
        "new_vocab_size": 134656,
        "num_new_special_tokens": 0,
        "num_vq_tokens": 1024,
    },
    "lumina-dimoo": {"model_type": "llada", "architectures": ["LLaDAForMultiModalGeneration"]},
}
"""Fields that one backbone has and the other has not."""
TEMPLATE_TOKENS = {
    "lumina-dimoo": {
        "<|startoftext|>": 126080,
        "<|endoftext|>": 126081,
        "<system>": 126085,
        "</system>": 126086,
        "<user>": 126087,
        "</user>": 126088,
        "<IMAGE>": 126349,
        "</IMAGE>": 126350,
        "<answer>": 126354,
        "</answer>": 126355,
    },
}
"""Further strings that the made tokenizer knows; which ids the first six really have is not published."""
WORDS_END = 126080
"""Where LLaDA's special tokens begin."""
DESCRIPTION = """\
Makes a policy folder in a published backbone's exact layout, with random weights: to try everything before 16 GB are
downloaded.

Token ids, vocabulary, codebook and file layout are the published ones; --tiny shrinks only the network's and the
codec's widths. The folder passes the very checks that real weights pass, and says of itself that its weights are
random.
"""
EXAMPLES = (
    ("--backbone mmada --tiny --out runs/tiny-mmada", "4 MB, in seconds"),
    ("--backbone lumina-dimoo --tiny --resolution 64x96 --out runs/tiny-lumina", ""),
    ("--backbone mmada --out runs/random-mmada", "the published sizes: 16 GB"),
)


def parser() -> Parser:
    """The command line."""
    p = Parser("make_checkpoint", DESCRIPTION, EXAMPLES)
    p.add_argument(
        "--backbone", type=OneOf(NAMES, "backbone"), required=True, metavar="NAME", help=f"one of {', '.join(NAMES)}"
    )
    p.add_argument("--out", group=OUTPUT, type=kinds.NewFolder(), required=True, help="the folder to make")
    p.add_argument("--tiny", action="store_true", help="a few megabytes instead of the published sizes")
    p.add_argument(
        "--resolution",
        type=Resolution(empty=False),
        help=f"its pictures' size, HEIGHTxWIDTH (default {TINY_RESOLUTION} with --tiny, else published)",
    )
    p.add_argument("--seed", type=Whole(0, SEED), default=0, help="seed of all weights (default 0)")
    p.add_argument("--overwrite", group=OUTPUT, action="store_true", help="replace OUT where this command made it")
    for name, (tiny, published) in SIZES.items():
        p.add_argument(
            f"--{name.replace('_', '-')}",
            type=Whole(1, 10**6),
            help=f"of the network (default {tiny} with --tiny, or {published})",
        )
    return p


def main(argv: list[str] | None = None) -> int:
    """Makes the folder."""
    args = parser().parse_args(argv)
    from htgrpo.base.options import require

    given = {name: getattr(args, name) for name in SIZES}
    sizes = {name: SIZES[name][not args.tiny] if value is None else value for name, value in given.items()}
    require(
        sizes["d_model"] % (2 * sizes["n_heads"]) == 0,
        "--d-model",
        sizes["d_model"],
        f"it must be a multiple of twice --n-heads, {2 * sizes['n_heads']}",
    )
    from htgrpo.base.folders import check_place

    check_place(args.out)
    make(args.backbone, args.out, args.tiny, args.resolution, args.seed, sizes, args.overwrite)
    print(f"random weights of {args.backbone} written to {args.out}")
    return 0


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
    from dataclasses import replace

    from htgrpo.base.folders import atomic_dir
    from htgrpo.base.registry import BACKBONES
    from htgrpo.base.rng import generator
    from htgrpo.policies.llada import Size

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


def write_weights(size: "Size", folder: Path, seed: int) -> None:
    """Random bfloat16 weights in at least two shards with their index. One shard is held at a time; each tensor draws
    from a generator of its own."""
    import torch
    from safetensors.torch import save_file

    from htgrpo.policies.llada import LLaDA

    with torch.device("meta"):
        shapes = {name: value.shape for name, value in LLaDA(size).state_dict().items()}
    total = 2 * size.parameters()
    limit, shards = min(SHARD_BYTES, total // 2 + 1), [[]]
    used = 0
    for name, shape in shapes.items():
        if shards[-1] and used + 2 * shape.numel() > limit:
            shards.append([])
            used = 0
        shards[-1].append(name)
        used += 2 * shape.numel()
    index = {}
    for number, names in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file({name: random_weight(name, shapes[name], seed) for name in names}, folder / file, {"format": "pt"})
        index |= dict.fromkeys(names, file)
    _write(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": index})


def random_weight(name: str, shape: "torch.Size", seed: int) -> "torch.Tensor":
    """One bfloat16 tensor: norms are 1, the embedding is standard normal, matrices have std 1/sqrt(inputs), those of
    attention's outputs and the head more."""
    import torch

    from htgrpo.base.rng import generator

    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16)
    std = 1.0 if "wte" in name else shape[1] ** -0.5
    if name == "model.transformer.ff_out.weight":
        std *= HEAD_SCALE
    elif "attn_out" in name:
        std *= ATTENTION_SCALE
    return torch.randn(shape, generator=generator("make_checkpoint", seed, name)).mul_(std).to(torch.bfloat16)


def write_tokenizer(record: "Published", folder: Path, further: dict[str, int]) -> None:
    """A byte-level tokenizer in transformers' files: any script is bytes, special strings stand at their published ids,
    and ids that no text can give fill the rest up to where image ids begin."""
    from tokenizers.pre_tokenizers import ByteLevel

    names = {index: text for text, index in (record.tokens | further).items()}
    end = record.tokenizer_lengths[-1]
    vocabulary = {letter: index for index, letter in enumerate(sorted(ByteLevel.alphabet()))}
    vocabulary |= {f"[unused {index}]": index for index in range(len(vocabulary), WORDS_END)}
    added = [
        {
            "id": index,
            "content": names.get(index, f"<|reserved_token_{index - 126084}|>"),
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for index in range(WORDS_END, end)
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": vocabulary,
        "merges": [],
    }
    _write(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "normalizer": None,
            "pre_tokenizer": level,
            "post_processor": None,
            "decoder": level,
            "model": model,
        },
    )
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": names[126080],
            "eos_token": names[126081],
            "pad_token": names[126081],
            "model_max_length": 4096,
            "clean_up_tokenization_spaces": False,
        },
    )


def random_codec(backbone: str, tiny: bool, generator: "torch.Generator") -> "ImageCodec":
    """The backbone's image codec with random weights."""
    from htgrpo.policies.codec import initialise

    if backbone == "mmada":
        from htgrpo.policies.magvit import PUBLISHED, Magvit, MagvitCodec, tiny_magvit

        if tiny:
            return tiny_magvit(generator)
        net, kind = Magvit(PUBLISHED), MagvitCodec
    else:
        from htgrpo.policies.vqmodel import PUBLISHED, VQModelCodec, build, tiny_vqmodel

        if tiny:
            return tiny_vqmodel(generator)
        net, kind = build(PUBLISHED), VQModelCodec
    initialise(net, generator)
    return kind(net)


def _write(path: Path, value: dict[str, Any]) -> None:
    import json

    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_main(main)
