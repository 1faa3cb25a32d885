"""Dataclass options from text: `alpha=0.5` to a typed field, with the nearest name when it is wrong."""

import dataclasses
import types
import typing
from collections.abc import Callable
from typing import Any

from htgrpo.base.errors import UserError, shown, suggest
from htgrpo.base.values import Number, Text, Whole

PLAIN: dict[Any, Callable[[Any, str], Any]] = {int: Whole(), float: Number(), str: Text(0)}
"""What fields without a kind of their own take."""


def convert(value: Any, kind: Any, name: str) -> Any:
    """`value` (text, or already typed, e.g. read from JSON) as `kind`: int, float, bool, str, Literal, X | None,
    tuple[float, ...], or Annotated[X, kind] with a kind of htgrpo.base.values, which says what is accepted.

    Raises UserError naming `name`, the value and what is accepted.
    """
    origin: Any = typing.get_origin(kind)
    arguments: tuple[Any, ...] = typing.get_args(kind)
    if origin is typing.Annotated:
        return arguments[1](value, name)
    if origin in (typing.Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        return convert(value, next(a for a in arguments if a is not type(None)), name)
    if origin is typing.Literal:
        if value not in arguments:
            raise suggest(str(value), [str(a) for a in arguments], f"value of {name}")
        return value
    if origin is tuple:
        parts = value if isinstance(value, (list, tuple)) else str(value).replace(",", ":").split(":")
        if arguments[-1] is not Ellipsis and len(parts) != len(arguments):
            raise UserError(f"{name} is {shown(value)}, but it takes {len(arguments)} values separated by ':'")
        return tuple(convert(part, arguments[0], name) for part in parts)
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if str(value).lower() not in words:
            raise UserError(f"{name} is {shown(value)}, but it takes true or false")
        return words[str(value).lower()]
    if kind in PLAIN:
        return PLAIN[kind](value, name)
    make: Callable[[Any], Any] = kind
    return value if isinstance(value, kind) else make(value)


@dataclasses.dataclass(frozen=True)
class Field:
    """The kind (htgrpo.base.values) of a flag that sets a field of that type."""

    type: Any

    def __call__(self, value: Any, name: str) -> Any:
        return convert(value, self.type, name)


def build(cls: type, options: dict[str, Any], noun: str) -> Any:
    """An instance of the dataclass `cls` with `options` converted to its field types. Raises UserError for a bad name
    or value."""
    kinds = typing.get_type_hints(cls, include_extras=True)
    names = [field.name for field in dataclasses.fields(cls) if field.init]
    values = {}
    for name, value in options.items():
        if name not in names:
            raise suggest(name, names, f"option of {noun}")
        values[name] = convert(value, kinds[name], f"{noun}.{name}")
    return cls(**values)


def check(settings: Any, prefix: str = "") -> None:
    """Raises UserError for the first field of a dataclass whose value its type does not take, under `prefix` + name."""
    kinds = typing.get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        convert(getattr(settings, field.name), kinds[field.name], prefix + field.name)


def require(condition: bool, name: str, value: Any, accepted: str) -> None:
    """Raises UserError `name is value, but accepted` unless `condition`."""
    if not condition:
        raise UserError(f"{name} is {shown(value)}, but {accepted}")
