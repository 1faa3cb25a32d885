"""Adds to a made-up run what real ones have: boxes and questions in the evidence, ranks in the manifests, a benchmark
with axes, a benchmark of texts; and writes runs of given pictures."""

import base64
import json
import shutil
import zlib
from pathlib import Path

import numpy as np

from tests.sealing import rehash

GRID = (4, 6)


def packed(rank: np.ndarray) -> str:
    """As generation writes an order down."""
    return base64.b64encode(zlib.compress(rank.astype("<u2").tobytes(), 9)).decode()


def rewrite(path: Path, change) -> None:
    """Applies `change` to every record of a file of JSON lines."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(change(line)) + "\n" for line in lines))
    rehash(path)


def add_boxes(root: Path) -> None:
    """GenEval-like evidence: one object that counts and one that does not."""

    def change(record: dict) -> dict:
        box = [8.0, 8.0, 24.0, 24.0]
        reason = "" if record["score"] else "0 of 1 striped <b>circle</b>"
        found = [["striped circle", "red", *box, 1.0], ["solid bolt", "blue", 30.0, 30.0, 46.0, 46.0, 0.25]]
        evidence = {"reason": reason, "boxes": {"striped circle": [[*box, 1.0]]}, "found": found}
        return {**record, "evidence": evidence}

    for path in (root / "verdicts" / "geneval").glob("*/*.jsonl"):
        rewrite(path, change)


def add_orders(root: Path, benchmark: str = "geneval", setting: str = "main") -> dict[tuple[str, str], np.ndarray]:
    """A random order of every picture of sample 0; returns them by policy and prompt."""
    rng, orders = np.random.default_rng(3), {}
    for path in sorted((root / "verdicts" / benchmark / setting).glob("*.jsonl")):
        lines = []
        for line in path.read_text().splitlines():
            record = json.loads(line)
            entry = {
                "prompt_id": record["prompt_id"],
                "sample": record["sample"],
                "file": Path(record["image"]).name,
                "sha256": "",
            }
            if record["sample"] == 0:
                rank = rng.permutation(GRID[0] * GRID[1]) + 1
                orders[path.stem, record["prompt_id"]] = rank.reshape(GRID)
                entry |= {"grid": list(GRID), "rank": packed(rank)}
            lines.append(json.dumps(entry) + "\n")
        folder = root / "images" / path.stem / benchmark / setting
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.jsonl").write_text("".join(lines))
    return orders


def add_benchmark(root: Path, name: str, change_record, **meta) -> None:
    """A further benchmark made from GenEval's verdicts."""
    for path in sorted((root / "verdicts" / "geneval" / "main").glob("*.jsonl")):
        folder = root / "verdicts" / name / "main"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_text(path.read_text())
        rewrite(folder / path.name, change_record)
        old = json.loads(path.with_suffix(".meta.json").read_text())
        (folder / path.name).with_suffix(".meta.json").write_text(json.dumps({**old, "benchmark": name, **meta}))
        rehash(folder / path.name)


def as_given(root: Path) -> None:
    """Turns a run into one of given pictures: no starting policy, no training, no costs."""
    config = json.loads((root / "config.json").read_text())
    kept = {
        key: config[key]
        for key in ("created", "methods", "benchmarks", "title", "versions", "git_commit", "prompt_sets")
    }
    (root / "config.json").write_text(json.dumps({**kept, "kind": "images", "settings": {"main": {}}}))
    shutil.rmtree(root / "train")
    for path in (root / "verdicts").glob("*/*/base.*"):
        path.unlink()
    for path in (root / "verdicts").glob("*/*/*.meta.json"):
        meta = json.loads(path.read_text())
        meta["policy"] |= {"train_seed": None, "iteration": None, "forwards": None, "random_weights": False}
        meta["setting"] = {}
        path.write_text(json.dumps(meta))
