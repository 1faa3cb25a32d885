"""`--set help`: every key that --set takes, what it accepts, its value here and where that comes from."""

import dataclasses
import typing
from collections.abc import Iterable
from typing import Any

from bench.ask.overrides import FIELDS, TEXT
from bench.ask.presets import Setting
from bench.ask.width import columns, wrapped
from bench.benchmarks.text.settings import OPTIONS, Decoding, TextSettings
from htgrpo.base.errors import UserError
from htgrpo.base.options import convert
from htgrpo.base.registry import METHODS
from htgrpo.training.train_config import TrainConfig

HELP = "help"
WRONG = "\0"
"""What no kind takes."""
KEY = 34
"""Columns of `key = value`."""
Layer = tuple[str, dict[str, Any]]
"""Where values come from, and the values by key; later layers win."""


def listing(preset: str, defaults: dict[str, Any], tunings: dict[str, dict[str, Any]], trained: bool) -> str:
    """All keys, in sections. preset: its name; defaults: what it holds (presets.preset); tunings: what was tuned, by
    method; trained: whether anything is."""
    lines: list[str] = []
    common = [_own(TrainConfig), (f"preset {preset}", defaults["train"])]
    if trained:
        lines += ["settings of training: KEY=VALUE for all methods, METHOD.KEY=VALUE for one"]
        lines += _rows("", FIELDS, common, TrainConfig)
    for method in METHODS.names() if trained else ():
        kind, tuned = METHODS.get(method), tunings[method]
        names = [*(name for name in FIELDS if name in tuned), *(one.name for one in dataclasses.fields(kind))]
        if names:
            lines += ["", f"{method}: options, and settings that were tuned for it"]
            lines += _rows(f"{method}.", names, [*common, _own(kind), ("tuned", tuned)], TrainConfig, kind)
    for setting, values in defaults["settings"].items():
        lines += ["", f"{setting}: how pictures to be scored are made"]
        names = [one.name for one in dataclasses.fields(Setting)]
        lines += _rows(f"{setting}.", names, [_own(Setting), (f"preset {preset}", values)], Setting)
    lines += ["", f"{TEXT}: how a policy is asked for it"]
    lines += _rows(f"{TEXT}.", OPTIONS, [_own(TextSettings), _own(Decoding)], TextSettings, Decoding)
    return "\n".join(lines).lstrip("\n")


def accepted(kind: Any) -> str:
    """What a field of that type accepts, in the words in which it refuses anything else."""
    try:
        convert(WRONG, kind, "it")
    except UserError as error:
        for start in ("but it takes ", "accepted: "):
            _, found, words = error.message.partition(start)
            if found:
                return f"one of {words}" if start == "accepted: " else words
    return "a text"


def _own(kind: type) -> Layer:
    """The defaults of a dataclass."""
    return kind.__name__, {
        one.name: one.default for one in dataclasses.fields(kind) if one.default is not dataclasses.MISSING
    }


def _rows(prefix: str, names: Iterable[str], layers: list[Layer], *kinds: type) -> list[str]:
    """`key = value  what it accepts; source`, wrapped."""
    hints = {name: hint for kind in kinds for name, hint in typing.get_type_hints(kind, include_extras=True).items()}
    lines = []
    for name in names:
        source, value = next(
            ((source, values[name]) for source, values in reversed(layers) if name in values), ("the policy's own", "")
        )
        text = ":".join(map(str, value)) if isinstance(value, (list, tuple)) else "" if value is None else str(value)
        left = f"  {prefix}{name} = {text}"
        right = f"{accepted(hints[name])} ({source})"
        start = f"{left:<{KEY}}" if len(left) < KEY else left + "\n" + " " * KEY
        lines += [start + wrapped(right, columns() - KEY)[0]]
        lines += [" " * KEY + more for more in wrapped(right, columns() - KEY)[1:]]
    return lines
