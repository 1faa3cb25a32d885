"""All figures of a report, and their numbers, by file name."""

from matplotlib.figure import Figure

from reports.figures import contact, curves, forest, quality, slopes, style, unmasking
from reports.findings import answer
from reports.findings.analysis import Result
from reports.findings.hacking import Moves
from reports.findings.quality import Panel, to_csv
from reports.findings.shown import category_names
from reports.findings.training import AXES
from reports.run.load import Run


def drawn(run: Run, results: list[Result], moves: list[Moves], panels: list[Panel]) -> dict[str, bytes]:
    """File name -> bytes of every figure there is something to draw for, and of the numbers that no table has; photographs
    have no PDF."""
    found: dict[str, Figure | None] = {}
    numbers = {"quality": to_csv(panels)}
    if len(run.metrics):
        found |= {f"quality_{axis}": quality.figure(run, panels, axis) for axis in AXES}
        found |= {f"curves_{axis}": curves.learning_curves(run, axis) for axis in AXES}
        found["entropy_by_rank"] = curves.entropy_by_rank(run)
        found["reward_and_rest"] = slopes.slopes(run, moves)
        numbers |= {"curves": curves.to_csv(run), "reward_and_rest": slopes.to_csv(moves)}
    first = answer.in_every_view(results)
    found["differences"] = forest.forest(run, first)
    found["differences_others"] = forest.forest(run, [r for r in results if r.block.is_main and r not in first])
    if orders := unmasking.seen(run, results):
        found["unmasking"] = unmasking.unmasking(run, orders)
        numbers["unmasking"] = unmasking.to_csv(orders)
    for name, result in category_names([result for result in results if result.block.is_main]).items():
        found[name] = forest.category_bars(run, result)
        if result.block.shown:
            found[name.replace("categories", "contact_sheet", 1)] = contact.contact_sheet(run, result)
    contents = {f"{name}.csv": text.encode() for name, text in numbers.items()}
    for name, figure in found.items():
        if figure is not None:
            kinds = ("png",) if name.startswith("contact_sheet") else ("svg", "pdf")
            rendered = style.rendered(figure, kinds)
            contents |= {f"{name}.{kind}": data for kind, data in rendered.items()}
    return contents
