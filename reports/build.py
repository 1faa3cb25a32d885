"""Makes RUN/report from the files of a run: tables, figures, one page. Same files in, same bytes out."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from htgrpo.base.errors import UserError
from htgrpo.base.files import content_sha256
from htgrpo.base.folders import FILE, atomic_dir, verify
from htgrpo.base.run_files import OPTIONAL_PICTURE, PICTURE, records
from reports.load import load_run

STAMP, MADE_BY = FILE, "python -m bench.report"
INPUTS = (
    "config.json",
    "verdicts/*/*/*.json*",
    "images/*/*/*/manifest.jsonl",
    "train/*/seed*/metrics.jsonl",
    "train/*/seed*/timing.jsonl",
    "equal_seconds.json",
)
"""What a report is made from, besides the pictures that manifests name."""


@dataclass(frozen=True)
class Report:
    """terminal: text for standard output.

    files: what lies in RUN/report. fresh: False when nothing had changed since the last time.
    """

    terminal: str
    files: list[Path]
    fresh: bool


def build(run_dir: Path, allow_incomplete: bool = False) -> Report:
    """Builds RUN/report, replacing the old one at once, or returns it when neither the run nor the code of the report
    changed.

    allow_incomplete: print headlines over the images that exist where some failed or are missing. Raises UserError when
    `run_dir` is no run, when its files are damaged or disagree, or when the folder cannot be written.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise UserError(f"{str(run_dir)!r} is not a folder: give the run folder that bench.compare wrote to")
    folder = run_dir / "report"
    stamp = _stamp(run_dir, allow_incomplete)
    old = _unchanged(folder, stamp)
    if old is not None:
        return old
    terminal, contents = _contents(run_dir, allow_incomplete)
    contents["terminal.txt"] = terminal.encode()
    write(folder, contents, stamp)
    return Report(terminal, sorted(folder / name for name in contents), True)


def write(folder: Path, contents: dict[str, bytes], stamp: str) -> None:
    """Replaces the report in `folder` at once. Raises UserError where a file lies there that is none of a report."""
    with atomic_dir(folder, MADE_BY, overwrite=True, about={"inputs": stamp}, flag="the report's folder") as temporary:
        for name, data in contents.items():
            (temporary / name).write_bytes(data)


def _contents(run_dir: Path, allow_incomplete: bool) -> tuple[str, dict[str, bytes]]:
    """The text for the terminal and every file of the report by name."""
    # Imported here: an unchanged report is answered without loading the plotting and statistics libraries.
    from reports import choices, costs, diversity, drawings, exports, gallery, hacking, health, html, tables
    from reports.analysis import analyse
    from reports.blocks import make_blocks

    run = load_run(run_dir)
    results = [analyse(block, allow_incomplete) for block in make_blocks(run)]
    spent = costs.costs(run)
    moves = hacking.make_moves(run, results, diversity.diversity(run, results))
    trained = health.health(run)
    warnings = [*health.warnings(trained), *hacking.warnings(moves)]
    contents = drawings.drawn(run, results, moves)
    pictures = {name: data for name, data in contents.items() if name.endswith(".png")}
    contents["table.md"] = tables.markdown(
        run.title,
        results,
        spent,
        moves,
        [*health.markdown(trained), *choices.markdown(run)],
        choices.legend(run),
        warnings,
    ).encode()
    contents["table.csv"] = exports.to_csv(results, spent).encode()
    contents["table.tex"] = exports.to_latex(run.title, results, spent).encode()
    contents["index.html"] = html.page(
        run, results, spent, pictures, gallery.make_gallery(run, results), moves, trained, warnings
    ).encode()
    page = str(run_dir / "report" / "index.html")
    return tables.terminal(run.title, results, spent, page, warnings, choices.legend(run)), contents


def _stamp(run_dir: Path, allow_incomplete: bool) -> str:
    """Hash of everything the report is made from: the run's files, the report's own code, and where it is printed to
    be.
    """
    digest = hashlib.sha256(f"{allow_incomplete} {run_dir}".encode())
    code = sorted([*Path(__file__).parent.glob("*.py"), *Path(__file__).parent.glob("templates/*")])
    for path in [*code, *sorted(path for pattern in INPUTS for path in run_dir.glob(pattern))]:
        digest.update(f"{path.name} {path.parent.name} {content_sha256(path)}\n".encode())
    for manifest in sorted(run_dir.glob("images/*/*/*/manifest.jsonl")):
        for picture in sorted({record["file"] for record in records(manifest, PICTURE, OPTIONAL_PICTURE)}):
            there = (manifest.parent / picture).is_file()
            digest.update(f"{picture} {content_sha256(manifest.parent / picture) if there else None}\n".encode())
    return digest.hexdigest()


def _unchanged(folder: Path, stamp: str) -> Report | None:
    """The report in `folder` when it was made from the same inputs and none of its files was touched since."""
    names = unchanged(folder, stamp)
    if names is None:
        return None
    return Report((folder / "terminal.txt").read_text("utf-8"), sorted(folder / name for name in names), False)


def unchanged(folder: Path, stamp: str) -> list[str] | None:
    """The files of the report in `folder` when it was made from these inputs and is as it was written, else None."""
    try:
        seal = verify(folder)
    except (UserError, OSError):
        return None
    return sorted(seal.files) if seal.about.get("inputs") == stamp else None
