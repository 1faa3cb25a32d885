"""scores.json: all that a report's tables rest on, prompt by prompt, so that they can be made again where neither pictures
nor verdicts are, and so that anybody can do statistics of their own."""

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from htgrpo.base.errors import UserError
from reports.findings.costs import Cost
from reports.run.blocks import Block
from reports.run.scores import MethodScores

FILE = "scores.json"
ABOUT = (
    "Scores of every policy on every prompt in displayed units, the mean over its pictures: blocks[].methods[].scores[training "
    "seed][prompt]; null where nothing was judged. hits and asked: questions answered and asked, by [training seed][prompt]"
    "[question category]. table.csv follows from this file alone: python -m bench.check FOLDER makes it again."
)


def kept(
    config: dict[str, Any],
    blocks: Sequence[Block],
    costs: Sequence[Cost],
    allow_incomplete: bool,
    record: dict[str, Any] | None = None,
) -> bytes:
    """The file. record: that of the ablations, where the methods are variants."""
    parts = {"about": ABOUT, "config": _shared(config), "record": record, "allow_incomplete": allow_incomplete}
    whole = {**parts, "blocks": [_plain(block) for block in blocks], "costs": [_plain(cost) for cost in costs]}
    return (json.dumps(whole, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode()


def _shared(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without the folder of its run, since this file is made to be given away."""
    told = {key: value for key, value in config.items() if key != "folder"}
    if told.get("command"):
        told["command"] = _elsewhere(told["command"])
    return told


def _elsewhere(command: str) -> str:
    """A command without its --out; empty where it cannot be read."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    out = {n for n, word in enumerate(words) if word.startswith("--out=") or "--out" in words[max(0, n - 1) : n + 1]}
    return shlex.join(word for n, word in enumerate(words) if n not in out)


def read_kept(path: Path) -> tuple[dict[str, Any], list[Block], list[Cost]]:
    """The file's own parts (config, record, allow_incomplete), its blocks and its costs. Raises UserError where it is
    none."""
    try:
        whole = json.loads(path.read_text("utf-8"))
        blocks = [_block(block) for block in whole.pop("blocks")]
        costs = [Cost(**{key: _number(value) for key, value in cost.items()}) for cost in whole.pop("costs")]
        return {key: whole[key] for key in ("config", "record", "allow_incomplete")}, blocks, costs
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{str(path)!r} cannot be read as the scores of a report ({error!r}): take it from a report"
        ) from error


def _plain(value: Any) -> Any:
    """As JSON has it: arrays are nested lists, NaN is null."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (Block, Cost, MethodScores)):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _number(value: Any) -> Any:
    """A field of a Cost, none of which is ever None."""
    return math.nan if value is None else value


def _block(told: dict[str, Any]) -> Block:
    methods = [_scores(one, len(told["prompts"]), len(told["question_categories"])) for one in told["methods"]]
    limit = _number(told["limit"])
    return Block(**{**told, "category": np.array(told["category"], dtype=int), "methods": methods, "limit": limit})


def _scores(told: dict[str, Any], prompts: int, kinds: int) -> MethodScores:
    of_prompts = len(told["seeds"]), prompts
    shapes = {"scores": of_prompts, "hits": (*of_prompts, kinds), "asked": (*of_prompts, kinds)}
    arrays = {name: np.array(told[name], dtype=float).reshape(shape) for name, shape in shapes.items()}
    return MethodScores(**{**told, **arrays})
