"""All figures of a report by file name."""

from matplotlib.figure import Figure

from reports.figures import contact, curves, forest, slopes, style, unmasking
from reports.findings.analysis import Result
from reports.findings.hacking import Moves
from reports.run.load import Run


def drawn(run: Run, results: list[Result], moves: list[Moves]) -> dict[str, bytes]:
    """File name -> bytes of every figure there is something to draw for; photographs have no PDF."""
    found: dict[str, Figure | None] = {}
    if len(run.metrics):
        found |= {f"curves_{axis}": curves.learning_curves(run, axis) for axis in curves.AXES}
        found["entropy_by_rank"] = curves.entropy_by_rank(run)
        found["reward_and_rest"] = slopes.slopes(run, moves)
    found["differences"] = forest.forest(results, run.methods)
    found["unmasking"] = unmasking.unmasking(run, results)
    mains = [result for result in results if result.block.is_main]
    for i, result in enumerate(mains):
        suffix = f"_{_safe(result.block.name)}" if i else ""
        found[f"categories{suffix}"] = forest.category_bars(result, run.methods)
        if result.block.shown:
            found[f"contact_sheet{suffix}"] = contact.contact_sheet(run, result)
    contents: dict[str, bytes] = {}
    for name, figure in found.items():
        if figure is not None:
            rendered = style.rendered(figure, pdf=not name.startswith("contact_sheet"))
            contents |= {f"{name}.{kind}": data for kind, data in rendered.items()}
    return contents


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
