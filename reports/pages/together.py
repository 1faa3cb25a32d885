"""The report of several runs as one comparison."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from htgrpo.base.errors import UserError
from htgrpo.base.files import sha256_json
from htgrpo.base.folders import atomic_dir
from reports.pages.folder import MADE_BY, TERMINAL


def named(roots: Sequence[Path]) -> dict[str, Path]:
    """Each folder by the shortest end of its path that tells it from the others. Raises UserError where one stands
    twice."""
    whole = [root.resolve() for root in roots]
    if len(set(whole)) < len(whole):
        raise UserError(
            f"{str(next(r for r in roots if whole.count(r.resolve()) > 1))!r} is given twice: give different runs"
        )
    for length in range(1, max(len(path.parts) for path in whole) + 1):
        names = ["/".join(path.parts[-length:]) for path in whole]
        if len(set(names)) == len(names):
            return dict(zip(names, roots, strict=True))
    raise AssertionError("different paths have different names")


def together(
    roots: Sequence[Path], out: Path | None, allow_incomplete: bool = False
) -> tuple[str, list[dict[str, str]], list[Path]]:
    """(text for the terminal, lines of table.csv, files written) of the comparison of `roots`. Its report is written to
    out/report; without `out` nothing is written, and no figure drawn. Raises UserError where they cannot be compared."""
    from reports.findings.analysis import analyse
    from reports.findings.costs import costs
    from reports.pages.build import contents_of
    from reports.run.beside import beside, differences
    from reports.run.blocks import make_blocks
    from reports.run.load import load_run
    from reports.tables.csv import to_csv
    from reports.tables.text import terminal

    runs = {name: load_run(root) for name, root in named(roots).items()}
    run = beside(runs, out or Path())
    told = [f"The runs differ in {line}." for line in differences(runs)]
    if out is None:
        results, spent = [analyse(block, allow_incomplete) for block in make_blocks(run)], costs(run)
        text, table = terminal(run.title, results, spent, "give --out FOLDER", told), to_csv(results, spent)
        return text, _rows(table), []
    run.config["folder"] = str(out)
    contents = contents_of(run, allow_incomplete, told)
    about = {"inputs": sha256_json({name: str(root) for name, root in named(roots).items()})}
    with atomic_dir(out / "report", MADE_BY, overwrite=True, about=about, flag="--out") as temporary:
        for name, data in contents.items():
            (temporary / name).write_bytes(data)
    files = sorted((out / "report").iterdir())
    return contents[TERMINAL].decode(), _rows(contents["table.csv"].decode()), files


def _rows(table: str) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if value != ""} for row in csv.DictReader(io.StringIO(table))]
