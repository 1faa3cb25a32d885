"""Folders of pictures as other programs leave them, and what of them is whose picture.

geneval   DIR/00000/samples/0000.png …, beside each samples folder the prompt's metadata.jsonl
dpg-grid  DIR/ID.png, four pictures of a prompt in a 2 x 2 grid
dpg       DIR/ID_0.png … or DIR/ID/0.png …, one file a picture
flat      any pictures below DIR, with a file of prompts, or beside each picture a .txt file with its prompt
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from htgrpo.errors import UserError, suggest

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True)
class Picture:
    """One picture of a folder. prompt: an id of the set, or with `text` the prompt itself ("" where it is not known). crop: the box
    (left, top, right, bottom) of the file that it is, None for the whole."""

    file: Path
    sample: int
    prompt: str = ""
    text: str | None = None
    spec: dict | None = None
    crop: tuple[int, int, int, int] | None = None


def pictures_below(folder: Path) -> list[Path]:
    """All picture files below `folder`, in order of their names."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def read(folder: Path, layout: str, prompts: Path | None, grid: int | None) -> tuple[str, list[Picture]]:
    """(layout, pictures) of a folder; layout "auto" is recognised. prompts: for flat ones; grid: side in px of one picture of a 2
    x 2 grid, None for half of it. Raises UserError for what cannot be read so."""
    if not folder.is_dir():
        raise UserError(f"--images {str(folder)!r} is no folder: give one that holds pictures")
    layout = recognised(folder, prompts) if layout == "auto" else layout
    if layout not in LAYOUTS:
        raise suggest(layout, [*LAYOUTS, "auto"], "layout")
    if prompts is not None and layout != "flat":
        raise UserError(f"--prompts goes with --layout flat, but the layout of {str(folder)!r} is {layout}: leave one of them out")
    found = LAYOUTS[layout](folder, prompts, grid)
    if not found:
        raise UserError(f"{str(folder)!r} holds no pictures in the layout {layout}: see python -m bench.score --help, and --layout")
    return layout, found


def recognised(folder: Path, prompts: Path | None) -> str:
    """The layout that a folder has. Raises UserError where several fit."""
    if prompts is not None:
        return "flat"
    if any(re.fullmatch(r"\d{5}", path.name) and (path / "samples").is_dir() for path in folder.iterdir()):
        return "geneval"
    files = pictures_below(folder)
    if files and all(file.with_suffix(".txt").is_file() for file in files):
        return "flat"
    raise UserError(f"the layout of {str(folder)!r} cannot be told: name it with --layout {'|'.join(LAYOUTS)}, or give --prompts "
                    f"FILE")


def _geneval(folder: Path, prompts: Path | None, grid: int | None) -> list[Picture]:
    found = []
    for own in sorted(path for path in folder.iterdir() if re.fullmatch(r"\d{5}", path.name) and path.is_dir()):
        metadata = own / "metadata.jsonl"
        text = None
        if metadata.is_file():
            try:
                text = str(json.loads(metadata.read_text("utf-8").splitlines()[0])["prompt"])
            except (ValueError, KeyError, IndexError, TypeError) as error:
                raise UserError(f"{str(metadata)!r} is no metadata of GenEval ({error}): restore it, or remove it") from error
        samples = own / "samples"
        files = sorted(file for file in samples.iterdir() if re.match(r"\d+\.png", file.name)) if samples.is_dir() else []
        found += [Picture(file, number, own.name, text) for number, file in enumerate(files)]
    return found


