"""Dataclass options from text: `alpha=0.5` to a typed field, with the nearest name when it is wrong."""

import dataclasses
import types
import typing
from typing import Any

from htgrpo.errors import UserError, suggest


def convert(value: Any, kind: Any, name: str) -> Any:
    """`value` (text, or already typed, e.g. read from JSON) as `kind`: int, float, bool, str, Literal, X | None, tuple[float, ...].

    Raises UserError naming `name`, the value and what is accepted.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
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
            raise UserError(f"{name} is {value!r}, but it takes {len(arguments)} values separated by ':'")
        return tuple(convert(part, arguments[0], name) for part in parts)
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if str(value).lower() not in words:
            raise UserError(f"{name} is {value!r}, but it takes true or false")
        return words[str(value).lower()]
    if kind in (int, float):
        try:
            number = kind(value)
            if kind is int and isinstance(value, float) and value != number:
                raise ValueError("a fraction")
        except (TypeError, ValueError, OverflowError):
            raise UserError(f"{name} is {value!r}, but it takes {'a whole' if kind is int else 'a'} number") from None
        if number != number or number in (float("inf"), float("-inf")):
            raise UserError(f"{name} is {value!r}, but it takes a finite number")
        return number
    return kind(value)


def build(cls: type, options: dict[str, Any], noun: str) -> Any:
    """An instance of the dataclass `cls` with `options` converted to its field types. Raises UserError for a bad name or value."""
    kinds = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls) if field.init]
    values = {}
    for name, value in options.items():
        if name not in names:
            raise suggest(name, names, f"option of {noun}")
        values[name] = convert(value, kinds[name], f"{noun}.{name}")
    return cls(**values)


def require(condition: bool, name: str, value: Any, accepted: str) -> None:
    """Raises UserError `name is value, but accepted` unless `condition`."""
    if not condition:
        raise UserError(f"{name} is {value!r}, but {accepted}")
