"""Pictures of a policy: made batch by batch into a folder, which a killed command leaves ready to be gone on with."""

import base64
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.presets import Setting
from bench.rundir import PICTURES
from bench.work import Evaluation
from htgrpo.errors import UserError
from htgrpo.files import append_jsonl, atomic_json, atomic_write_bytes, atomic_write_text, sha256_file
from htgrpo.folders import everything, remove
from htgrpo.prompts import Prompt
from htgrpo.run_files import OPTIONAL_PICTURE, PICTURE, read, records

if TYPE_CHECKING:
    from torch import Tensor

    from htgrpo.policies.policy import Policy
    from htgrpo.ranks import Ranks

MANIFEST, META = "manifest.jsonl", "meta.json"
PARTS = "manifest.rank*.jsonl"
"""What the other processes of a launch have made so far; joined to the manifest in the end."""
BATCH = 96
"""Pictures made together. Fixed, and a batch is made whole or again, so that going on cannot change a last bit."""


def file_name(prompt: Prompt, sample: int) -> str:
    """The picture's file name within its folder."""
    return f"{prompt.id}_{sample}.png"


def manifest(folder: Path) -> dict[tuple[str, int], dict]:
    """(prompt id, sample) -> {"prompt_id", "sample", "file", "sha256"} of the pictures that were made; those of sample 0 also have
    "grid" [h, w] and "rank" (see pack_ranks)."""
    files = [path for path in (folder / MANIFEST, *sorted(folder.glob(PARTS))) if path.is_file()]
    return {(r["prompt_id"], r["sample"]): r for path in files for r in records(path, PICTURE, OPTIONAL_PICTURE)}


def identity_of(folder: Path) -> str | None:
    """The generation identity `folder` was made with; None when there is none."""
    try:
        return read(folder / META, {"identity": str})["identity"]
    except UserError:
        return None


def whole_pictures(folder: Path, evaluation: Evaluation) -> set[tuple[str, int]]:
    """(prompt id, sample) of the pictures that are recorded and unchanged."""
    made = manifest(folder)
    keys = [(prompt.id, sample) for prompt, sample in evaluation.drawn_items]
    return {
        k
        for k in keys
        if k in made and (folder / made[k]["file"]).is_file() and sha256_file(folder / made[k]["file"]) == made[k]["sha256"]
    }


def is_generated(folder: Path, evaluation: Evaluation, policy_sha256: str) -> bool:
    """Whether every picture is there, unchanged and of this policy."""
    made = identity_of(folder) == evaluation.generation_identity(policy_sha256)
    return made and len(whole_pictures(folder, evaluation)) == len(evaluation.drawn_items)


def generate(
    policy: "Policy", evaluation: Evaluation, folder: Path, on_progress: Callable[[float], None], ranks: "Ranks | None" = None
) -> None:
    """Makes the pictures that are missing in `folder`; those of another identity are thrown away first.

    A picture's noise is keyed by (setting's seed, "evaluate", noise of the picture set, prompt, sample): the same for every
    policy, so that scores are paired. Several `ranks` share the batches, and a batch is the same whoever makes it. on_progress
    gets the part done, 0..1. Raises UserError when the folder cannot be written.
    """
    import torch

    from htgrpo.ranks import ALONE
    from htgrpo.registry import SAMPLERS
    from htgrpo.rollout import generate as sample_images
    from htgrpo.rollout import rollout_net

    values, items, ranks = evaluation.values, evaluation.drawn_items, ranks or ALONE
    todo = ranks.gather(_begin(folder, evaluation, policy.sha256) if ranks.is_main else None)[0]
    if not todo:
        return
    policy, dtype = policy.sized(values["resolution"]), getattr(torch, values["dtype"])
    fits = next(policy.net.parameters()).dtype == dtype  # a second copy of 8e9 weights would not fit beside the first
    sampling = policy if fits else policy.with_net(rollout_net(policy.net, dtype))
    sampler, setting = SAMPLERS.get(values["sampler"])(steps=values["steps"]), Setting(**values)
    how = {"pads": setting.pads, "cache": setting.ml_cache()}
    notes = folder / (MANIFEST if ranks.is_main else PARTS.replace("*", str(ranks.index)))
    mine = [items[first : first + BATCH] for first in ranks.share(todo)]
    made = 0
    for batch in mine:
        ids = [policy.prompt(prompt.text, setting.pads) for prompt, _ in batch]
        keys = [(values["seed"], "evaluate", evaluation.drawn.noise, prompt.id, sample) for prompt, sample in batch]
        sampled = sample_images(sampling, ids, keys, sampler, values["guidance"], **how)
        for (prompt, sample), image, rank in zip(batch, policy.decode(sampled.codes), sampled.rank, strict=True):
            order = {"grid": list(policy.backbone.grid), "rank": pack_ranks(rank)} if sample == 0 else {}
            _save(folder, prompt, sample, image, notes, order)
        made += len(batch)
        on_progress(made / sum(map(len, mine)))
    ranks.gather(None)
    if ranks.is_main:
        _join(folder, evaluation)
    ranks.gather(None)  # nobody looks for pictures before all are in the manifest


