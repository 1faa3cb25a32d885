"""Grids of four pictures, single ones, and what only looks like a grid."""

import numpy as np
import pytest
import torch
from PIL import Image

from bench.given.layouts import read
from bench.given.prompts import benchmarks_for
from htgrpo.base.errors import UserError
from htgrpo.world.scenes import render, training_scenes
from htgrpo.world.world import find
from tests.bench.pairings import made
from tests.bench.test_given import save

TWELVE = [f"prompt {number}" for number in range(12)]


def test_single_pictures_of_dpg_are_a_layout_and_never_cut_without_a_word(tmp_path):
    folder = made(tmp_path / "in", "partiprompts9.png", "12.JPG", size=(6, 4))
    found = read(folder, "dpg-single", None, None)
    assert [(p.prompt, p.crop) for p in found.pictures] == [("12", None), ("partiprompts9", None)] and found.notes == []
    assert list(benchmarks_for(["hpsv3"], "dpg-single", found.pictures)) == ["hpsv3"]
    with pytest.raises(UserError, match="measures 6 x 4, .* --layout dpg-single for files that hold one picture each"):
        read(folder, "dpg-grid", None, None)
    with pytest.raises(UserError, match="--layout dpg-single for files that hold one picture each"):
        read(folder, "dpg", None, None)
    grids = made(tmp_path / "grids", "a.png", "b.png", size=(8, 8))
    assert read(grids, "dpg-grid", None, None).notes == [
        "every file is cut into four pictures of 4 x 4 px (nothing on them tells whether they are grids; single pictures are "
        "--layout dpg-single)"
    ]
    save(grids / "c.png", size=(4, 4))
    with pytest.raises(UserError, match="'a.png' of 8 x 8 and 'c.png' of 4 x 4"):
        read(grids, "dpg-grid", None, None)
    with pytest.raises(UserError, match="c.png' measures 4 x 4"):
        read(grids, "dpg-grid", None, 4)
    save(grids / "a.v2.png", size=(8, 8))
    with pytest.raises(UserError, match="are both 'a'"):
        read(grids, "dpg-single", None, None)


def gradient(angle, side=64):
    rows, columns = np.mgrid[:side, :side] / side
    return 255 * (0.5 + 0.5 * np.sin(3 * (rows * np.sin(angle) + columns * np.cos(angle)) + angle))


def grid_of(number, gutter=0):
    """Four pictures, with so many white lines between them."""
    quarters = [gradient(number + angle) for angle in (0, 1.5, 3, 4.5)]
    rows = [np.insert(np.hstack(pair), [64] * gutter, 255, axis=1) for pair in (quarters[:2], quarters[2:])]
    return np.insert(np.vstack(rows), [64] * gutter, 255, axis=0)


def test_a_single_picture_is_not_taken_for_a_grid_because_its_size_would_allow_it(tmp_path):
    """Its middle goes on across the edges that a grid has; --grid says that it is one all the same."""
    (tmp_path / "single").mkdir()
    (tmp_path / "grid").mkdir()
    for number in range(3):
        for name, pixels in (("single", gradient(number, 128)), ("grid", grid_of(number))):
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name / f"{number}.png")
    found = read(tmp_path / "grid", "dpg-grid", None, None)
    assert len(found.pictures) == 12 and found.notes == [
        "every file is cut into four pictures of 64 x 64 px (single pictures are --layout dpg-single)"
    ]
    with pytest.raises(UserError, match="files .* show no edge where four pictures would meet .*--layout dpg-single"):
        read(tmp_path / "single", "dpg-grid", None, None)
    assert len(read(tmp_path / "single", "dpg-grid", None, 64).pictures) == 12
    found = read(tmp_path / "single", "dpg-single", None, None)
    assert len(found.pictures) == 3 and found.notes == []


@pytest.mark.parametrize(
    "layout, name",
    [
        ("dpg-single", "{}.png"), ("dpg", "{}_0.png"), ("dpg", "{}/0.png"), ("geneval", "{}/samples/0.png"),
        ("flat", "{}.png"), ("folders", "{}/0.png"),
    ],
)  # fmt: skip
def test_grids_are_not_judged_whole_without_a_word(tmp_path, layout, name):
    """A layout that was recognised is refused; one that was asked for is told of."""
    folder = tmp_path / "in"
    for number in range(3):
        path = folder / name.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grid_of(number).astype(np.uint8)).save(path)
        if layout in ("flat", "folders"):
            (path.with_suffix(".txt") if layout == "flat" else path.parent / "prompt.txt").write_text("a cat")
    found = read(folder, layout, None, None)
    assert len(found.pictures) == 3
    assert "3 of 3 files that were looked at show edges where four pictures" in " ".join(found.notes)
    assert "--layout dpg-grid" in " ".join(found.notes)
    if not layout.startswith("dpg"):
        with pytest.raises(
            UserError, match=f"3 of 3 files .* --layout dpg-grid, .* holds single pictures, give --layout {layout}"
        ):
            read(folder, "auto", None, None)


@pytest.mark.parametrize("turned, told", [(False, "side by side"), (True, "one above the other")])
def test_one_edge_through_the_middle_is_no_grid(tmp_path, turned, told):
    """As a horizon or two panels side by side have it."""
    for number in range(3):
        halves = np.hstack([gradient(number, 128)[:, :64], gradient(number + 3, 128)[:, 64:]]).astype(np.uint8)
        Image.fromarray(halves.T if turned else halves).save(tmp_path / f"{number}.png")
    assert read(tmp_path, "dpg-single", None, None).notes == []
    with pytest.raises(UserError, match=f"show one edge alone, as two pictures {told} do .*cut them apart"):
        read(tmp_path, "dpg-grid", None, None)
    assert len(read(tmp_path, "dpg-grid", None, 64).pictures) == 12


@pytest.mark.parametrize("gutter", [1, 2, 4, 10])
def test_grids_with_lines_between_their_pictures_are_refused(tmp_path, gutter):
    """Quarters of them would hold a part of the line; those of an odd size are no grids by their size."""
    for number in range(3):
        Image.fromarray(grid_of(number, gutter).astype(np.uint8)).save(tmp_path / f"{number}.png")
    with pytest.raises(UserError, match="measures 129 x 129" if gutter == 1 else "cut them apart, for --layout dpg"):
        read(tmp_path, "dpg-grid", None, None)


def test_small_drawings_on_a_plain_ground_are_no_grids(tmp_path):
    """A few of them have edges at the middle by chance, and most tell nothing."""
    for number, scene in enumerate(training_scenes(find(), 48, torch.Generator().manual_seed(0))[1]):
        Image.fromarray(render(find(), scene)).save(tmp_path / f"{number // 16}_{number}.png")
        (tmp_path / f"{number // 16}_{number}.txt").write_text("a cat")
    assert read(tmp_path, "auto", None, None).notes == []
