"""Versions of the distributions that decide a result, without importing them."""

import contextlib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def installed(names: Iterable[str]) -> dict[str, str]:
    """Versions of those distributions that are here. Imports none of them."""
    found = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def libraries(names: Iterable[str]) -> dict[str, str]:
    """Versions for the identity of a score: without the build ("+cu130"), which is the machine's and changes rounding
    only."""
    return {name: text.partition("+")[0] for name, text in installed(names).items()}