def clear(folder: Path) -> None:
    """Removes pictures that were made, and what is recorded of them. Raises UserError where somebody else's file lies there."""
    names = everything(folder) if folder.is_dir() else []
    for name in names:
        if not PICTURES.fullmatch(name):
            raise UserError(f"{str(folder)!r} holds {name!r}, which no command has written there: move it elsewhere")
    remove(folder, names)


def _begin(folder: Path, evaluation: Evaluation, policy_sha256: str) -> list[int]:
    """Makes `folder` ready and returns where the batches begin that lack a picture."""
    identity = evaluation.generation_identity(policy_sha256)
    if identity_of(folder) != identity:
        clear(folder)
        atomic_json(
            folder / META,
            {
                "identity": identity,
                "policy_sha256": policy_sha256,
                "pictures": evaluation.drawn.name,
                "setting": evaluation.values,
                "prompt_set_sha256": evaluation.drawn.sha256,
                "images": len(evaluation.drawn_items),
            },
        )
    _join(folder, evaluation)  # what a killed command has left, without a torn last line
    made, items = whole_pictures(folder, evaluation), evaluation.drawn_items
    starts = range(0, len(items), BATCH)
    return [first for first in starts if any((p.id, sample) not in made for p, sample in items[first : first + BATCH])]


def _join(folder: Path, evaluation: Evaluation) -> None:
    """Writes all that was made into one manifest, in the order of the pictures."""
    made = manifest(folder)
    if made:
        _write_manifest(folder, [made[p.id, sample] for p, sample in evaluation.drawn_items if (p.id, sample) in made])
    for part in folder.glob(PARTS):
        part.unlink()


def _write_manifest(folder: Path, lines: list[dict]) -> None:
    atomic_write_text(folder / MANIFEST, "".join(json.dumps(line) + "\n" for line in lines))


def pack_ranks(rank: "Tensor") -> str:
    """When each slot was revealed, int [N] from 1 (first) to N in raster order, as base64 of zlib of little-endian uint16; the
    reports read it."""
    return base64.b64encode(zlib.compress(rank.numpy().astype("<u2").tobytes(), 9)).decode()


def _save(folder: Path, prompt: Prompt, sample: int, image: "Tensor", notes: Path, order: dict) -> None:
    """Writes one picture float [3, H, W] in 0..1 and then its record, with `order`, into the file `notes`."""
    import torch
    from PIL import Image

    pixels = (image.permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    path = folder / file_name(prompt, sample)
    atomic_write_bytes(path, stream.getvalue())
    append_jsonl(notes, {"prompt_id": prompt.id, "sample": sample, "file": path.name, "sha256": sha256_file(path), **order})
