"""Verdict files: what a score's identity is, what is there already, and what lies beside it. bench/judge/judging.py
makes them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.benchmarks.evaluation import Evaluation
from bench.record.rundir import RunDir
from bench.record.work import Target
from htgrpo.base.errors import UserError
from htgrpo.base.files import atomic_json, atomic_write_text, content_sha256, sha256_json
from htgrpo.base.records import Record, VerdictMeta, read, records

if TYPE_CHECKING:
    from bench.benchmarks.base import Benchmark

PARTS = ".part*"
"""Endings of files with what the processes of a launch have judged so far: an identity, then records."""
Key = tuple[str, int]
"""(prompt id, sample)."""


@dataclass(frozen=True)
class Coverage:
    """How many pictures have no verdict, of how many, and the first reason."""

    missing: int
    expected: int
    reason: str


def score_identity(benchmark: "Benchmark", evaluation: Evaluation, policy_sha256: str) -> str:
    """Hex identity of a score: generation, scorer, rule and prompts."""
    identity = [evaluation.generation_identity(policy_sha256), benchmark.scorer_identity(), benchmark.version]
    shared = evaluation.prompts_sha256 != evaluation.drawn.sha256
    return sha256_json([*identity, evaluation.prompts_sha256] if shared else identity)


def is_scored(run: RunDir, target: Target, evaluation: Evaluation, benchmark: "Benchmark") -> bool:
    """Whether everything that is judged has a verdict of this identity."""
    path = run.verdicts(target.name, evaluation.benchmark, evaluation.setting)
    meta = read_meta(path)
    if meta is None or meta["policy"] != policy_record(run, target):
        return False
    found = stored(path, score_identity(benchmark, evaluation, target.sha256))
    return len(found) == len(evaluation.items) and all(record["status"] == "ok" for record in found)


def read_meta(path: Path) -> VerdictMeta | None:
    """What lies beside a verdict file; None where that is nothing readable."""
    try:
        return read(path.with_suffix(".meta.json"), VerdictMeta)
    except UserError:
        return None


def stored(path: Path, identity: str) -> list[Record]:
    """The records in a verdict file of this identity; [] where it is of another, damaged, not as it was written or not
    there."""
    meta = read_meta(path)
    try:
        own = meta and meta.get("identity") == identity and meta["verdicts_sha256"] == content_sha256(path)
        return records(path, Record) if own else []
    except (OSError, UserError):
        return []


def sweep(run: RunDir) -> None:
    """Removes what was judged so far where the verdict file that was made from it is whole: a command was killed in
    between."""
    for path in run.root.glob(f"verdicts/*/*/*{PARTS}"):
        whole = path.with_name(path.name.rsplit(".part", 1)[0] + ".jsonl")
        meta = read_meta(whole)
        identity = meta and meta.get("identity")
        found = stored(whole, identity) if identity else []
        if found and all(record["status"] == "ok" for record in found):
            path.unlink()


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


def write(
    run: RunDir, target: Target, evaluation: Evaluation, benchmark: "Benchmark", judged: Sequence[Mapping[str, Any]]
) -> None:
    """Writes the verdict file and then its meta file."""
    path = run.verdicts(target.name, evaluation.benchmark, evaluation.setting)
    path.with_suffix(".meta.json").unlink(missing_ok=True)
    atomic_write_text(path, "".join(json.dumps(r, ensure_ascii=False, allow_nan=False) + "\n" for r in judged))
    made = {"of_policy": True} if evaluation.of_policy else {"pictures": evaluation.drawn.name}
    published = {"prompts": evaluation.whole, "pictures": benchmark.published_samples} if evaluation.whole else {}
    optional = {
        "axes": dict(benchmark.axes),
        "note": benchmark.note,
        "published": published,
        "top": benchmark.top,
        **made,
    }
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
            "expected_images": len(judged),
            "verdicts_sha256": content_sha256(path),
            "policy": policy_record(run, target),
            **{key: value for key, value in optional.items() if value},
        },
    )
