"""The report made again from the raw records, in a folder of its own, and compared file by file."""

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from tempfile import TemporaryDirectory
from typing import Any

from bench.ask.machine import git_commit
from bench.checking.findings import Findings
from bench.record.rundir import CONFIG, EQUAL_SECONDS, RunDir
from htgrpo.base.errors import UserError
from htgrpo.base.files import sha256_file
from htgrpo.base.folders import Seal, contents, read_seal
from reports.pages.build import build
from reports.pages.folder import STAMP

RAW = (CONFIG, EQUAL_SECONDS, "train", "images", "verdicts")
PICTURES = (".png", ".pdf", ".svg")
DRAWN_BY = ("htgrpo-bench", "python", "matplotlib", "numpy", "pandas", "pillow", "scipy", "statsmodels")
"""What decides the bytes of a picture."""
EMBEDDED = re.compile(r"data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+|<svg width=.*?</svg>|:root\{--c[^}]*\}", re.DOTALL)


def check_report(run: RunDir, config: dict[str, Any], complete: bool, findings: Findings) -> None:
    """Compares RUN/report with what its raw records give now. complete: every picture has a verdict, so that a report
    that allows gaps is no other."""
    folder = run.root / "report"
    if not folder.is_dir():
        findings.missing.append("report: there is none; make it with python -m bench.report")
        return
    try:
        remedy = "delete the folder, then make it again with python -m bench.report"
        _check_seal(folder, read_seal(folder, STAMP, remedy), findings)
    except UserError as error:
        findings.mismatches.append(f"report/{STAMP}: {error.message}")
    tries = []
    for allow_incomplete in (False,) if complete else (False, True):
        try:
            with TemporaryDirectory(prefix="bench-check-") as temporary:
                tries.append(_compare(folder, _remake(run, Path(temporary), allow_incomplete), config))
        except UserError as error:
            findings.mismatches.append(f"report: cannot be made from these records: {error.message}")
            return
    best = min(tries, key=lambda found: len(found.mismatches))
    findings.mismatches += best.mismatches
    findings.unchecked += best.unchecked
    findings.counts += best.counts


def _check_seal(folder: Path, seal: Seal, findings: Findings) -> None:
    """The files of the report against the hashes that were taken when it was made."""
    sealed, there = seal.files, {*contents(folder)}
    findings.mismatches += [f"report/{name}: is gone" for name in sorted({*sealed} - there)]
    for name in sorted(there):
        if name not in sealed:
            findings.mismatches.append(f"report/{name}: is no file of the report ({STAMP} does not name it)")
        elif sha256_file(folder / name) != sealed[name]:
            findings.mismatches.append(f"report/{name}: was changed after the report was made")


def _remake(run: RunDir, temporary: Path, allow_incomplete: bool) -> Path:
    """The report of `run`, made anew below `temporary`, where links stand for the raw records."""
    for name in RAW:
        if (run.root / name).exists():
            (temporary / name).symlink_to((run.root / name).resolve())
    build(temporary, allow_incomplete)
    return temporary / "report"


def _compare(old: Path, new: Path, config: dict[str, Any]) -> Findings:
    """Every file of the two reports."""
    code = _other_code(config.get("git_commit"))
    findings, doubt = Findings(), _other_versions(config.get("versions", {})) or code
    names = sorted({path.name for folder in (old, new) for path in folder.iterdir() if path.is_file()} - {STAMP})
    other_pictures = []
    for name in names:
        if not (old / name).is_file() or not (new / name).is_file():
            where = "is not among what the records give" if (old / name).is_file() else "is missing"
            findings.mismatches.append(f"report/{name}: {where}")
        elif Path(name).suffix in PICTURES:
            if (old / name).read_bytes() == (new / name).read_bytes():
                findings.counts["pictures of the report"] += 1
            else:
                other_pictures.append(name)
        elif _text(old / name, bool(doubt)) != _text(new / name, bool(doubt)):
            hint = f" ({code})" if code else ""
            findings.mismatches.append(f"report/{name}: {_first_difference(old / name, new / name)}{hint}")
        else:
            findings.counts["texts and tables of the report"] += 1
    if other_pictures and doubt:
        findings.unchecked.append(
            f"report: the pictures {', '.join(other_pictures)} ({doubt}); the numbers drawn in them are "
            "those of table.csv and metrics.jsonl"
        )
    elif other_pictures:
        findings.mismatches += [f"report/{name}: is not the picture that the records give" for name in other_pictures]
    return findings


def _text(path: Path, without_pictures: bool) -> str:
    """What must be equal: all but the line that says where the report lies, and pictures that nobody can draw again
    here."""
    text = path.read_text("utf-8", errors="replace")
    if path.name == "terminal.txt":
        text = "\n".join(line for line in text.splitlines() if not line.endswith("index.html"))
    return EMBEDDED.sub("picture", text) if without_pictures and path.suffix == ".html" else text


def _first_difference(old: Path, new: Path) -> str:
    """Where two texts part, in a few words."""
    pairs = zip(_text(old, True).splitlines(), _text(new, True).splitlines(), strict=False)
    for number, (a, b) in enumerate(pairs, 1):
        if a != b:
            start = max(
                0, next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))) - 20
            )
            return f"line {number} has {a[start : start + 50]!r} where the records give {b[start : start + 50]!r}"
    return "is longer or shorter than what the records give, or has another picture in it"


def _other_versions(recorded: dict[str, str]) -> str:
    """Why a picture drawn here may differ in its bytes; "" when it may not."""
    unknown = [name for name in DRAWN_BY if name not in recorded]
    if unknown:
        return f"the run does not record its version of {' and '.join(unknown)}"
    return ", ".join(
        f"{name} {recorded[name]} then, {_here(name)} now" for name in DRAWN_BY if recorded[name] != _here(name)
    )


def _other_code(recorded: str | None) -> str:
    """Why our own code may not be that of the run; "" when it is."""
    here = git_commit()
    if recorded != here:
        return f"the run was made by commit {recorded}, this is {here}"
    return "made by a working tree with uncommitted changes" if recorded and recorded.endswith("-dirty") else ""


def _here(name: str) -> str:
    try:
        return python_version() if name == "python" else version(name)
    except PackageNotFoundError:
        return "not installed"
