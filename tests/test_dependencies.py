"""What is imported is declared, and what decides a score is recorded."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from bench.ask.machine import PACKAGES, versions
from bench.scorers.native import NETWORK
from bench.scorers.worker import SCRIPTS, pins

ROOT = Path(__file__).resolve().parent.parent
OURS = ("bench", "baselines", "htgrpo", "reports")
DECIDES = (
    "transformers", "torchvision", "open_clip_torch", "peft", "diffusers", "lm_eval", "tokenizers", "torch", "pillow",
)  # fmt: skip


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> dict[str, Path]:
    """Top-level modules that our code imports, workers' scripts (which declare their own) left out."""
    found = {}
    for path in (path for name in OURS for path in (ROOT / name).rglob("*.py") if "workers" not in path.parts):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            found |= {name.partition(".")[0]: path for name in names}
    return {name: path for name, path in found.items() if name not in (*OURS, *sys.stdlib_module_names)}


def test_every_import_is_declared_with_a_lower_bound():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    assert all(">=" in one for one in asked)
    declared, owners = {plain(one.partition(">=")[0]) for one in asked}, packages_distributions()
    for module, path in imported().items():
        names = {plain(name) for name in owners.get(module, [module])}
        assert names & declared, f"{path}: imports {module}, which pyproject.toml does not declare"


def test_what_decides_a_score_is_recorded():
    assert set(DECIDES) <= set(PACKAGES) and set(NETWORK) <= set(PACKAGES) and set(DECIDES) <= versions().keys()


def test_a_workers_pins_are_read_from_its_head():
    for script in SCRIPTS.glob("*.py"):
        if "# /// script" in script.read_text():
            assert {"torch", "transformers", "pillow"} <= pins(script.read_text()).keys()
    assert pins((SCRIPTS / "deqa.py").read_text())["transformers"] == "4.36.1" and pins("print('no head')") == {}
