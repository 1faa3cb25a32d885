"""Policy folders looked at without torch: are they whole, which network do they hold, how long was it trained?"""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from htgrpo.base.errors import UserError
from htgrpo.base.records import log_lines
from htgrpo.policies.model_files import ADAPTER, EMBEDDED, ModelFolder, NotInCache, open_model, source_of
from htgrpo.world.world import by_policy

STEP = re.compile(r"step_(\d+)")
SIZES = ("d_model", "n_layers", "n_heads", "mlp_hidden_size", "embedding_size")


@dataclass(frozen=True)
class Weights:
    """A policy. source: "embedded", an absolute path or a hub id; iteration, forwards: of its training, None where
    unknown; backbone: its registered name, or what an embedded-format folder calls it; revision: commit of a hub
    snapshot, "" elsewhere; resolution: size of its pictures where its folder says so, else ""."""

    source: str
    sha256: str
    random_weights: bool
    iteration: int | None
    forwards: int | None
    backbone: str
    revision: str = ""
    resolution: str = ""


class NotHere(UserError):
    """A hub's model that is not on this machine. weights: what is known of it all the same; its sha256 is ""."""

    def __init__(self, message: str, weights: Weights):
        super().__init__(message)
        self.weights = weights

    def __reduce__(self):
        return type(self), (self.message, self.weights)


def inspect(source: str, backbone: str | None = None, revision: str | None = None) -> Weights:
    """What lies at `source`. backbone: needed where the folder does not say it; with "embedded" it means that
    backbone's published weights. Nothing is downloaded.

    Raises NotHere for a hub id that is not in the cache, and UserError unless it is a whole policy (the weights'
    headers and lengths fit; contents are hashed, except in the hub's cache, where large files are named by their hash).
    """
    source = source_of(source, backbone)
    if revision and by_policy(source):
        raise UserError(f"--revision {revision} has no effect on an embedded policy, which is no hub id: leave it out")
    try:
        model = open_model(source, revision, download=False)
    except NotInCache as error:
        if not backbone:
            raise
        raise NotHere(error.message, Weights(source, "", False, None, None, backbone, revision or "")) from error
    for file in model.shards.files:
        _check_whole(file)
    name = model.backbone_or(backbone)
    iteration, forwards = _progress(model.path)
    resolution = str(model.sidecar.get("resolution", ""))
    return Weights(
        model.name, model.sha256, model.random_weights, iteration, forwards, name, model.revision, resolution
    )


def check_same_shape(source: str, policy: str, revision: str | None = None) -> None:
    """Raises UserError when the network at `source` has another shape than the one at `policy` (a hub id: at
    `revision`), which it is compared with."""
    ours, theirs = _shape(open_model(source, download=False)), _shape(open_model(policy, revision, download=False))
    for key in (key for key in ours if key in theirs):
        if ours[key] != theirs[key]:
            raise UserError(
                f"the checkpoint {source!r} has another shape than the policy {policy!r} ({key} {ours[key]} and {theirs[key]}): "
                "name the policy it was trained from with --policy"
            )


def _shape(model: ModelFolder) -> dict[str, Any]:
    """Sizes and layout of a network, as far as its folder says; an adapter's are those of the network below it."""
    if model.kind == ADAPTER:
        return _shape(model.open_base(download=False))
    if model.kind == EMBEDDED:
        size, record = (
            value if isinstance(value, dict) else {} for value in (model.config["size"], model.config["backbone"])
        )
        return {**size, **record}
    named = {"name": model.backbone} if model.backbone else {}
    return {key: model.config[key] for key in SIZES if model.config.get(key) is not None} | named


def _check_whole(path: Path) -> None:
    from safetensors import safe_open

    kind = "a file of tensors" if path.suffix == ".bin" else "safetensors"
    try:
        if path.suffix == ".bin":
            zipfile.ZipFile(path).close()
            return
        with safe_open(path, framework="numpy") as stream:
            stream.keys()
    except Exception as error:  # safetensors raises its own untyped errors
        raise UserError(
            f"{str(path)!r} cannot be read as {kind} ({error}): the file is damaged or cut off; copy it again or use an earlier "
            "checkpoint"
        ) from error


def _progress(folder: Path) -> tuple[int | None, int | None]:
    """Iteration and forwards of a checkpoint, from its name and the metrics of the training folder around it."""
    match = STEP.fullmatch(folder.resolve().name)
    if not match:
        return None, None
    iteration = int(match[1])
    metrics = folder.resolve().parent.parent / "metrics.jsonl"
    for record in log_lines(metrics):
        if record["iteration"] == iteration:
            return iteration, record["forwards_total"]
    return iteration, None
