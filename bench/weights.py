"""Checkpoint folders looked at without torch: are they whole, which network do they hold, how long was it trained?"""

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from htgrpo.errors import UserError
from htgrpo.files import read_jsonl, sha256_file

EMBEDDED = "embedded"
WEIGHTS, CONFIG = "model.safetensors", "config.json"
STEP = re.compile(r"step_(\d+)")


@dataclass(frozen=True)
class Weights:
    """A policy folder. source: "embedded" or an absolute path; iteration, forwards: of its training, None where unknown."""

    source: str
    sha256: str
    random_weights: bool
    iteration: int | None
    forwards: int | None


def folder_of(source: str) -> Path:
    """The folder of "embedded" or of a path."""
    return Path(str(files("htgrpo") / "world" / "assets" / "policy")) if source == EMBEDDED else Path(source)


def inspect(source: str) -> Weights:
    """What lies at `source`. Raises UserError unless it is a whole policy folder (the weights' header and length fit)."""
    folder = folder_of(source)
    config = _config(source, folder)
    _check_whole(folder / WEIGHTS)
    iteration, forwards = _progress(folder)
    return Weights(
        source if source == EMBEDDED else str(folder.resolve()),
        sha256_file(folder / WEIGHTS),
        bool(config.get("random_weights", False)),
        iteration,
        forwards,
    )


def check_same_shape(source: str, policy: str) -> None:
    """Raises UserError when the network at `source` has another shape than the one at `policy`, which it is compared with."""
    ours, theirs = (_config(name, folder_of(name)) for name in (source, policy))
    for part in ("size", "backbone"):
        a, b = (config.get(part) if isinstance(config.get(part), dict) else {} for config in (ours, theirs))
        for key in [*a, *(key for key in b if key not in a)]:
            if a.get(key) != b.get(key):
                raise UserError(
                    f"the checkpoint {source!r} has another shape than the policy {policy!r} ({key} {a.get(key)} and "
                    f"{b.get(key)}): name the policy it was trained from with --policy"
                )


def _config(source: str, folder: Path) -> dict[str, Any]:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            what = f"has no {name}" if folder.is_dir() else "is not a folder"
            raise UserError(
                f"policy {source!r} {what}: give 'embedded' or a checkpoint folder such as "
                "runs/NAME/train/METHOD/seed0/checkpoints/step_000040"
            )
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{str(folder / CONFIG)!r} is not JSON ({error}): use an undamaged checkpoint") from error
    if not isinstance(config, dict):
        raise UserError(f"{str(folder / CONFIG)!r} is not a policy configuration: use an undamaged checkpoint")
    return config


def _check_whole(path: Path) -> None:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as stream:
            stream.keys()
    except Exception as error:  # safetensors raises its own untyped errors
        raise UserError(
            f"{str(path)!r} cannot be read as safetensors ({error}): the file is damaged or cut off; copy it again or "
            "use an earlier checkpoint"
        ) from error


def _progress(folder: Path) -> tuple[int | None, int | None]:
    """Iteration and forwards of a checkpoint, from its name and the metrics of the training folder around it."""
    match = STEP.fullmatch(folder.resolve().name)
    if not match:
        return None, None
    iteration = int(match[1])
    metrics = folder.resolve().parent.parent / "metrics.jsonl"
    for record in read_jsonl(metrics) if metrics.is_file() else []:
        if record.get("iteration") == iteration:
            return iteration, record.get("forwards_total")
    return iteration, None
