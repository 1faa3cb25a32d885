"""Kinds of values (htgrpo.base.values) that only command lines take: places, devices, addresses, seeds, budgets.
Imports no torch."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from bench.ask.budgets import parse_views
from bench.scorers import servers
from htgrpo.base.device import no_cuda
from htgrpo.base.errors import UserError, shown, suggest
from htgrpo.base.values import SEED, Text, Whole, refuse
from htgrpo.training.rewards import parse_weights

LONGEST_NAME, LONGEST_PATH = 255, 4000
"""Bytes of a file's name and of a path, as common file systems take them."""
SYSTEM = tuple(map(Path, ("/proc", "/sys", "/dev")))
"""Where files cannot be kept."""
MOST_SEEDS = 1000
CONFIG, ABLATIONS = "config.json", "ablations.json"
"""What makes a folder that of a run, and that of bench.ablate."""


def place(value: str, name: str) -> str:
    """A path or another name of weights or prompts, as far as its form goes."""
    Text(most=LONGEST_PATH)(value, name)
    if any(len(part.encode()) > LONGEST_NAME for part in value.split("/")) or len(value.encode()) > LONGEST_PATH:
        raise refuse(name, value, f"it takes names of at most {LONGEST_NAME} bytes and paths of at most {LONGEST_PATH}")
    return value


@dataclass(frozen=True)
class Folder:
    """A folder that is there. holds: files one of which it must have, for a run's folder. made_by: what writes it."""

    holds: tuple[str, ...] = ()
    made_by: str = ""

    def __call__(self, value: str, name: str) -> Path:
        path = Path(place(value, name))
        with _asked(name, value):
            if self.holds and not any((path / one).is_file() for one in self.holds):
                raise UserError(
                    f"{name} is {shown(value)}, which holds no {' or '.join(self.holds)}: give the folder that "
                    f"{self.made_by} wrote to"
                )
            if not path.is_dir():
                what = "a file" if path.exists() else "not there"
                raise UserError(f"{name} is {shown(value)}, which is {what}, so it is not a folder: give one")
        return path


RUN = Folder((CONFIG,), "bench.compare or bench.train")
RUN_OR_KEPT = Folder((CONFIG, "scores.json"), "bench.compare or bench.train")


@dataclass(frozen=True)
class NewFolder:
    """A folder that can be written, there or not."""

    def __call__(self, value: str, name: str) -> Path:
        path = Path(place(value, name))
        with _asked(name, value):
            if path.exists() and not path.is_dir():
                raise UserError(f"{name} is {shown(value)}, which is a file: give a folder")
            _check_writable(path, value, name)
        return path


@dataclass(frozen=True)
class File:
    """A file. there: it must be there."""

    there: bool = True

    def __call__(self, value: str, name: str) -> Path:
        path = Path(place(value, name))
        with _asked(name, value):
            if path.is_dir() or value.endswith("/"):
                raise UserError(f"{name} is {shown(value)}, which is a folder: give a file")
            if self.there and not path.is_file():
                raise UserError(f"{name} is {shown(value)}, which is not there: give a file")
        return path


@dataclass(frozen=True)
class NewFile:
    """A file that can be written, there or not."""

    def __call__(self, value: str, name: str) -> Path:
        path = File(there=False)(value, name)
        with _asked(name, value):
            _check_writable(path.parent, value, name)
        return path


class _asked:
    """Turns what the system says about a path into one sentence."""

    def __init__(self, name: str, value: str):
        self.name, self.value = name, value

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise UserError(
                f"{self.name} is {shown(self.value)}, which cannot be looked at ({error.strerror})"
            ) from error


def _check_writable(folder: Path, value: str, name: str) -> None:
    """Raises UserError where `folder` cannot be written, or made."""
    whole = Path(os.path.abspath(folder))
    there = next(one for one in (whole, *whole.parents) if one.exists())
    why = ""
    if not there.is_dir():
        why = "a part of the path is a file; choose another folder"
    elif any(there.resolve().is_relative_to(system) for system in SYSTEM) and not there.resolve().is_relative_to(
        "/dev/shm"
    ):
        why = "it is a place of the system; choose another folder"
    elif os.statvfs(there).f_flag & os.ST_RDONLY:
        why = "the file system is read-only; choose a writable folder"
    elif not os.access(there, os.W_OK | os.X_OK):
        why = "permission denied; choose a writable folder"
    if why:
        raise UserError(f"cannot write {name} {shown(value)}: {why}")


@dataclass(frozen=True)
class Device:
    """Where networks run: one of `names`, and with numbered also cuda:N. A CUDA device that surely is not there is
    refused."""

    names: tuple[str, ...] = ("auto", "cpu", "cuda")
    numbered: bool = False

    def __call__(self, value: str, name: str) -> str:
        if value not in self.names and not (self.numbered and re.fullmatch("cuda:[0-9]{1,2}", value)):
            raise suggest(value, [*self.names, *(["cuda:0"] if self.numbered else [])], "device", name)
        if value.startswith("cuda") and (why := no_cuda()):
            raise UserError(f"{name} is {value!r}, but there is no CUDA device here ({why}): use {name} cpu")
        return value


def scorer_url(value: str, name: str) -> str:
    """NAME=URL of a scorer on a server."""
    servers.parts(Text(most=2000)(value, name))
    return value


def seeds(value: str, name: str) -> list[int]:
    """`4` -> 0..3; `0,2,5` (or `7,`) -> those, sorted."""
    parts = [part.strip() for part in value.split(",") if part.strip()]
    accepted = f"it takes a count of at least 1 and at most {MOST_SEEDS}, such as 4, or a list such as 0,1,2, each at most {SEED}"
    try:
        numbers = [Whole(0, SEED)(part, name) for part in parts]
    except UserError:
        numbers = []
    if (
        not numbers
        or max(len(numbers), 0 if "," in value else numbers[0]) > MOST_SEEDS
        or ("," not in value and numbers[0] < 1)
    ):
        raise refuse(name, value, accepted)
    return sorted(set(numbers)) if "," in value else list(range(numbers[0]))


@dataclass(frozen=True)
class Drawn:
    """NAME:N, prompts of a benchmark, as (name, N); N at least `least`. bare: NAME alone is all of them, (name,
    None)."""

    least: int = 1
    bare: bool = False

    def __call__(self, value: str, name: str) -> tuple[str, int | None]:
        benchmark, colon, count = Text(most=200)(value, name).partition(":")
        if benchmark and self.bare and not colon:
            return benchmark, None
        if not benchmark or not re.fullmatch("[0-9]{1,7}", count) or int(count) < self.least:
            accepted = f"it takes NAME:N with N of at least {self.least} and at most {10**7 - 1}, such as geneval:60"
            raise refuse(name, value, accepted + (", or NAME" if self.bare else ""))
        return benchmark, int(count)


def views(value: str, name: str) -> str:
    """A budget, as bench.ask.budgets.parse_views takes it."""
    parse_views(Text(most=500)(value, name), name)
    return value


def reward(value: str, name: str) -> str:
    """Rewards and their weights, as htgrpo.training.rewards.parse_weights takes them."""
    parse_weights(Text()(value, name), name)
    return value


def revision(value: str, name: str) -> str:
    """A commit, tag or branch."""
    if not re.fullmatch(r"[\w./-]{1,200}", value, re.ASCII):
        raise refuse(name, value, "it takes a commit, tag or branch, of letters, digits, '.', '_', '/' and '-'")
    return value
