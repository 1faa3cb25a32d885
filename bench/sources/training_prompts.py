"""The prompts that a training draws from: an embedded world's, an asset's, or those of a file. Imports no torch before
they are read.

Files are read by bench/sources/manifest.py: a .txt with one prompt a line, a .jsonl, .json, .csv or .tsv of {"prompt"
or "caption", and where wanted "id", "category" or "tag", "spec"}; a record with GenEval's "include" is its own
specification.
"""

import json
import re
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.sources import assets
from bench.sources.manifest import KINDS, Record, read_records
from bench.sources.plain import CATEGORY as KEYS_OF_CATEGORY
from bench.sources.plain import ID as KEYS_OF_ID
from htgrpo.base.errors import UserError, suggest
from htgrpo.base.prompts import Prompt, prompt_set_sha256
from htgrpo.world.world import World, by_policy, find, policies

EMBEDDED = "embedded"
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,99}")
CATEGORY = "prompts"
"""Of prompts that name none."""


@dataclass(frozen=True)
class TrainPrompts:
    """source: a world ("embedded", "embedded_large"), an asset's name or a file's absolute path. sha256: of the prompt set
    (htgrpo.base.prompts)."""

    source: str
    sha256: str


def embedded(world: World | None = None) -> dict[str, Any]:
    """The TrainPrompts of an embedded world, by default the tiny one, as a dictionary."""
    world = world or find()
    recorded = json.loads((world.assets / "splits.json").read_text(encoding="utf-8"))
    return asdict(TrainPrompts(world.policy, recorded["splits"]["train"]["sha256"]))


def train_prompts(text: str | None) -> dict[str, Any]:
    """What `--train-prompts NAME|FILE` means, as a dictionary of TrainPrompts. Raises UserError where it cannot be
    read."""
    if text is None or (world := by_policy(text)):
        return embedded(None if text is None else world)
    path = Path(text).expanduser().absolute()
    source = text if text in _assets() else str(path)
    if source == str(path) and not path.is_file():
        if "/" in text or Path(text).suffix.lower() in KINDS:
            raise UserError(
                f"--train-prompts {text!r} is not a file: give a {', '.join(KINDS)} file, or one of {_names()}"
            )
        raise suggest(
            text, [*policies(), *_assets()], f"prompt set in --train-prompts (a file ends with {', '.join(KINDS)})"
        )
    return asdict(TrainPrompts(source, prompt_set_sha256(_read(source, _stamp(source)))))


def load(wanted: dict[str, Any]) -> list[Prompt]:
    """The prompts of a TrainPrompts dictionary. Raises UserError where they have changed since."""
    source = wanted["source"]
    if world := by_policy(source):
        from htgrpo.world.prompts import split_prompts

        return split_prompts(world, "train")
    prompts = _read(source, _stamp(source))
    if (found := prompt_set_sha256(prompts)) != wanted["sha256"]:
        raise UserError(
            f"the training prompts in {source!r} have changed: their sha256 is {found[:12]} and was "
            f"{wanted['sha256'][:12]}; restore the file, or use another --out"
        )
    return prompts


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a file, in its order. A prompt that stands there twice is two, and so drawn twice as often. Raises
    UserError naming the first line that is none."""
    prompts = [_prompt(record) for record in read_records(path)]
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.id in seen:
            raise UserError(
                f"{str(path)!r} has the id {prompt.id!r} twice: ids tell prompts apart, so give each its own or none"
            )
        seen.add(prompt.id)
    return prompts


def _prompt(record: Record) -> Prompt:
    values = record.values
    spec = values.get("spec", values if "include" in values else {})
    category = values.get(record.key(KEYS_OF_CATEGORY) or "", CATEGORY)
    identity = record.text(KEYS_OF_ID) or f"{record.number:06d}"
    if not isinstance(spec, dict) or not isinstance(category, str):
        raise UserError(f'{record.place}: "category" (or "tag") is a text and "spec" is an object')
    if not ID.fullmatch(identity):
        raise UserError(
            f"{record.place} has the id {identity!r}: an id becomes part of file names, so it is made "
            "of at most 100 letters, digits, spaces, '_', '-' and '.', and begins with a letter or digit"
        )
    return Prompt(identity, record.prompt, category, spec)


@lru_cache(maxsize=2)
def _read(source: str, stamp: tuple) -> list[Prompt]:
    return read_prompts(_path(source))


def _stamp(source: str) -> tuple:
    state = _path(source).stat()
    return state.st_size, state.st_mtime_ns


def _path(source: str) -> Path:
    path = assets.asset(source) if source in _assets() else Path(source)
    if not path.is_file():
        raise UserError(
            f"the training prompts {source!r} are not there: restore the file, or give other --train-prompts"
        )
    return path


def _assets() -> list[str]:
    """Assets that are meant to be trained on."""
    return [one.name for one in assets.manifest().values() if one.recipe.get("train")]


def _names() -> str:
    return ", ".join([*policies(), *_assets()])
