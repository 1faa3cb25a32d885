"""Makes RUN/report of an ablation folder: tables, figures, findings. Same files in, same bytes out. Imports no
torch."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from htgrpo.base.files import sha256_file
from reports.ablations import RECORD, VARIANTS, load_variants, read_record
from reports.build import unchanged, write

INPUTS = ("config.json", "verdicts/*/*/*.json*", "train/*/seed*/metrics.jsonl")
FIGURE_4 = ("A1", "A2", "A4", "A5")
TABLE_5 = "A3"


@dataclass(frozen=True)
class AblationReport:
    """terminal: text for standard output. files: what lies in RUN/report. rows: the lines of ablations.csv without
    empty cells."""

    terminal: str
    files: list[Path]
    rows: list[dict]


def build(root: Path, allow_incomplete: bool = False) -> AblationReport:
    """Builds RUN/report, or returns it when neither the run nor the code of the report changed.

    Raises UserError when `root` is no folder of bench.ablate, when nothing is scored yet, or when its runs disagree.
    """
    root = Path(root)
    record, folder = read_record(root), root / "report"
    stamp = _stamp(root, allow_incomplete)
    old = unchanged(folder, stamp)
    if old is None:
        contents = _contents(root, record, allow_incomplete)
        write(folder, contents, stamp)
        old = sorted(contents)
    rows = json.loads((folder / "rows.json").read_text("utf-8"))
    return AblationReport((folder / "terminal.txt").read_text("utf-8"), [folder / name for name in old], rows)


def _contents(root: Path, record: dict, allow_incomplete: bool) -> dict[str, bytes]:
    """Every file of the report by name."""
    # Imported here: an unchanged report is answered without loading the plotting and statistics libraries.
    from reports import ablation_figures, ablation_text
    from reports.ablations import studies
    from reports.style import rendered

    run = load_variants(root, record)
    found = studies(run, record, allow_incomplete)
    lines = [
        {key: value for key, value in row.items() if value != ""}
        for study in found
        for row in ablation_text.csv_rows(study)
    ]
    contents = {
        "ablations.md": ablation_text.markdown(run.title, found).encode(),
        "ablations.csv": ablation_text.to_csv(found).encode(),
        "terminal.txt": ablation_text.terminal(run.title, found, str(root / "report")).encode(),
        "rows.json": (json.dumps(lines, indent=1, ensure_ascii=False) + "\n").encode(),
    }
    for benchmark in dict.fromkeys(study.block.benchmark for study in found):
        suffix = "" if benchmark == found[0].block.benchmark else f"_{benchmark}"
        here = {study.key: study for study in found if study.block.benchmark == benchmark}
        drawn = {key: [study] for key, study in here.items()}
        parts = [here[key] for key in FIGURE_4 if key in here]
        if len(parts) > 1:
            drawn["figure4"] = parts
        for name, group in drawn.items():
            title = f"{run.title}; {group[0].block.when}" if run.title else group[0].block.when
            for kind, data in rendered(ablation_figures.figure(group, title)).items():
                contents[f"{name}{suffix}.{kind}"] = data
    return contents


def _stamp(root: Path, allow_incomplete: bool) -> str:
    """Hash of everything the report is made from: the runs' files, the report's own code and data, and where it is
    printed to be."""
    digest = hashlib.sha256(f"{allow_incomplete} {root}".encode())
    here = Path(__file__).parent
    inputs = [path for pattern in INPUTS for path in root.glob(f"{VARIANTS}/*/{pattern}")]
    for path in [*sorted(here.glob("*.py")), here / "paper.csv", root / RECORD, *sorted(inputs)]:
        digest.update(
            f"{path.relative_to(root) if path.is_relative_to(root) else path.name} {sha256_file(path)}\n".encode()
        )
    return digest.hexdigest()
