"""A random Qwen3-VL-Instruct checkpoint in the layout of the hub, small, in whose vocabulary the answers that Soft-TIFA
accepts begin with the published ids."""

import json

import torch
from transformers import Qwen2VLImageProcessor, Qwen3VLForConditionalGeneration, Qwen3VLVideoProcessor

from bench.scorers.soft_tifa_rule import TABLE, strings
from tests.scorers.tiny import byte_letters, draw, write_json
from tests.scorers.tiny_hpsv3 import ADDED, write_fast_tokenizer
from tests.scorers.tiny_unifiedreward import new_config

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ content['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Without a system message, as Qwen3-VL-Instruct's."""
WORDS = max(token for row in TABLE.values() for token in row) + 1
SIDES = {"shortest_edge": 64 * 64, "longest_edge": 256 * 256}


def vocabulary():
    """(token -> id, merges): the 256 bytes in GPT-2's order, so that a blank is 220 and digits are 16 to 22, the accepted
    words at their published places, what they are merged from and nothing else between."""
    letters = byte_letters()
    order = [byte for byte in range(256) if letters[byte] == chr(byte)]
    order += [byte for byte in range(256) if byte not in order]
    ids = {letters[byte]: number for number, byte in enumerate(order)}
    wanted = {}
    for answer, row in TABLE.items():
        wanted |= {text.replace(" ", "Ġ"): token for text, token in zip(strings(answer), row) if not text[-1].isdigit()}
    merges = []
    for word in sorted(wanted, key=lambda word: not word.startswith("Ġ")):
        merges += [(word[:size], word[size]) for size in range(1, len(word))]
    parts = dict.fromkeys(a + b for a, b in merges if a + b not in wanted)
    ids |= wanted | {part: 256 + number for number, part in enumerate(parts)}
    taken = set(ids.values())
    ids |= {f"<{number}>": number for number in range(WORDS) if number not in taken}
    return dict(sorted(ids.items(), key=lambda one: one[1])), list(dict.fromkeys(merges))


def write_checkpoint(folder, penalty=1.0):
    """Writes the checkpoint into `folder` and returns the network that wrote it, in float32."""
    folder.mkdir(parents=True, exist_ok=True)
    ids, merges = vocabulary()
    number = {token: WORDS + place for place, token in enumerate(ADDED)}
    config = new_config()
    config.text_config.vocab_size = WORDS + len(ADDED) + 3  # longer than the tokenizer, as the published one
    for name in ("vision_start", "vision_end", "image", "video"):
        setattr(config, f"{name}_token_id", number[f"<|{name}_pad|>" if name in ("image", "video") else f"<|{name}|>"])
    with torch.random.fork_rng(devices=[]):
        net = Qwen3VLForConditionalGeneration(config).eval()
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    net.load_state_dict(draw(shapes, torch.Generator().manual_seed(7)))
    net.save_pretrained(folder)
    write_json(
        folder / "generation_config.json",
        {
            "do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "repetition_penalty": penalty,
            "eos_token_id": [number["<|im_end|>"]], "pad_token_id": number["<|endoftext|>"],
        },
    )  # fmt: skip
    mean = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    Qwen2VLImageProcessor(patch_size=16, size=SIDES, **mean).save_pretrained(folder)
    Qwen3VLVideoProcessor().save_pretrained(folder)
    write_json(folder / "vocab.json", ids)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {
        str(at): {
            "content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
            "special": True,
        }
        for token, at in number.items()
    }  # fmt: skip
    qwen2 = {"tokenizer_class": "Qwen2Tokenizer", "pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    kept = {"added_tokens_decoder": special, "model_max_length": 32768, "additional_special_tokens": ADDED[1:]}
    write_json(folder / "tokenizer_config.json", kept | qwen2)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    write_fast_tokenizer(folder, merges)
    return net


def change(file, **values):
    """Changes entries of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
