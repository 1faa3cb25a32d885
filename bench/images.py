"""Pictures of a policy: made batch by batch into a folder, which a killed command leaves ready to be gone on with."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.work import Evaluation
from htgrpo.files import append_jsonl, atomic_json, atomic_write_bytes, atomic_write_text, explained, read_jsonl, sha256_file
from htgrpo.prompts import Prompt

if TYPE_CHECKING:
    from torch import Tensor

    from htgrpo.policies.policy import Policy

MANIFEST, META = "manifest.jsonl", "meta.json"
BATCH = 96
"""Pictures made together. Fixed, and a batch is made whole or again, so that going on cannot change a last bit."""


def file_name(prompt: Prompt, sample: int) -> str:
    """The picture's file name within its folder."""
    return f"{prompt.id}_{sample}.png"


def manifest(folder: Path) -> dict[tuple[str, int], dict]:
    """(prompt id, sample) -> {"prompt_id", "sample", "file", "sha256"} of the pictures that were made."""
    path = folder / MANIFEST
    return {(r["prompt_id"], r["sample"]): r for r in read_jsonl(path)} if path.is_file() else {}


def identity_of(folder: Path) -> str | None:
    """The generation identity `folder` was made with; None when there is none."""
    try:
        return json.loads((folder / META).read_text("utf-8"))["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def whole_pictures(folder: Path, evaluation: Evaluation) -> set[tuple[str, int]]:
    """(prompt id, sample) of the pictures that are recorded and unchanged."""
    made = manifest(folder)
    keys = [(prompt.id, sample) for prompt, sample in evaluation.items]
    return {
        k
        for k in keys
        if k in made and (folder / made[k]["file"]).is_file() and sha256_file(folder / made[k]["file"]) == made[k]["sha256"]
    }


def is_generated(folder: Path, evaluation: Evaluation, policy_sha256: str) -> bool:
    """Whether every picture is there, unchanged and of this policy."""
    made = identity_of(folder) == evaluation.generation_identity(policy_sha256)
    return made and len(whole_pictures(folder, evaluation)) == len(evaluation.items)


def generate(policy: "Policy", evaluation: Evaluation, folder: Path, on_progress: Callable[[float], None]) -> None:
    """Makes the pictures that are missing in `folder`; those of another identity are thrown away first.

    A picture's noise is keyed by (setting's seed, "evaluate", benchmark, prompt, sample): the same for every policy, so that
    scores are paired. on_progress gets the part done, 0..1. Raises UserError when the folder cannot be written.
    """
    import torch

    from htgrpo.registry import SAMPLERS
    from htgrpo.rollout import generate as sample_images
    from htgrpo.rollout import rollout_net

    values, identity = evaluation.values, evaluation.generation_identity(policy.sha256)
    if identity_of(folder) != identity:
        with explained(folder):
            shutil.rmtree(folder, ignore_errors=True)
        atomic_json(
            folder / META,
            {
                "identity": identity,
                "policy_sha256": policy.sha256,
                "benchmark": evaluation.benchmark,
                "setting": values,
                "prompt_set_sha256": evaluation.prompts_sha256,
                "images": len(evaluation.items),
            },
        )
    made = whole_pictures(folder, evaluation)
    items = evaluation.items
    if len(made) == len(items):
        return
    if (folder / MANIFEST).is_file():
        _write_manifest(folder, list(manifest(folder).values()))  # without the torn last line of a killed command
    sampling = policy.with_net(rollout_net(policy.net, getattr(torch, values["dtype"])))
    sampler = SAMPLERS.get(values["sampler"])(steps=values["steps"])
    for first in range(0, len(items), BATCH):
        batch = items[first : first + BATCH]
        if any((prompt.id, sample) not in made for prompt, sample in batch):
            ids = [policy.prompt(prompt.text) for prompt, _ in batch]
            keys = [(values["seed"], "evaluate", evaluation.benchmark, prompt.id, sample) for prompt, sample in batch]
            codes = sample_images(sampling, ids, keys, sampler, values["guidance"]).codes
            for (prompt, sample), image in zip(batch, policy.decode(codes), strict=True):
                _save(folder, prompt, sample, image)
        on_progress(min(1.0, (first + BATCH) / len(items)))
    records = manifest(folder)
    _write_manifest(folder, [records[prompt.id, sample] for prompt, sample in items])


def _write_manifest(folder: Path, records: list[dict]) -> None:
    atomic_write_text(folder / MANIFEST, "".join(json.dumps(record) + "\n" for record in records))


def _save(folder: Path, prompt: Prompt, sample: int, image: "Tensor") -> None:
    """Writes one picture float [3, H, W] in 0..1 and then its record."""
    import torch
    from PIL import Image

    pixels = (image.permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    path = folder / file_name(prompt, sample)
    atomic_write_bytes(path, stream.getvalue())
    append_jsonl(folder / MANIFEST, {"prompt_id": prompt.id, "sample": sample, "file": path.name, "sha256": sha256_file(path)})
