"""Verdicts: pictures are read back and judged; what cannot be judged says why and never becomes a zero."""

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.images import identity_of, manifest
from bench.rundir import RunDir
from bench.work import Evaluation, Target
from htgrpo.errors import UserError
from htgrpo.files import atomic_json, atomic_write_text, read_jsonl, sha256_json

if TYPE_CHECKING:
    from torch import Tensor

    from bench.benchmarks.base import Benchmark
    from htgrpo.ranks import Ranks

BATCH = 128


@dataclass(frozen=True)
class Coverage:
    """How many pictures have no verdict, of how many, and the first reason."""

    missing: int
    expected: int
    reason: str


def score_identity(benchmark: "Benchmark", evaluation: Evaluation, policy_sha256: str) -> str:
    """Hex identity of a score: generation, scorer, rule and prompts."""
    return sha256_json([evaluation.generation_identity(policy_sha256), benchmark.scorer_identity(), benchmark.version])


def is_scored(run: RunDir, target: Target, evaluation: Evaluation, benchmark: "Benchmark") -> bool:
    """Whether every picture has a verdict of this identity."""
    path = run.verdicts(target.name, evaluation.benchmark, evaluation.setting)
    try:
        meta = json.loads(path.with_suffix(".meta.json").read_text("utf-8"))
        records = read_jsonl(path)
    except (OSError, ValueError, UserError):
        return False
    return (
        meta.get("identity") == score_identity(benchmark, evaluation, target.sha256)
        and meta.get("policy") == policy_record(run, target)
        and len(records) == len(evaluation.items)
        and all(record["status"] == "ok" for record in records)
    )


def policy_record(run: RunDir, target: Target) -> dict:
    """The `policy` entry of a verdict's meta file."""
    checkpoint = run.relative(Path(target.source)) if "/" in target.source else target.source
    return {
        "name": target.name,
        "method": target.method,
        "train_seed": target.seed,
        "iteration": target.iteration,
        "forwards": target.forwards,
        "checkpoint": checkpoint,
        "milestone": target.milestone,
        "random_weights": target.random_weights,
    }


def score(
    run: RunDir, target: Target, evaluation: Evaluation, benchmark: "Benchmark", on_progress: Callable[[float], None],
    ranks: "Ranks | None" = None,
) -> Coverage:
    """Judges all pictures of one policy and writes the verdict file and its meta file; on_progress gets the part done.

    Several `ranks` share the batches, and the first one writes."""
    from htgrpo.ranks import ALONE

    ranks = ranks or ALONE
    folder = run.images(target.name, evaluation.benchmark, evaluation.setting)
    if identity_of(folder) != evaluation.generation_identity(target.sha256):
        raise UserError(
            f"there are no pictures of {target.name} for {evaluation.benchmark} ({evaluation.setting}) from its current "
            f"weights: make them with python -m bench.generate {run.root}"
        )
    made, judged = manifest(folder), []
    items = evaluation.items
    for first in ranks.share(list(range(0, len(items), BATCH))):
        batch = [_Picture.read(run, folder, made, prompt, sample) for prompt, sample in items[first : first + BATCH]]
        judged.append(_judge(benchmark, batch))
        on_progress(min(1.0, (first + BATCH) / len(items)))
    records = [record for batch in ranks.together(judged) for record in batch]
    if ranks.is_main:
        _write(run, target, evaluation, benchmark, records)
    ranks.gather(None)  # nobody looks for the file before it is there
    bad = [record for record in records if record["status"] != "ok"]
    return Coverage(len(bad), len(items), bad[0]["evidence"]["reason"] if bad else "")


def _write(run: RunDir, target: Target, evaluation: Evaluation, benchmark: "Benchmark", records: list[dict]) -> None:
    """Writes the verdict file and then its meta file."""
    path = run.verdicts(target.name, evaluation.benchmark, evaluation.setting)
    path.with_suffix(".meta.json").unlink(missing_ok=True)
    atomic_write_text(path, "".join(json.dumps(r, ensure_ascii=False, allow_nan=False) + "\n" for r in records))
    atomic_json(
        path.with_suffix(".meta.json"),
        {
            "identity": score_identity(benchmark, evaluation, target.sha256),
            "benchmark": benchmark.name,
            "version": benchmark.version,
            "title": benchmark.title,
            "aggregate": benchmark.aggregate,
            "scale": benchmark.scale,
            "higher_is_better": benchmark.higher_is_better,
            "categories": list(benchmark.categories),
            "setting": evaluation.values,
            "scorer": benchmark.scorer_identity(),
            "prompt_set_sha256": evaluation.prompts_sha256,
            "expected_images": len(records),
            "policy": policy_record(run, target),
        },
    )


@dataclass
class _Picture:
    """A picture as read back: float [3, H, W] in 0..1, or why there is none."""

    record: dict
    prompt: object
    image: "Tensor | None" = None

    @staticmethod
    def read(run: RunDir, folder, made: dict, prompt, sample: int) -> "_Picture":
        entry = made.get((prompt.id, sample))
        picture = _Picture(
            {
                "prompt_id": prompt.id,
                "sample": sample,
                "category": prompt.category,
                "prompt": prompt.text,
                "status": "skipped",
                "score": None,
                "evidence": {"reason": "the picture was not generated"},
                "image": "",
            },
            prompt,
        )
        if entry is None:
            return picture
        path = folder / entry["file"]
        picture.record["image"] = run.relative(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            return picture.failed(f"{path.name} cannot be read ({error.strerror})")
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            return picture.failed(f"{path.name} was changed or cut off after it was generated")
        try:
            picture.image = _pixels(data)
        except Exception as error:  # PIL raises errors of many types for damaged files
            return picture.failed(f"{path.name} is no PNG ({error})")
        return picture

    def failed(self, reason: str) -> "_Picture":
        """Itself with a record that says why there is no score."""
        self.record.update(status="failed", score=None, evidence={"reason": reason})
        self.image = None
        return self

    def judged(self, verdict: dict) -> None:
        """Records a verdict."""
        self.record.update(status="ok", score=float(verdict["score"]), evidence=verdict["evidence"])


def _pixels(data: bytes) -> "Tensor":
    import numpy as np
    import torch
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        pixels = np.array(picture.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255.0


def _judge(benchmark: "Benchmark", batch: list[_Picture]) -> list[dict]:
    """The records of a batch. When the scorer stumbles over it every picture is judged alone, so that a bad one fails alone."""
    import torch

    good = [picture for picture in batch if picture.image is not None]
    try:
        verdicts = benchmark.judge(torch.stack([p.image for p in good]), [p.prompt for p in good]) if good else []
        for picture, verdict in zip(good, verdicts, strict=True):
            picture.judged(verdict)
    except UserError:
        raise
    except Exception:
        for picture in good:
            try:
                picture.judged(benchmark.judge(picture.image[None], [picture.prompt])[0])
            except Exception as error:  # whatever a scorer raises is this picture's failure
                picture.failed(f"the scorer failed: {type(error).__name__}: {error}")
    return [picture.record for picture in batch]
