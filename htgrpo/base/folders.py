"""Folders that one command makes as a whole, each with a list of its files: who made them, and the sha256 of every one.

The list (`files.json`) is what tells damage from what was written, and our files from anybody else's: a folder is
replaced or removed only as far as its list goes. A subfolder with a list of its own is not in the list of the folder
around it.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from htgrpo.base.errors import UserError
from htgrpo.base.files import (
    UNFINISHED,
    atomic_write_bytes,
    atomic_write_text,
    content_sha256,
    explained,
    make_folder,
    read_object,
    sha256_json,
    sync_folder,
    unfinished,
)

FILE = "files.json"
HARMLESS = re.compile(r"(README|LICENSE|NOTICE)[^/]*|\.gitattributes|\.DS_Store|\.(git|cache)/.*")
"""What people and the hub's own program add to a model's folder, and nothing reads."""
SHA256 = re.compile(r"[0-9a-f]{64}")
RESTORE = "restore it from a copy"


@dataclass(frozen=True)
class Seal:
    """A list of files. made_by: the command or the part of the program that wrote them; files: sha256 by path within
    the folder; about: what else is recorded."""

    made_by: str
    files: dict[str, str]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The one way in which this list is written, so that any changed byte of it shows."""
        value = {"made_by": self.made_by, "about": self.about, "files": dict(sorted(self.files.items()))}
        return json.dumps({**value, "sha256": sha256_json(value)}, indent=2, ensure_ascii=False) + "\n"


def read_seal(folder: Path, name: str = FILE, remedy: str = RESTORE) -> Seal:
    """The list of `folder`. Raises UserError where there is none, or where a byte of it was changed."""
    path = Path(folder) / name
    value = read_object(path, remedy)
    made_by, files, about = value.get("made_by"), value.get("files"), value.get("about")
    if isinstance(made_by, str) and isinstance(files, dict) and isinstance(about, dict):
        sound = all(isinstance(sha256, str) and SHA256.fullmatch(sha256) for sha256 in files.values())
        with contextlib.suppress(ValueError, OSError):
            if sound and (seal := Seal(made_by, files, about)).text.encode() == path.read_bytes():
                return seal
    raise UserError(f"{str(path)!r} is damaged or was edited (it is not as it was written): {remedy}")


def contents(folder: Path) -> list[str]:
    """Paths within `folder` of all its files but for its list, files that are being written, and subfolders with their
    own list."""
    return [name for name in everything(folder, own=True) if name != FILE]


def seal(folder: Path, made_by: str, about: dict[str, Any] | None = None) -> None:
    """Writes the list of what is in `folder` now."""
    files = {name: content_sha256(folder / name) for name in contents(folder)}
    atomic_write_text(folder / FILE, Seal(made_by, files, about or {}).text)


def verify(folder: Path, remedy: str = RESTORE, below: str = "") -> Seal:
    """The list of `folder`, all of whose files (or those whose path begins with `below`) are as they were written.
    Raises UserError that names the first one which is not."""
    found = read_seal(folder, remedy=remedy)
    there = [name for name in contents(folder) if name.startswith(below)]
    for name in sorted(name for name in {*found.files} - {*there} if name.startswith(below)):
        if HARMLESS.fullmatch(name):
            continue
        raise UserError(f"{str(folder)!r} has no {name}, which {FILE} lists: {remedy}")
    for name in there:
        if name not in found.files:
            if HARMLESS.fullmatch(name):
                continue
            raise UserError(
                f"{str(folder)!r} holds {name!r}, which {FILE} does not list: it was added or renamed; move it away"
            )
        if content_sha256(folder / name) != found.files[name]:
            raise UserError(f"{str(folder / name)!r} is damaged (its content is not what {FILE} lists): {remedy}")
    return found


def _unfit(path: Path, why: str, flag: str = "--out") -> UserError:
    return UserError(f"{flag} is {str(path)!r}, which {why}")


def check_place(path: Path, flag: str = "--out") -> None:
    """Raises UserError where `path` is the current folder, home, the root, a folder around one of these, a link, or a
    file."""
    whole = Path(os.path.abspath(path))
    for what, place in (("the current folder", Path.cwd()), ("your home folder", Path.home())):
        if place.is_relative_to(whole) or place.resolve().is_relative_to(whole.resolve()):
            raise _unfit(path, f"is {what} or one around it: name a new folder", flag)
    if path.is_symlink():
        raise UserError(f"{flag} is {str(path)!r}, a link to {os.readlink(path)!r}: name the folder itself")
    if path.exists() and not path.is_dir():
        raise _unfit(path, "is a file: give a folder", flag)


def check_replaceable(path: Path, made_by: str, overwrite: bool, flag: str = "--out") -> None:
    """Raises UserError unless `path` is free, an empty folder, or made by `made_by` alone and to be overwritten."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        check_place(path, flag)
    if not path.exists() or not any(path.iterdir()):
        return
    if not (path / FILE).is_file():
        raise _unfit(path, f"holds files that this command did not make (it has no {FILE}): give a new folder", flag)
    old = read_seal(path, remedy="give a new folder, or delete this one yourself")
    if old.made_by != made_by:
        raise _unfit(path, f"was made by {old.made_by}: give a new folder", flag)
    if not overwrite:
        raise _unfit(path, "exists already: give a new folder, or add --overwrite to make it again", flag)
    for name in everything(path):
        if name not in old.files and name != FILE and not listed_below(path, name):
            raise _unfit(path, f"holds {name!r} that this command did not write: move that elsewhere first", flag)


def listed_below(folder: Path, name: str) -> bool:
    """Whether a subfolder's own list has the file `name` of `folder`, or it is such a list."""
    path = folder / name
    for around in path.parents:
        if around == folder:
            return False
        if (around / FILE).is_file():
            return path == around / FILE or path.relative_to(around).as_posix() in read_seal(around).files
    return False


