"""Policies in the embedded world's own folder format: everything in one folder of a few megabytes."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from htgrpo.base.errors import UserError
from htgrpo.policies.backbone import Backbone
from htgrpo.policies.llada import LLaDA, Size
from htgrpo.policies.model_files import CONFIG, WEIGHTS, ModelFolder
from htgrpo.policies.policy import Policy, Source
from htgrpo.policies.tokenizer import WordTokenizer
from htgrpo.policies.weights import load_weights
from htgrpo.world.codec import PatchCodec

TOKENIZER, CODEBOOK = "tokenizer.json", "vq/codebook.safetensors"


def load(model: ModelFolder, device: str, dtype: torch.dtype) -> Policy:
    """The policy in `model`. Raises UserError for a folder that is not whole or that disagrees with itself."""
    folder, name = model.path, model.name
    for part in (WEIGHTS, TOKENIZER, CODEBOOK):
        if not (folder / part).is_file():
            raise UserError(f"policy {name!r} has no {part}: use an undamaged checkpoint")
    size, backbone = read_record(model)
    net = LLaDA(size).to(device, dtype)
    load_weights(net, folder / WEIGHTS)
    try:
        codec, tokenizer = PatchCodec.load(folder / CODEBOOK), WordTokenizer.load(folder)
    except UserError:
        raise
    except Exception as error:  # both libraries raise untyped errors for damaged files
        raise UserError(
            f"the codebook or the tokenizer in {str(folder)!r} cannot be read ({error}): use an undamaged checkpoint"
        ) from error
    if len(codec.codebook) != backbone.codebook_size:
        raise UserError(
            f"the codebook of {name!r} has {len(codec.codebook)} codes, but its config says {backbone.codebook_size}: "
            "use an undamaged checkpoint"
        )
    return Policy(net, backbone, tokenizer, codec, model.sha256, model.random_weights, Source(name, model.revision))


def read_record(model: ModelFolder) -> tuple[Size, Backbone]:
    """Sizes and layout, from the configuration alone. Raises UserError where that does not hold them."""
    try:
        size, record = Size(**model.config["size"]), model.config["backbone"]
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        return size, Backbone(**values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{str(model.path / CONFIG)!r} is not a policy configuration ({error}): use an undamaged checkpoint"
        ) from error


def write(policy: Policy, folder: Path) -> None:
    """Writes `policy` into an existing `folder`."""
    weights = {name: value.detach().cpu().contiguous() for name, value in policy.net.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    config = {
        "model_type": "llada",
        "size": asdict(policy.net.size),
        "backbone": asdict(policy.backbone),
        "random_weights": policy.random_weights,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    policy.tokenizer.save(folder)
    (folder / CODEBOOK).parent.mkdir(exist_ok=True)
    policy.codec.save((folder / CODEBOOK).parent)
