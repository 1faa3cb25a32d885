"""Every JSON file of a run is read in one way: what it must hold, of which kind, and one sentence where it does not.

Kinds are written as annotations are: `list[str]`, `dict[str, int]`, `int | None`, float (whole numbers too), a dict of
names for an object, a tuple of kinds for any of these, `Any`. pydantic was weighed: it would be a dependency and 0.2 s
of every start, for these few lines.
"""

import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from htgrpo.base.errors import UserError
from htgrpo.base.files import read_jsonl, read_object

AGAIN = "restore it, or delete it and run the stage that makes it again"
NOT_AS_WRITTEN = (
    "is not as it was written (its meta file has another hash): delete it, and the same command judges again"
)
BASE = "base"
"""The name of a run's starting policy, which has no training and no seed."""
FINAL, MILESTONE, CURVE = "final", "milestone", "curve"
"""Why a policy is scored: for the main view of the run, for another of its views, or along training. The held-out curve
is a setting as well: it has pictures of its own, which no table shows."""
NUMBERS = float | None | list[float | None]
CHECKPOINT = {"path": str, "sha256": str, "seed": int, "iteration": int | None, "forwards": int | None}
FOLDER = {"label": str, "path": str, "layout": str, "prompts": str | None, "grid": int | None, "note": str}
CLAIM = {"benchmark": str, "setting": str, "milestone": str}
TUNING = {
    "seeds": list[int],
    "split": str,
    "samples": int,
    "lr": float,
    "start": list[float],
    "ladder": list[float],
    "budget": str,
}
TUNED = {"settings": dict[str, Any], "tries": int, "score": float, "interior": bool, "as_tuned": bool}
CONFIG = {
    "methods": list[str],
    "seeds": list[int],
    "benchmarks": list[str],
    "settings": dict[str, dict[str, Any]],
    "train": dict[str, dict[str, Any]],
    "subset": dict[str, int],
    "limit": int | None,
    "prompt_sets": dict[str, str],
    "selections": dict[str, list[str]],
    "versions": dict[str, str],
    "machine": dict[str, Any],
    "title": str,
    "created": str,
    "git_commit": str | None,
    "kind": str,
    "asked": list[str],
    "checkpoints": dict[str, list[CHECKPOINT]],
    "folders": list[FOLDER],
    "titles": dict[str, str],
    "choices": {"world": str, "tuning": (TUNING, None), "methods": dict[str, TUNED]},
    "earlier_versions": list[dict[str, str]],
    "claim": (CLAIM, None),
    "budget": str,
}
"""What is optional in config.json besides what bench.ask.request requires."""
META = {
    "benchmark": str,
    "version": Any,
    "title": str,
    "aggregate": str,
    "scale": float,
    "higher_is_better": bool,
    "categories": list[str],
    "setting": dict[str, Any],
    "scorer": dict[str, Any],
    "prompt_set_sha256": str,
    "expected_images": int,
    "verdicts_sha256": str,
    "policy": {
        "name": str,
        "method": str,
        "train_seed": int | None,
        "iteration": int | None,
        "forwards": int | None,
        "milestone": str,
    },
}
OPTIONAL_META = {
    "identity": str,
    "axes": dict[str, str],
    "note": str,
    "published": dict[str, int],
    "pictures": str,
    "of_policy": bool,
    "top": float,
}
RECORD = {"prompt_id": str, "sample": int, "category": str, "status": str, "score": float | None}
OPTIONAL_RECORD = {"prompt": str, "evidence": dict[str, Any], "image": str, "sha256": str}
PICTURE = {"prompt_id": str, "sample": int, "file": str, "sha256": str}
OPTIONAL_PICTURE = {"grid": list[int], "rank": str, "crop": list[int]}
LOGS = {
    "metrics.jsonl": {"iteration": int, "forwards": int, "forwards_total": int},
    "timing.jsonl": {"iteration": int, "seconds_total": float},
}
OPTIONAL_LOG = {"failure": str}


def fault(value: Any, kind: Any, name: str = "it") -> str:
    """What is wrong with `value`, which should be of `kind`, in a few words; "" where nothing is."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return ""
    if origin is typing.Literal:
        return "" if value in arguments else f"{name} is {_shown(value)}"
    if isinstance(kind, dict):
        return object_fault(value, kind, {}, name)
    if kind is None:
        return "" if value is None else f"{name} is {_shown(value)} where null belongs"
    if isinstance(kind, tuple):
        told = [fault(value, one, name) for one in kind]
        return "" if "" in told else told[0]
    if origin in (typing.Union, types.UnionType):
        return "" if any(not fault(value, one, name) for one in arguments) else f"{name} is {_shown(value)}"
    if origin is list:
        if not isinstance(value, list):
            return f"{name} is {_shown(value)} where a list belongs"
        return next(filter(None, (fault(one, arguments[0], f"{name}[{i}]") for i, one in enumerate(value))), "")
    if origin is dict or kind is dict:
        if not isinstance(value, dict):
            return f"{name} is {_shown(value)} where an object belongs"
        inner = arguments[1] if arguments else Any
        return next(filter(None, (fault(one, inner, f"{name}.{key}") for key, one in value.items())), "")
    if kind is float:
        right = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    else:
        right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    return "" if right else f"{name} is {_shown(value)} where {words.get(kind, kind.__name__)} belongs"


def object_fault(value: Any, required: Mapping[str, Any], optional: Mapping[str, Any], name: str = "") -> str:
    """`fault` of an object with these names. Others may be there."""
    if not isinstance(value, dict):
        return f"{name} is {_shown(value)} where an object belongs"
    start = f"{name}." if name else ""
    for key, kind in {**required, **{key: kind for key, kind in optional.items() if key in value}}.items():
        if key not in value:
            return f"lacks {start}{key}"
        if told := fault(value[key], kind, f"{start}{key}"):
            return told
    return ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def read(
    path: Path, required: Mapping[str, Any], optional: Mapping[str, Any] | None = None, remedy: str = AGAIN
) -> dict[str, Any]:
    """The object in `path`. Raises UserError, which ends with `remedy`, for a damaged one."""
    value = read_object(path, remedy)
    if told := object_fault(value, required, optional or {}):
        raise UserError(f"{str(path)!r} is damaged or was edited ({told}): {remedy}")
    return value


def read_config(path: Path) -> dict[str, Any]:
    """The configuration of a run. Raises UserError for a damaged one."""
    return read(path, {}, CONFIG, "restore it, or start again with --overwrite")


def log_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a training's metrics.jsonl or timing.jsonl; none where it is not there. Raises UserError for a
    damaged one."""
    remedy = f"restore it, or delete the folder {str(path.parent)!r} and train again"
    return records(path, LOGS[path.name], OPTIONAL_LOG, NUMBERS, remedy) if path.is_file() else []


def records(
    path: Path,
    required: Mapping[str, Any],
    optional: Mapping[str, Any] | None = None,
    others: Any = Any,
    remedy: str = AGAIN,
) -> list[dict[str, Any]]:
    """The objects in `path`, one a line; others: the kind of what neither names. Raises UserError for a damaged one."""
    found = read_jsonl(path)
    for number, record in enumerate(found, 1):
        told = object_fault(record, required, optional or {})
        if not told and others is not Any:
            rest = {key: value for key, value in record.items() if key not in required and key not in (optional or {})}
            told = next(filter(None, (fault(value, others, key) for key, value in rest.items())), "")
        if told:
            raise UserError(f"line {number} of {str(path)!r} is damaged or was edited ({told}): {remedy}")
    return found
