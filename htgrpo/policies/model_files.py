"""Folders that a policy is read from, looked at without torch: where they are, which format they have, which files are
the weights.

Three formats, each with a `config.json` of its own kind:

    embedded    config.json {"size", "backbone", "random_weights"}, model.safetensors, tokenizer.json, vq/
    published   the authors' config.json, model*.safetensors with their index (or pytorch_model*.bin), the tokenizer's files
    adapter     PEFT's adapter_config.json and adapter_model.safetensors; the weights they change are named in htgrpo.json

`htgrpo.json` is our sidecar: {"backbone", "random_weights", "resolution", "codec"}, and for an adapter "base".
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from htgrpo.base.errors import UserError
from htgrpo.base.files import content_sha256, read_object, sha256_json
from htgrpo.base.folders import FILE as SEALED
from htgrpo.base.folders import verify
from htgrpo.base.registry import BACKBONES
from htgrpo.world.world import by_policy

EMBEDDED, PUBLISHED, ADAPTER = "embedded", "published", "adapter"
CONFIG, SIDECAR, ADAPTER_CONFIG = "config.json", "htgrpo.json", "adapter_config.json"
WEIGHTS, ADAPTER_WEIGHTS, LEGACY_WEIGHTS = "model.safetensors", "adapter_model.safetensors", "pytorch_model.bin"
ACCEPTED = (
    "give 'embedded', a checkpoint folder such as runs/NAME/train/METHOD/seed0/checkpoints/step_000040, or a hub id"
)
CHECKPOINT = re.compile(r"step_\d+")
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "tokenizer.model", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
"""Files that a published tokenizer may consist of."""
HUB_ID = re.compile(r"(?!\.)[\w.-]+/(?!\.)[\w.-]+")
HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "merges.txt", "pretrain.jsonl"]
HUB_LEGACY_FILES = ["*.bin"]


class NotInCache(UserError):
    """A model of the hub that is not on this machine and could not be had."""


@dataclass(frozen=True)
class ModelFolder:
    """A policy's folder. name: what opens it again: a world's policy, an absolute path or a hub id. revision: the commit of a
    hub snapshot, "" elsewhere. config: the format's own configuration; sidecar: htgrpo.json, empty where there is
    none."""

    name: str
    revision: str
    path: Path
    kind: str
    config: dict[str, Any]
    sidecar: dict[str, Any]

    @cached_property
    def shards(self) -> "Shards":
        """The weight files. Raises UserError where one is missing."""
        return find_shards(self.path, self.name, ADAPTER_WEIGHTS if self.kind == ADAPTER else WEIGHTS)

    @property
    def base(self) -> dict[str, str]:
        """Of an adapter: {"source", "revision", "sha256"} of the weights that it changes. Raises UserError when not
        recorded."""
        base = self.sidecar.get("base")
        if not isinstance(base, dict) or not all(isinstance(base.get(key), str) for key in ("source", "sha256")):
            raise UserError(
                f'{SIDECAR} of the adapter {self.name!r} does not say which weights it belongs to ("base" with '
                '"source" and "sha256"): use an undamaged checkpoint'
            )
        return {"revision": "", **{key: value or "" for key, value in base.items()}}

    def open_base(self, download: bool = True) -> "ModelFolder":
        """Of an adapter: the folder of the weights it changes. Raises UserError when there is none, or it is an adapter
        too."""
        base = open_model(self.base["source"], self.base["revision"] or None, download)
        if base.kind == ADAPTER:
            raise UserError(
                f"the adapter {self.name!r} names another adapter, {base.name!r}, as its base: merge that one "
                "with `python -m bench.export` first"
            )
        return base

    @property
    def backbone(self) -> str:
        """The backbone's name, "" where nothing says it."""
        record = self.config.get("backbone") if self.kind == EMBEDDED else self.sidecar.get("backbone")
        return str((record.get("name") if isinstance(record, dict) else record) or "")

    def backbone_or(self, given: str | None) -> str:
        """The backbone's name, which `given` says where the folder does not. Raises UserError when both or neither say
        one."""
        if given and self.backbone and given != self.backbone:
            raise UserError(
                f"policy {self.name!r} is of the backbone {self.backbone!r}, not {given!r}: leave --backbone out"
            )
        if not given and not self.backbone and self.kind != EMBEDDED:
            raise UserError(
                f"policy {self.name!r} holds published weights, but nothing in it says of which backbone: add "
                f"--backbone ({' or '.join(BACKBONES.names())})"
            )
        return given or self.backbone or EMBEDDED

    @property
    def random_weights(self) -> bool:
        """Whether the network was never trained, as far as the folder says."""
        return bool((self.config if self.kind == EMBEDDED else self.sidecar).get("random_weights", False))

    @cached_property
    def sha256(self) -> str:
        """Identity of all that decides what the policy does: its weights (an adapter's with those below it), its
        configuration, its tokenizer, and its image codec where that is a folder of this machine (a hub id stands in
        htgrpo.json or in the backbone).

        A file in the hub's cache whose name is its sha256, as large ones' are, is not read.
        """
        own = [_content_sha256(file) for file in self.shards.files]
        if self.kind == ADAPTER:
            own.append(self.base["sha256"])
        return sha256_json([own, self.config, [[path.name, _content_sha256(path)] for path in self._parts()]])

    def _parts(self) -> list[Path]:
        """The files of the tokenizer and of the image codec: they decide what the policy reads and draws."""
        codec = self.path / str(self.sidecar.get("codec") or "vq")  # an absolute path stays one
        codec = codec if codec.is_dir() else self.path / "vqvae"
        tokenizer = [self.path / name for name in TOKENIZER_FILES]
        return [path for path in [*tokenizer, *sorted(codec.glob("*"))] if path.is_file()]