def _dpg_grid(folder: Path, prompts: Path | None, grid: int | None) -> list[Picture]:
    from PIL import Image

    from bench.benchmarks.dpg import item_of
    from bench.benchmarks.dpg_rule import crop_boxes

    found = []
    for file in sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES):
        try:
            with Image.open(file) as picture:
                size = picture.size
        except Exception as error:  # a damaged file raises whatever its decoder meets
            raise UserError(f"{str(file)!r} cannot be read as a picture ({error}): make it again or remove it") from error
        side = grid or size[0] // 2
        if size != (2 * side, 2 * side):
            raise UserError(f"{str(file)!r} measures {size[0]} x {size[1]}, but a grid of four {side} px pictures measures "
                            f"{2 * side} x "
                            f"{2 * side}: give --grid with the side of one picture, or --layout dpg for single pictures")
        found += [Picture(file, number, item_of(file), crop=box) for number, box in enumerate(crop_boxes(side, 4))]
    return found


def _dpg(folder: Path, prompts: Path | None, grid: int | None) -> list[Picture]:
    groups: dict[str, list[Path]] = {}
    for file in pictures_below(folder):
        named = re.fullmatch(r"(.+)_(\d+)", file.stem)
        if file.parent != folder:
            groups.setdefault(file.parent.name, []).append(file)
        elif named:
            groups.setdefault(named[1], []).append(file)
        else:
            raise UserError(f"{str(file)!r} is neither ID_NUMBER.png nor in a folder called ID: use --layout dpg-grid for files "
                            f"that hold "
                            "a 2 x 2 grid each")
    return [Picture(file, number, name) for name, files in groups.items()
            for number, file in enumerate(sorted(files, key=lambda file: (len(file.stem), file.stem)))]


def _flat(folder: Path, prompts: Path | None, grid: int | None) -> list[Picture]:
    files = pictures_below(folder)
    if prompts is None:
        lines = [(file, {"prompt": _beside(file)}) for file in files]
    elif prompts.suffix == ".jsonl":
        lines = [(folder / line["image"], line) for line in _lines(prompts)]
    else:
        try:
            texts = prompts.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--prompts {str(prompts)!r} cannot be read ({error}): give a .txt or .jsonl file") from error
        if len(texts) != len(files):
            raise UserError(f"--prompts {str(prompts)!r} has {len(texts)} lines for {len(files)} pictures in {str(folder)!r}: "
                            f"give one "
                            "line a picture, in the order of their names, or a .jsonl file that names them")
        lines = [(file, {"prompt": text}) for file, text in zip(files, texts, strict=True)]
    return list(_numbered(lines, folder))


def _numbered(lines: Iterable[tuple[Path, dict]], folder: Path) -> Iterable[Picture]:
    """Pictures with the number that each has among those of its prompt."""
    seen: dict[str, int] = {}
    for file, line in lines:
        if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
            raise UserError(f"the picture {str(line.get('image', file))!r} is not in {str(folder)!r}: name files below that folder")
        key = str(line.get("id") or line["prompt"] or file)
        number = seen[key] = seen.get(key, -1) + 1
        spec = {name: value for name, value in line.items() if name not in ("image", "id")}
        yield Picture(file, number, str(line.get("id") or ""), str(line["prompt"]), spec)


def _beside(file: Path) -> str:
    text = file.with_suffix(".txt")
    return text.read_text("utf-8").strip() if text.is_file() else ""


def _lines(path: Path) -> list[dict]:
    """The lines of a .jsonl file of prompts: {"image", "prompt"} at least."""
    from htgrpo.files import read_jsonl

    try:
        lines = read_jsonl(path)
    except OSError as error:
        raise UserError(f"--prompts {str(path)!r} cannot be read ({error.strerror}): give a .txt or .jsonl file") from error
    for number, line in enumerate(lines, 1):
        for key in ("image", "prompt"):
            if not isinstance(line, dict) or not isinstance(line.get(key), str):
                raise UserError(f"line {number} of {str(path)!r} lacks a text {key!r}: each is {{\"image\": FILE, \"prompt\": "
                                f"TEXT}}, "
                                "with \"id\" and \"category\" if you like")
    return lines


LAYOUTS: dict[str, Callable[[Path, Path | None, int | None], list[Picture]]] = {
    "geneval": _geneval, "dpg-grid": _dpg_grid, "dpg": _dpg, "flat": _flat,
}
