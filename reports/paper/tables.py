"""The paper's tables 1, 2, 3 and 5: its rows and columns, its numbers, and beside them what runs have measured.

A number of ours goes into a row only when it was measured on that row's backbone; runs on another policy, such as the
embedded one, get rows of their own below. Every empty cell has a reason.
"""

from dataclasses import dataclass, field
from pathlib import Path

from reports.ablations.studies import RECORD, Study, load_variants, read_record, studies
from reports.findings.analysis import Result, analyse
from reports.paper.published import Published, published
from reports.run.blocks import Block, make_blocks
from reports.run.load import BASE, Run, load_run
from reports.statistics import stats
from reports.statistics.stats import Interval

OVERALL = "overall"
TITLES = {
    "1": "Table 1: GenEval",
    "2": "Table 2: DPG-Bench",
    "3": "Table 3: human preference, image quality and aesthetics on DPG-Bench prompts",
    "5": "Table 5: annealing of the random subsets (MMaDA, GenEval overall x100)",
}
COLUMNS = {
    "1": {
        "single_object": "single obj.",
        "two_object": "two obj.",
        "counting": "counting",
        "colors": "colors",
        "position": "position",
        "color_attr": "color attr.",
        OVERALL: "overall",
    },
    "2": {
        "global": "global",
        "entity": "entity",
        "attribute": "attribute",
        "relation": "relation",
        "other": "other",
        OVERALL: "overall",
    },
    "3": {
        "imagereward": "ImageReward",
        "hpsv3": "HPSv3",
        "deqa": "DeQA",
        "unipercept.iaa": "UniPercept IAA",
        "unipercept.iqa": "UniPercept IQA",
        "unipercept.ista": "UniPercept ISTA",
    },
    "5": {OVERALL: "overall"},
}
"""Columns by name in our results; in table 3 benchmarks of their own, or axes of one (BENCHMARK.AXIS). Columns other
than overall are the benchmarks' usual ones: the paper's table bodies are lost in our copy."""
BENCHMARKS = {"1": ("geneval", "embedded_geneval"), "2": ("dpg", "embedded_dpg"), "5": ("geneval", "embedded_geneval")}
"""The published benchmark of a table, and its namesake of the embedded world, which stands in for it under its own
name."""
OFFICIAL = {"geneval": "GenEval", "dpg": "DPG-Bench"}
"""What the published benchmarks are called where nothing of them was exchanged."""
LOST = "the number is in the paper's table, whose body did not survive in our copy"
NO_ROW = "the paper has no such row"
ASSUMED = "Columns other than overall are the benchmark's usual ones; the paper's own headings are lost in our copy."


@dataclass(frozen=True)
class Cell:
    """One cell. printed: the paper's number as printed, else "" and `printed_why`. measured: ours, else None and `why`.

    scale: of a perfect score of ours. claim: "methods" or "checkpoints". note: what ours is of, where that is not what
    the paper measured. size: prompts, pictures per prompt, and how many of them were judged.
    """

    printed: str
    printed_why: str
    section: str
    measured: Interval | None
    why: str
    scale: float = 1.0
    claim: str = ""
    note: str = ""
    size: str = ""


@dataclass(frozen=True)
class Line:
    """One row of a table."""

    group: str
    name: str
    method: str
    cells: dict[str, Cell]


@dataclass
class Source:
    """A run to take numbers from. backbone: "embedded" or a published one; results: its blocks, main setting, final
    policies, by benchmark (and axis)."""

    root: Path
    backbone: str
    run: Run
    results: dict[str, Result] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How tables call it."""
        return ", ".join(filter(None, [self.run.title or self.backbone, f"run {self.root.name}"]))

    @property
    def group(self) -> str:
        """Whose rows of the paper it may fill: its backbone's, unless weights in it are, or began, random."""
        return self.label if self.run.metas["random_weights"].any() else self.backbone


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
        if block.is_main:
            source.results[block.key.partition("/")[0]] = analyse(block, allow_incomplete)
    return source


def layout(table: str, sources: list[Source], backbones: list[str]) -> PaperTable:
    """Table 1, 2 or 3 with what `sources` have measured; only rows of `backbones` and of other models."""
    columns, lines = COLUMNS[table], []
    for group in (*backbones, "other models"):
        rows = [row for row in published() if row.table == table and row.group == group]
        mine = [source for source in sources if source.group == group]
        lines += [Line(group, row.row, row.method, {c: _cell(table, row, c, mine) for c in columns}) for row in rows]
        known = {row.method for row in rows}
        lines += [
            _extra(table, source, method, group)
            for source in mine
            for method in source.run.methods
            if method not in known
        ]
    others = [source for source in sources if source.group not in backbones]
    lines += [_extra(table, source, method, source.label) for source in others for method in source.run.methods]
    return PaperTable(table, TITLES[table], columns, lines, "" if table == "3" else ASSUMED)


def _extra(table: str, source: Source, method: str, group: str) -> Line:
    """A row that the paper does not have."""
    cells = {column: _cell(table, None, column, [source], method) for column in COLUMNS[table]}
    return Line(group, "starting policy" if method == BASE else f"+ {method}", method, cells)


