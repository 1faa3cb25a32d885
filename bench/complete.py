"""Recognises a run to which nothing needs to be added, without loading torch: its stamp and its files are as they were."""

import json
from dataclasses import asdict
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

from bench.machine import versions
from bench.request import Request
from bench.rundir import EQUAL_SECONDS, RunDir
from htgrpo.files import atomic_json, sha256_file, sha256_json

FILE = "complete.json"
KINDS = ("methods", "backbones", "samplers", "rewards", "reward_sources", "scorers", "benchmarks")
PACKAGES = ("htgrpo", "baselines", "bench")


@cache
def code_identity() -> str:
    """Hex identity of our own code and data and of the versions of packages that register anything with us."""
    hashes = {}
    for package in PACKAGES:
        root = Path(str(files(package)))
        paths = sorted(p for kind in ("*.py", "*.json", "*.jsonl", "*.yaml") for p in root.rglob(kind))
        hashes.update({f"{package}/{path.relative_to(root)}": sha256_file(path) for path in paths})
    groups = [f"htgrpo.{kind}" for kind in KINDS]
    outside = sorted((e.group, e.name, e.value, e.dist.version if e.dist else "") for g in groups for e in entry_points(group=g))
    return sha256_json([hashes, outside])


def stamp(request: Request, stages: tuple[str, ...]) -> str:
    """Hex identity of a command's work, and of everything that may decide what comes of it."""
    return sha256_json([asdict(request), sorted(stages), code_identity(), versions()])


def is_complete(run: RunDir, request: Request, stages: tuple[str, ...]) -> bool:
    """Whether this very work was done and everything it made is still there."""
    try:
        record = json.loads((run.root / FILE).read_text("utf-8"))
        return (
            stamp(request, stages) in record["stamps"]
            and all(sha256_file(run.root / name) == value for name, value in record["files"].items())
            and all((run.root / name).is_file() for name in record["weights"])
            and all(_pictures(run.root / name) == count for name, count in record["pictures"].items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def mark_complete(run: RunDir, request: Request, stages: tuple[str, ...]) -> None:
    """Records that this work is done, beside earlier work of the same run."""
    try:
        stamps = json.loads((run.root / FILE).read_text("utf-8"))["stamps"]
    except (OSError, ValueError, KeyError, TypeError):
        stamps = []
    done = [*run.root.glob("verdicts/*/*/*.json*"), *run.root.glob("train/*/*/metrics.jsonl"), *run.root.glob("results/*/*/*/*"),
            *run.root.glob(EQUAL_SECONDS)]
    atomic_json(
        run.root / FILE,
        {
            "stamps": sorted({*stamps, stamp(request, stages)}),
            "files": {run.relative(path): sha256_file(path) for path in sorted(done)},
            "weights": sorted(run.relative(path) for path in run.root.glob("train/*/*/checkpoints/step_*/*.safetensors")),
            "pictures": {run.relative(path): _pictures(path) for path in sorted(run.root.glob("images/*/*/*"))},
        },
    )


def _pictures(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*.png"))
