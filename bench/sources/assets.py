"""Benchmark texts and other published files that are not part of this package: named, pinned by content, looked up,
never guessed.

An asset lies in the folder that HTGRPO_ASSETS names, or in the user's cache, where `python -m bench.fetch` puts it;
both have the layout of the manifest's "file" entries (assets.json). In both places a file counts only with the pinned
content.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from htgrpo.base.errors import UserError, suggest

FOLDER, CACHE = "HTGRPO_ASSETS", "HTGRPO_CACHE"
"""Environment variables: a folder of assets that are there already; the folder that holds what bench.fetch brings."""


@dataclass(frozen=True)
class Source:
    """One upstream file. digest: as of an asset, or "" for an archive packed anew at every download, whose contents are
    checked instead. member: the file to take out of a zip archive, "" for the whole file."""

    url: str
    digest: str
    member: str = ""


@dataclass(frozen=True)
class Asset:
    """One named file. file: its path below either folder. digest: "sha256:" and its hex digits, or their first 8 or
    more where no more are published, or "git-blob:" and git's id of the content, or "" where nobody publishes one: such
    an asset is used from the user's own folder only, and recipe["reason"] says why. make: how it comes out of the
    sources (bench/sources/extract.py); recipe: what that needs beside them."""

    name: str
    what: str
    file: str
    digest: str
    licence: str
    upstream: str
    make: str
    sources: dict[str, Source]
    recipe: dict[str, Any]


@cache
def manifest() -> dict[str, Asset]:
    """All assets by name."""
    entries = json.loads((files("bench.sources") / "assets.json").read_text("utf-8"))["assets"]
    return {entry["name"]: read_entry(entry) for entry in entries}


def read_entry(entry: dict[str, Any]) -> Asset:
    """The asset of one entry of the manifest."""
    rest = dict(entry)
    sources = {name: Source(**source) for name, source in rest.pop("sources").items()}
    fields = {key: rest.pop(key) for key in ("name", "what", "file", "digest", "licence", "upstream", "make")}
    return Asset(**fields, sources=sources, recipe=rest)


def named(name: str) -> Asset:
    """The asset of that name. Raises UserError with the nearest one."""
    if name not in manifest():
        raise suggest(name, manifest(), "asset")
    return manifest()[name]


def cache_folder() -> Path:
    """Where fetched assets lie: $HTGRPO_CACHE/assets, else below the user's cache folder (XDG_CACHE_HOME, ~/.cache)."""
    given = os.environ.get(CACHE)
    if given:
        return Path(given).expanduser() / "assets"
    import pooch

    return Path(pooch.os_cache("htgrpo-bench")) / "assets"


def asset(name: str) -> Path:
    """The file of an asset, of the pinned content. Raises UserError with the command to run where it is missing."""
    wanted = named(name)
    found = find(wanted)
    if found is None and not wanted.digest:
        raise UserError(
            f"asset {name!r} ({wanted.what}) cannot be fetched: {wanted.recipe['reason']}; put it as {wanted.file} into a "
            f"folder and set {FOLDER} to that"
        )
    if found is None:
        raise UserError(
            f"asset {name!r} ({wanted.what}) is not on this machine: run `python -m bench.fetch {name}`, or set {FOLDER} "
            f"to a folder that holds {wanted.file}"
        )
    return found


def find(wanted: Asset) -> Path | None:
    """The asset's file in $HTGRPO_ASSETS or in the cache, None where neither has it. A damaged file in the cache counts
    as missing; one in the user's own folder raises UserError, since nobody else can mend it."""
    own = os.environ.get(FOLDER)
    if own:
        path = Path(own).expanduser() / wanted.file
        if path.is_file():
            if not has_content(path, wanted.digest):
                raise UserError(
                    f"{str(path)!r} is not the published file (expected {wanted.digest}, from {wanted.upstream}): replace "
                    f"or remove it, or unset {FOLDER}"
                )
            return path
    path = cache_folder() / wanted.file
    return path if wanted.digest and path.is_file() and has_content(path, wanted.digest) else None


def has_content(path: Path, digest: str) -> bool:
    """Whether the file has the content that an asset's digest pins; "" pins none."""
    if not digest:
        return True
    state = path.stat()
    kind, _, start = digest.partition(":")
    return _content(path, kind, state.st_size, state.st_mtime_ns).startswith(start)


@lru_cache(maxsize=64)
def _content(path: Path, kind: str, size: int, changed: int) -> str:
    """Hex digest of a file. `changed` makes the memory forget files that were written since."""
    if kind == "sha256":
        digest = hashlib.sha256()
    elif kind == "git-blob":
        digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)  # how git names a file's content
    else:
        raise ValueError(f"unknown kind of digest {kind!r}")
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: digest).hexdigest()
