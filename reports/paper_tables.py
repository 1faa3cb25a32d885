"""The paper's tables 1, 2, 3 and 5: its rows and columns, its numbers, and beside them what runs have measured.

A number of ours goes into a row only when it was measured on that row's backbone; runs on another policy, such as the embedded
one, get rows of their own below. Every empty cell has a reason.
"""

from dataclasses import dataclass, field
from pathlib import Path

from reports import stats
from reports.ablations import RECORD, load_variants, read_record, studies
from reports.analysis import Result, analyse
from reports.blocks import make_blocks
from reports.load import BASE, FINAL, Run, load_run
from reports.paper import Published, published
from reports.stats import Interval

OVERALL = "overall"
TITLES = {
    "1": "Table 1: GenEval",
    "2": "Table 2: DPG-Bench",
    "3": "Table 3: human preference, image quality and aesthetics on DPG-Bench prompts",
    "5": "Table 5: annealing of the random subsets (MMaDA, GenEval overall x100)",
}
COLUMNS = {
    "1": {"single_object": "single obj.", "two_object": "two obj.", "counting": "counting", "colors": "colors",
          "position": "position", "color_attr": "color attr.", OVERALL: "overall"},
    "2": {"global": "global", "entity": "entity", "attribute": "attribute", "relation": "relation", "other": "other",
          OVERALL: "overall"},
    "3": {"imagereward": "ImageReward", "hpsv3": "HPSv3", "deqa": "DeQA", "unipercept_iaa": "UniPercept IAA",
          "unipercept_iqa": "UniPercept IQA", "unipercept_ista": "UniPercept ISTA"},
    "5": {OVERALL: "overall"},
}
"""Columns by name in our results. Table 3's are benchmarks of their own. Columns other than overall are the benchmarks' usual
ones: the paper's table bodies are lost in our copy."""
BENCHMARK = {"1": "geneval", "2": "dpg"}
LOST = "the number is in the paper's table, whose body did not survive in our copy"
NO_ROW = "the paper has no such row"
ASSUMED = "Columns other than overall are the benchmark's usual ones; the paper's own headings are lost in our copy."


@dataclass(frozen=True)
class Cell:
    """One cell. printed: the paper's number as printed, else "" and `printed_why`. measured: ours, else None and `why`.

    scale: of a perfect score of ours. claim: "methods" or "checkpoints". note: what must stand beside ours.
    """

    printed: str
    printed_why: str
    section: str
    measured: Interval | None
    why: str
    scale: float = 1.0
    claim: str = ""
    note: str = ""


@dataclass(frozen=True)
class Line:
    """One row of a table."""

    group: str
    name: str
    method: str
    cells: dict[str, Cell]


@dataclass
class Source:
    """A run to take numbers from. backbone: "embedded" or a published one; results: its blocks, main setting, final policies."""

    root: Path
    backbone: str
    run: Run
    results: dict[str, Result] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How tables call it."""
        return ", ".join(filter(None, [self.run.title or self.backbone, f"run {self.root.name}"]))


@dataclass(frozen=True)
class PaperTable:
    """A laid-out table; lines in the paper's order, those of other policies last. remark: about its columns."""

    key: str
    title: str
    columns: dict[str, str]
    lines: list[Line]
    remark: str = ""


def is_ablation(root: Path) -> bool:
    """Whether `root` is a folder of bench.ablate."""
    return (Path(root) / RECORD).is_file()


def open_source(root: Path, allow_incomplete: bool = False) -> Source:
    """Reads a run of bench.compare. Raises UserError as load_run does."""
    run = load_run(Path(root))
    source = Source(Path(root), str(run.config.get("backbone", "embedded")), run)
    for block in make_blocks(run):
        if block.setting == "main" and block.milestone == FINAL:
            source.results[block.benchmark] = analyse(block, allow_incomplete)
    return source


def layout(table: str, sources: list[Source], backbones: list[str]) -> PaperTable:
    """Table 1, 2 or 3 with what `sources` have measured; only rows of `backbones` and of other models."""
    columns, lines = COLUMNS[table], []
    for group in (*backbones, "other models"):
        rows = [row for row in published() if row.table == table and row.group == group]
        mine = [source for source in sources if source.backbone == group]
        lines += [Line(group, row.row, row.method, {c: _cell(table, row, c, mine) for c in columns}) for row in rows]
        known = {row.method for row in rows}
        lines += [_extra(table, source, method, group) for source in mine for method in source.run.methods if method not in known]
    others = [source for source in sources if source.backbone not in backbones]
    lines += [_extra(table, source, method, source.label) for source in others for method in source.run.methods]
    return PaperTable(table, TITLES[table], columns, lines, "" if table == "3" else ASSUMED)


