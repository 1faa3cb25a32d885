"""Figures inside the page: SVG whose colours follow the page's, each with what it shows in words and its files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

POINTS = 116 / 72
"""Pixels of the page per point of a figure: its letters are then as large as the page's small print."""
THEME = {
    "#222222": "ink", "#ffffff": "paper", "#444444": "soft", "#555555": "soft", "#666666": "soft", "#777777": "soft",
    "#e3e3e3": "line", "#bbbbbb": "line",
}  # fmt: skip
"""Colours of figures that are the page's own, by the name of its variable."""
FILES = ("svg", "pdf", "png")


@dataclass(frozen=True)
class Drawing:
    """A figure. markup: an <svg> element; shows: what it shows, in words; files: those beside the page, by their kind."""

    name: str
    markup: str
    shows: str
    files: dict[str, str]


def drawings(contents: Mapping[str, bytes], shows: Mapping[str, str], data: Mapping[str, str]) -> dict[str, Drawing]:
    """Every figure among the files of a report by name. shows: what each one shows; data: the CSV file of its numbers."""
    found = {}
    for file, content in contents.items():
        name, _, kind = file.rpartition(".")
        if kind == "svg":
            files = {kind.upper(): f"{name}.{kind}" for kind in FILES if f"{name}.{kind}" in contents}
            files |= {"CSV": data[name]} if data.get(name) in contents else {}
            found[name] = Drawing(name, inline(content.decode(), name), shows.get(name, ""), files)
    return found


def inline(svg: str, name: str) -> str:
    """The <svg> element of a file: ids made the figure's own, colours the page's variables, size in its pixels."""
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'(<image\b[^>]*?) id="[^"]*"', r"\1", text)  # equal pictures in a figure have equal ids
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', text).replace("url(#", f"url(#{name}-")
    text = re.sub(r"(fill|stroke): ?(#[0-9a-f]{6})", lambda m: f"{m[1]}:{variable(m[2])}", text)
    text = re.sub(r"\s*\n\s*", "\n", text.replace("xlink:href", "href").replace("base64,\n", "base64,"))
    head, rest = text.split(">", 1)
    rest = re.sub(r'(?<=\s)(?:(?:d|x|y)="|transform="rotate)[^"]*"', _hundredths, rest)
    box = re.search(r'viewBox="([\d. ]+)"', head)
    width, height = (float(value) for value in (box[1] if box else "0 0 1 1").split()[2:])
    size = f'width="{round(width * POINTS)}" height="{round(height * POINTS)}"'
    return f'<svg {size} viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="{name}-shows">{rest}'.strip()


def _hundredths(places: re.Match[str]) -> str:
    """An attribute with its places in hundredths of a point."""
    return re.sub(r"(\.\d{2})\d+", r"\1", places[0])


def variable(colour: str) -> str:
    """A colour as the page's style has it."""
    named = THEME.get(colour.lower(), f"c-{colour[1:].lower()}")
    return f"var(--{named},{colour})"


def tones(markup: str) -> list[str]:
    """The colours of a page's figures and dots that are not the page's own, as hex digits, each once."""
    return sorted(set(re.findall(r"var\(--c-([0-9a-f]{6}),", markup)))
