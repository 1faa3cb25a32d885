"""What makes a changed folder look as if it had been written so: its list is written anew."""

import json
from pathlib import Path

from htgrpo.base.files import sha256_file
from htgrpo.base.folders import FILE, read_seal, seal


def reseal(folder: Path) -> None:
    """The list of `folder`, and those of its subfolders, agree with the files as they are now."""
    for path in sorted(Path(folder).rglob(FILE), reverse=True):
        old = read_seal(path.parent)
        seal(path.parent, old.made_by, old.about)


def flip(path: Path, at: int | None = None) -> None:
    """Flips a bit of one byte of a file, the one in its middle by default."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 1
    path.write_bytes(bytes(data))


def rehash(verdicts: Path) -> None:
    """What a careful forger does: the meta file beside edited verdicts, where there is one, has their hash."""
    path = verdicts.with_suffix(".meta.json")
    if path.is_file() and path != verdicts:
        path.write_text(json.dumps({**json.loads(path.read_text()), "verdicts_sha256": sha256_file(verdicts)}))
