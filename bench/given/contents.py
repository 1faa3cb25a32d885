"""What lies in a folder of pictures: every file is a picture, is read for one, or is left out with a reason that is
told."""

import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bench.given.names import natural, several
from bench.sources.manifest import Record, read_records
from htgrpo.base.errors import UserError
from htgrpo.base.pictures import SUFFIXES

OF_SYSTEMS = ("thumbs.db", "desktop.ini", "__macosx")
NOTES = (".txt", ".json")
NO_PICTURE = "no picture by its ending"
NO_PLACE = "a picture, but in no place of this layout"


def is_picture(path: Path) -> bool:
    """Whether a file's ending is that of a picture."""
    return path.suffix.lower() in SUFFIXES


@dataclass
class Contents:
    """The files below a folder in natural order, as paths relative to it, and what has become of them."""

    folder: Path
    files: list[Path] = field(init=False)
    unseen: list[Path] = field(default_factory=list, init=False)
    used: set[Path] = field(default_factory=set, init=False)
    reasons: dict[Path, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Raises UserError where a folder cannot be read."""
        found = sorted(_below(self.folder), key=natural)
        for path in found:
            if any("\ud800" <= sign <= "\udfff" for sign in str(path)):
                raise UserError(f"{str(self.folder / path)!a} has a name that is no UTF-8 text: rename it")
        self.unseen = [path for path in found if _is_of_system(path)]
        self.files = [path for path in found if not _is_of_system(path)]

    @property
    def pictures(self) -> list[Path]:
        """Files that are pictures by their ending."""
        return [path for path in self.files if is_picture(path)]

    @cached_property
    def notes(self) -> dict[tuple[Path, str], list[Path]]:
        """Files that may hold a prompt, by the folder they lie in and their name without its ending."""
        found: dict[tuple[Path, str], list[Path]] = {}
        for path in self.files:
            if path.suffix.lower() in NOTES:
                found.setdefault((path.parent, path.stem), []).append(path)
        return found

    def take(self, path: Path) -> Path:
        """Notes that a file is judged or read; returns where it lies."""
        self.used.add(path)
        return self.folder / path

    def leave(self, path: Path, reason: str) -> None:
        """Notes why a file is left out."""
        self.reasons[path] = reason

    def left_out(self) -> list[str]:
        """One sentence for every reason why files are left out, the last one about what systems and programs leave
        behind."""
        by_reason: dict[str, list[Path]] = {}
        for path in self.files:
            if path not in self.used:
                why = self.reasons.get(path) or (NO_PLACE if is_picture(path) else NO_PICTURE)
                by_reason.setdefault(why, []).append(path)
        lines = [f"left out: {len(paths)} ({several(paths)}), each {why}" for why, paths in by_reason.items()]
        hidden = (
            [f"left out: {len(self.unseen)} hidden or of the system ({several(self.unseen)})"] if self.unseen else []
        )
        return lines + hidden


@dataclass(frozen=True)
class Asked:
    """How a folder is to be read. prompts: a file of them; grid: the side of one picture in px."""

    contents: Contents
    prompts: Path | None
    grid: int | None

    def records(self) -> list[Record]:
        """What the file of prompts holds. Raises ValueError where none was given."""
        if self.prompts is None:
            raise ValueError("no file of prompts was given")
        if self.prompts.is_relative_to(self.contents.folder):
            self.contents.take(self.prompts.relative_to(self.contents.folder))
        return read_records(self.prompts)


def _below(folder: Path) -> list[Path]:
    """All that is no folder, relative to `folder`; links to folders are followed, each real folder once."""

    def fail(error: OSError) -> None:
        raise UserError(
            f"{str(error.filename)!r} cannot be read ({error.strerror}): mend its permissions, or move it away"
        ) from error

    found, seen = [], set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=fail):
        if (real := os.path.realpath(root)) in seen:
            folders.clear()
            continue
        seen.add(real)
        found += [Path(root, name).relative_to(folder) for name in files]
    return found


def _is_of_system(path: Path) -> bool:
    return any(part.startswith(".") or part.lower() in OF_SYSTEMS for part in path.parts)


def distinct(folder: Path, names: dict[str, str]) -> None:
    """Raises UserError where two names mean the same."""
    seen: dict[str, str] = {}
    for name, meant in names.items():
        if meant in seen:
            raise UserError(
                f"{seen[meant]!r} and {name!r} in {str(folder)!r} are both {meant!r}: keep one, or rename them"
            )
        seen[meant] = name


def samples(contents: Contents, names: dict[Path, str]) -> list[Path]:
    """The pictures of one prompt: all, or those whose names are numbers, beside which a grid of them is left out."""
    numbered = [path for path, name in names.items() if re.fullmatch("[0-9]+", name)]
    others = [path for path in names if path not in numbered]
    if numbered and others:
        for path in others:
            if not re.search("grid|contact|sheet", path.stem.lower()):
                raise UserError(
                    f"{str(contents.folder / path)!r} lies beside {numbered[0].name!r}, but its name is no number: "
                    "move it away, or rename it"
                )
            contents.leave(path, "a grid of the pictures beside it")
    kept = numbered or others
    distinct(contents.folder, {str(path): str(int(names[path])) if numbered else names[path] for path in kept})
    return kept
