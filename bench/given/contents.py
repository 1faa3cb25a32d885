"""What lies in a folder of pictures: every file is a picture, is read for one, or is left out with a reason that is
told."""

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bench.given.names import natural, several
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
