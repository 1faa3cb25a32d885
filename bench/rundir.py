"""A run is a directory: its layout, its config.json, its lock, and what may be added to it. Imports no torch."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bench.request import Request
from htgrpo.errors import UserError
from htgrpo.files import atomic_json, explained, make_folder

CONFIG, LOCK, EQUAL_SECONDS = "config.json", ".lock", "equal_seconds.json"
PARTS = ("train", "images", "verdicts", "results", "report", "logs", CONFIG, "complete.json", EQUAL_SECONDS)
"""What a run writes, and all that --overwrite removes."""


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

    def relative(self, path: Path) -> str:
        """`path` from the run's folder, or itself when it lies elsewhere."""
        root, whole = self.root.resolve(), path.resolve()
        return str(whole.relative_to(root)) if whole.is_relative_to(root) else str(whole)

    def config(self) -> dict[str, Any] | None:
        """config.json, or None when there is none. Raises UserError when it is damaged, or when the folder is no run's."""
        path = self.root / CONFIG
        if not path.is_file():
            if self.root.exists() and not self.root.is_dir():
                raise UserError(f"--out {str(self.root)!r} is a file: give a folder")
            strange = sorted(p.name for p in self.root.glob("*") if p.name not in PARTS and p.name[0] != ".")
            if strange:
                raise UserError(f"--out {str(self.root)!r} holds {strange[0]!r} and is no run: give a new or empty folder")
            return None
        try:
            config = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise UserError(f"{str(path)!r} is not JSON ({error}): restore it, or start again with --overwrite") from error
        if not isinstance(config, dict):
            raise UserError(f"{str(path)!r} is not the configuration of a run: restore it, or start again with --overwrite")
        return config

    def request(self) -> Request:
        """The request recorded in the run. Raises UserError when this is no run."""
        config = self.config()
        if config is None:
            raise UserError(f"{str(self.root)!r} holds no {CONFIG}: give the folder that bench.compare or bench.train wrote to")
        return Request.read(config, str(self.root / CONFIG))

    def clear(self) -> None:
        """Removes everything the run wrote."""
        self.config()  # refuses a folder that is no run
        for name in PARTS:
            path = self.root / name
            with explained(path):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def clear_trainings(self, request: Request) -> None:
        """Removes the trainings of `request`, and with them the whole run when it holds nothing else."""
        old = self.config()
        if old is not None and set(old["methods"]) <= set(request.methods) and set(old["seeds"]) <= set(request.seeds):
            self.clear()
        for method in request.methods:
            for seed in request.seeds:
                shutil.rmtree(self.train(method, seed), ignore_errors=True)

    def sweep(self) -> None:
        """Removes temporary files of a killed command."""
        for path in list(self.root.rglob(".*")):
            if path.name != LOCK and path.exists():
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run for this process. Raises UserError when another one has it, or when the folder cannot be written."""
        make_folder(self.root)
        lock = FileLock(self.root / LOCK)
        try:
            with explained(self.root / LOCK):
                lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"another command is working in {str(self.root)!r}: wait until it ends, or use another --out") from None
        try:
            yield
        finally:
            lock.release()


def refuse_difference(root: Path, old: dict[str, Any], new: Request, prompt_sets: dict[str, str] | None = None) -> None:
    """Raises UserError naming the first setting in which `new` differs from the run in `root`. Methods, seeds, benchmarks and
    checkpoints may be added, so only those that both have are compared."""
    theirs = asdict(Request.read(old, str(root / CONFIG)))
    ours = asdict(new)
    for key in ("preset", "backbone", "policy_sha256", "budget", "split", "limit", "settings", "train_prompts"):
        _same(root, key, theirs[key], ours[key])
    if theirs["claim"] and ours["claim"]:
        _same(root, "claim", theirs["claim"], ours["claim"])
    for key, had, has in (
        ("subset", theirs["subset"], ours["subset"]),
        ("checkpoints", theirs["checkpoints"], ours["checkpoints"]),
        ("train", theirs["train"], ours["train"]),
        ("text", theirs["text"], ours["text"]),
        ("prompt_sets", old.get("prompt_sets", {}), prompt_sets or {}),
    ):
        shared = set(theirs["benchmarks"]) & set(ours["benchmarks"]) if key == "subset" else set(had) & set(has)
        for name in sorted(shared):
            _same(root, f"{key}.{name}", had.get(name), has.get(name))
    for label in (set(theirs["checkpoints"]) & set(ours["methods"])) | (set(ours["checkpoints"]) & set(theirs["methods"])):
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
    joined = asdict(request)
    if old is not None:
        refuse_difference(run.root, old, request, extra["prompt_sets"])
        for key in ("methods", "benchmarks"):
            joined[key] = list(dict.fromkeys([*old[key], *joined[key]]))
        joined["claim"] = old.get("claim") or joined["claim"]
        joined["curve"] = joined["curve"] or old.get("curve", 0)
        joined["seeds"] = sorted({*old["seeds"], *joined["seeds"]}) if request.methods else old["seeds"]
        for key in ("train", "checkpoints", "subset"):
            joined[key] = {**old[key], **joined[key]}
        extra = {
            **extra,
            **earlier_versions(old, extra["versions"]),
            "created": old.get("created", extra["created"]),
            "prompt_sets": {**old.get("prompt_sets", {}), **extra["prompt_sets"]},
            "titles": {**old.get("titles", {}), **extra.get("titles", {})},
        }
        if "choices" in extra and "choices" in old:
            extra["choices"]["methods"] = {**old["choices"]["methods"], **extra["choices"]["methods"]}
    config = {**extra, **joined}
    if old is None or any(
        old.get(key) != value for key, value in config.items() if key not in ("machine", "git_commit")
    ):
        atomic_json(run.root / CONFIG, config)
    return Request(**joined)