@dataclass(frozen=True)
class Shards:
    """Weight files in order of name. index: the file of every key, None where there is no index."""

    files: tuple[Path, ...]
    index: dict[str, Path] | None = None


def source_of(name: str, backbone: str | None) -> str:
    """What is opened for `name`: with "embedded" a backbone means that backbone's own policy."""
    if name != EMBEDDED or backbone is None or backbone == EMBEDDED:
        return name
    return backbone if by_policy(backbone) else BACKBONES.get(backbone).hub


def open_model(name: str, revision: str | None = None, download: bool = True) -> ModelFolder:
    """The folder of `name`: a world's shipped policy ("embedded"), a folder, or a hub id at `revision` (from the
    hub's cache, and with `download` from the hub itself where it can be reached). Raises UserError for anything that
    is none of the three formats."""
    if world := by_policy(name):
        if not world.shipped.is_dir():
            raise UserError(
                f"no policy of the {world.title} ships with this version: make one with python -m bench.pretrain --world "
                f"{world.name} --out FOLDER and give --policy FOLDER"
            )
        return _read(name, "", Path(str(world.shipped)))
    folder = Path(name)
    if folder.is_dir() or not HUB_ID.fullmatch(name):
        if revision:
            raise UserError(
                f"revision {revision!r} cannot be had of {name!r}: only models of the hub have revisions; leave it out"
            )
        if not folder.is_dir():
            raise UserError(f"policy {name!r} is not a folder: {ACCEPTED}")
        return _read(str(folder.resolve()), "", folder.resolve())
    folder = hub_snapshot(name, revision, download)
    return _read(name, folder.name, folder)


