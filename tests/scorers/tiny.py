"""Random checkpoints and drawn pictures that are the same numbers everywhere: tests and official packages of any age
make them.

Imports nothing of ours, so that it runs in the official packages' environments.
"""

import json
import math
from pathlib import Path

import torch
from PIL import Image

WORDS = "a red blue green square circle of on the cat dog two".split()


def draw(shapes, generator):
    """Tensors of these shapes, in order of name: norms 1 + 0.2 u, other vectors 0.1 u, matrices u sqrt(3 / fan-in),
    with u uniform in -1..1; rounded to bf16, so that they are the same numbers in every dtype. Uniform draws are exact
    on every machine."""
    state = {}
    for key in sorted(shapes):
        shape = shapes[key]
        u = torch.rand(shape, generator=generator) * 2 - 1
        if len(shape) < 2:
            value = 1 + 0.2 * u if key.endswith("weight") or ".ls" in key else 0.1 * u
        elif "embed" in key or "pos" in key or "token" in key:
            value = u
        else:
            value = u * math.sqrt(3 / math.prod(shape[1:]))
        state[key] = value.bfloat16().float()
    return state


def linear(name, rows, columns, bias=True):
    """The shapes of a linear layer."""
    return {f"{name}.weight": (rows, columns)} | ({f"{name}.bias": (rows,)} if bias else {})


def norm(name, size, bias=True):
    """The shapes of a norm."""
    return {f"{name}.weight": (size,)} | ({f"{name}.bias": (size,)} if bias else {})


def picture(seed, width, height):
    """A picture of coloured blocks."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 256, (6, 9, 3), generator=generator, dtype=torch.uint8).numpy()
    return Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)


PICTURES = [(1, 96, 64), (2, 64, 64), (3, 50, 130)]
PROMPTS = ["a red square", "two blue circles on the green dog, " * 12, "a cat"]


def pairs():
    """Three pictures of unlike proportions with prompts of unlike lengths, one of them longer than any limit."""
    return [picture(*size) for size in PICTURES], list(PROMPTS)


def write_json(path, value):
    """Writes a JSON file."""
    Path(path).write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def byte_letters():
    """The letters that stand for the 256 bytes in byte-level vocabularies."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, spare = {}, 256
    for byte in range(256):
        letters[byte] = chr(byte) if byte in plain else chr(spare)
        spare += byte not in plain
    return [letters[byte] for byte in range(256)]


def write_byte_tokenizer(folder, added, merged=(), **config):
    """vocab.json, merges.txt, tokenizer_config.json of Qwen2's byte-level tokenizer: bytes, then words of two letters
    `merged`, then the `added` special tokens. Returns the number of all."""
    vocab = {token: number for number, token in enumerate([*byte_letters(), *merged])}
    write_json(folder / "vocab.json", vocab)
    merges = ["#version: 0.2", *(f"{one[0]} {one[1]}" for one in merged)]
    (folder / "merges.txt").write_text("\n".join(merges) + "\n", encoding="utf-8")
    special = {
        str(len(vocab) + number): {
            "content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
            "special": True,
        }
        for number, token in enumerate(added)
    }  # fmt: skip
    qwen2 = {"tokenizer_class": "Qwen2Tokenizer", "pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    kept = {"added_tokens_decoder": special, "model_max_length": 32768, "additional_special_tokens": added[1:]}
    write_json(folder / "tokenizer_config.json", kept | qwen2 | config)
    return len(vocab) + len(added)


def qwen2(prefix, layers, width, wide, heads, groups, vocab):
    """The shapes of a Qwen2 decoder under `prefix`."""
    keys = {f"{prefix}.embed_tokens.weight": (vocab, width)} | norm(f"{prefix}.norm", width, bias=False)
    for layer in range(layers):
        at, size = f"{prefix}.layers.{layer}", width // heads
        keys |= norm(f"{at}.input_layernorm", width, bias=False) | norm(
            f"{at}.post_attention_layernorm", width, bias=False
        )
        keys |= linear(f"{at}.self_attn.q_proj", width, width) | linear(
            f"{at}.self_attn.o_proj", width, width, bias=False
        )
        keys |= linear(f"{at}.self_attn.k_proj", groups * size, width) | linear(
            f"{at}.self_attn.v_proj", groups * size, width
        )
        keys |= linear(f"{at}.mlp.gate_proj", wide, width, bias=False) | linear(
            f"{at}.mlp.up_proj", wide, width, bias=False
        )
        keys |= linear(f"{at}.mlp.down_proj", width, wide, bias=False)
    return keys
