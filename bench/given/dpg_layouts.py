"""Folders of pictures of DPG-Bench's prompts: see layouts."""

import re
from pathlib import Path

from bench.benchmarks.dpg import item_of
from bench.benchmarks.dpg_rule import crop_boxes
from bench.given.contents import Asked, Contents, distinct, samples
from bench.given.grids import check_edges, side_of
from bench.given.pairing import Picture
from htgrpo.base.errors import UserError


def _top(contents: Contents, names: str) -> list[Path]:
    """Pictures at the top of a folder, whose names up to the first dot are prompts' ids; those below are left out."""
    found = []
    for path in contents.pictures:
        if len(path.parts) == 1:
            found.append(path)
        else:
            contents.leave(path, f"in a folder within, where {names} does not look")
    distinct(contents.folder, {str(path): item_of(path) for path in found})
    return found


def single(asked: Asked) -> tuple[list[Picture], list[str]]:
    """ID.png, one picture of each prompt."""
    return [Picture(asked.contents.take(path), item_of(path)) for path in _top(asked.contents, "dpg-single")], []


def grid(asked: Asked) -> tuple[list[Picture], list[str]]:
    """ID.png, four pictures of a prompt in a 2 x 2 grid. Raises UserError for files that are none, as far as can be
    told."""
    files = [asked.contents.take(path) for path in _top(asked.contents, "dpg-grid")]
    found: list[Picture] = []
    sizes: dict[int, Path] = {}
    for file in files:
        side = side_of(file, asked.grid)
        sizes.setdefault(side, file)
        found += [Picture(file, item_of(file), crop=box) for box in crop_boxes(side, 4)]
    if len(sizes) > 1:
        told = " and ".join(f"{file.name!r} of {2 * side} x {2 * side}" for side, file in list(sizes.items())[:2])
        raise UserError(
            f"the files in {str(asked.contents.folder)!r} are no grids of one model, since they differ in size "
            f"({told}): single pictures are --layout dpg-single"
        )
    untold = files and asked.grid is None and not check_edges(files)
    why = "nothing on them tells whether they are grids; " if untold else ""
    return found, [
        f"every file is cut into four pictures of {side} x {side} px ({why}single pictures are --layout dpg-single)"
        for side in sizes
    ]


def numbered(asked: Asked) -> tuple[list[Picture], list[str]]:
    """ID_0.png … or ID/0.png …, several pictures of each prompt."""
    contents = asked.contents
    groups: dict[str, list[tuple[Path, str]]] = {}
    for path in contents.pictures:
        named = re.fullmatch("(.+)_([0-9]+)", path.stem)
        if len(path.parts) == 2:
            groups.setdefault(path.parts[0], []).append((path, path.stem))
        elif len(path.parts) == 1 and named:
            groups.setdefault(named[1], []).append((path, named[2]))
        elif len(path.parts) == 1:
            raise UserError(
                f"{str(contents.folder / path)!r} is neither ID_NUMBER.png nor in a folder called ID: use --layout "
                "dpg-single for files that hold one picture each, dpg-grid for 2 x 2 grids"
            )
    found = []
    for name, members in groups.items():
        found += [Picture(contents.take(path), name) for path in samples(contents, dict(members))]
    return found, []
