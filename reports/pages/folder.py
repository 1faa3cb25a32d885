"""The folder RUN/report: written at once, sealed with what it was made from, and kept while that has not changed."""

import csv
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from htgrpo.base.errors import UserError
from htgrpo.base.files import content_sha256, sha256_json
from htgrpo.base.folders import FILE, atomic_dir, verify

STAMP, MADE_BY = FILE, "python -m bench.report"
TERMINAL = "terminal.txt"
PACKAGE = Path(__file__).parents[1]


def code_identity() -> str:
    """Hash of every file of this package: code, templates, the paper's numbers."""
    paths = sorted(path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sha256_json({path.relative_to(PACKAGE).as_posix(): content_sha256(path) for path in paths})


@dataclass(frozen=True)
class Report:
    """A report as it lies in a folder. fresh: False when nothing had changed since the last time; table: the name of
    its CSV file."""

    folder: Path
    table: str
    fresh: bool

    @property
    def files(self) -> list[Path]:
        """What lies in the folder, without its seal."""
        return sorted(path for path in self.folder.iterdir() if path.name != STAMP)

    @property
    def terminal(self) -> str:
        """The text for standard output."""
        return (self.folder / TERMINAL).read_text("utf-8")

    @property
    def rows(self) -> list[dict[str, str]]:
        """The lines of the CSV file, without empty cells."""
        with open(self.folder / self.table, newline="", encoding="utf-8") as stream:
            return [{key: value for key, value in row.items() if value != ""} for row in csv.DictReader(stream)]


def make(
    root: Path, allow_incomplete: bool, inputs: Iterable[Path], table: str, contents: Callable[[], dict[str, bytes]]
) -> Report:
    """The report on `root`, made of `contents` (by file name) and put in the place of the old one at once, or the old
    one where neither `inputs` (there or not) nor the report's own code have changed, and nobody touched
    it. Raises UserError where a file lies there that is none of a report."""
    folder, made_from = root / "report", _stamp(root, allow_incomplete, inputs)
    if _kept(folder, made_from):
        return Report(folder, table, False)
    about = {"inputs": made_from}
    files = contents()
    with atomic_dir(folder, MADE_BY, overwrite=True, about=about, flag="the report's folder") as temporary:
        for name, data in files.items():
            (temporary / name).write_bytes(data)
    return Report(folder, table, True)


def _stamp(root: Path, allow_incomplete: bool, inputs: Iterable[Path]) -> str:
    """Hash of everything a report is made from, and of where it is printed to be."""
    digest = hashlib.sha256(f"{allow_incomplete} {root} {code_identity()}\n".encode())
    for path in inputs:
        digest.update(f"{os.path.relpath(path, root)} {content_sha256(path) if path.is_file() else None}\n".encode())
    return digest.hexdigest()


def _kept(folder: Path, stamp: str) -> bool:
    """Whether the report in `folder` was made from these inputs and is as it was written."""
    try:
        return verify(folder).about.get("inputs") == stamp
    except (UserError, OSError):
        return False
