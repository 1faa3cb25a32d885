"""A run is a directory: its layout, its config.json, its lock, and what may be added to it. Imports no torch."""

import contextlib
import fcntl
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bench.ask.request import FIRST, SAME, SHARED, Request, mark
from htgrpo.base.errors import UserError
from htgrpo.base.files import UNFINISHED, atomic_json, explained, make_folder
from htgrpo.base.folders import check_place, everything, listed_below, remove, sweep
from htgrpo.base.run_config import read_config

CONFIG, LOCK, SEAL, EQUAL_SECONDS = "config.json", ".lock", "complete.json", "equal_seconds.json"
GIVEN = "images"
"""The kind of a run of given pictures, in its config.json."""
PARTS = ("train", "images", "verdicts", "results", "report", "logs", "live.html", CONFIG, SEAL, EQUAL_SECONDS)
PICTURES = re.compile(r"meta\.json|manifest(\.rank\d+)?\.jsonl|[^/]+_\d+\.png")
"""What lies in a folder of pictures."""
SAMPLE = "README-sample.png"
"""The picture that a card shows, beside it."""
OURS = re.compile(
    rf"{CONFIG}|{SEAL}|{EQUAL_SECONDS}|live\.html|logs/[^/]+\.txt"
    r"|train/[^/]+/seed\d+/(metrics\.jsonl|timing\.jsonl|rewards\.json|tracker/.+)"
    rf"|images/[^/]+/[^/]+/[^/]+/({PICTURES.pattern})"
    r"|verdicts/[^/]+/[^/]+/[^/]+\.(jsonl|meta\.json|part\d+)"
    rf"|train/[^/]+/seed\d+/checkpoints/step_\d+/{re.escape(SAMPLE)}"
    r"|results/[^/]+/[^/]+/[^/]+/(results\.json|samples_[^/]+\.jsonl)"
)
"""What a run writes, and all that --overwrite removes, but for checkpoints and the report, whose folders list their
files."""
LISTED = re.compile(r"train/[^/]+/seed\d+/checkpoints/step_\d+/.+|report/[^/]+")
CARD, MARK = re.compile(r"train/[^/]+/seed\d+/checkpoints/step_\d+/README\.md"), "<!-- written by python -m bench.card"
"""A model card in a checkpoint, and what tells that no person wrote it."""
PATIENCE = 300.0
"""Seconds that a command waits for another one which only reports."""


@dataclass(frozen=True)
class RunDir:
    """Where the files of a run lie."""

    root: Path

    def train(self, method: str, seed: int) -> Path:
        """The folder of one training."""
        return self.root / "train" / method / f"seed{seed}"

    def images(self, policy: str, pictures: str, setting: str) -> Path:
        """The folder of one policy's pictures of a picture set."""
        return self.root / "images" / policy / pictures / setting

    def verdicts(self, policy: str, benchmark: str, setting: str) -> Path:
        """The verdict file of one policy; .meta.json lies beside it."""
        return self.root / "verdicts" / benchmark / setting / f"{policy}.jsonl"

    def results(self, policy: str, benchmark: str, setting: str) -> Path:
        """The folder of what a benchmark that asks the policy itself leaves beside the verdicts."""
        return self.root / "results" / benchmark / setting / policy

    @property
    def scored(self) -> bool:
        """Whether anything has been judged, be it a part."""
        return any(self.root.glob("verdicts/*/*/*"))

    def relative(self, path: Path) -> str:
        """`path` from the run's folder, or itself when it lies elsewhere."""
        root, whole = self.root.resolve(), path.resolve()
        return str(whole.relative_to(root)) if whole.is_relative_to(root) else str(whole)

    def config(self) -> dict[str, Any] | None:
        """config.json, or None when there is none. Raises UserError when it is damaged, or when the folder is no
        run's."""
        path = self.root / CONFIG
        if not path.is_file():
            check_place(self.root)
            strange = sorted(p.name for p in self.root.glob("*") if p.name not in PARTS and p.name[0] != ".")
            if strange:
                raise UserError(
                    f"--out {str(self.root)!r} holds {strange[0]!r} and is no run: give a new or empty folder"
                )
            return None
        return read_config(path)

    def request(self) -> Request:
        """The request recorded in the run. Raises UserError when this is no run."""
        if not (self.root / CONFIG).is_file():
            raise UserError(
                f"{str(self.root)!r} holds no {CONFIG}: give the folder that bench.compare or bench.train wrote to"
            )
        config = read_config(self.root / CONFIG)
        return Request.read(config, str(self.root / CONFIG))

    def files(self, strict: bool = True) -> tuple[list[str], list[str]]:
        """Paths within the run of the files that commands have written, and of those that somebody else has. Raises
        UserError where a folder's list of its files is damaged; unless `strict`, all in it count as written by
        commands."""
        ours: list[str] = []
        others: list[str] = []
        for name in everything(self.root) if self.root.is_dir() else []:
            if name != LOCK:
                (ours if self._is_ours(name, strict) else others).append(name)
        return ours, others

    def _is_ours(self, name: str, strict: bool) -> bool:
        if CARD.fullmatch(name):
            return MARK in (self.root / name).read_text("utf-8", errors="replace")
        try:
            return bool(OURS.fullmatch(name)) or bool(LISTED.fullmatch(name) and listed_below(self.root, name))
        except UserError:
            if strict:
                raise
            return True

    def clear(self, below: str = "") -> None:
        """Removes everything the run wrote, or what of it lies in the folder `below`. Raises UserError, and removes
        nothing, where somebody else's file lies there."""
        if (self.root / CONFIG).is_file():
            check_place(self.root)
        else:
            self.config()  # refuses a folder that is no run
        ours, others = self.files()
        start = f"{below}/" if below else ""
        for name in others:
            if name.startswith(start):
                raise UserError(
                    f"{str(self.root)!r} holds {name!r}, which no command of this run has written: move it elsewhere, "
                    "then give --overwrite again"
                )
        remove(self.root, [name for name in ours if name.startswith(start)])

    def clear_trainings(self, request: Request) -> None:
        """Removes the trainings of `request`, and with them the whole run when it holds nothing else."""
        old = self.config()
        if old is not None and set(old["methods"]) <= set(request.methods) and set(old["seeds"]) <= set(request.seeds):
            self.clear()
        for method in request.methods:
            for seed in request.seeds:
                self.clear(str(self.train(method, seed).relative_to(self.root)))

    @contextlib.contextmanager
    def locked(self, patience: float = 0.0) -> Iterator[None]:
        """Holds the run for this process, and sweeps what a killed command has left in it. Raises UserError when
        another one has it for longer than `patience` seconds, or when the folder cannot be written."""
        make_folder(self.root)
        lock = FileLock(self.root / LOCK)
        try:
            with explained(self.root / LOCK):
                lock.acquire(timeout=patience)
        except Timeout:
            raise UserError(
                f"another command is working in {str(self.root)!r}: wait until it ends, or use another --out"
            ) from None
        try:
            self._sweep()
            yield
        finally:
            lock.release()

    @property
    def held(self) -> bool:
        """Whether a command holds the run. Opens its lock for reading alone, so that a run of somebody else, or one that
        cannot be written, can be asked."""
        try:
            with open(self.root / LOCK, "rb") as lock:
                return not _shared(lock.fileno())
        except FileNotFoundError:
            return False

    def _sweep(self) -> None:
        """Removes what a killed command was writing, and nothing else that begins with a dot."""
        for path in list(self.root.rglob(".*.unfinished")):
            if UNFINISHED.fullmatch(path.name):
                sweep(path)


