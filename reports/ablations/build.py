"""Makes RUN/report of an ablation folder: tables, figures, findings, one page. Same files in, same bytes out. Imports no
torch."""

from pathlib import Path

from reports.ablations.studies import RECORD, VARIANTS, blocks_of, load_variants, read_record, studies_of
from reports.pages.build import inputs_of
from reports.pages.folder import TERMINAL, Report, make

FIGURE_4 = ("A1", "A2", "A4", "A5")
TABLE_5 = "A3"


def build(root: Path, allow_incomplete: bool = False) -> Report:
    """Builds RUN/report, or returns it when neither the run nor the code of the report changed.

    Raises UserError when `root` is no folder of bench.ablate, when nothing is scored yet, or when its runs disagree.
    """
    root = Path(root)
    record = read_record(root)
    variants = sorted(path for path in root.glob(f"{VARIANTS}/*") if path.is_dir())
    inputs = [root / RECORD, *(path for variant in variants for path in inputs_of(variant))]
    return make(root, allow_incomplete, inputs, "ablations.csv", lambda: _contents(root, record, allow_incomplete))


def _contents(root: Path, record: dict, allow_incomplete: bool) -> dict[str, bytes]:
    """Every file of the report by name."""
    # Imported here: an unchanged report is answered without loading the plotting and statistics libraries.
    from reports.ablations import figures as ablation_figures
    from reports.ablations import text as ablation_text
    from reports.ablations.page import page
    from reports.figures.style import rendered
    from reports.findings.analysis import analyse
    from reports.pages.gallery import make_gallery
    from reports.tables import kept

    run = load_variants(root, record)
    blocks = blocks_of(run, record)
    results = [analyse(block, allow_incomplete) for block in blocks]
    found = studies_of(results, record)
    contents = {
        kept.FILE: kept.kept(run.config, blocks, (), allow_incomplete, record),
        "ablations.md": ablation_text.markdown(run.title, found).encode(),
        "ablations.csv": ablation_text.to_csv(found).encode(),
        TERMINAL: ablation_text.terminal(run.title, found, str(root / "report" / "index.html")).encode(),
    }
    for file in dict.fromkeys(study.block.file for study in found):
        suffix = "" if file == found[0].block.file else f"_{file}"
        here = {study.key: study for study in found if study.block.file == file}
        drawn = {key: [study] for key, study in here.items()}
        parts = [here[key] for key in FIGURE_4 if key in here]
        if len(parts) > 1:
            drawn["figure4"] = parts
        for name, group in drawn.items():
            title = f"{run.title}; {group[0].block.when}" if run.title else group[0].block.when
            for kind, data in rendered(ablation_figures.figure(group, title), ("svg", "pdf")).items():
                contents[f"{name}{suffix}.{kind}"] = data
    gallery = make_gallery(run, results)
    contents["index.html"] = page(run, found, contents, gallery).encode()
    return contents
