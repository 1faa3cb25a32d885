"""What a campaign found, as Markdown, and what its folder is for."""

import contextlib
import os
import platform
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.ask import machine
from bench.campaign.cases import KINDS, Part
from bench.record.complete import code_identity
from htgrpo.base.errors import UserError
from htgrpo.base.files import atomic_json, atomic_write_text, read_object
from reports.pages import folder

FILE = "campaign.json"
MARK = "<!-- figures -->"
Rows = list[dict[str, Any]]


def settle(root: Path, seed: int, trials: int) -> None:
    """Writes down what the results in a folder are of. Raises UserError where they are of something else."""
    new = {"seed": seed, "trials": trials, "code": code_identity(), "reports": folder.code_identity()}
    if (root / FILE).is_file():
        old = read_object(root / FILE)
        for key, value in new.items():
            if old.get(key) != value:
                what = f"with --{key} {old.get(key)}" if key in ("seed", "trials") else "of other code of this program"
                raise UserError(f"--out {str(root)!r} holds results {what}: use another --out")
    elif root.is_dir() and any(root.iterdir()):
        raise UserError(
            f"--out {str(root)!r} holds {sorted(os.listdir(root))[0]!r} and no campaign: give a new or empty folder"
        )
    else:
        atomic_json(root / FILE, new)


def check_copy(path: Path) -> None:
    """Raises UserError where a copy of the summary has no place."""
    marked = False
    with contextlib.suppress(OSError, UnicodeDecodeError):
        marked = path.is_file() and MARK in path.read_text("utf-8").splitlines()
    if not marked:
        raise UserError(
            f"--copy {str(path)!r} is no file with a line {MARK!r}, below which the summary is written: add that line"
        )


def write(path: Path, text: str, copy: Path | None) -> None:
    """Writes the summary, and its copy below the mark."""
    atomic_write_text(path, text)
    if copy:
        head = copy.read_text("utf-8").partition(f"{MARK}\n")[0]
        atomic_write_text(copy, f"{head}{MARK}\n\n{text}")


def markdown(parts: list[Part], results: dict[str, Rows], asked: dict[str, int], seed: int, trials: int) -> str:
    """The summary."""
    lines = [
        f"Seed {seed}, commit {machine.git_commit() or 'unknown'}, {machine.cpu_name()}, Python {platform.python_version()}."
    ]
    for part in parts:
        rows = results[part.name]
        counted = Counter(fault["kind"] for row in rows for fault in row["faults"])
        told = ", ".join(f"{count} {kind}" for kind, count in counted.items()) or "no fault"
        seconds = sum(row["seconds"] for row in rows)
        left = f" ({asked[part.name] - len(rows)} are left)" if len(rows) < asked[part.name] else ""
        lines += [
            "",
            f"## {part.title}",
            "",
            part.about,
            "",
            f"**{len(rows)} cases{left}, {told}**; {seconds / 60:.0f} minutes of one core.",
            "",
        ]
        table = getattr(import_module(f"bench.campaign.{part.name}"), "table", counts)
        lines += table(rows)
        if counted:
            lines += ["", "What was found:", ""]
            lines += [f"- {kind}: {KINDS[kind]}" for kind in counted]
            lines += [
                "",
                *(
                    f"1. {row['group']}: {_plain(row['name'])}: **{fault['kind']}**: {_plain(fault['told'])}"
                    for row in rows
                    for fault in row["faults"]
                ),
            ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    return "`" + text.replace("`", "'") + "`"


def counts(rows: Rows) -> list[str]:
    """Cases and faults by group."""
    groups = dict.fromkeys(row["group"] for row in rows)
    lines = ["| | cases | faults |", "|---|---:|---:|"]
    for group in groups:
        mine = [row for row in rows if row["group"] == group]
        lines.append(f"| {group} | {len(mine)} | {sum(len(row['faults']) for row in mine)} |")
    return lines
