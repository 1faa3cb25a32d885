"""Whether the lines of a .txt are prompts: what looks like a table, a record or the settings of a program is
refused."""

import re

from htgrpo.base.errors import UserError

PROMPT, CATEGORY = ("prompt", "caption"), ("category", "tag")
IMAGE, ID = ("image", "file", "file_name", "filename", "image_path"), ("id", "prompt_id", "item_id")
TEXT = {*PROMPT, "prompts", "captions", "text"}
COLUMNS = {*TEXT, *CATEGORY, *IMAGE, *ID, "seed", "index", "model", "negative_prompt"}
"""Names that columns and keys have, in any case; those of TEXT are of prompts also where they stand alone."""
OBJECTS = ('{"', '["', '[{"', "{'", "['", "[{'")
SETTINGS = re.compile(r"\s*(negative prompt:|steps: [0-9]+, )", re.IGNORECASE)
ENDINGS = {",": ".csv", ";": ".csv", "\t": ".tsv", "|": ".csv"}
REMEDY = "save it as .csv, .tsv or .jsonl with a head or keys such as image and prompt"


def check_plain(text: str, name: str) -> None:
    """Raises UserError where plain lines look like another format. name: the file, for a sentence."""
    for number, line in enumerate(text.split("\n"), 1):
        start = "".join(line[:200].split())
        if start.startswith(OBJECTS) or (start in ("{", "[", "[{") and number == 1):
            what = "JSON" if '"' in start[:3] or start in ("{", "[", "[{") else "a Python object"
            raise UserError(
                f"line {number} of {name} looks like {what} ({line.strip()[:40]!r}) and not like a prompt: save it as "
                "JSON and call the file .jsonl or .json"
            )
        if SETTINGS.match(line):
            raise UserError(
                f"line {number} of {name} looks like the settings of a program ({line.strip()[:40]!r}) and not like a "
                "prompt: keep the prompt alone"
            )
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if lines:
        _check_head(lines, name)
        _check_rows(lines, name)


def _check_head(lines: list[str], name: str) -> None:
    """Raises UserError where the first line names columns: known names alone, or a prompt's beside another."""
    for sign, ending in ENDINGS.items():
        cells = {cell.strip().strip("\"'").casefold() for cell in lines[0].split(sign)}
        alone = len(cells) == 1 and len(lines) > 1 and cells <= TEXT
        if alone or len(cells) > 1 and (cells <= COLUMNS or cells & {*PROMPT} and cells & {*IMAGE, *ID, *CATEGORY}):
            raise UserError(
                f"line 1 of {name} looks like the head of a table ({lines[0][:40]!r}) and not like a prompt: call the "
                f"file {ending}, with the column of prompts called 'prompt', or take the line out"
            )


def _check_rows(lines: list[str], name: str) -> None:
    """Raises UserError where most lines are a picture's name, a number or a key with a prompt, as rows of a table
    are."""
    from htgrpo.base.pictures import SUFFIXES  # loads Pillow

    named = rf"(?:{'|'.join(map(re.escape, SUFFIXES))})[\"']?"
    kinds = {
        "a picture's name and a prompt": rf"\S+?{named}[\s,|;:=].*|[^,\t|;]+{named}\s*[,\t|;].*|.*[,\t|;]\s*[^,\t|;]*{named}",
        "a row of a table": r".+\t.+|\|.+\|",
        "a key and a value": r"[\"']?(?:prompt|caption|text)[\"']?\s*[:=].*",
        "a part of a list": r"[\"'].*[\"'],|-\s+\S.*",
        "a number and a prompt": r"[0-9]+(?:\s*[,|;]|[.)]\s)\s*\S.*",
    }
    for what, pattern in kinds.items():
        met = [line for line in lines if re.fullmatch(pattern, line, re.IGNORECASE)]
        if 2 * len(met) > len(lines) and (len(lines) > 1 or what == next(iter(kinds))):
            raise UserError(
                f"{len(met)} of {len(lines)} lines of {name} look like {what} ({met[0][:40]!r}) and not like a prompt: "
                f"{REMEDY}"
            )
