"""A page from its template, and the colours in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from reports.pages.drawing import tones

TEMPLATES, VENDOR = (Path(__file__).parent / name for name in ("templates", "vendor"))


def render(template: str, **values: Any) -> str:
    """A template of this package, with the colours that its figures and dots use."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["brief"] = lambda value: f"{value:.4g}"
    environment.globals["vendor"] = lambda name: (VENDOR / name).read_text("utf-8")
    text = environment.get_template(template).render(palette="/*palette*/", **values)
    return text.replace("/*palette*/", _palette(tones(text)), 1)


def _palette(used: list[str]) -> str:
    """Style of the colours that a page uses: as they are on white, lighter on black."""
    light = "".join(f"--c-{one}:#{one};" for one in used)
    dark = "".join(f"--c-{one}:color-mix(in oklab,#{one} 62%,#fff);" for one in used)
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def about(config: Mapping[str, Any]) -> dict[str, str]:
    """The run's name and the command that made it."""
    folder = str(config.get("folder") or "")
    return {"name": Path(folder).name or "Comparison", "command": str(config.get("command") or "")}