def _cell(table: str, row: Published | None, column: str, sources: list[Source], method: str = "") -> Cell:
    names, name = (BENCHMARKS[table], column) if table in BENCHMARKS else ((column,), OVERALL)
    printed = row.value if row and name == row.column else ""
    printed_why = "" if printed else LOST if row else NO_ROW
    section = row.section if row else ""
    if row and not row.method:
        return Cell(printed, printed_why, section, None, "not one of our policies")
    if not sources:
        return Cell(
            printed, printed_why, section, None, f"no run from the published weights of {row.group} was given (--run)"
        )
    found = [_measured(source, names, name, row.method if row else method) for source in sources]
    best = next((one for one in found if isinstance(one, tuple)), None)
    if best is None:
        return Cell(printed, printed_why, section, None, str(found[0]))
    return Cell(printed, printed_why, section, best[0], "", *best[1:])


def find(results: dict[str, Result], names: tuple[str, ...]) -> Result | None:
    """The result of the first of these benchmarks that there is."""
    return next((results[name] for name in names if name in results), None)


def note_of(block: Block) -> str:
    """What numbers of a block are of, where that is not a published benchmark as it is."""
    title = block.meta["title"]
    whole = title == OFFICIAL.get(block.benchmark.removeprefix("embedded_"), title)
    if whole and not block.meta.get("published"):
        return f"{block.title}, of how many prompts is not recorded"
    return (
        "" if whole and not block.part and not any(method.random_weights for method in block.methods) else block.title
    )


def size_of(block: Block, method: str) -> str:
    """What stands behind a number of a method in a block."""
    coverage = next(one.coverage for one in block.methods if one.name == method)
    return f"{block.size}, {coverage} judged"


def _measured(
    source: Source, names: tuple[str, ...], column: str, method: str
) -> tuple[Interval, float, str, str, str] | str:
    """(interval, scale, claim, note, size) of a cell in one run, or why there is none."""
    result = find(source.results, names)
    if result is None:
        return f"the run {source.root.name} has no {names[0]}"
    if method in result.withheld and method not in result.scores:
        return f"the run {source.root.name}: {method} {result.withheld[method]}"
    if method not in result.scores:
        return f"the run {source.root.name} has no {method}"
    score, block = result.scores[method], result.block
    seeds = next(len(m.seeds) for m in block.methods if m.name == method)
    about = note_of(block), size_of(block, method)
    if column == OVERALL:
        whole = seeds >= stats.MIN_SEEDS
        return (
            score.method_level if whole else score.headline,
            block.scale,
            "methods" if whole else "checkpoints",
            *about,
        )
    cell = score.columns.get(column) or score.columns.get(f"questions: {column}")
    if cell is None:
        return f"{block.title} in the run {source.root.name} has no column {column}"
    return cell, block.scale, "checkpoints", *about


def open_ablations(folder: Path, allow_incomplete: bool = False) -> tuple[Run, dict[str, Study]]:
    """The variants of a folder of bench.ablate as one run, and its studies by name, on GenEval or on its embedded
    namesake.

    Raises UserError as load_variants does.
    """
    record = read_record(folder)
    run = load_variants(folder, record)
    found = studies(run, record, allow_incomplete)
    here = next((name for name in BENCHMARKS["5"] if any(study.block.benchmark == name for study in found)), None)
    return run, {study.key: study for study in found if study.block.benchmark == here}


def layout_5(folder: Path | None, allow_incomplete: bool = False) -> PaperTable:
    """Table 5 with the schedules measured in a folder of bench.ablate, which fill the paper's rows only where they were
    measured on its backbone, and otherwise get rows of their own."""
    rows, study, group, label = [row for row in published() if row.table == "5"], None, "", ""
    why = "no folder of bench.ablate was given (--run)"
    if folder is not None:
        run, found = open_ablations(folder, allow_incomplete)
        source = Source(Path(folder), str(run.config.get("backbone", "embedded")), run)
        study, group, label = found.get("A3"), source.group, source.label
        why = (
            f"the ablations were run on {label}: see below"
            if study
            else "A3 was not run there: python -m bench.ablate A3"
        )
    here = {row.name: row for row in study.rows} if study else {}

    def cell(row: Published, mine: bool, printed: bool) -> Cell:
        ours = here.get(row.variants[0]) if mine else None
        value, lost = (row.value, "") if printed else ("", NO_ROW)
        if ours is None or ours.score is None:
            return Cell(value, lost, row.section, None, ours.why if ours else why)
        whole = ours.seeds >= stats.MIN_SEEDS
        interval, claim = (ours.score.method_level, "methods") if whole else (ours.score.headline, "checkpoints")
        about = note_of(study.block), size_of(study.block, ours.name)
        return Cell(value, lost, row.section, interval, "", study.block.scale, claim, *about)

    lines = [Line("mmada", row.row, row.variants[0], {OVERALL: cell(row, group == "mmada", True)}) for row in rows]
    if study and group != "mmada":
        lines += [Line(label, row.row, row.variants[0], {OVERALL: cell(row, True, False)}) for row in rows]
    return PaperTable("5", TITLES["5"], COLUMNS["5"], lines)
