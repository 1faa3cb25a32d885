"""Files of prompts as people have them, read rightly or refused in one sentence: never read as something else.

.txt           one prompt a line; blank lines and white space around a prompt do not count
.jsonl .ndjson one object a line
.json          a list of objects or of texts, one object, {"file or id": "prompt"}, or one object a line
.csv .tsv      a table whose first line names its columns

The ending, in any case, says which; content that speaks for another is refused. Lines end with LF or CRLF alone: other
signs that separate lines (U+2028, NEL, VT, FF) may be part of a prompt. What the keys of a record mean is said by the
names below.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.sources.plain import COLUMNS, PROMPT, check_plain
from htgrpo.base.errors import UserError

UTF16 = (b"\xff\xfe", b"\xfe\xff")
DEEPEST = 32
"""Lists and objects within each other."""
WANTED = '{"prompt": "a cat"}'


@dataclass(frozen=True)
class Record:
    """What a file says of one prompt: `values`, with a text under one of PROMPT. place: where, for a sentence."""

    place: str
    number: int
    values: dict[str, Any]

    @property
    def prompt(self) -> str:
        """Its text, as written."""
        return next(self.values[name] for name in PROMPT if self.values.get(name) is not None)

    def key(self, names: Sequence[str]) -> str | None:
        """The first of `names` that it has; raises UserError where it says two things under several."""
        there = [name for name in names if self.values.get(name) is not None]
        if len({json.dumps(self.values[name]) for name in there}) > 1 and there[0] != names[0]:
            raise UserError(f"{self.place} has both {there[0]!r} and {there[1]!r}: keep one")
        return there[0] if there else None

    def text(self, names: Sequence[str]) -> str:
        """The text, or the whole number as a text, under one of `names`; "" where there is none. Raises UserError."""
        name = self.key(names)
        value = "" if name is None else self.values[name]
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise UserError(f"{self.place} has the {name} {value!r}: write a text")
        return str(value)


def read_records(path: Path) -> list[Record]:
    """What a file of prompts holds, in its order, at least one record. Raises UserError naming file, line and
    remedy."""
    return _read(path, READERS)


def _read(path: Path, readers: "dict[str, Reader]") -> list[Record]:
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"prompts are read from {', '.join(readers)} files, not from {str(path)!r}: rename it by what it holds"
        )
    records = reader(read_text(path), repr(str(path)))
    if not records:
        raise UserError(f"{str(path)!r} holds no prompts: write one a line")
    for record in records:
        _check(record)
    return records


def read_text(path: Path) -> str:
    """The UTF-8 text of a file with LF as line ends, without its byte-order mark. Raises UserError."""
    name = repr(str(path))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{name} cannot be read ({error.strerror}): give a file of prompts that is there") from error
    if data.startswith(UTF16):
        raise UserError(f"{name} cannot be read as UTF-8 text (it begins as UTF-16 does): save it as UTF-8")
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line, byte = data[: error.start].count(b"\n") + 1, data[error.start]
        raise UserError(
            f"{name} cannot be read as UTF-8 text (line {line} holds the byte {byte:#04x}): save it as UTF-8"
        ) from error
    for sign, what in (
        ("\0", "a NUL byte"),
        ("\r", "a carriage return without a line feed"),
        ("\ufeff", "a byte-order mark"),
    ):
        if sign in text:
            line = text[: text.index(sign)].count("\n") + 1
            raise UserError(
                f"line {line} of {name} holds {what}: save the file as UTF-8 text with line feeds as line ends"
            )
    return text


def read_prompt(path: Path) -> str:
    """The prompt of a file that holds one: a .txt that is the prompt, or a record. Raises UserError."""
    if path.suffix.lower() != ".txt":
        records = _read(path, {**READERS, ".json": _json})  # {"model": "x"} beside a picture maps no name to a prompt
        if len(records) > 1:
            raise UserError(
                f"{str(path)!r} holds {len(records)} prompts for one picture: keep one, or give it as --prompts"
            )
        return records[0].prompt.strip()
    text = read_text(path).strip()
    check_plain(text, repr(str(path)))
    if not text:
        raise UserError(f"{str(path)!r} is empty: write the prompt into it, or remove it with its picture")
    return text


def _check(record: Record) -> None:
    """Raises UserError where a record has no prompt, or what no file of ours could hold."""
    if not isinstance(record.values, dict):
        raise UserError(f'{record.place} has no "prompt", since it is no object: write {WANTED}')
    try:
        _check_depth(record.values, DEEPEST)
        json.dumps(record.values, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"{record.place} holds half a character (the lone surrogate {error.object[error.start]!a}): write the "
            "whole one"
        ) from error
    except ValueError as error:
        raise UserError(
            f"{record.place} holds a value that JSON does not have ({error}): write a finite number or a text"
        ) from error
    key = record.key(PROMPT)
    text = record.values.get(key) if key else None
    if not isinstance(text, str) or not text.strip():
        raise UserError(f'{record.place} has no "prompt" with a text: write {WANTED}')


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise ValueError(f"more than {DEEPEST} lists or objects within each other")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(part, left - 1)


def _lines(text: str, name: str) -> list[Record]:
    check_plain(text, name)
    lines = enumerate(text.split("\n"), 1)
    return [Record(f"line {n} of {name}", n, {"prompt": line.strip()}) for n, line in lines if line.strip()]


def _json_lines(text: str, name: str) -> list[Record]:
    records = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                value = _parsed(line)
            except ValueError as error:
                raise UserError(
                    f"line {number} of {name} is not JSON ({error}): mend it, or cut it off where the file was torn"
                ) from error
            records.append(Record(f"line {number} of {name}", number, value))
    return records


def _json(text: str, name: str) -> list[Record]:
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        value = _parsed(text)
    except ValueError as error:
        if len(lines) > 1 and all(line.lstrip().startswith("{") for line in lines):
            return _json_lines(text, name)
        raise UserError(
            f"{name} is not JSON ({error}): mend it, or write one object a line and call it .jsonl"
        ) from error
    entries = value if isinstance(value, list) else [value]
    return [
        Record(f"entry {n} of {name}", n, {"prompt": one} if isinstance(one, str) else one)
        for n, one in enumerate(entries, 1)
    ]


def _json_set(text: str, name: str) -> list[Record]:
    """As _json, and {"file or id": "prompt"}, whose keys are no names of columns."""
    records = _json(text, name)
    value = records[0].values if len(records) == 1 else None
    if (
        not isinstance(value, dict)
        or not value
        or {key.casefold() for key in value} & COLUMNS
        or not all(isinstance(one, str) for one in value.values())
    ):
        return records
    from htgrpo.base.pictures import SUFFIXES  # loads Pillow

    return [
        Record(
            f"entry {n} of {name}", n, {"image" if Path(key).suffix.lower() in SUFFIXES else "id": key, "prompt": one}
        )
        for n, (key, one) in enumerate(value.items(), 1)
    ]


def _parsed(text: str) -> Any:
    """A JSON value. Raises ValueError, also for what readers of JSON disagree about."""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("lists within lists without an end") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!a} is there twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _table(text: str, name: str, delimiter: str) -> list[Record]:
    head = text.split("\n", 1)[0]
    for other in ",;\t":
        if delimiter not in head and other in head:
            delimiter = other
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []
    records = []
    try:
        for row in reader:
            place = f"line {reader.line_num} of {name}"
            if not columns:
                columns = _columns(row, place)
            elif len(row) != len(columns) and "".join(row).strip():
                raise UserError(
                    f"{place} has {len(row)} cells for {len(columns)} columns: put quotation marks around prompts that "
                    f"hold {delimiter!r}, and mend a torn line"
                )
            elif "".join(row).strip():
                values = {key: cell for key, cell in zip(columns, row, strict=True) if cell.strip()}
                records.append(Record(place, reader.line_num, values))
    except csv.Error as error:
        raise UserError(
            f"line {reader.line_num} of {name} is no line of a table ({error}): mend its quotation marks"
        ) from error
    return records


def _columns(row: list[str], place: str) -> list[str]:
    """The names of a table's columns. Raises UserError where none is of prompts."""
    columns = [cell.strip().casefold() for cell in row]
    if not {*columns} & {*PROMPT} or len({*columns}) < len(columns):
        raise UserError(
            f"{place} does not name the columns, each once and one of them 'prompt', but is {','.join(row)[:60]!r}: "
            "begin the table with a line such as image,prompt"
        )
    return columns


Reader = Callable[[str, str], list[Record]]
READERS: dict[str, Reader] = {
    ".txt": _lines,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json_set,
    ".csv": lambda text, name: _table(text, name, ","),
    ".tsv": lambda text, name: _table(text, name, "\t"),
}
KINDS = tuple(READERS)
