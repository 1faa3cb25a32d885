"""complete.json: which work of a run is done, and the sha256 of every file that its commands have written.

It recognises a run to which nothing needs to be added, without loading torch, and what was changed in one since. While
a command is at work it is open, and vouches for nothing that this command may write.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields, replace
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

from bench.ask.machine import versions
from bench.ask.request import Request, mark
from bench.record.pictures import manifest
from bench.record.rundir import CARD, SEAL, RunDir
from bench.record.work import GENERATE, REPORT, SCORE
from htgrpo.base.errors import UserError
from htgrpo.base.files import atomic_write_text, content_sha256, sha256_file, sha256_json
from htgrpo.base.folders import FILE as LIST
from htgrpo.base.folders import Seal, read_seal

FILE = SEAL
KINDS = ("methods", "backbones", "samplers", "rewards", "reward_sources", "scorers", "benchmarks")
PACKAGES = ("htgrpo", "baselines", "bench")
MADE_BY = "python -m bench"
CHECKPOINT = re.compile(r"train/[^/]+/seed\d+/checkpoints/step_\d+(/trainer_state)?")
TRAINING = re.compile(r"train/[^/]+/seed\d+")
PICTURE = re.compile(r"images/.+\.png")
READ_AT_ONCE = 64 << 20
"""Bytes of a checkpoint's file above which it is not read to find out that nothing is to do: who uses it verifies
it."""


@cache
def code_identity() -> str:
    """Hex identity of our own code and data and of the versions of packages that register anything with us."""
    hashes = {}
    for package in PACKAGES:
        root = Path(str(files(package)))
        paths = sorted(p for kind in ("*.py", "*.json", "*.jsonl", "*.yaml") for p in root.rglob(kind))
        hashes.update({f"{package}/{path.relative_to(root)}": sha256_file(path) for path in paths})
    groups = [f"htgrpo.{kind}" for kind in KINDS]
    outside = sorted(
        (e.group, e.name, e.value, e.dist.version if e.dist else "") for g in groups for e in entry_points(group=g)
    )
    return sha256_json([hashes, outside])


def stamp(request: Request, stages: tuple[str, ...]) -> str:
    """Hex identity of a command's work, and of everything that may decide what comes of it. Which claim is the main one
    decides nothing, and is named by the first command that scores."""
    idle = {one.name: None for one in fields(Request) if not mark(one).decides}
    return sha256_json([{**asdict(request), **idle}, sorted(stages), code_identity(), versions()])


def sealed(run: RunDir) -> Seal | None:
    """The run's complete.json, None where there is none. Raises UserError for a damaged one."""
    path, remedy = (
        run.root / FILE,
        "restore it, or delete it: then nothing tells any more what was changed in the run until now",
    )
    if not path.is_file():
        return None
    seal = read_seal(run.root, FILE, remedy)
    about = seal.about
    if not isinstance(about.get("stamps"), list) or not all(type(about.get(key)) is bool for key in ("open", "whole")):
        raise UserError(f"{str(path)!r} is of another version of this program: {remedy}")
    return seal


def is_complete(run: RunDir, request: Request, stages: tuple[str, ...]) -> bool:
    """Whether this very work was done and everything it made is still there, unchanged."""
    try:
        seal = sealed(run)
        if seal is None or seal.about["open"] or stamp(request, stages) not in seal.about["stamps"]:
            return False
        return _names(run) == [*sorted(seal.files)] and not any(_changed(run, name, seal) for name in seal.files)
    except (UserError, OSError):
        return False


def begin(run: RunDir, stages: tuple[str, ...] = ()) -> None:
    """Before any work of `stages`: nothing may be built on a file that is not what a command has written. Pictures are
    made again by a command that generates, and told of by one that scores; verdicts that are gone are made again by one
    that scores, and told of by a report. Raises UserError naming the first other one."""
    seal = sealed(run)
    if seal is None:
        return
    for name in sorted(seal.files):
        if CARD.fullmatch(name) or not _changed(run, name, seal):
            continue
        gone = not (run.root / name).exists()
        if PICTURE.fullmatch(name) and (gone or {GENERATE, SCORE} & set(stages)):
            continue
        unit, word, remedy = _remedy(name)
        if not gone:
            raise UserError(
                f"{str(run.root / name)!r} is damaged or was edited (it is not what {FILE} lists): {remedy}"
            )
        if unit and (run.root / unit).is_dir():
            raise UserError(f"{str(run.root / name)!r} is gone from its {word}: {remedy}")
        if name.startswith("verdicts/") and not {SCORE, REPORT} & set(stages):
            raise UserError(
                f"{str(run.root / name)!r} is gone: restore it, or python -m bench.score {run.root} makes it again"
            )


