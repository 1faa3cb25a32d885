"""Folders of pictures as other programs leave them, and what of them is whose picture.

geneval     DIR/00000/samples/0000.png …, beside each samples folder the prompt's metadata.jsonl
dpg         DIR/ID_0.png … or DIR/ID/0.png …, one file a picture, several of each prompt of DPG-Bench
dpg-single  DIR/ID.png, one file a picture, one of each prompt of DPG-Bench
dpg-grid    DIR/ID.png, four pictures of a prompt of DPG-Bench in a 2 x 2 grid
folders     DIR/NAME/any.png …, a folder for each prompt, which is in DIR/NAME/prompt.txt or in a file of prompts
flat        any pictures below DIR, with a file of prompts, or beside each picture a .txt or .json with its prompt
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.given.contents import Contents, is_picture
from bench.given.grids import check_edges, like_grids, side_of
from bench.given.names import PARTS, RUNS, runs, several
from bench.given.pairing import REMEDY, Picture, by_record, in_turn
from bench.sources.manifest import Record, read_prompt, read_records
from bench.sources.plain import CATEGORY, ID, IMAGE
from htgrpo.base.errors import UserError, suggest

OF_A_FOLDER = ("prompt.txt", "prompt.json", "caption.txt", "metadata.jsonl", "metadata.json")
"""Files that hold the prompt of the folder they lie in."""


@dataclass(frozen=True)
class Found:
    """A folder as it was understood. notes: sentences about what was left out, or done to files, for the user."""

    layout: str
    pictures: list[Picture]
    notes: list[str]


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


def read(folder: Path, layout: str, prompts: Path | None, grid: int | None) -> Found:
    """The pictures of a folder; the layout "auto" is recognised. Raises UserError for what cannot be read so."""
    if not folder.is_dir():
        raise UserError(f"--images {str(folder)!r} is no folder: give one that holds pictures")
    asked, guessed = Asked(Contents(folder), prompts, grid), layout == "auto"
    layout = recognised(asked) if guessed else layout
    if layout not in LAYOUTS:
        raise suggest(layout, [*LAYOUTS, "auto"], "layout")
    if prompts is not None and layout not in ("flat", "folders"):
        raise UserError(
            f"--prompts goes with --layout flat or folders, but the layout of {str(folder)!r} is {layout}: leave one "
            "of them out"
        )
    if grid is not None and layout != "dpg-grid":
        raise UserError(
            f"--grid goes with --layout dpg-grid, but the layout of {str(folder)!r} is {layout}: leave it out"
        )
    pictures, notes = LAYOUTS[layout](asked)
    if not pictures:
        there = " ".join(asked.contents.left_out()) or "it is empty"
        raise UserError(
            f"{str(folder)!r} holds no pictures in the layout {layout} ({there}): see python -m bench.score --help, "
            "and --layout"
        )
    if layout != "dpg-grid":
        notes += _not_cut(
            folder, layout, guessed, like_grids(list(dict.fromkeys(picture.file for picture in pictures)))
        )
    return Found(layout, pictures, notes + asked.contents.left_out())


def _not_cut(folder: Path, layout: str, guessed: bool, grids: str) -> list[str]:
    """What the user is told where `grids` says why files that are judged whole seem to be grids. Raises UserError where
    no layout was asked for."""
    if grids and guessed:
        raise UserError(
            f"{grids}, and would be judged whole: grids of DPG-Bench's prompts are --layout dpg-grid, others are to be "
            f"cut into pictures; if {str(folder)!r} holds single pictures, give --layout {layout}"
        )
    return (
        [f"{grids}, but each is judged as one picture: grids of DPG-Bench's prompts are --layout dpg-grid"]
        if grids
        else []
    )


def recognised(asked: Asked) -> str:
    """The layout that a folder has. Raises UserError where several fit."""
    contents = asked.contents
    pictures, folders = contents.pictures, {path.parts[0] for path in contents.pictures if len(path.parts) == 2}
    in_folders = bool(folders) and all(len(path.parts) == 2 for path in pictures)
    if asked.prompts is not None:
        records = asked.records()
        unnamed = not any(record.text(IMAGE) or record.text(ID) for record in records)
        inner = list(dict.fromkeys(path.parent.name for path in pictures))
        if unnamed and runs(inner, f"{RUNS}|{PARTS}"):
            raise UserError(
                f"the folders in {str(contents.folder)!r} ({several(inner)}) count seeds, samples or steps by their "
                f"names, and not the {len(records)} prompts in {str(asked.prompts)!r}: give --layout folders if each "
                f"holds the pictures of one prompt, or {REMEDY}"
            )
        return "folders" if in_folders and unnamed and len(records) == len(folders) < len(pictures) else "flat"
    if any(_of_geneval(path) for path in contents.files):
        return "geneval"
    if in_folders and any(path.name in OF_A_FOLDER for path in contents.files if len(path.parts) == 2):
        return "folders"
    beside = [path for path in pictures if _notes_beside(contents, path)]
    if pictures and beside:
        return "flat"
    raise UserError(
        f"the layout of {str(contents.folder)!r} cannot be told: name it with --layout {'|'.join(LAYOUTS)}, or give "
        "--prompts FILE"
    )


def _of_geneval(path: Path) -> bool:
    return len(path.parts) == 3 and re.fullmatch("[0-9]+", path.parts[0]) is not None and path.parts[1] == "samples"


def _geneval(asked: Asked) -> tuple[list[Picture], list[str]]:
    contents = asked.contents
    folders: dict[str, list[Path]] = {}
    for path in contents.files:
        if _of_geneval(path) and is_picture(path):
            if re.fullmatch("[0-9]+", path.stem):
                folders.setdefault(path.parts[0], []).append(path)
            else:
                contents.leave(path, "among samples, but its name is no number")
        elif is_picture(path):
            contents.leave(path, "a picture, but outside NUMBER/samples/")
    _distinct(contents.folder, {name: str(int(name)) for name in folders})
    found, silent = [], 0
    for name, paths in folders.items():
        metadata, text = Path(name, "metadata.jsonl"), None
        if metadata in contents.files:
            text = read_prompt(contents.take(metadata))
        silent += text is None
        _distinct(contents.folder, {str(path): str(int(path.stem)) for path in paths})
        found += [Picture(contents.take(path), f"{int(name):05d}", text) for path in paths]
    told = [f"{silent} of {len(folders)} folders have no metadata.jsonl: their prompts are known by their numbers only"]
    return found, told if silent else []


def _distinct(folder: Path, names: dict[str, str]) -> None:
    """Raises UserError where two names mean the same."""
    seen: dict[str, str] = {}
    for name, meant in names.items():
        if meant in seen:
            raise UserError(
                f"{seen[meant]!r} and {name!r} in {str(folder)!r} are both {meant!r}: keep one, or rename them"
            )
        seen[meant] = name


def _top(contents: Contents, names: str) -> list[Path]:
    """Pictures at the top of a folder, whose names up to the first dot are prompts' ids; those below are left out."""
    from bench.benchmarks.dpg import item_of

    found = []
    for path in contents.pictures:
        if len(path.parts) == 1:
            found.append(path)
        else:
            contents.leave(path, f"in a folder within, where {names} does not look")
    _distinct(contents.folder, {str(path): item_of(path) for path in found})
    return found


