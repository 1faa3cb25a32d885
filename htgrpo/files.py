"""Files that are either whole or absent: write to a temporary name in the same folder, sync, rename."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from htgrpo.errors import UserError

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EACCES: "permission denied; choose a writable folder",
    errno.EROFS: "the file system is read-only; choose a writable folder",
    errno.EPERM: "permission denied; choose a writable folder",
    errno.ENOTDIR: "a part of the path is a file; choose another folder",
    errno.EEXIST: "a file is in the way; choose another folder",
}


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns the usual operating-system refusals about `path` into a UserError; anything else passes."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REASONS:
            raise
        raise UserError(f"cannot write {str(path)!r}: {_REASONS[error.errno]}") from error


def _sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> Path:
    """Creates `path` and its parents; raises UserError where that is refused."""
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` so that a reader sees the old file or the new one, never a part. Raises UserError."""
    path = Path(path)
    make_folder(path.parent)
    with explained(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise


def atomic_write_text(path: Path, text: str) -> None:
    """`atomic_write_bytes` of UTF-8 text."""
    atomic_write_bytes(path, text.encode("utf-8"))


def atomic_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON; NaN and infinity are refused (ValueError)."""
    atomic_write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yields an empty temporary folder that becomes `path` when the block ends well, and vanishes when it does not.

    An existing `path` is replaced. Raises UserError when the folder cannot be written.
    """
    path = Path(path)
    make_folder(path.parent)
    with explained(path):
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with open(file, "rb") as stream:
                        os.fsync(stream.fileno())
            os.chmod(temporary, 0o755)
            if path.exists():
                shutil.rmtree(path)
            os.replace(temporary, path)
            _sync_folder(path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def append_jsonl(path: Path, record: dict) -> None:
    """Adds one record as one line with a single write, after mending what a killed writer may have left. One writer at a time.

    Raises UserError, and ValueError for NaN or infinity.
    """
    line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
    make_folder(path.parent)
    with explained(path), open(path, "ab+") as stream:
        _mend(stream)
        stream.write(line.encode("utf-8"))
        stream.flush()


def _mend(stream: BinaryIO) -> None:
    """Drops a torn last line, or ends it where only its line break is missing."""
    size = stream.seek(0, os.SEEK_END)
    if size == 0 or (stream.seek(size - 1), stream.read(1))[1] == b"\n":
        return
    stream.seek(0)
    data = stream.read()
    start = data.rfind(b"\n") + 1
    try:
        json.loads(data[start:])
        stream.write(b"\n")
    except ValueError:
        stream.truncate(start)


def read_jsonl(path: Path) -> list[dict]:
    """All whole records of `path`. A torn last line (a killed writer) is left out; a broken line elsewhere raises UserError."""
    lines = Path(path).read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            records.append(json.loads(line))
        except ValueError as error:
            if number == len(lines):
                break
            raise UserError(
                f"line {number} of {str(path)!r} is not JSON ({line[:40]!r}): the file was edited or damaged; "
                "delete it and run the stage that makes it again"
            ) from error
    return records


def sha256_file(path: Path) -> str:
    """Hex sha256 of the bytes of `path`."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """Hex sha256 of `value` as canonical JSON (sorted keys, no spaces): an identity that formatting cannot change."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
