"""Pickles from a stranger: plain containers, numbers, strings, bytes and numpy arrays come out, and everything else is
refused.

A pickle is a program. Here every instruction is checked against a list before the first one runs, no name is ever
looked up in a module, and arrays are built by us from their bytes: numpy's own functions never see what the stranger
sent.
"""

import io
import math
import pickle
import pickletools
from typing import Any, Literal

import numpy as np

LARGEST = 64 << 20
DEEPEST = 50
CODES = frozenset(
    "PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE "
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 "
    "EMPTY_LIST APPEND APPENDS LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS "
    "BYTEARRAY8 EMPTY_SET ADDITEMS FROZENSET GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE "
    "GLOBAL STACK_GLOBAL REDUCE BUILD".split()
)
MEMO = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
KINDS = frozenset("biufcSU")
"""The kinds of numpy's dtypes that hold nothing but numbers or text."""
ONLY = "accepted are containers, numbers, strings, bytes and arrays"


class Refused(Exception):
    """The pickle holds, or does, what is not accepted; the message is one sentence."""


def loads(data: bytes) -> Any:
    """The value in a pickle, made of None, bool, int, float, str, bytes, list, tuple, dict, set, frozenset and numpy
    arrays and scalars of numbers or text. Raises Refused; nothing of the pickle has run then but what makes such
    values."""
    if len(data) > LARGEST:
        raise Refused(f"the pickle has {len(data)} bytes, accepted are at most {LARGEST}")
    _check(data)
    try:
        value = _Unpickler(io.BytesIO(data)).load()
        return _plain(value, {}, 0)
    except Refused:
        raise
    except Exception as error:  # a damaged or hostile pickle raises anything
        raise Refused(
            f"the pickle is damaged ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        ) from error


def _check(data: bytes) -> None:
    """Raises Refused for instructions that are not accepted, and for numbers in them that would take memory."""
    try:
        for code, argument, _ in pickletools.genops(data):
            if code.name not in CODES:
                raise Refused(f"the pickle uses {code.name}; {ONLY}")
            if code.name in MEMO and (argument is None or int(argument) > len(data)):
                raise Refused(f"the pickle asks for memo entry {argument}, more than it has bytes")
    except Refused:
        raise
    except Exception as error:
        raise Refused(
            f"this is no whole pickle ({' '.join(str(error).split())[:200] or type(error).__name__})"
        ) from error


class _Array:
    """An array or scalar that is being unpickled. It is swapped for its value at the end, since numpy's objects would
    take a state from the pickle."""

    __slots__ = ("value",)

    def __init__(self, value: Any = None):
        self.value = value

    def __setstate__(self, state: Any) -> None:
        if self.value is not None:
            raise Refused("the pickle changes an array after it is made")
        _, shape, dtype, fortran, raw = state
        self.value = _from_bytes(raw, dtype, shape, "F" if fortran else "C")


class _Dtype:
    """A dtype that is being unpickled: its code comes first, its byte order in the state."""

    __slots__ = ("dtype",)

    def __init__(self, code: Any, *_: Any):
        if not isinstance(code, str) or len(code) > 12:
            raise Refused(f"the pickle holds the dtype {code!r}")
        self.dtype = np.dtype(code)
        if self.dtype.kind not in KINDS or self.dtype.fields or self.dtype.subdtype:
            raise Refused(f"the pickle holds an array of dtype {code!r}, accepted are numbers and text")

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise Refused(f"the pickle holds a dtype of byte order {order!r}")
        self.dtype = self.dtype.newbyteorder(order)


def _from_bytes(raw: Any, dtype: Any, shape: Any, order: Literal["C", "F"]) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray):
        raise Refused("the pickle holds an array whose values are not bytes")
    if type(shape) is not tuple or not all(type(size) is int and 0 <= size <= LARGEST for size in shape):
        raise Refused(f"the pickle holds an array of shape {str(shape)[:100]}")
    if len(raw) != math.prod(shape) * dtype.dtype.itemsize:
        raise Refused(f"the pickle holds {len(raw)} bytes for an array of shape {shape} of {dtype.dtype}")
    return np.ndarray(shape, dtype.dtype, bytes(raw), order=order).copy(order)


def _reconstruct(*arguments: Any) -> _Array:
    """In the place of numpy's function of that name; shape and dtype come in the state."""
    return _Array()


def _scalar(dtype: Any, raw: Any) -> Any:
    return _Array(_from_bytes(raw, dtype, (), "C")[()])


def _frombuffer(raw: Any, dtype: Any, shape: Any, order: Any) -> Any:
    return _Array(_from_bytes(raw, dtype, shape, "F" if order == "F" else "C"))


def _encode(text: Any, encoding: Any) -> bytes:
    """How pickles of protocol 2 and before write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise Refused(f"the pickle encodes {type(text).__name__} as {encoding!r}")
    return text.encode("latin1")


def _collection(kind: type) -> Any:
    """How pickles before protocol 4 make a set: from a list, or empty."""

    def make(items: Any = ()) -> Any:
        if not isinstance(items, list | tuple):
            raise Refused(f"the pickle makes a {kind.__name__} of {type(items).__name__}")
        return kind(items)

    return make


class _Class:
    """In the place of numpy.ndarray, which pickles pass on as the class to make."""


class _Name:
    """What a pickle gets for an accepted name: made afresh, to be called and to be changed in no way."""

    __slots__ = ("_ours",)

    def __init__(self, ours: Any):
        self._ours = ours

    def __call__(self, *arguments: Any) -> Any:
        return self._ours(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise Refused("the pickle changes what it was given to make arrays")


ACCEPTED: dict[tuple[str, str], Any] = (
    {
        ("numpy", "ndarray"): _Class,
        ("numpy", "dtype"): _Dtype,
        ("_codecs", "encode"): _encode,
    }
    | {
        (module, kind.__name__): _collection(kind)
        for module in ("builtins", "__builtin__")
        for kind in (set, frozenset, bytes)
    }
    | {
        (f"numpy.{core}.{module}", name): ours
        for core in ("core", "_core")
        for module, name, ours in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _frombuffer),
        )
    }
)
"""What stands in a pickle for an array, and what we call in its place."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO):
        super().__init__(stream, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _Name(ACCEPTED[module, name])
        except KeyError:
            raise Refused(f"the pickle asks for {module}.{name}; {ONLY}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise Refused("the pickle refers to an object outside itself")


def _plain(value: Any, known: dict[int, Any], depth: int) -> Any:
    """The value with its arrays in place of what stands for them. known: containers that were walked, so that one which
    is referred to a thousand times is walked once; one inside itself is refused."""
    if isinstance(value, _Array):
        value = value.value
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.ndarray | np.generic):
        return value
    if isinstance(value, bytearray):
        return bytes(value)
    if id(value) in known:
        if known[id(value)] is None:
            raise Refused("the pickle holds a container inside itself")
        return known[id(value)][1]
    if depth == DEEPEST:
        raise Refused(f"the pickle nests its containers more than {DEEPEST} deep")
    known[id(value)] = None
    if isinstance(value, dict):
        result: Any = {_plain(k, known, depth + 1): _plain(v, known, depth + 1) for k, v in value.items()}
    elif isinstance(value, list | tuple | set | frozenset):
        result = type(value)(_plain(one, known, depth + 1) for one in value)
    else:
        raise Refused(f"the pickle holds a {type(value).__name__.strip('_').lower()}, which is not accepted")
    known[id(value)] = (value, result)  # the original is kept, so that its id stays its own
    return result