def _dpg_single(asked: Asked) -> tuple[list[Picture], list[str]]:
    from bench.benchmarks.dpg import item_of

    return [Picture(asked.contents.take(path), item_of(path)) for path in _top(asked.contents, "dpg-single")], []


def _dpg_grid(asked: Asked) -> tuple[list[Picture], list[str]]:
    from bench.benchmarks.dpg import item_of
    from bench.benchmarks.dpg_rule import crop_boxes

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


def _dpg(asked: Asked) -> tuple[list[Picture], list[str]]:
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
        found += [Picture(contents.take(path), name) for path in _samples(contents, dict(members))]
    return found, []


def _samples(contents: Contents, names: dict[Path, str]) -> list[Path]:
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
    _distinct(contents.folder, {str(path): str(int(names[path])) if numbered else names[path] for path in kept})
    return kept


def _folders(asked: Asked) -> tuple[list[Picture], list[str]]:
    contents = asked.contents
    groups: dict[str, list[Path]] = {}
    for path in contents.pictures:
        if len(path.parts) > 1:
            groups.setdefault(path.parts[0], []).append(path)
        else:
            contents.leave(path, "a picture, but in no prompt's folder")
    if asked.prompts is not None:
        records = asked.records()
        in_turn(list(groups), records, asked.prompts, contents.folder, "folders")
        matched = {name: (record.prompt, record.text(CATEGORY)) for name, record in zip(groups, records, strict=True)}
    else:
        matched = {name: (_prompt_of(contents, name), "") for name in groups}
    found = []
    for name, paths in groups.items():
        kept = _samples(contents, {path: path.stem for path in paths})
        found += [Picture(contents.take(path), name, *matched[name]) for path in kept]
    return found, []


def _prompt_of(contents: Contents, name: str) -> str:
    """The prompt that lies in a folder. Raises UserError unless there is one."""
    there = [Path(name, file) for file in OF_A_FOLDER if Path(name, file) in contents.files]
    if len(there) != 1:
        raise UserError(
            f"{str(contents.folder / name)!r} holds {several(there) or 'no prompt'}: put its prompt into "
            "prompt.txt there, or give --prompts with one prompt a folder"
        )
    return read_prompt(contents.take(there[0]))


def _flat(asked: Asked) -> tuple[list[Picture], list[str]]:
    contents = asked.contents
    if asked.prompts is not None:
        return by_record(contents, asked.records(), asked.prompts), []
    beside = {path: _notes_beside(contents, path) for path in contents.pictures}
    if not any(beside.values()):
        return [Picture(contents.take(path)) for path in beside], ["no picture has a prompt"] * bool(beside)
    found: list[Picture] = []
    owners: dict[Path, Path] = {}
    for path, notes in beside.items():
        if len(notes) != 1:
            raise UserError(
                f"{str(contents.folder / path)!r} has {len(notes)} files with its prompt beside it "
                f"({several(notes) or 'none'}): each picture needs one, as {next(p.name for p in beside if beside[p])} "
                f"has; or {REMEDY}"
            )
        if notes[0] in owners:
            raise UserError(
                f"{str(owners[notes[0]])!r} and {str(path)!r} in {str(contents.folder)!r} share the prompt in "
                f"{str(notes[0])!r}: {REMEDY}"
            )
        owners[notes[0]] = path
        found.append(Picture(contents.take(path), text=read_prompt(contents.take(notes[0]))))
    for path in {note for notes in contents.notes.values() for note in notes} - contents.used:
        contents.leave(path, "a text beside no picture")
    return found, []


def _notes_beside(contents: Contents, picture: Path) -> list[Path]:
    """Files with the picture's prompt: a.txt, a.json or a.png.txt beside a.png."""
    return [note for name in (picture.stem, picture.name) for note in contents.notes.get((picture.parent, name), ())]


LAYOUTS: dict[str, Callable[[Asked], tuple[list[Picture], list[str]]]] = {
    "geneval": _geneval,
    "dpg": _dpg,
    "dpg-single": _dpg_single,
    "dpg-grid": _dpg_grid,
    "folders": _folders,
    "flat": _flat,
}
