"""`--set`: settings of training and of generation from the command line. Imports no torch."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from bench.ask.presets import CACHE_FIELDS, Setting
from bench.benchmarks.text.settings import OPTIONS
from htgrpo.base.errors import UserError, shown, suggest
from htgrpo.base.options import build
from htgrpo.base.registry import METHODS
from htgrpo.base.values import DECIMAL, WHOLE
from htgrpo.policies.cache_config import NO_TRAINING
from htgrpo.training.train_config import TrainConfig

FLAGS = {"method": "--methods", "seed": "--seeds", "budget": "--budget", "method_options": "--set METHOD.OPTION=VALUE"}
"""Fields of TrainConfig that have a flag of their own."""
TEXT = "text"
"""Owner of the settings of text benchmarks."""
FIELDS = tuple(f.name for f in dataclasses.fields(TrainConfig) if f.name not in FLAGS)

SCORED = {f.name for f in dataclasses.fields(Setting)} - {f.name for f in dataclasses.fields(TrainConfig)}
"""Fields that only generation settings have."""


@dataclass
class Overrides:
    """What --set asked for: for all methods, for one method (settings and options alike), for one generation setting,
    for text."""

    common: dict[str, Any] = field(default_factory=dict)
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    text: dict[str, Any] = field(default_factory=dict)


def parse_overrides(texts: list[str], methods: list[str], settings: list[str]) -> Overrides:
    """Reads KEY=VALUE, METHOD.KEY=VALUE, SETTING.KEY=VALUE and text.KEY=VALUE. Raises UserError for a form or a name
    that is unknown; options of a method are checked later, when the method is loaded."""
    result = Overrides()
    for text in texts:
        key, equals, value = text.partition("=")
        owner, dot, name = key.rpartition(".")
        if not equals or not name or (dot and not owner):
            raise UserError(
                f"--set {shown(text)} is not understood: write KEY=VALUE or METHOD.OPTION=VALUE, such as lr=1e-4 or ht.alpha=0.5"
            )
        if owner in settings:
            names = [f.name for f in dataclasses.fields(Setting)]
            if name not in names:
                raise suggest(name, names, f"key of the generation setting {owner}")
            result.settings.setdefault(owner, {})[name] = value
        elif not owner and name in SCORED:
            why = f", for {NO_TRAINING}" if name in ("cache", *CACHE_FIELDS) else ""
            raise UserError(
                f"--set {shown(text)} is a setting of pictures to be scored, not of training{why}: write it for one of "
                f"{', '.join(settings)}, such as {settings[0]}.{name}={value}"
            )
        elif owner == TEXT:
            if name not in OPTIONS:
                raise suggest(name, OPTIONS, "setting of text")
            result.text[name] = value
        elif name in FLAGS:
            raise UserError(f"--set {shown(text)} names a setting with a flag of its own: use {FLAGS[name]}")
        elif not owner:
            if name not in FIELDS:
                raise suggest(
                    name,
                    everything(settings),
                    "setting",
                    "--set",
                    f"{', '.join(FIELDS)}, METHOD.OPTION, {'.KEY, '.join([*settings, TEXT])}.KEY",
                )
            result.common[name] = value
        elif owner in methods:
            result.methods.setdefault(owner, {})[name] = value if name in FIELDS else literal(value)
        else:
            raise suggest(owner, [*methods, *settings, TEXT], "method or generation setting", "--set")
    return result


def everything(settings: list[str]) -> list[str]:
    """All keys that --set takes."""
    options = [f"{m}.{f.name}" for m in METHODS.names() for f in dataclasses.fields(METHODS.get(m))]
    return [
        *FIELDS,
        *(f"{one}.{f.name}" for one in settings for f in dataclasses.fields(Setting)),
        *options,
        *(f"{TEXT}.{name}" for name in OPTIONS),
    ]


def literal(text: str) -> Any:
    """A number, true, false or null where `text` is one (so that 0.5 and 0.50 are the same setting), else the text."""
    if WHOLE.fullmatch(text):
        return int(text)
    return float(text) if DECIMAL.fullmatch(text) else {"true": True, "false": False, "null": None}.get(text, text)


def resolve(method: str, budget: str, layers: list[dict[str, Any]]) -> TrainConfig:
    """The TrainConfig (seed 0) of `method`; later layers win; keys that TrainConfig lacks are options of the method.

    Raises UserError for values that cannot be, those of options included, and for a method one of whose options is named
    as a setting is, so that it could not be set.
    """
    taken = [f.name for f in dataclasses.fields(METHODS.get(method)) if f.name in FIELDS]
    if taken:
        raise UserError(
            f"the method {method!r} calls an option {taken[0]!r}, which is a setting of all: rename it there"
        )
    merged = {name: value for layer in layers for name, value in layer.items()}
    options = {name: value for name, value in merged.items() if name not in FIELDS}
    known = {name: value for name, value in merged.items() if name in FIELDS}
    config = build(TrainConfig, {**known, "method": method, "budget": budget, "method_options": options}, method)
    build(METHODS.get(method), options, method)
    return config.validate()
