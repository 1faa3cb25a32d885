"""Published weights of scorers: found in a folder or in the hub's cache, and read key by key into a network built
without them.

Nothing is downloaded here: what is missing is named with the command that brings it.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from htgrpo.base.errors import UserError
from htgrpo.base.files import sha256_file, sha256_json
from htgrpo.policies.model_files import Shards, indexed
from htgrpo.policies.weights import TensorFiles, check_shapes, shapes_of

FOLDERS = "HTGRPO_WEIGHTS"
"""The environment variable that names a folder with one subfolder of weights per scorer."""


@dataclass(frozen=True)
class Repository:
    """What a scorer reads of one repository of the hub. files: all needed. weights: names for the weights' file, the
    first that is there is read; it may be split, with its index beside it (then `sharded`, since nobody can name the
    parts beforehand). revision: the commit, where one is pinned."""

    id: str
    files: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    sharded: bool = False
    note: str = ""
    revision: str = ""

    @property
    def command(self) -> str:
        """The command that brings it."""
        names = () if self.sharded else (*self.files, *self.weights[-1:])
        pinned = ("--revision", self.revision) if self.revision else ()
        return " ".join(("hf download", self.id, *names, *pinned))

    def missing(self, folder: Path) -> str:
        """The first name that `folder` lacks, "" where it is whole."""
        for name in self.files:
            if not (folder / name).is_file():
                return name
        return self.weights[-1] if self.weights and not _weight_file(folder, self.weights) else ""


def locate(scorer: str, repositories: tuple[Repository, ...], weights: Path | None) -> list[Path]:
    """The folder of every repository of `scorer`, the weights' own first.

    That one is `weights`, or the folder of the scorer's name in $HTGRPO_WEIGHTS, or the hub's cache; the others are
    looked for in it, in its subfolder of the repository's name, then in the hub's cache. Raises UserError with the
    commands to run.
    """
    given = Path(weights) if weights else _default_folder(scorer)
    found: list[Path] = []
    for repository in repositories:
        own = repository is repositories[0]
        candidates = [given] if given else []
        if given and not own:
            candidates.append(given / repository.id.rpartition("/")[2])
        if not (given and own):
            candidates += _snapshots(repository)
        whole = [folder for folder in candidates if not repository.missing(folder)]
        if not whole:
            raise _not_found(scorer, repository, candidates, given)
        found.append(whole[0])
    return found


def _default_folder(scorer: str) -> Path | None:
    folder = Path(os.environ[FOLDERS]) / scorer if os.environ.get(FOLDERS) else None
    return folder if folder and folder.is_dir() else None


def _snapshots(repository: Repository) -> list[Path]:
    from huggingface_hub import snapshot_download

    try:
        return [Path(snapshot_download(repository.id, revision=repository.revision or None, local_files_only=True))]
    except Exception:  # "not there" has several types, of the cache and of the hub
        return []


def _not_found(scorer: str, repository: Repository, candidates: list[Path], given: Path | None) -> UserError:
    if given and not given.is_dir():
        return UserError(
            f"weights not found: {str(given)!r}, given for {scorer}, is not a folder; give the folder that holds "
            f"{repository.missing(given)}, or leave it out to use the hub's cache"
        )
    where = (
        f"{str(candidates[0])!r} lacks {repository.missing(candidates[0])}"
        if candidates
        else "it is not in the hub's cache"
    )
    note = f" ({repository.note})" if repository.note else ""
    return UserError(
        f"weights not found: run `{repository.command}`{note}, since {scorer} needs {repository.id} and {where}; "
        f"or give a folder that holds its files, also as ${FOLDERS}/{scorer}"
    )


def revision(folder: Path, repository: Repository) -> str:
    """The commit of a snapshot in the hub's cache, elsewhere "sha256:" and a digest over the files that are read."""
    if folder.parent.name == "snapshots":
        return folder.name
    files = [folder / name for name in repository.files]
    if repository.weights:
        files += open_shards(folder, repository).files
    return "sha256:" + sha256_json([[file.name, sha256_file(file)] for file in sorted(files)])


def open_shards(folder: Path, repository: Repository) -> Shards:
    """The weight files of a folder that `locate` found. Raises UserError where the index is damaged or a part is
    missing."""
    file = _weight_file(folder, repository.weights)
    if file is None or file.suffix != ".json":
        return Shards((file or folder / repository.weights[-1],))
    return indexed(file, f"run `{repository.command}`")


def _weight_file(folder: Path, names: tuple[str, ...]) -> Path | None:
    for name in names:
        for file in (folder / name, folder / f"{name}.index.json"):
            if file.is_file():
                return file
    return None


class _WeightsElsewhere(TorchFunctionMode):
    """What constructors allocate lies on the meta device, which holds no numbers; what they compute, from torch.arange,
    is real. So weights cost nothing before they are read, while rotary frequencies and position numbers, which no file
    holds, are there."""

    ALLOCATE = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn})

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function in self.ALLOCATE and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return function(*args, **kwargs)


Network = TypeVar("Network", bound=nn.Module)


def build(make: Callable[[], Network]) -> Network:
    """The network that `make` constructs, for evaluation, its weights still to be read by `fill`. Draws no random
    numbers."""
    with _WeightsElsewhere():
        return make().eval().requires_grad_(False)


Origin = str | tuple[str, int, int]
"""Where a weight comes from: an official key, or (official key, part i, of n equal parts of its first dimension)."""


def renaming(*rules: tuple[str, str]) -> Callable[[str], str]:
    """A function of our keys to official ones: every rule is a regular expression and what replaces it, applied in
    turn."""
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]

    def official(key: str) -> str:
        for pattern, replacement in compiled:
            key = pattern.sub(replacement, key)
        return key

    return official


def fill(
    net: nn.Module,
    tensors: TensorFiles,
    origin: Callable[[str], Origin],
    device: str | torch.device,
    dtype: Callable[[str], torch.dtype],
    ignore: str = r"(?!)",
) -> None:
    """Makes `tensors` the weights of `net`, which `build` made, on `device`, each in dtype(our key).

    ignore: a regular expression of the official keys that are left unread, as a whole. Raises UserError naming the
    first official key that is missing, unexpected or of another shape.
    """
    wanted = {key: origin(key) for key in net.state_dict()}
    official: dict[str, tuple[int, ...]] = {}
    for key, shape in shapes_of(net.state_dict()).items():
        name = wanted[key]
        source, parts = (name, 1) if isinstance(name, str) else (name[0], name[2])
        official[source] = (shape[0] * parts, *shape[1:]) if parts > 1 else shape
    spare = re.compile(ignore)
    found = {key: shape for key, shape in tensors.shapes().items() if key in official or not spare.fullmatch(key)}
    check_shapes(found, official, tensors.place, "this scorer's network", "download the published files again")
    net.load_state_dict({key: _part(tensors, name, device, dtype(key)) for key, name in wanted.items()}, assign=True)
    for name, tensor in (*net.named_parameters(), *net.named_buffers()):
        if tensor.is_meta:
            raise RuntimeError(f"{name} has no value: neither a file nor the constructor gives one")
    net.to(device)


def _part(tensors: TensorFiles, name: Origin, device: str | torch.device, dtype: torch.dtype) -> Tensor:
    if isinstance(name, str):
        return tensors.get(name, device, dtype)
    key, part, parts = name
    return tensors.get(key, device, dtype).chunk(parts)[part].clone()
