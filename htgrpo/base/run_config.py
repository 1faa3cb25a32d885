"""What config.json of a run must hold, as typed records (see htgrpo.base.records)."""

from pathlib import Path
from typing import Annotated, Any, TypedDict, cast

import msgspec

from htgrpo.base.records import Finite, read


class Checkpoint(TypedDict):
    """A checkpoint that was named on the command line."""

    path: str
    sha256: str
    seed: int
    iteration: int | None
    forwards: int | None


class GivenFolder(TypedDict):
    """A folder of pictures that nobody here made."""

    label: str
    path: str
    layout: str
    prompts: str | None
    grid: int | None
    note: str


class Claim(TypedDict):
    """The one comparison that was named beforehand."""

    benchmark: str
    setting: str
    milestone: str


class Tuning(TypedDict):
    """How all methods were tuned."""

    seeds: list[int]
    split: str
    samples: int
    lr: Finite
    start: list[Finite]
    ladder: Annotated[list[Finite], msgspec.Meta(min_length=1)]
    budget: str


class Tuned(TypedDict):
    """What was chosen for one method."""

    settings: dict[str, Any]
    tries: int
    score: Finite
    interior: bool
    as_tuned: bool


class Choices(TypedDict):
    """How the settings of a run were chosen (bench.ask.choices)."""

    world: str
    tuning: Tuning | None
    methods: dict[str, Tuned]


class Config(TypedDict, total=False):
    """What config.json of a run may hold besides and of what bench.ask.request requires."""

    methods: list[str]
    seeds: list[int]
    benchmarks: list[str]
    settings: dict[str, dict[str, Any]]
    train: dict[str, dict[str, Any]]
    subset: dict[str, int]
    limit: int | None
    prompt_sets: dict[str, str]
    selections: dict[str, list[str]]
    versions: dict[str, str]
    machine: dict[str, Any]
    title: str
    created: str
    git_commit: str | None
    kind: str
    asked: list[str]
    checkpoints: dict[str, list[Checkpoint]]
    folders: list[GivenFolder]
    titles: dict[str, str]
    looks: dict[str, tuple[str, str]]
    command: str
    folder: str
    choices: Choices
    earlier_versions: list[dict[str, str]]
    claim: Claim | None
    margin: Finite | None
    budget: str


def read_config(path: Path) -> dict[str, Any]:
    """The configuration of a run, see Config. Raises UserError for a damaged one."""
    return cast(dict[str, Any], read(path, Config, "restore it, or start again with --overwrite"))
