"""Pictures of a policy: made batch by batch into a folder, which a killed command leaves ready to be gone on with."""

import base64
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.ask.presets import Setting
from bench.benchmarks.evaluation import Evaluation
from bench.record.pictures import MANIFEST, PARTS, clear, file_name, identity_of, manifest, whole_pictures, write_meta
from htgrpo.base.files import append_jsonl, atomic_write_bytes, atomic_write_text, sha256_file
from htgrpo.base.prompts import Prompt
from htgrpo.base.registry import SAMPLERS

if TYPE_CHECKING:
    from torch import Tensor

    from htgrpo.parallel.ranks import Ranks
    from htgrpo.policies.policy import Policy

BATCH = 96
"""Pictures made together. Fixed, and a batch is made whole or again, so that going on cannot change a last bit."""


def generate(
    policy: "Policy",
    evaluation: Evaluation,
    folder: Path,
    on_progress: Callable[[float], None],
    ranks: "Ranks | None" = None,
) -> None:
    """Makes the pictures that are missing in `folder`; those of another identity are thrown away first.

    A picture's noise is keyed by (setting's seed, "evaluate", noise of the picture set, prompt, sample): the same for
    every policy, so that scores are paired. Several `ranks` share the batches, and a batch is the same whoever makes
    it. on_progress gets the part done, 0..1. Raises UserError when the folder cannot be written.
    """
    import torch

    from htgrpo.parallel.ranks import ALONE
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
    notes = folder / (MANIFEST if ranks.is_main else PARTS.replace("*", str(ranks.index)))
    mine = [items[first : first + BATCH] for first in ranks.share(todo)]
    made = 0
    for batch in mine:
        ids = [policy.prompt(prompt.text, setting.pads) for prompt, _ in batch]
        keys = [(values["seed"], "evaluate", evaluation.drawn.noise, prompt.id, sample) for prompt, sample in batch]
        sampled = sample_images(
            sampling, ids, keys, sampler, values["guidance"], pads=setting.pads, cache=setting.ml_cache()
        )
        for (prompt, sample), image, rank in zip(batch, policy.decode(sampled.codes), sampled.rank, strict=True):
            order = {"grid": list(policy.backbone.grid), "rank": pack_ranks(rank)} if sample == 0 else {}
            _save(folder, prompt, sample, image, notes, order)
        made += len(batch)
        on_progress(made / sum(map(len, mine)))
    ranks.wait()
    if ranks.is_main:
        _join(folder, evaluation)
    ranks.wait()  # nobody looks for pictures before all are in the manifest


def _begin(folder: Path, evaluation: Evaluation, policy_sha256: str) -> list[int]:
    """Makes `folder` ready and returns where the batches begin that lack a picture."""
    if identity_of(folder) != evaluation.generation_identity(policy_sha256):
        clear(folder)
        write_meta(folder, evaluation, policy_sha256)
    _join(folder, evaluation)  # what a killed command has left, without a torn last line
    made, items = whole_pictures(folder, evaluation), evaluation.drawn_items
    starts = range(0, len(items), BATCH)
    return [first for first in starts if any((p.id, sample) not in made for p, sample in items[first : first + BATCH])]


def _join(folder: Path, evaluation: Evaluation) -> None:
    """Writes all that was made into one manifest, in the order of the pictures."""
    made = manifest(folder)
    if made:
        lines = [made[p.id, sample] for p, sample in evaluation.drawn_items if (p.id, sample) in made]
        atomic_write_text(folder / MANIFEST, "".join(json.dumps(line) + "\n" for line in lines))
    for part in folder.glob(PARTS):
        part.unlink()


def pack_ranks(rank: "Tensor") -> str:
    """When each slot was revealed, int [N] from 1 (first) to N in raster order, as base64 of zlib of little-endian
    uint16; the reports read it."""
    return base64.b64encode(zlib.compress(rank.numpy().astype("<u2").tobytes(), 9)).decode()


def _save(folder: Path, prompt: Prompt, sample: int, image: "Tensor", notes: Path, order: dict) -> None:
    """Writes one picture float [3, H, W] in 0..1 and then its record, with `order`, into the file `notes`."""
    from htgrpo.base.pictures import as_pictures

    stream = io.BytesIO()
    as_pictures(image[None])[0].save(stream, format="PNG")
    path = folder / file_name(prompt, sample)
    atomic_write_bytes(path, stream.getvalue())
    append_jsonl(
        notes, {"prompt_id": prompt.id, "sample": sample, "file": path.name, "sha256": sha256_file(path), **order}
    )
