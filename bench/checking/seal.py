"""complete.json: every file of the run against the hash that the last command has left, and files that no command has
written."""

from pathlib import Path

from bench.checking.findings import Findings
from bench.record.complete import CHECKPOINT, FILE, sealed
from bench.record.rundir import RunDir
from htgrpo.base.errors import UserError
from htgrpo.base.files import content_sha256


def check_complete(run: RunDir, findings: Findings) -> None:
    """All files but those of the report, which has a list of its own. Without complete.json the run is incomplete."""
    try:
        seal = sealed(run)
    except UserError as error:
        findings.mismatches.append(f"{FILE}: {error.message}")
        return
    ours, others = run.files(strict=False)
    _name_strangers(others, findings)
    if seal is None:
        findings.missing.append(f"{FILE}: is not there, so the run was never finished; run its command again")
        return
    ours = [name for name in ours if name != FILE and not name.startswith("report/")]
    for name in ours:
        if name in seal.files:
            findings.counts["sealed files"] += 1
            if content_sha256(run.root / name) != seal.files[name]:
                findings.mismatches.append(f"{name}: is not the file that was there when the run was complete ({FILE})")
        elif not seal.about["open"]:
            findings.mismatches.append(f"{name}: was not there when the run was complete ({FILE})")
    for name in sorted(seal.files.keys() - {*ours}):
        checkpoint = CHECKPOINT.match(name)
        whole = checkpoint and not (run.root / checkpoint[0]).exists()  # they may be deleted to make room
        gone = f"{name}: is gone since the run was complete ({FILE})"
        (findings.missing if whole else findings.mismatches).append(gone)
    if seal.about["open"]:
        findings.missing.append(f"{FILE}: a command was at work in this run and did not end; run it again")
    elif not seal.about["whole"]:
        findings.missing.append(f"{FILE}: the last command did not do all that was asked for; run it again")


def _name_strangers(names: list[str], findings: Findings) -> None:
    """Files that no command has written; the report's own check names those beside it."""
    for name in (name for name in names if not name.startswith("report/")):
        line = f"{name}: was written by no command of this run"
        if Path(name).parts[0].startswith("."):
            findings.not_checked(line)
        else:
            findings.mismatches.append(line)
