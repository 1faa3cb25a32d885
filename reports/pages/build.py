"""Makes RUN/report from the files of a run: tables, figures, one page. Same files in, same bytes out."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from htgrpo.base.errors import UserError
from htgrpo.base.records import Picture, records
from reports.pages.folder import TERMINAL, Report, make
from reports.run.load import Run, load_run

INPUTS = (
    "config.json", "verdicts/*/*/*.json*", "images/*/*/*/manifest.jsonl", "train/*/seed*/metrics.jsonl",
    "train/*/seed*/timing.jsonl", "equal_seconds.json",
)  # fmt: skip
"""What a report is made from, besides the pictures that manifests name."""


def build(run_dir: Path, allow_incomplete: bool = False) -> Report:
    """Builds RUN/report, replacing the old one at once, or returns it when neither the run nor the code of the report
    changed.

    allow_incomplete: print headlines over the images that exist where some failed or are missing. Raises UserError when
    `run_dir` is no run, when its files are damaged or disagree, or when the folder cannot be written.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise UserError(f"{str(run_dir)!r} is not a folder: give the run folder that bench.compare wrote to")
    inputs = inputs_of(run_dir)
    return make(
        run_dir, allow_incomplete, inputs, "table.csv", lambda: contents_of(load_run(run_dir), allow_incomplete)
    )


def inputs_of(run_dir: Path) -> Iterator[Path]:
    """Every file that the report is made from, and every picture that a manifest names."""
    yield from sorted(path for pattern in INPUTS for path in run_dir.glob(pattern))
    for manifest in sorted(run_dir.glob("images/*/*/*/manifest.jsonl")):
        named = {record["file"] for record in records(manifest, Picture)}
        yield from (manifest.parent / name for name in sorted(named))


def contents_of(run: Run, allow_incomplete: bool = False, told: Sequence[str] = ()) -> dict[str, bytes]:
    """Every file of the report by name. told: what must be known of it besides, as a warning each."""
    # Imported here: an unchanged report is answered without loading the plotting and statistics libraries.
    from reports.figures import drawings
    from reports.findings import agreement, choices, costs, diversity, hacking, health, heldout, quality
    from reports.findings.analysis import analyse
    from reports.pages import gallery, html
    from reports.run.blocks import make_blocks
    from reports.tables import claims, csv, judges, kept, latex
    from reports.tables import text as tables

    blocks = make_blocks(run)
    results = [analyse(block, allow_incomplete) for block in blocks]
    spent = costs.costs(run)
    moves = hacking.make_moves(run, results, diversity.diversity(run, results))
    trained = health.health(run)
    signs = [one.text for one in heldout.onsets(run, heldout.held_out(run))]
    signs += agreement.told(agreement.agreements(run, results), moves)
    signs = [run.spoken(line) for line in signs]
    panels = quality.quality(run, results)
    warnings = [*told, *costs.waited(run), *health.warnings(trained), *hacking.warnings(moves)]
    contents = drawings.drawn(run, results, moves, panels)
    contents["table.md"] = tables.markdown(
        run.title,
        results,
        spent,
        moves,
        [
            *claims.markdown(results, run.names),
            *judges.markdown(moves, signs, run.names),
            *health.markdown(trained),
            *choices.markdown(run),
        ],
        choices.legend(run),
        [run.spoken(line) for line in warnings],
        run.names,
    ).encode()
    contents["table.csv"] = csv.to_csv(results, spent).encode()
    contents[kept.FILE] = kept.kept(run.config, blocks, spent, allow_incomplete)
    contents["table.tex"] = latex.to_latex(run.title, results, spent, run.names).encode()
    contents["index.html"] = html.page(
        run, results, spent, contents, gallery.make_gallery(run, results), moves, trained, warnings, panels, signs
    ).encode()
    page = str(run.root / "report" / "index.html")
    printed = tables.terminal(run.title, results, spent, page, warnings, choices.legend(run), claims.terminal(results))
    return contents | {TERMINAL: printed.encode()}
