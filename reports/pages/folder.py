"""The folder RUN/report: written at once, sealed with what it was made from, and kept while that has not changed."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from htgrpo.base.errors import UserError
from htgrpo.base.files import content_sha256, sha256_json
from htgrpo.base.folders import FILE, atomic_dir, verify

STAMP, MADE_BY = FILE, "python -m bench.report"
PACKAGE = Path(__file__).parents[1]


def code_identity() -> str:
    """Hash of every file of this package: code, templates, the paper's numbers."""
    paths = sorted(path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sha256_json({path.relative_to(PACKAGE).as_posix(): content_sha256(path) for path in paths})


def stamp(root: Path, allow_incomplete: bool, inputs: Iterable[Path]) -> str:
    """Hash of everything a report on `root` is made from: `inputs`, whether they are there or not, the
    report's own code, and where it is printed to be."""
    digest = hashlib.sha256(f"{allow_incomplete} {root} {code_identity()}\n".encode())
    for path in inputs:
        digest.update(f"{os.path.relpath(path, root)} {content_sha256(path) if path.is_file() else None}\n".encode())
    return digest.hexdigest()


def kept(folder: Path, stamp: str) -> list[Path] | None:
    """The files of the report in `folder` when it was made from these inputs and is as it was written, else None."""
    try:
        seal = verify(folder)
    except (UserError, OSError):
        return None
    return sorted(folder / name for name in seal.files) if seal.about.get("inputs") == stamp else None


def write(folder: Path, contents: dict[str, bytes], stamp: str) -> list[Path]:
    """Replaces the report in `folder` at once; returns its files. Raises UserError where a file lies there that is none
    of a report."""
    with atomic_dir(folder, MADE_BY, overwrite=True, about={"inputs": stamp}, flag="the report's folder") as temporary:
        for name, data in contents.items():
            (temporary / name).write_bytes(data)
    return sorted(folder / name for name in contents)