def _shared(descriptor: int) -> bool:
    """Whether nobody holds the flock that FileLock takes, shared here, so that those who ask do not see one another."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # some file systems answer with the latter
        return False
    return True


def refuse_difference(root: Path, old: dict[str, Any], new: Request, prompt_sets: dict[str, str] | None = None) -> None:
    """Raises UserError naming the first setting in which `new` differs from the run in `root`. Methods, seeds,
    benchmarks and checkpoints may be added, so only those that both have are compared."""
    before = Request.read(old, str(root / CONFIG))
    theirs, ours = asdict(before), asdict(new)
    for one in fields(Request):
        if mark(one).joins == SAME:
            _same(root, one.name, theirs[one.name], ours[one.name])
        elif mark(one).joins == FIRST and theirs[one.name] and ours[one.name]:
            _same(root, one.name, theirs[one.name], ours[one.name])
    for name in ("claim", "margin"):
        if getattr(new, name) and not getattr(before, name) and RunDir(root).scored:
            raise UserError(
                f"{str(root)!r} was scored before anybody named a {name}: leave --{name} out, or use another --out"
            )
    scored = set(before.benchmarks) & set(new.benchmarks)
    parts = {one.name: (theirs[one.name], ours[one.name]) for one in fields(Request) if mark(one).joins == SHARED}
    for key, (had, has) in {**parts, "prompt_sets": (old.get("prompt_sets", {}), prompt_sets or {})}.items():
        for name in sorted(scored if key == "subset" else set(had) & set(has)):  # who names none takes all prompts
            _same(root, f"{key}.{name}", had.get(name), has.get(name))
    for label in (set(theirs["checkpoints"]) & set(ours["methods"])) | (
        set(ours["checkpoints"]) & set(theirs["methods"])
    ):
        raise UserError(
            f"{str(root)!r} has {label!r} both as a trained method and as a given checkpoint: use another METHOD in "
            "--checkpoint METHOD=PATH, or another --out"
        )


def _same(root: Path, key: str, old: Any, new: Any) -> None:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            _same(root, f"{key}.{name}", old.get(name), new.get(name))
    elif old != new:
        raise UserError(
            f"{str(root)!r} is a run with {key} = {old!r}, but this command says {new!r}: use another --out, or "
            "--overwrite to start it again"
        )


def earlier_versions(old: dict[str, Any], now: dict[str, str]) -> dict[str, Any]:
    """The entry of config.json with the software that worked in a run before `now`; empty where there was no other."""
    past = [one for one in (*old.get("earlier_versions", []), old.get("versions")) if one and one != now]
    return {"earlier_versions": [one for n, one in enumerate(past) if one not in past[:n]]} if past else {}


def write_config(run: RunDir, request: Request, extra: dict[str, Any]) -> Request:
    """Writes config.json, joined with the one that is there, and returns the joined request."""
    old = run.config()
    joined = request
    if old is not None:
        refuse_difference(run.root, old, request, extra["prompt_sets"])
        joined = request.joined(Request.read(old, str(run.root / CONFIG)))
        extra = {
            **extra,
            **earlier_versions(old, extra["versions"]),
            **{key: old[key] for key in ("created", "command", "folder") if key in old},
            "prompt_sets": {**old.get("prompt_sets", {}), **extra["prompt_sets"]},
            "titles": {**old.get("titles", {}), **extra.get("titles", {})},
            "looks": {**old.get("looks", {}), **extra.get("looks", {})},
        }
        if "choices" in extra and "choices" in old:
            extra["choices"]["methods"] = {**old["choices"]["methods"], **extra["choices"]["methods"]}
    config = {**extra, **asdict(joined)}
    if old is None or any(
        old.get(key) != value for key, value in config.items() if key not in ("machine", "git_commit")
    ):
        atomic_json(run.root / CONFIG, config)
    return joined
