"""Tables that were kept without their run: made again from scores.json and compared."""

from pathlib import Path

from bench.checking.findings import Findings
from htgrpo.base.errors import UserError
from reports.ablations.studies import studies
from reports.ablations.text import to_csv as ablations_csv
from reports.findings.analysis import analyse
from reports.tables.csv import to_csv
from reports.tables.kept import FILE, read_kept


def check_kept(folder: Path, findings: Findings) -> None:
    """Compares the table beside `folder`/scores.json with what the scores give."""
    try:
        parts, blocks, costs = read_kept(folder / FILE)
    except UserError as error:
        findings.mismatches.append(f"{FILE}: {error.message}")
        return
    gaps, record = bool(parts["allow_incomplete"]), parts["record"]
    if record is None:
        name, text = "table.csv", to_csv([analyse(block, gaps) for block in blocks], costs)
    else:
        name, text = "ablations.csv", ablations_csv(studies(blocks, record, gaps))
    findings.not_checked("pictures, verdicts and trainings: only the scores were kept")
    if not (folder / name).is_file():
        findings.missing.append(f"{name}: there is none beside {FILE}")
        return
    there, lines = (folder / name).read_text("utf-8").splitlines(), text.splitlines()
    if len(there) != len(lines):
        findings.mismatches.append(f"{name}: has {len(there)} lines where the scores give {len(lines)}")
    different = [f"line {n} is not what the scores give" for n, (a, b) in enumerate(zip(there, lines), 1) if a != b]
    findings.several(name, different)
    findings.counts["lines of tables"] += len(lines) - len(different)