def _extra(table: str, source: Source, method: str, group: str) -> Line:
    """A row that the paper does not have."""
    cells = {column: _cell(table, None, column, [source], method) for column in COLUMNS[table]}
    return Line(group, "starting policy" if method == BASE else f"+ {method}", method, cells)


def _cell(table: str, row: Published | None, column: str, sources: list[Source], method: str = "") -> Cell:
    benchmark, name = (column, OVERALL) if table == "3" else (BENCHMARK[table], column)
    printed = row.value if row and (table == "3" or name == row.column) else ""
    printed_why = "" if printed else LOST if row else NO_ROW
    section = row.section if row else ""
    if row and not row.method:
        return Cell(printed, printed_why, section, None, "not one of our policies")
    if not sources:
        return Cell(printed, printed_why, section, None, f"no run on {row.group} was given (--run)")
    found = [_measured(source, benchmark, name, row.method if row else method) for source in sources]
    best = next((one for one in found if isinstance(one, tuple)), None)
    if best is None:
        return Cell(printed, printed_why, section, None, str(found[0]))
    interval, scale, claim, note = best
    return Cell(printed, printed_why, section, interval, "", scale, claim, note)


def _measured(source: Source, benchmark: str, column: str, method: str) -> tuple[Interval, float, str, str] | str:
    """(interval, scale, claim, note) of a cell in one run, or why there is none."""
    result = source.results.get(benchmark)
    if result is None:
        return f"the run {source.root.name} has no {benchmark}"
    if method in result.withheld and method not in result.scores:
        return f"the run {source.root.name}: {method} {result.withheld[method]}"
    if method not in result.scores:
        return f"the run {source.root.name} has no {method}"
    score, block = result.scores[method], result.block
    seeds = next(len(m.seeds) for m in block.methods if m.name == method)
    note = block.title if block.title not in ("GenEval", "DPG-Bench") else ""
    if column == OVERALL:
        whole = seeds >= stats.MIN_SEEDS
        return score.method_level if whole else score.headline, block.scale, "methods" if whole else "checkpoints", note
    cell = score.columns.get(column) or score.columns.get(f"questions: {column}")
    if cell is None:
        return f"{block.title} in the run {source.root.name} has no category {column}"
    return cell, block.scale, "checkpoints", note


def layout_5(folder: Path | None, allow_incomplete: bool = False) -> PaperTable:
    """Table 5 with the schedules measured in a folder of bench.ablate, whose own policy gets rows of its own."""
    rows, lines = [row for row in published() if row.table == "5"], []
    found = None
    if folder is not None:
        record = read_record(folder)
        run = load_variants(folder, record)
        found = next((s for s in studies(run, record, allow_incomplete) if s.key == "A3" and s.block.benchmark == "geneval"), None)
    backbone = str(run.config.get("backbone", "embedded")) if found else ""
    why = "no folder of bench.ablate was given (--run)" if folder is None else "A3 was not run there: python -m bench.ablate A3"
    if found:
        why = f"the ablations were run on {backbone}: see below"
    here = {row.name: row for row in found.rows} if found else {}

    def cell(row: Published, mine: bool, printed: bool) -> Cell:
        ours = here.get(row.variants[0]) if mine else None
        value, lost = (row.value, "") if printed else ("", NO_ROW)
        if ours is None or ours.score is None:
            return Cell(value, lost, row.section, None, (ours.why or "not scored") if ours else why)
        whole, block = ours.seeds >= stats.MIN_SEEDS, found.block
        interval, claim = (ours.score.method_level, "methods") if whole else (ours.score.headline, "checkpoints")
        return Cell(value, lost, row.section, interval, "", block.scale, claim, block.title if block.title != "GenEval" else "")

    for row in rows:
        lines.append(Line("mmada", row.row, row.variants[0], {OVERALL: cell(row, backbone == "mmada", True)}))
    if found and backbone != "mmada":
        label = ", ".join(filter(None, [run.title or backbone, f"run {Path(folder).name}"]))
        lines += [Line(label, row.row, row.variants[0], {OVERALL: cell(row, True, False)}) for row in rows]
    return PaperTable("5", TITLES["5"], COLUMNS["5"], lines)
