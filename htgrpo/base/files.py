"""Files that are either whole or absent: write to a temporary name in the same folder, sync, rename. Folders:
htgrpo.base.folders."""

import contextlib
import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from htgrpo.base.errors import UserError

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EACCES: "permission denied; choose a writable folder",
    errno.EROFS: "the file system is read-only; choose a writable folder",
    errno.EPERM: "permission denied; choose a writable folder",
    errno.ENOTDIR: "a part of the path is a file; choose another folder",
    errno.EEXIST: "a file is in the way; choose another folder",
}
_TOLD = re.compile(r"\(os error (\d+)\)")
UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}\.unfinished")
"""The name of a file or folder that is being written. What a killed command has left is known by it, and nothing else
is swept."""


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns the usual operating-system refusals about `path` into a UserError; anything else passes."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if (number := _errno(error)) not in _REASONS:
            raise
        raise UserError(f"cannot write {str(path)!r}: {_REASONS[number]}") from error


def _errno(error: Exception) -> int | None:
    """The system's number of an error. Libraries written in Rust, safetensors among them, only tell it in their
    text."""
    if isinstance(error, OSError):
        return error.errno
    told = _TOLD.search(str(error))
    return int(told[1]) if told else None


def sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def unfinished(path: Path) -> Path:
    """A new name beside `path` for what is still being written."""
    return path.with_name(f".{path.name}.{os.urandom(4).hex()}.unfinished")


def make_folder(path: Path) -> Path:
    """Creates `path` and its parents; raises UserError where that is refused."""
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` so that a reader sees the old file or the new one, never a part. Raises UserError."""
    path = Path(path)
    make_folder(path.parent)
    temporary = unfinished(path)
    with explained(path):
        try:
            with open(temporary, "xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
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


def append_jsonl(path: Path, record: dict) -> None:
    """Adds one record as one line with a single write, after mending what a killed writer may have left. One writer at
    a time.

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


def read_object(path: Path, remedy: str = "restore it, or run the stage that makes it again") -> dict[str, Any]:
    """The JSON object in `path`. Raises UserError, which ends with `remedy`, where there is none."""
    try:
        value = json.loads(Path(path).read_bytes().decode("utf-8"))
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read ({error.strerror}): {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{str(path)!r} is not JSON ({error}), it is damaged or cut off: {remedy}") from error
    if not isinstance(value, dict):
        raise UserError(
            f"{str(path)!r} is not JSON of the right kind (a {type(value).__name__} where an object belongs): {remedy}"
        )
    return value


def read_jsonl(path: Path) -> list[dict]:
    """All whole records of `path`. A torn last line (a killed writer) is left out; a broken line elsewhere, or one that
    holds no object, raises UserError."""
    lines = Path(path).read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("no object")
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                break
            raise UserError(
                f"line {number} of {str(path)!r} is not JSON ({line[:40]!r}) or no object: the file was edited or damaged; "
                "delete it and run the stage that makes it again"
            ) from error
        records.append(record)
    return records


def sha256_file(path: Path) -> str:
    """Hex sha256 of the bytes of `path`."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


LARGE = 1 << 20
"""Bytes from which on the hash of a file is kept at once: 8B weights take a while."""
SETTLED = 2 * 10**9
"""Nanoseconds after its last change from which on that of a smaller one is kept: until then it may change within a
clock tick."""


def content_sha256(path: Path) -> str:
    """`sha256_file`, but a file is read once per process and state (size, time of change, inode) of it."""
    status = os.stat(path)
    if status.st_size < LARGE and time.time_ns() - status.st_ctime_ns < SETTLED:
        return sha256_file(path)
    return _kept_sha256(os.path.realpath(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@lru_cache(maxsize=1 << 17)
def _kept_sha256(path: str, *state: int) -> str:
    return sha256_file(Path(path))


def sha256_json(value: Any) -> str:
    """Hex sha256 of `value` as canonical JSON (sorted keys, no spaces): an identity that formatting cannot change."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
