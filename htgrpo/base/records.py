"""The files of a run as typed records, which their writers and readers share: what each must hold, checked when it is read.

The library msgspec compares a value with its type (0.04 s to import; pydantic, 0.13 s, says the same in more words).
Names that a type does not have may be there: later versions may write more.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict, TypeVar, cast

import msgspec

from htgrpo.base.errors import UserError, shown
from htgrpo.base.files import read_jsonl, read_object

T = TypeVar("T")
Finite = Annotated[float, msgspec.Meta(ge=-1.7e308, le=1.7e308)]
AGAIN = "restore it, or delete it and run the stage that makes it again"
NOT_AS_WRITTEN = (
    "is not as it was written (its meta file has another hash): delete it, and the same command judges again"
)
BASE = "base"
"""The name of a run's starting policy, which has no training and no seed."""
FINAL, MILESTONE, CURVE = "final", "milestone", "curve"
"""Why a policy is scored: for the main view of the run, for another of its views, or along training. The held-out curve
is a setting as well: it has pictures of its own, which no table shows."""


class Identified(TypedDict):
    """Any record that says what its files were made with."""

    identity: str


class PictureMeta(Identified):
    """meta.json of a folder of pictures: what they were made with, the name of their set, and how many they are to
    be."""

    policy_sha256: str
    pictures: str
    setting: dict[str, Any]
    prompt_set_sha256: str
    images: int


class Picture(TypedDict):
    """A line of a picture folder's manifest.jsonl. sha256: of the file. grid, rank: when each slot was revealed, of
    sample 0 (see judge.images.pack_ranks). crop: [left, upper, right, lower] of a picture within a given file."""

    prompt_id: str
    sample: int
    file: str
    sha256: str
    grid: NotRequired[list[int]]
    rank: NotRequired[str]
    crop: NotRequired[list[int]]


class Record(TypedDict):
    """A line of a verdict file. score: None where there is none, which `status` and evidence["reason"] explain."""

    prompt_id: str
    sample: int
    category: str
    status: str
    score: Finite | None
    prompt: NotRequired[str]
    evidence: NotRequired[dict[str, Any]]
    image: NotRequired[str]
    sha256: NotRequired[str]


class Judged(TypedDict):
    """Whose pictures a verdict file judges. checkpoint: where its weights lie, below the run where they do."""

    name: str
    method: str
    train_seed: int | None
    iteration: int | None
    forwards: int | None
    milestone: str
    checkpoint: NotRequired[str]
    random_weights: NotRequired[bool]


class Made(TypedDict, total=False):
    """How pictures were made, as far as all of them say so; texts have settings of their own beside."""

    sampler: str
    steps: int
    guidance: Finite
    resolution: str
    dtype: str
    seed: int
    samples: int


class VerdictMeta(TypedDict):
    """The meta file beside a verdict file: the identity of its scores, and how tables show them. verdicts_sha256: of the
    verdict file."""

    benchmark: str
    version: Any
    title: str
    aggregate: Literal["category_mean", "item_mean"]
    scale: Finite
    higher_is_better: bool
    categories: list[str]
    setting: Made
    scorer: dict[str, Any]
    prompt_set_sha256: str
    expected_images: int
    verdicts_sha256: str
    policy: Judged
    identity: NotRequired[str]
    axes: NotRequired[dict[str, str]]
    note: NotRequired[str]
    published: NotRequired[dict[str, int]]
    pictures: NotRequired[str]
    of_policy: NotRequired[bool]
    top: NotRequired[Finite]


class MetricsLine(TypedDict):
    """A line of a training's metrics.jsonl; whatever else it holds are numbers, None where there is none."""

    iteration: int
    forwards: int
    forwards_total: int


class TimingLine(TypedDict):
    """A line of a training's timing.jsonl; whatever else it holds are numbers."""

    iteration: int
    seconds_total: Finite


class TrainerState(TypedDict):
    """trainer_state/state.json of a checkpoint: how far training had come. identity: of the training. policy: sha256 of
    the checkpoint's files."""

    iteration: int
    forwards: int
    last: int
    seconds: Finite
    identity: str
    policy: dict[str, str]


Number = Finite | None | list[Finite | None]
LOGS: dict[str, Any] = {"metrics.jsonl": MetricsLine, "timing.jsonl": TimingLine}


def fault(value: Any, kind: Any, name: str = "it") -> str:
    """What is wrong with `value` of that name, which should be of `kind`, in a few words; "" where nothing is."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return _said(str(error).replace("`", ""), value, name)
    return ""


def _said(told: str, value: Any, name: str) -> str:
    """msgspec's sentence about `value` as we tell it: `lacks scale`, or `policy.name is 3 (expected str, got int)`."""
    text, _, place = told.partition(" - at $")
    place = place.removeprefix(".")
    if found := re.fullmatch(r"Object missing required field (\w+)", text):
        return f"lacks {place}.{found[1]}" if place else f"lacks {found[1]}"
    for step in re.findall(r"[^.\[\]]+|\.\.\.", place):
        if step == "...":  # somewhere among the values of an object
            return f"{place}: {text[0].lower()}{text[1:]}"
        value = value[int(step) if isinstance(value, list) else step]
    return f"{place if name == 'it' and place else name + place} is {shown(value, 60)} ({text[0].lower()}{text[1:]})"


def read(path: Path, kind: Callable[..., T], remedy: str = AGAIN) -> T:
    """The object in `path`. Raises UserError, which ends with `remedy`, for a damaged one."""
    value = read_object(path, remedy)
    check(path, value, kind, remedy)
    return cast(T, value)


def check(path: Path, value: Any, kind: Any, remedy: str = AGAIN) -> None:
    """Raises UserError where `value`, which `path` holds, is not of that kind."""
    if told := fault(value, kind) or _endless(value):
        raise UserError(f"{str(path)!r} is damaged or was edited ({told}): {remedy}")


def _endless(value: Any, name: str = "") -> str:
    """What in `value` is NaN or infinite, which JSON has no word for and no file of a run holds; "" where nothing is."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"{name} is {value}"
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next(filter(None, (_endless(one, f"{name}.{key}" if name else str(key)) for key, one in inner)), "")


def log_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a training's metrics.jsonl or timing.jsonl; none where it is not there. Raises UserError for a
    damaged one."""
    if not path.is_file():
        return []
    kind, remedy = LOGS[path.name], f"restore it, or delete the folder {str(path.parent)!r} and train again"
    lines = records(path, kind, remedy)
    for number, line in enumerate(lines, 1):
        for key in line.keys() - kind.__annotations__.keys():
            if told := fault(line[key], str if key == "failure" else Number, key):
                raise _damaged(path, number, told, remedy)
    return lines


def records(path: Path, kind: Callable[..., T], remedy: str = AGAIN) -> list[T]:
    """The objects in `path`, one a line. Raises UserError for a damaged one."""
    found = read_jsonl(path)
    for number, record in enumerate(found, 1):
        if told := fault(record, kind):
            raise _damaged(path, number, told, remedy)
    return cast(list[T], found)


def _damaged(path: Path, number: int, told: str, remedy: str) -> UserError:
    return UserError(f"line {number} of {str(path)!r} is damaged or was edited ({told}): {remedy}")
