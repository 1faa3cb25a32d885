"""Values that a kind of flag or setting (htgrpo.base.values, bench.ask.kinds) must refuse, at least twelve of each."""

import types
import typing
from pathlib import Path

NOT_TEXT = ["\udcff", "\ud800", "a\x00b", "a\nb", "a\tb", "\r", "\x1b[31m", "\x07", "\x7f"]
"""Bytes of an argument that are not UTF-8, lone surrogates, control characters."""
NUMBERS = [
    "", " ", "x", "²", "٣", "１", "1_000", "0x10", "nan", "NaN", "inf", "-Infinity", "1e400", "9" * 5000, "1 2",
    "true", "[1]", "1,5", *NOT_TEXT,
]  # fmt: skip
LONG = ["a" * 300, "é" * 200, "a/" * 3000, "x" * 5000]
TEXTS = ["", " ", "x" * 5000, *NOT_TEXT]


def bad_values(kind, places: Path) -> list[str]:
    """Texts that `kind` takes none of. places: a folder with a file `file` and an empty folder `empty`."""
    made = MAKERS[getattr(kind, "__name__", type(kind).__name__)](kind, places)
    assert len(made) >= 12, kind
    return made


def bad_for_type(kind, places: Path) -> list[str]:
    """The same for the type of a dataclass's field."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return bad_values(arguments[1], places)
    if origin in (typing.Union, types.UnionType):
        return bad_for_type(next(one for one in arguments if one is not type(None)), places)
    if origin is typing.Literal:
        return ["", "nope", "²", "1", "NaN", " " + str(arguments[0]), str(arguments[0]) + "x", "null", "[]", *NOT_TEXT]
    if origin is tuple:
        good = (
            {"Whole": "1", "Number": "0.5"}.get(type(typing.get_args(arguments[0])[-1]).__name__, "global")
            if typing.get_origin(arguments[0])
            else "global"
        )
        return [
            "", good, f"{good}:{good}", ":".join([good] * 4), "::", "x:y:z", "NaN:1:1", "1:²:1", "1:1:1e400",
            "-1:1:1", f"1:1:{'9' * 5000}", "1 1 1", *NOT_TEXT,
        ]  # fmt: skip
    if kind is bool:
        return ["", "maybe", "2", "tru", "NaN", "²", "-1", "1.0", "[]", "yes please", "null", *NOT_TEXT]
    assert kind is str, f"{kind} has no bad values here, and its field no kind"
    return ["", *NOT_TEXT, "x" * 5000, "²=²", ","]


def _whole(kind, places):
    beyond = [str(kind.low - 1), str(kind.high + 1), str(10**30), "1.5", "1e3"]
    return [one for one in [*NUMBERS, *beyond] if one]


def _number(kind, places):
    beyond = [
        repr(kind.high * 2), repr(kind.low - 1), "1e308", *([repr(kind.low)] if kind.open_low else []),
        *([repr(kind.high)] if kind.open_high else []),
    ]  # fmt: skip
    return [*NUMBERS, *beyond]


def _one_of(kind, places):
    names = sorted(kind.names() if callable(kind.names) else kind.names)
    return [
        "", "nope", "²", names[0] + "x", " " + names[0], names[0].title() + "²", "../" + names[0], "a b", *LONG,
        *NOT_TEXT,
    ]  # fmt: skip


def _names(kind, places):
    unknown = ["nope", "²", "a b²"] if type(kind.each).__name__ != "Text" else []
    return ["", ",", " , ", "x" * 5000, *unknown, *NOT_TEXT]


def _seeds(kind, places):
    return [
        *(one for one in NUMBERS if one != "1,5"), ",", "0", "-1", "1,²", "3000000000", "1,3000000000", "1.5", "1001",
    ]  # fmt: skip


def _drawn(kind, places):
    return [
        "", ":", ":3", "x:", "x:²", "x:-1", "x:0", "x:1.5", "x:1_0", "x:3:3", "x:" + "9" * 5000, "x:nan",
        "x:99999999", *NOT_TEXT,
    ]  # fmt: skip


def _views(kind, places):
    return [
        "", "5", "iterations", "iterations:", "iterations:0", "iterations:-1", "iterations:²", "iterations:1e3",
        "hours:3", "seconds", "iterations:1,iterations:1", "iterations:nan", "iterations:" + "9" * 40,
        f"forwards:{10**30}", "x" * 5000, *NOT_TEXT,
    ]  # fmt: skip


def _reward(kind, places):
    return [
        "", ",", "=1", "objects=²", "objects=nan", "objects=inf", "objects=1e400", "objects=lots", "objects=",
        "objects=1_0", "objects=1=1", "objects=" + "9" * 90, "x" * 5000, *NOT_TEXT,
    ]  # fmt: skip


def _device(kind, places):
    return [
        "", "gpu", "CUDA", "cpu ", "cuda:", "cuda:x", "cuda:-1", "cuda:²", "cuda:999", "tpu", "cuda:1.5", "x" * 5000,
        *NOT_TEXT,
    ]  # fmt: skip


def _url(kind, places):
    return [
        "", "x", "x=", "=http://h", "x=ftp://h", "x=http://", "x=http://h:99999", "x=http://h:0", "x=http://h:²",
        "x=http://u:p@h", "x=http://h?q=1", "x=http:// h", "x=http://é", "x=zip+http://h", "x=http://h:nan",
        *NOT_TEXT,
    ]  # fmt: skip


def _resolution(kind, places):
    return [
        *(one for one in NUMBERS if one), "0", "0x0", "512x", "x512", "512x512x512", "512X512", "512x²", "-512",
        "99999", "1.5", *([] if kind.empty else [""]),
    ]  # fmt: skip


def _place(kind, places):
    return [*TEXTS, *LONG]


def _folder(kind, places):
    return [
        *TEXTS, *LONG, "/nope", str(places / "file"), str(places / "file/x"), "/proc/x",
        *([str(places / "empty")] if kind.holds else []),
    ]  # fmt: skip


def _new_folder(kind, places):
    return [*TEXTS, *LONG, str(places / "file"), str(places / "file/x"), "/proc/x", "/sys/x", "/dev/x", "/dev/null/x"]


def _file(kind, places):
    return [*TEXTS, *LONG, str(places / "empty"), "x/", *(["/nope", str(places / "file/x")] if kind.there else [])]


def _new_file(kind, places):
    return [*TEXTS, *LONG, str(places / "empty"), "x/", str(places / "file/x"), "/proc/x", "/sys/x"]


MAKERS = {
    "Whole": _whole,
    "Number": _number,
    "OneOf": _one_of,
    "Names": _names,
    "Resolution": _resolution,
    "seeds": _seeds,
    "Drawn": _drawn,
    "views": _views,
    "reward": _reward,
    "Device": _device,
    "scorer_url": _url,
    "place": _place,
    "Folder": _folder,
    "NewFolder": _new_folder,
    "File": _file,
    "NewFile": _new_file,
    "Text": lambda kind, places: TEXTS if kind.least else TEXTS[2:] * 2,
    "revision": lambda kind, places: [*TEXTS, "a b", "é", "a;b"],
    "benchmark": lambda kind, places: [*TEXTS, "nope"],
    "picture_setting": lambda kind, places: [*TEXTS, "lr=1", "ht.alpha=0.5", "steps"],
    "token": lambda kind, places: [*TEXTS[1:], "a b", "é", "²"],
    "Field": lambda kind, places: bad_for_type(kind.type, places),
}
