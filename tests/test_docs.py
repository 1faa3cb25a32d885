"""The pages say what is so: links lead somewhere, commands parse, tables name all there is, files have their form.

Commands are parsed by their own parsers and not run; placeholders such as DIR stand for paths that are there.
"""

import re
import shlex
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from bench.__main__ import COMMANDS
from bench.__main__ import parser as listing
from bench.ask import kinds
from bench.scorers.registry import SCORERS
from htgrpo.base.errors import UserError
from htgrpo.base.registry import BACKBONES, BENCHMARKS, METHODS
from tests.house import ROOT

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
COMMAND = re.compile(r"(?:-m bench|(?<!\")htgrpo-bench)\b(?:[. ]([a-z_]+))?([^`\n#|&)]*)")
FENCE = re.compile(r"^```.*?^```", re.M | re.S)


def told(page: Path) -> str:
    return str(page.relative_to(ROOT))


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and mkdocs make it."""
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(line.lstrip("#")) for line in FENCE.sub("", page.read_text()).splitlines() if line.startswith("#")}


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=told)
def test_links_lead_somewhere(page):
    dead = []
    for link in links(page):
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_a_dead_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A head, and more\n[a](nowhere.md) [b](page.md#nothing) [c](#a-head-and-more)\n```\n# no head\n```\n"
    )
    assert links(page) == ["nowhere.md", "page.md#nothing", "#a-head-and-more"]
    assert anchors(page) == {"a-head-and-more"}


@pytest.mark.parametrize("page", PAGES, ids=told)
def test_files_that_pages_name_are_there(page):
    named = re.findall(r"(?<![\w/-])((?:bench|htgrpo|reports|baselines|tests|docs)/[\w./-]*\w)", page.read_text())
    missing = [name for name in named if not re.search("[A-Z]{2}", name) and not (ROOT / name).exists()]
    assert missing == []


def commands(text: str) -> list[tuple[str, str]]:
    """(command, its words) of every command line; `python -m bench.NAME` names none."""
    joined = text.replace("\\\n", " ")
    return [(name or "", words) for name, words in COMMAND.findall(joined) if "NAME" not in words[:6]]


EVERY = [(told(page), *one) for page in PAGES for one in commands(page.read_text())]


@pytest.fixture
def paths_are_there(monkeypatch):
    """Placeholders and results of earlier commands count as there."""

    def there(self, value: str, name: str) -> Path:
        return Path(kinds.place(value, name))

    for kind in (kinds.Folder, kinds.NewFolder, kinds.File, kinds.NewFile):
        monkeypatch.setattr(kind, "__call__", there)


def parse(command: str, words: str) -> None:
    """A command without words may be a mention: there must be such a command, and no more."""
    own = import_module(f"bench.{command}").parser() if command else listing()
    if words.strip():
        own.parse_args(shlex.split(words))


@pytest.mark.parametrize("page, command, words", EVERY, ids=lambda part: part.strip()[:60] or "-")
def test_commands_parse(page, command, words, paths_are_there):
    try:
        parse(command, words)
    except SystemExit as left:  # --help, --version, --set help
        assert not left.code


def test_a_flag_that_is_gone_is_found(paths_are_there):
    (one,) = commands("see `python -m bench.speed --scorers clip`, or `python -m bench.NAME`")
    with pytest.raises(UserError, match="unknown flag '--scorers'"):
        parse(*one)


def test_commands_are_found_wherever_they_stand():
    text = "    accelerate launch -m bench.text --limit 2  # why\nsource <(python -m bench --completion bash)\n"
    text += "`htgrpo-bench check RUN`"
    found = [(name, words.strip()) for name, words in commands(text)]
    assert found == [("text", "--limit 2"), ("", "--completion bash"), ("check", "RUN")]
    assert len(EVERY) > 50


@pytest.mark.parametrize(
    "page, names",
    [
        ("start", COMMANDS),
        ("methods", METHODS.names()),
        ("benchmarks", [*BENCHMARKS.names(), *SCORERS.names()]),
        ("backbones", BACKBONES.names()),
    ],
)
def test_a_page_tells_all_there_is(page, names):
    text = (ROOT / f"docs/{page}.md").read_text()
    assert [name for name in names if f"`{name}`" not in text and f"bench.{name}" not in text] == []


def test_the_readme_is_short_and_every_page_is_in_the_site_and_the_index():
    assert 70 <= len((ROOT / "README.md").read_text().splitlines()) <= 90
    pages = {page.name for page in (ROOT / "docs").glob("*.md")}
    in_nav = set(re.findall(r"[\w]+\.md", (ROOT / "mkdocs.yml").read_text()))
    assert in_nav == pages and {*links(ROOT / "docs/index.md")} >= pages - {"index.md"}


def test_the_method_that_is_shown_is_the_examples():
    (shown,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.S)
    example = (ROOT / "tests/plugin_example/htgrpo_halves.py").read_text()
    example = re.sub(r" -> list\[Update\]|: RolloutGroup|: torch\.Generator", "", example)
    assert [line for line in shown.splitlines() if line.strip() and line not in example] == []


def test_the_citation_names_this_version_and_the_paper():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert cited["cff-version"] == "1.2.0" and cited["title"] == "HT-GRPO Bench"
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    paper = cited["preferred-citation"]
    assert paper["title"].startswith("Sketch Then Paint") and len(paper["authors"]) == 13
    assert "arXiv:2605.16842" in str(paper["identifiers"])


def test_the_licence_is_whole_and_packages_say_that_they_are_typed():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for package in ("htgrpo", "baselines", "bench", "reports"):
        assert (ROOT / package / "py.typed").is_file() and "py.typed" in data[package]