def hub_snapshot(name: str, revision: str | None = None, download: bool = True, noun: str = "policy") -> Path:
    """The local snapshot of the hub's model `name`, with legacy weights only where there are no others. HF_HOME,
    HF_HUB_OFFLINE and the other variables of huggingface_hub hold. Raises UserError, with the command that brings it,
    where it cannot be had."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fetch(wanted: list[str]) -> Path:
        return Path(
            snapshot_download(name, revision=revision or None, allow_patterns=wanted, local_files_only=not download)
        )

    try:
        folder = fetch(HUB_FILES)
        return folder if list(folder.glob("*.safetensors")) else fetch(HUB_FILES + HUB_LEGACY_FILES)
    except Exception as error:  # errors of the network, of the hub and of its cache have no common ancestor
        reason = "" if isinstance(error, LocalEntryNotFoundError) else f" ({str(error).strip().partition(chr(10))[0]})"
        command = f"hf download {name}" + (f" --revision {revision}" if revision else "")
        raise NotInCache(
            f"{noun} {name!r} is neither a folder nor whole in the hub's cache{reason}: run `{command}` where the hub "
            "can be reached, with the same HF_HOME, or give a folder"
        ) from error


def _read(name: str, revision: str, folder: Path) -> ModelFolder:
    _verify(folder)
    sidecar = read_json(folder / SIDECAR) if (folder / SIDECAR).is_file() else {}
    if (folder / ADAPTER_CONFIG).is_file():
        return ModelFolder(name, revision, folder, ADAPTER, read_json(folder / ADAPTER_CONFIG), sidecar)
    if not (folder / CONFIG).is_file():
        raise UserError(f"policy {name!r} has no {CONFIG}: {ACCEPTED}")
    config = read_json(folder / CONFIG)
    if "size" in config and "backbone" in config:
        return ModelFolder(name, revision, folder, EMBEDDED, config, sidecar)
    if "d_model" in config or "n_heads" in config or sidecar:
        return ModelFolder(name, revision, folder, PUBLISHED, config, sidecar)
    raise UserError(
        f'{str(folder / CONFIG)!r} is not a policy configuration (it names neither "size" and "backbone" nor the '
        f'published "d_model"): {ACCEPTED}'
    )


def _verify(folder: Path) -> None:
    """Raises UserError unless all files are as this program wrote them. Only folders from elsewhere have no list of
    their files; those are known by `ModelFolder.sha256` alone."""
    undamaged = "use an undamaged checkpoint, or restore it from a copy"
    if not (folder / SEALED).is_file() and not CHECKPOINT.fullmatch(folder.name):
        written_here = (folder / CONFIG).is_file() and "backbone" in read_json(folder / CONFIG)
        if not written_here or (folder / ADAPTER_CONFIG).is_file():
            return
    verify(folder, undamaged)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises UserError for anything else."""
    return read_object(path, "use an undamaged checkpoint")


def find_shards(folder: Path, name: str = "", single: str = WEIGHTS) -> Shards:
    """The weight files in `folder`: `single`, or the files of its index, or the same of the legacy format. Raises
    UserError."""
    for file in (folder / single, folder / LEGACY_WEIGHTS):
        if file.is_file():
            return Shards((file,))
        index = file.with_name(f"{file.name}.index.json")
        if index.is_file():
            return indexed(index, "copy or download it again")
    raise UserError(f"policy {name or str(folder)!r} has no {single}: {ACCEPTED}")


def indexed(index: Path, remedy: str) -> Shards:
    """The weight files that an index (model.safetensors.index.json) names, in its folder. Raises UserError where it is
    damaged or one is missing."""
    folder, where = index.parent, read_json(index).get("weight_map")
    if not isinstance(where, dict) or not where or not all(isinstance(file, str) for file in where.values()):
        raise UserError(f'{str(index)!r} has no "weight_map" of keys to files: {remedy}')
    files = sorted(set(where.values()))
    for file in files:
        if Path(file).name != file or not (folder / file).is_file():
            raise UserError(f"{str(folder)!r} lacks the shard {file!r} that {index.name} names: {remedy}")
    return Shards(tuple(folder / file for file in files), {key: folder / file for key, file in where.items()})


def _content_sha256(path: Path) -> str:
    """Hex sha256 of a file's content, taken from the name of its blob in the hub's cache where that is one."""
    blob = path.resolve()
    if path.is_symlink() and blob.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return blob.name
    return content_sha256(path)
