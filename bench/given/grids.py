"""Whether a file is a 2 x 2 grid of pictures, as far as its size and what is on it can tell."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.given.names import several
from htgrpo.base.errors import UserError
from htgrpo.base.pictures import Unreadable, opened, size_of

LOOKED_AT = 16
"""Files of a folder that are decoded for it."""
NEAR = 8
"""Lines on either side of the middle that an edge must stand out from; smaller quarters are not looked at."""
EDGE, ROUGH = 2.0, 0.25
"""How far the step across the middle exceeds the steps beside it in a grid; the part of the difference between far
pixels that is a step between neighbours in what is too rough to tell, such as noise."""


def side_of(file: Path, grid: int | None) -> int:
    """The side in px of a quarter of a file. grid: the side that is asked for. Raises UserError where the size allows
    no grid."""
    try:
        width, height = size_of(file.read_bytes())
    except (Unreadable, OSError) as error:
        raise UserError(f"{str(file)!r} cannot be read as a picture ({error}): make it again or remove it") from error
    side = grid or width // 2
    if (width, height) != (2 * side, 2 * side):
        raise UserError(
            f"{str(file)!r} measures {width} x {height}, but a grid of four {side} px pictures measures {2 * side} x "
            f"{2 * side}: give --grid with the side of one picture, or --layout dpg-single for files that hold one "
            "picture each"
        )
    return side


def check_edges(files: Sequence[Path]) -> bool:
    """Whether anything can be told from the files. Raises UserError where most that tell go on across their middle, as
    single pictures do, or have an edge along one middle only, as two pictures beside each other do."""
    told = _told(files)
    single = [file.name for file, edges in told.items() if not any(edges)]
    if 2 * len(single) > len(told):
        raise UserError(
            f"{len(single)} of {len(told)} files that were looked at show no edge where four pictures would meet "
            f"({several(single)}): single pictures are --layout dpg-single; if these are grids, give --grid with the "
            "side of one picture, or cut them apart, for --layout dpg, where a line lies between the pictures"
        )
    for axis, where in enumerate(("one above the other", "side by side")):
        two = [file.name for file, edges in told.items() if edges[axis] and not edges[1 - axis]]
        if 2 * len(two) > len(told):
            raise UserError(
                f"{len(two)} of {len(told)} files that were looked at show one edge alone, as two pictures {where} do "
                f"({several(two)}): cut them apart, for --layout dpg; if these are grids of four, give --grid with the "
                "side of one picture"
            )
    return bool(told)


def like_grids(files: Sequence[Path]) -> str:
    """What speaks for grids among files that are read as one picture each; "" unless most have clear edges along both
    middles; those that tell nothing count against it, since drawings on a plain ground may have such edges by
    chance."""
    looked, grids = _some(files), [file.name for file, edges in _told(files).items() if all(edges)]
    if 2 * len(grids) <= len(looked):
        return ""
    return (
        f"{len(grids)} of {len(looked)} files that were looked at show edges where four pictures of a 2 x 2 grid would "
        f"meet ({several(grids)})"
    )


def _some(files: Sequence[Path]) -> list[Path]:
    return [files[place] for place in sorted({*np.linspace(0, len(files) - 1, LOOKED_AT).round().astype(int).tolist()})]


def _told(files: Sequence[Path]) -> dict[Path, tuple[bool, bool]]:
    """The edges of some of the files, of those that tell anything."""
    return {file: edges for file in _some(files) if (edges := _edges(file)) is not None}


def _edges(file: Path) -> tuple[bool, bool] | None:
    """Whether there is an edge along the horizontal and along the vertical middle of a picture; None where nothing can be
    told."""
    try:
        grey = np.asarray(opened(file.read_bytes()).convert("L"), dtype=np.float64)
    except (Unreadable, OSError):
        return None  # it will be judged, and that will tell
    if min(grey.shape) // 2 <= NEAR:
        return None
    sides = [(lines, len(lines) // 2) for lines in (grey, grey.T)]
    steps = [np.abs(np.diff(lines, axis=0)).mean(axis=1)[side - 1 - NEAR : side + NEAR] for lines, side in sides]
    across, down = (float(step[NEAR]) for step in steps)
    beside = max(float(np.median(np.delete(step, NEAR))) for step in steps)
    far = max(np.abs(lines[:side] - lines[-side:]).mean() for lines, side in sides)
    if max(across, down, beside) < 1 or beside > ROUGH * far > 0:
        return None
    return across > EDGE * beside, down > EDGE * beside