def _remedy(name: str) -> tuple[str, str, str]:
    """(the folder that makes no sense without the file, in a word what it is, what to do)."""
    training, checkpoint = TRAINING.match(name), CHECKPOINT.match(name)
    if training:
        unit = checkpoint or training
        return (
            unit[0],
            "checkpoint" if checkpoint else "training",
            (f"restore it, or delete the folder {training[0]}: then the same command trains it again"),
        )
    if PICTURE.fullmatch(name):
        return "", "", "run the command of this run, or python -m bench.generate on it: that makes the picture again"
    if name.startswith(("images/", "results/")):
        return "", "", f"restore it, or delete the folder {Path(name).parent}: then the same command makes it again"
    if name.startswith(("verdicts/", "logs/")):
        return "", "", "restore it, or delete it: then the same command makes it again"
    return ".", "run", "restore it, or start again with --overwrite"


@contextlib.contextmanager
def working(run: RunDir, trainings: Iterable[tuple[str, int]] = ()) -> Iterator[None]:
    """While this lasts complete.json is open, and vouches only for trainings other than those (method, seed) that go
    on. In the end everything that is there is listed, whether the work was done or not; `mark_complete` says that it
    was."""
    seal = sealed(run) or Seal(MADE_BY, {}, {"stamps": [], "open": True, "whole": False})
    going = tuple(f"{run.train(*one).relative_to(run.root).as_posix()}/" for one in trainings)
    kept = {
        name: value for name, value in seal.files.items() if name.startswith("train/") and not name.startswith(going)
    }
    kept = {name: value for name, value in kept.items() if (run.root / name).exists()}
    _write(run, Seal(MADE_BY, kept, {**seal.about, "open": True, "whole": False}))
    try:
        yield
    except BaseException:
        with contextlib.suppress(UserError, OSError):
            _close(run, [], False)
        raise
    if (now := sealed(run)) is None or now.about["open"]:
        _close(run, [], False)


def mark_complete(run: RunDir, request: Request, stages: tuple[str, ...]) -> None:
    """Records that this work is done, beside earlier work of the same run."""
    _close(run, [stamp(request, stages)], True)


def record_again(run: RunDir, names: Iterable[str]) -> None:
    """Lists files of the run as they are now: of a command that only adds them."""
    seal = sealed(run)
    if seal is not None:
        now = {name: content_sha256(run.root / name) for name in names}
        _write(run, replace(seal, files={**seal.files, **now}))


def _close(run: RunDir, stamps: list[str], whole: bool) -> None:
    before = sealed(run)
    stamps = sorted({*(before.about["stamps"] if before else []), *stamps})
    kept = before.files if before else {}
    trusted = {name: value for name, value in kept.items() if CHECKPOINT.match(name) and not CARD.fullmatch(name)}
    made = _made(run)
    files = {name: trusted.get(name) or made.get(name) or _recorded(run, name) for name in {*_names(run), *made}}
    _write(run, Seal(MADE_BY, files, {"stamps": stamps, "open": False, "whole": whole}))


def _write(run: RunDir, seal: Seal) -> None:
    atomic_write_text(run.root / FILE, seal.text)


def _names(run: RunDir) -> list[str]:
    """The files that complete.json lists: all that commands have written but itself and the report, which has a list of
    its own."""
    return [name for name in run.files()[0] if name != FILE and not name.startswith("report/")]


def _made(run: RunDir) -> dict[str, str]:
    """The sha256 of the run's own pictures as they were made, so that no later damage slips in."""
    found: dict[str, str] = {}
    for folder in run.root.glob("images/*/*/*"):
        place = folder.relative_to(run.root).as_posix()
        with contextlib.suppress(UserError):
            own = [one for one in manifest(folder).values() if Path(one["file"]).name == one["file"]]
            found |= {f"{place}/{one['file']}": one["sha256"] for one in own}
    return found


def _recorded(run: RunDir, name: str) -> str:
    """The sha256 of a file, of a checkpoint's as it was when that was saved, so that no later damage slips in."""
    checkpoint = CHECKPOINT.match(name)
    if checkpoint and Path(name).name != LIST:
        return read_seal(run.root / checkpoint[0]).files.get(name.removeprefix(f"{checkpoint[0]}/")) or _now(run, name)
    return _now(run, name)


def _now(run: RunDir, name: str) -> str:
    return content_sha256(run.root / name)


def _changed(run: RunDir, name: str, seal: Seal) -> bool:
    """Whether a file is gone or not what is listed. Large weights are verified by who uses them."""
    path = run.root / name
    if not path.is_file():
        return True
    large = CHECKPOINT.match(name) and path.stat().st_size > READ_AT_ONCE
    return not large and content_sha256(path) != seal.files[name]
