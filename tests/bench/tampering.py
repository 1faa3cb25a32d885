"""What a careless hand, or a careful forger, does to the files of a run."""

import contextlib
import json
from pathlib import Path

from bench.record.complete import FILE, MADE_BY
from bench.record.rundir import RunDir
from htgrpo.base.files import sha256_file
from htgrpo.base.folders import Seal
from tests import sealing


def edit(path: Path, change) -> None:
    """Applies `change` to the JSON object in `path`."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def edit_line(path: Path, number: int, change) -> None:
    """Applies `change` to one record of a JSON-lines file."""
    lines = path.read_text().splitlines()
    record = json.loads(lines[number])
    change(record)
    lines[number] = json.dumps(record, ensure_ascii=False)
    path.write_text("".join(line + "\n" for line in lines))


def drop_line(path: Path, number: int) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:number] + lines[number + 1 :]))


def reseal(run: Path) -> None:
    """What a careful forger does: complete.json, the list of every checkpoint and the hashes of verdicts agree with the
    files as they are now."""
    sealing.reseal(run / "train")
    for path in run.glob("verdicts/*/*/*.jsonl"):
        with contextlib.suppress(ValueError):  # a damaged meta file stays one
            sealing.rehash(path)
    about = json.loads((run / FILE).read_text())["about"]
    names = [name for name in RunDir(run).files()[0] if name != FILE and not name.startswith("report/")]
    (run / FILE).write_text(Seal(MADE_BY, {name: sha256_file(run / name) for name in names}, about).text)
