"""Text for a person at a terminal: as wide as that, and no word is cut."""

import re
import shutil
import textwrap
from collections.abc import Iterable

WIDEST = 100
"""Columns of a help text on a wide terminal: longer lines are hard to read."""
ITEM = re.compile(r"(\s+\S.*?\s{2,})(?=\S)|\s+")
"""The beginning of a line of a list up to the text that the next lines are indented to."""


def columns() -> int:
    """How wide a text for a person may be here."""
    return min(WIDEST, shutil.get_terminal_size().columns)


def wrapped(text: str, width: int, first: str = "", later: str = "") -> list[str]:
    """`text` in lines of `width`, the first behind `first`, the others behind `later`. No word is cut."""
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    ) or [first.rstrip()]


def filled(text: str, width: int) -> str:
    """Paragraphs filled to `width`; lines that begin with blanks each for themselves, what wraps below its text."""
    lines: list[str] = []
    for block in text.split("\n\n"):
        parts: list[str] = []
        for line in block.splitlines():
            if line[:1] == " " or not parts or parts[-1][:1] == " ":
                parts.append(line)
            else:
                parts[-1] += f" {line}"
        for part in parts:
            start = ITEM.match(part)
            indent = start[0] if start else ""
            lines += [part] if len(part) <= width else wrapped(part[len(indent) :], width, indent, " " * len(indent))
        lines.append("")
    return "\n".join(lines[:-1])


def fitted(lines: Iterable[str]) -> str:
    """Lines as a text; what is too long goes on below, further in. Rows of tables stay as they are."""
    found: list[str] = []
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()))
        short = len(line) <= columns() or line[:1] == "|"
        found += [line] if short else wrapped(line.lstrip(), columns(), indent, indent + "    ")
    return "\n".join(found)