def everything(folder: Path, own: bool = False) -> list[str]:
    """Paths within `folder` of all its files, lists included; not of what is being written. own: nor of subfolders
    with their own list."""
    found = []
    for where, subfolders, names in os.walk(folder):
        place = Path(where)
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not UNFINISHED.fullmatch(name) and not (own and (place / name / FILE).is_file())
        )
        links = [name for name in subfolders if (place / name).is_symlink()]  # os.walk does not follow them
        whole = [place / name for name in [*names, *links] if not UNFINISHED.fullmatch(name)]
        found += [path.relative_to(folder).as_posix() for path in whole]
    return sorted(found)


def remove(folder: Path, names: Iterable[str]) -> None:
    """Removes the files `names` of `folder`, and then the folders that this leaves empty, itself included."""
    folder, around = Path(folder), {Path(folder)}
    with explained(folder):
        for name in names:
            path = folder / name
            path.unlink(missing_ok=True)
            around |= {parent for parent in path.parents if parent.is_relative_to(folder)}
        for place in sorted(around, key=lambda path: -len(path.parts)):
            with contextlib.suppress(OSError):  # it holds something else
                place.rmdir()


def remove_sealed(folder: Path) -> None:
    """Removes what the list of `folder` names, and those of its subfolders. It disappears from its place at once."""
    with explained(folder):
        away = unfinished(folder)
        os.replace(folder, away)
    remove(away, everything(away))


@contextlib.contextmanager
def atomic_dir(
    path: Path, made_by: str, overwrite: bool = False, about: dict[str, Any] | None = None, flag: str = "--out"
) -> Iterator[Path]:
    """Yields an empty folder that becomes `path`, with its list, when the block ends well, and vanishes when it does
    not.

    An existing `path` is replaced where `overwrite` and its list say so (see check_replaceable). Nobody else can make
    the same folder meanwhile, and what a killed command has left of it is swept first. Raises UserError.
    """
    path = Path(path)
    check_replaceable(path, made_by, overwrite, flag)
    make_folder(path.parent)
    with explained(path):
        temporary = unfinished(path)
        temporary.mkdir()
    held = _hold(temporary)
    try:
        with explained(path):
            if any(not sweep(left) for left in _beside(path) if left != temporary):
                raise UserError(f"another command is making {str(path)!r}: wait until it ends, or give another folder")
            yield temporary
            seal(temporary, made_by, about)
            _finish(temporary)
            check_replaceable(path, made_by, overwrite, flag)
            away = unfinished(path)
            if path.exists():
                os.replace(path, away)
            os.replace(temporary, path)
            sync_folder(path.parent)
            if away.exists():
                remove(away, everything(away))
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    finally:
        if held is not None:
            os.close(held)


def _finish(folder: Path) -> None:
    """Gives all files the mode that the umask asks for (the folder has it already; safetensors writes 0600), and syncs
    them."""
    mode = folder.stat().st_mode & 0o777
    for path in folder.rglob("*"):
        os.chmod(path, mode if path.is_dir() else mode & 0o666)
        if path.is_file():
            with open(path, "rb") as stream:
                os.fsync(stream.fileno())


def check_file(path: Path, keys: Iterable[str]) -> None:
    """Raises UserError where `path` is a folder, or a file that is not a JSON object with these keys, as our own one
    is."""
    if path.is_dir():
        raise _unfit(path, "is a folder: give a file")
    with contextlib.suppress(UserError):
        if not path.exists() or {*keys} <= read_object(path).keys():
            return
    raise _unfit(path, "holds something that this command did not write: give another file")


def add_files(folder: Path, made_by: str, written: dict[str, bytes]) -> None:
    """Writes files into a folder that may hold others, and lists them. Raises UserError, and writes nothing, where a
    file of the same name is not in the list already."""
    old = read_seal(folder, remedy="give another folder") if (folder / FILE).is_file() else Seal(made_by, {})
    for name in [*written, *([FILE] if old.made_by != made_by else [])]:
        if (folder / name).exists() and name not in old.files:
            raise _unfit(folder, f"holds {name!r} that this command did not write: give another folder")
    for name, data in written.items():
        atomic_write_bytes(folder / name, data)
    files = {**old.files, **{name: content_sha256(folder / name) for name in written}}
    atomic_write_text(folder / FILE, Seal(made_by, files, old.about).text)


def _hold(folder: Path) -> int | None:
    """A handle on `folder` that holds it for this process as long as it is open; None where somebody else does."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle
    except OSError:
        os.close(handle)
        return None


def _beside(path: Path) -> list[Path]:
    """What commands that made `path` have beside it."""
    start = f".{path.name}."
    return [
        one
        for one in path.parent.iterdir()
        if one.name.startswith(start)
        and UNFINISHED.fullmatch(one.name)
        and len(one.name) == len(start) + len("01234567.unfinished")
    ]


def sweep(left: Path) -> bool:
    """Removes an unfinished file, or an unfinished folder that no process holds; returns whether it is gone."""
    if not UNFINISHED.fullmatch(left.name):
        return False
    if not left.is_dir() or left.is_symlink():
        left.unlink(missing_ok=True)
        return True
    try:
        handle = _hold(left)
    except FileNotFoundError:
        return True
    if handle is None:
        return False
    shutil.rmtree(left, ignore_errors=True)
    os.close(handle)
    return True
