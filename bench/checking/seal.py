"""complete.json: the hashes of what was there when the run was last complete."""

from bench.checking.findings import Damaged, Findings, read_object
from bench.complete import FILE
from bench.rundir import RunDir
from htgrpo.files import sha256_file

SEALED = ("verdicts/*/*/*.json*", "train/*/*/metrics.jsonl", "results/*/*/*/*")


def check_complete(run: RunDir, findings: Findings) -> None:
    """Files of the run against complete.json. Where that is not there, or younger files are, the run is incomplete."""
    if not (run.root / FILE).is_file():
        findings.missing.append(f"{FILE}: is not there, so the run was never finished; run its command again")
        return
    try:
        record = read_object(run.root / FILE)
        files, weights, pictures = record["files"], record["weights"], record["pictures"]
    except (Damaged, KeyError) as error:
        findings.mismatches.append(f"{FILE}: {error if isinstance(error, Damaged) else f'lacks {error}'}")
        return
    for name, sha256 in files.items():
        path = run.root / name
        if path.is_file():
            findings.counts["sealed files"] += 1
            if sha256_file(path) != sha256:
                findings.mismatches.append(f"{name}: is not the file that was there when the run was complete ({FILE})")
        elif "@" in path.name:  # bench.compare removes these where a method that is added moves the common iteration
            findings.missing.append(f"{name}: is gone since the run was complete")
        else:
            findings.mismatches.append(f"{name}: is gone since the run was complete ({FILE})")
    findings.missing += [f"{name}: is gone since the run was complete" for name in weights if not (run.root / name).is_file()]
    for name, count in pictures.items():
        findings.same(name, "the number of pictures", sum(1 for _ in (run.root / name).glob("*.png")), count, FILE)
    there = {run.relative(path) for pattern in SEALED for path in run.root.glob(pattern)}
    findings.missing += [f"{name}: was made after the run was last complete" for name in sorted(there - {*files})]
