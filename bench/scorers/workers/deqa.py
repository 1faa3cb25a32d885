# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#   "torch==2.15.0",
#   "transformers==4.36.1",
#   "tokenizers==0.15.2",
#   "huggingface_hub==0.25.2",
#   "accelerate==0.34.2",
#   "safetensors==0.5.3",
#   "numpy==1.26.4",
#   "pillow==11.3.0",
#   "sentencepiece==0.2.0",
#   "protobuf==5.29.5",
#   "einops==0.8.1",
#   "icecream==2.1.4",
# ]
# ///
"""DeQA-Score (arXiv 2501.11561) with its own code, which runs on transformers 4.36.1 only.

The code is github zhiyuanyou/DeQA-Score at one commit, brought on the first start and checked file by file; the
weights' repository holds code too, which is not run. --code names a copy of that repository instead.
"""

import hashlib
import json
import os
import re
import sys
import urllib.request
from pathlib import Path

from htgrpo_worker import Refused, main

COMMIT = "8e4abc826ed84a15f7c0bc3ac119e8b9245c7b2f"
SOURCE = "https://raw.githubusercontent.com/zhiyuanyou/DeQA-Score/"
FILES = {  # sha256
    "__init__.py": "7d36eb58a1c66b5e0b46206d9c2965c85a59c6dc63d992e52cf899bd62a18729",
    "configuration_mplug_owl2.py": "fa838a511c5e9eb9585ccd90df4a644f7864b864bd8e4f7600c2aa6b9faf589c",
    "modeling_attn_mask_utils.py": "02d00171f61e356306c8ee5938a7ed4284735667e1fa139c3fcd8cf1ae489e68",
    "modeling_llama2.py": "150ee0997fc96d2ee0fa329bf61d51f2601fd9ea04ba626c0673e47ea574a2a6",
    "modeling_mplug_owl2.py": "24ce12c17d83336b540b8b8b1fce145b03e6657e28a7eaaf77c44cbefad858ce",
    "utils.py": "7364b1dedc08b6613e11e703859cb23a23b2ae18a0088c8854dc54d96cb36083",
    "visual_encoder.py": "8b9099a6079757362fcd31a0cad2f7b57864c388246cb5a24d1782b7b7ca01da",
}
IMAGE = "<|image|>"
IMAGE_ID = -200
WEIGHTS = (5.0, 4.0, 3.0, 2.0, 1.0)


def code(given):
    """The folder that holds the package `model`. given: a copy of the repository, "" for the one in the user's
    cache."""
    root = Path(given) / "src" if given else _cache() / f"deqa-{COMMIT[:12]}"
    for name, digest in FILES.items():
        file = root / "model" / name
        if not given and not file.is_file():
            _bring(name, file, digest)
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise Refused(
                f"{str(file)!r} is not DeQA-Score's at commit {COMMIT[:12]}: delete {str(root)!r} or check it out"
            )
    return root


def _cache():
    given = os.environ.get("HTGRPO_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "htgrpo-bench"


def _bring(name, file, digest):
    url = f"{SOURCE}{COMMIT}/src/model/{name}"
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            data = answer.read()
    except OSError as error:
        raise Refused(
            f"DeQA-Score's code cannot be brought from {url} ({error}): start once with a network, or set "
            f"HTGRPO_DEQA_CODE to a copy of github zhiyuanyou/DeQA-Score at commit {COMMIT[:12]}"
        ) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise Refused(f"{url} is not the file that this worker knows: try again on another network")
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{name}.{os.getpid()}")
    part.write_bytes(data)
    part.replace(file)


def load(arguments):
    """See htgrpo_worker.main."""
    sys.path.insert(0, str(code(arguments.code)))
    import torch
    from model import MPLUGOwl2LlamaForCausalLM
    from transformers import AutoTokenizer
    from transformers.models.clip.image_processing_clip import CLIPImageProcessor

    dtype = getattr(torch, arguments.dtype or "float16")
    tokenizer = AutoTokenizer.from_pretrained(arguments.weights, use_fast=False, local_files_only=True)
    processor = CLIPImageProcessor.from_pretrained(arguments.weights, local_files_only=True)
    net, report = MPLUGOwl2LlamaForCausalLM.from_pretrained(
        arguments.weights,
        torch_dtype=dtype,
        low_cpu_mem_usage=True,
        attn_implementation="eager",
        local_files_only=True,
        output_loading_info=True,
    )
    # some are not reported
    missing = report["missing_keys"] + [key for key, value in net.named_parameters() if value.is_meta]
    spare = [key for key in report["unexpected_keys"] if not re.search(r"rotary_emb\.inv_freq$", key)]
    for kind, keys in (("lacks", missing), ("has the unexpected", spare), ("misshapes", report["mismatched_keys"])):
        if keys:
            raise Refused(
                f"{arguments.weights!r} {kind} {keys[0]!r}: it does not hold DeQA-Score's weights; download them again"
            )
    net.to(arguments.device).eval()
    levels = level_ids(tokenizer, json.loads(arguments.levels))
    ids = torch.tensor([prompt_ids(tokenizer, arguments.prompt)], device=arguments.device)
    weights = torch.tensor(WEIGHTS, dtype=dtype, device=arguments.device)
    background = tuple(int(255 * mean) for mean in processor.image_mean)

    @torch.inference_mode()
    def score(images, prompts):
        squares = [square(image.convert("RGB"), background) for image in images]
        pixels = processor.preprocess(squares, return_tensors="pt")["pixel_values"].to(arguments.device, dtype)
        logits = net(input_ids=ids.repeat(len(images), 1), images=pixels)["logits"][:, -1, levels]
        shares = torch.softmax(logits, -1)
        return [
            (value, {"levels": [round(share, 6) for share in row]})
            for value, row in zip((shares @ weights).float().tolist(), shares.float().tolist())
        ]

    name = str(dtype).replace("torch.", "")
    return {"name": "deqa", "version": "1", "weights_revision": None, "dtype": name, "code": COMMIT}, score


def level_ids(tokenizer, words):
    """The ids of the five words' first pieces after the start of the sentence. They must be five different ones."""
    ids = [tokenizer(word).input_ids[1] for word in words]
    if len(words) != len(WEIGHTS) or len(set(ids)) != len(WEIGHTS):
        raise Refused(f"the tokenizer gives {words} the ids {ids}, not five different ones: it is not DeQA-Score's")
    return ids


def prompt_ids(tokenizer, prompt):
    """The ids of the prompt, with IMAGE_ID in the picture's place and one start of the sentence."""
    before, after = (tokenizer(part).input_ids for part in prompt.split(IMAGE))
    if before[0] != tokenizer.bos_token_id or after[0] != tokenizer.bos_token_id:
        raise Refused(
            "the tokenizer does not begin with the start of a sentence: it is not DeQA-Score's; download it again"
        )
    return [*before, IMAGE_ID, *after[1:]]


def square(image, background):
    """The picture in the middle of a square of `background`."""
    from PIL import Image

    width, height = image.size
    if width == height:
        return image
    side = max(width, height)
    result = Image.new(image.mode, (side, side), background)
    result.paste(image, ((side - width) // 2, (side - height) // 2))
    return result


if __name__ == "__main__":
    main(load, prompt="", levels="[]", code=os.environ.get("HTGRPO_DEQA_CODE", ""))
