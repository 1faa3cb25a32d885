"""Which prompt each given picture was made for. What would be a guess is refused with both sides shown.

A file of prompts names pictures (an image in every record), or ids that stand in their names (an id in every record),
or it names neither and has one prompt for each picture; then the pictures' names must say their order
(names.unordered).
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.given.contents import Contents
from bench.given.names import RUNS, runs, several, unordered
from bench.sources.manifest import Record
from bench.sources.plain import CATEGORY, ID, IMAGE
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt

REMEDY = (
    'name every picture in a .jsonl file for --prompts, one a line: {"image": "a.png", "prompt": "a red cup"}, and where a '
    'prompt has several pictures an "id" for each prompt'
)
SHOWN = 70
"""Letters of a prompt in a sentence."""


@dataclass(frozen=True)
class Picture:
    """One picture of a folder. prompt: an id ("" where it has none); text: the prompt itself, None where it is not
    known. crop: the box (left, top, right, bottom) of the file that it is, None for the whole."""

    file: Path
    prompt: str = ""
    text: str | None = None
    category: str = ""
    crop: tuple[int, int, int, int] | None = None


Assigned = dict[tuple[str, int], Picture]
"""Pictures by (prompt id, sample)."""


def by_record(contents: Contents, records: list[Record], file: Path) -> list[Picture]:
    """The pictures of a folder with what a file of prompts says of them. Raises UserError."""
    counts = {names: sum(bool(record.text(names)) for record in records) for names in (IMAGE, ID)}
    for names, count in counts.items():
        if 0 < count < len(records):
            record = next(record for record in records if not record.text(names))
            raise UserError(
                f"{record.place} has no {names[0]!r}, but {count} of {len(records)} prompts have one: give each its own"
            )
    if counts[IMAGE]:
        return _by_image(contents, records, file)
    if counts[ID]:
        return _by_id(contents, records, file)
    paths = contents.pictures
    in_turn([str(path.with_suffix("")) for path in paths], records, file, contents.folder, "pictures")
    if runs([path.stem for path in paths], RUNS):
        raise UserError(
            f"the names of the {len(paths)} pictures in {str(contents.folder)!r} ({_ends([p.name for p in paths])}) "
            f"count seeds or steps, and not the {len(records)} prompts in {str(file)!r}: {REMEDY}"
        )
    return [_picture(contents, path, record) for path, record in zip(paths, records, strict=True)]


def in_turn(names: list[str], records: list[Record], file: Path, folder: Path, noun: str) -> None:
    """Raises UserError unless the names in natural order and the prompts surely go together one by one."""
    why = (
        f"there are {len(names)} {noun} and {len(records)} prompts" if len(names) != len(records) else unordered(names)
    )
    if why and (len(names), len(records)) != (1, 1):
        prompts = _ends([_short(record.prompt) for record in records])
        raise UserError(
            f"which of the {len(names)} {noun} in {str(folder)!r} ({_ends(names)}) was made for which of the "
            f"{len(records)} prompts in {str(file)!r} ({prompts}) is a guess, since {why}: {REMEDY}"
        )


def _ends(things: Sequence[str]) -> str:
    return " … ".join([*things[:1], *things[1:][-1:]])


def _picture(contents: Contents, path: Path, record: Record) -> Picture:
    return Picture(contents.take(path), record.text(ID), record.prompt, record.text(CATEGORY))


def _by_image(contents: Contents, records: list[Record], file: Path) -> list[Picture]:
    known = set(contents.files) | set(contents.unseen)
    places: dict[Path, str] = {}
    found = []
    for record in records:
        named = record.text(IMAGE)
        path = _within(contents.folder, named, file, known)
        if path is None:
            raise UserError(
                f"{record.place} names the picture {named!r}, which is not in {str(contents.folder)!r}: name files "
                "below that folder as they are called there"
            )
        if path in places:
            raise UserError(f"{record.place} names the picture {named!r}, as {places[path]} does: name each once")
        places[path] = record.place
        found.append(_picture(contents, path, record))
    for path in contents.pictures:
        if path not in places:
            contents.leave(path, f"named by no prompt in {file.name}")
    return found


def _within(folder: Path, named: str, file: Path, known: set[Path]) -> Path | None:
    """The file that is meant, relative to `folder`: named from there or, where that is nothing, from where the prompts
    lie."""
    for start in (folder, file.parent):
        path = Path(os.path.normpath(start / named))
        if path.is_relative_to(folder) and path.relative_to(folder) in known:
            return path.relative_to(folder)
    return None


def _by_id(contents: Contents, records: list[Record], file: Path) -> list[Picture]:
    """Pictures whose names are ids, ID_NUMBER or ID/anything."""
    by_id: dict[str, Record] = {}
    for record in records:
        if by_id.setdefault(record.text(ID), record) is not record:
            raise UserError(
                f"{record.place} has the id {record.text(ID)!r}, as {by_id[record.text(ID)].place} does: ids tell "
                f"prompts apart; for several pictures of a prompt call them ID_0.png, ID_1.png …, or {REMEDY}"
            )
    plain = {str(int(one)): record for one, record in by_id.items() if re.fullmatch("[0-9]+", one)}
    numbers = plain if len(plain) == len(by_id) else {}

    def known(name: str) -> Record | None:
        return by_id.get(name) or (numbers.get(str(int(name))) if re.fullmatch("[0-9]+", name) else None)

    found, met = [], set()
    names = {path: path.parts[0] if len(path.parts) > 1 else path.stem for path in contents.pictures}
    exact = all(map(known, names.values()))
    for path, name in names.items():
        shorter = re.fullmatch("(.+)_[0-9]+", name)
        whole, part = known(name), known(shorter[1]) if shorter else None
        if whole and part and not exact:
            raise UserError(
                f"{str(contents.folder / path)!r} may be the picture of the id {whole.text(ID)!r} "
                f"({_short(whole.prompt)}) or one of several of {part.text(ID)!r} ({_short(part.prompt)}) in "
                f"{str(file)!r}: {REMEDY}"
            )
        named = whole or part
        if named is None:
            raise UserError(
                f"{str(contents.folder / path)!r} has none of the ids in {str(file)!r} in its name "
                f"({several(list(by_id))}): call it ID.png, ID_0.png or ID/0.png, or {REMEDY}"
            )
        met.add(named.text(ID))
        found.append(_picture(contents, path, named))
    lost = [one for one in by_id if one not in met]
    if lost:
        raise UserError(
            f"{len(lost)} of {len(by_id)} prompts in {str(file)!r} have no picture in {str(contents.folder)!r} "
            f"({several(lost)}): take them out of a copy of the file, or make their pictures"
        )
    return found


def items(pictures: Sequence[Picture]) -> list[Prompt]:
    """The prompt of every picture, where they are the pictures' own: ids as given, else numbered in order.

    Pictures with one id are samples of one prompt. Without ids, those with one text are where every text has equally
    many, as several samples of each prompt have; else a text that is there twice is two prompts. Raises UserError for
    one id with two texts.
    """
    texts = Counter(picture.text for picture in pictures if not picture.prompt)
    balanced = len({*texts.values()}) == 1
    found: dict[str | int, Prompt] = {}
    prompts = []
    for number, picture in enumerate(pictures):
        key = picture.prompt or (f"text {picture.text}" if balanced and picture.text else number)
        prompt = Prompt(picture.prompt or f"{len(found):05d}", picture.text or "", picture.category, {})
        if found.setdefault(key, prompt).text != prompt.text:
            raise UserError(
                f"the id {picture.prompt!r} stands for two prompts, {found[key].text!r} and {prompt.text!r}: give "
                f"each its own"
            )
        prompts.append(found[key])
    return prompts


def own_prompts(pictures: Sequence[Picture]) -> list[Prompt]:
    """Those of `items`, each once."""
    return list(dict.fromkeys(items(pictures)))


def assigned(pictures: Sequence[Picture], prompts: Sequence[Prompt], where: str) -> Assigned:
    """Pictures by (prompt id, sample), samples in the order of the pictures. Raises UserError for a picture of no
    prompt here, and for one whose id and text are those of two."""
    own = items(pictures)
    mine = own if list(dict.fromkeys(own)) == list(prompts) else None
    by_id = {prompt.id: prompt for prompt in prompts}
    by_text: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        by_text.setdefault(prompt.text.strip(), []).append(prompt)
    found: Assigned = {}
    counts: Counter[str] = Counter()
    for place, picture in enumerate(pictures):
        prompt = mine[place] if mine else _prompt_of(picture, by_id, by_text, where)
        found[prompt.id, counts[prompt.id]] = picture
        counts[prompt.id] += 1
    return found


def _prompt_of(picture: Picture, by_id: dict[str, Prompt], by_text: dict[str, list[Prompt]], where: str) -> Prompt:
    """The prompt of a set that a picture was made for, by its text and its id. Raises UserError."""
    named, alike = by_id.get(picture.prompt), by_text.get((picture.text or "").strip(), [])
    if named is None and len(alike) > 1:
        raise UserError(
            f"{str(picture.file)!r} was made for {picture.text!r}, which prompts {several([p.id for p in alike])} of "
            f'{where} all say: give its "id" in a .jsonl file for --prompts'
        )
    prompt = named or next(iter(alike), None)
    if prompt is None:
        raise UserError(
            f"{str(picture.file)!r} belongs to no prompt of {where} ({picture.prompt or picture.text!r}): remove it, "
            "or score it with scorers only"
        )
    if picture.text is not None and picture.text.strip() != prompt.text.strip():
        raise UserError(
            f"{str(picture.file)!r} was made for {picture.text!r}, but prompt {prompt.id} of {where} is "
            f"{prompt.text!r}: the folder was made from another version of the prompts, or its ids are not the set's"
        )
    return prompt


def shown(found: Assigned, prompts: Sequence[Prompt], folder: Path, count: int) -> list[str]:
    """`count` of the pictures, spread from the first to the last, each with the prompt that it is judged under."""
    by_id, pairs = {prompt.id: prompt for prompt in prompts}, list(found.items())
    last, count = len(pairs) - 1, min(count, len(pairs))
    places = sorted({round(step * last / max(count - 1, 1)) for step in range(count)})
    lines = []
    for (identity, sample), picture in (pairs[place] for place in places):
        name = os.path.relpath(picture.file, folder)
        part = f", quarter {sample + 1}" if picture.crop else ""
        lines.append(f"{name}{part}: {_short(by_id[identity].text)} (prompt {identity}, picture {sample})")
    return lines


def _short(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")
