"""The paper's tables 1, 2, 3 and 5: its numbers that we have, and beside them what runs have measured.

A number of ours stands beside one of the paper's only where it was measured on that row's backbone; runs on another
policy, such as the embedded one, get rows of their own below.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from htgrpo.base.records import BASE
from reports.findings.analysis import Result, analyse
from reports.format import CHECKPOINTS_ONLY, NONE, csv_text, exact, half_width, number, table, wrap
from reports.paper.published import Published, published
from reports.run.blocks import Block, make_blocks
from reports.run.load import Run, load_run
from reports.statistics.stats import LEVEL, MIN_SEEDS, Interval

TITLES = {
    "1": "Table 1: GenEval, overall",
    "2": "Table 2: DPG-Bench, overall",
    "3": "Table 3: human preference, image quality and aesthetics on DPG-Bench prompts",
    "5": "Table 5: annealing of the random subsets (MMaDA, GenEval overall x100)",
}
BENCHMARKS = {
    "1": ("geneval",),
    "2": ("dpg",),
    "3": ("imagereward", "hpsv3", "deqa", "unipercept.iaa", "unipercept.iqa", "unipercept.ista"),
    "5": ("geneval",),
}
"""The published benchmarks of a table (or axes of one: BENCHMARK.AXIS); the namesake of the embedded world stands in for
each under its own name."""
OFFICIAL = {"geneval": "GenEval", "dpg": "DPG-Bench"}
"""What the published benchmarks are called where nothing of them was exchanged."""
OTHERS = "other models"
GROUPS = {"mmada": "MMaDA-8B", "lumina-dimoo": "Lumina-DiMOO"}
OTHER = "†"
"""Marks a number of something else than what the paper measured: another benchmark, a part of it, random weights."""
FIELDS = "table group row method benchmark paper section estimate low high claim size note".split()


@dataclass(frozen=True)
class Measured:
    """A number of ours. scale: of a perfect score. claim: "methods" or "checkpoints". size: prompts, pictures per prompt,
    and how many of them were judged. note: what it is of, where that is not what the paper measured."""

    interval: Interval
    scale: float
    claim: str
    size: str
    note: str


@dataclass(frozen=True)
class Line:
    """One row: a policy on a benchmark. printed: the paper's number, "" where we have none; ours: None where there is
    none."""

    group: str
    name: str
    method: str
    benchmark: str
    printed: str = ""
    section: str = ""
    ours: Measured | None = None


@dataclass
class Source:
    """A run to take numbers from. backbone: "embedded" or a published one; results: its blocks, main setting, main view,
    by benchmark (and axis); methods: those it shows, with the names of rows that the paper does not have."""

    root: Path
    backbone: str
    run: Run
    results: dict[str, Result] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How tables call it."""
        return ", ".join(filter(None, [self.run.title or self.backbone, f"run {self.root.name}"]))

    @property
    def group(self) -> str:
        """Whose rows of the paper it may stand beside: its backbone's, unless weights in it are, or began, random."""
        return self.label if self.run.metas["random_weights"].any() else self.backbone

    def result(self, benchmark: str) -> Result | None:
        """Of a benchmark, or of its namesake of the embedded world."""
        return self.results.get(benchmark) or self.results.get(f"embedded_{benchmark}")


@dataclass(frozen=True)
class PaperTable:
    """A laid-out table: lines in the paper's order, those of other policies last; left_out: rows of the paper without any number;
    remarks: what `sources` do not have, and why."""

    key: str
    lines: list[Line]
    left_out: list[str]
    remarks: list[str]


def open_source(root: Path, allow_incomplete: bool = False) -> Source:
    """Reads a run of bench.compare. Raises UserError as load_run does."""
    run = load_run(Path(root))
    methods = {name: "starting policy" if name == BASE else f"+ {name}" for name in run.methods}
    results = {block.name: analyse(block, allow_incomplete) for block in make_blocks(run) if block.is_main}
    return Source(Path(root), str(run.config.get("backbone", "embedded")), run, results, methods)


def layout(key: str, sources: list[Source], backbones: list[str]) -> PaperTable:
    """Table `key` with what `sources` have measured; only rows of `backbones` and of other models."""
    lines = []
    for group in (*backbones, OTHERS):
        rows = [row for row in published() if row.table == key and row.group == group]
        mine = [source for source in sources if source.group == group]
        known = {_method(row) for row in rows}
        for benchmark in BENCHMARKS[key]:
            for row in rows:
                lines += _lines(Line(group, row.row, _method(row), benchmark, row.value, row.section), mine)
            for source in mine:
                lines += _own(source, group, benchmark, known)
    for source in sources:
        if source.group not in backbones:
            lines += [line for benchmark in BENCHMARKS[key] for line in _own(source, source.label, benchmark)]
    shown = [line for line in lines if line.printed or line.ours]
    left_out = list(dict.fromkeys(line.name for line in lines if line.section and not line.printed and not line.ours))
    return PaperTable(key, shown, left_out, [remark for source in sources for remark in _remarks(key, source)])


def _method(row: Published) -> str:
    """What our results call a row of the paper: a method, or in table 5 a variant."""
    return row.variants[0] if row.table == "5" else row.method


def _own(source: Source, group: str, benchmark: str, known: Collection[str] = ()) -> list[Line]:
    """Rows that the paper does not have."""
    return [
        line
        for method, name in source.methods.items()
        if method not in known
        for line in _lines(Line(group, name, method, benchmark), [source])
    ]


def _lines(line: Line, sources: list[Source]) -> list[Line]:
    """`line` with what each source measured; as it is where none did."""
    found = [(source, one) for source in sources if (one := _measured(source, line.benchmark, line.method))]
    several = len(sources) > 1
    named = {source.root: f"{line.name} (run {source.root.name})" if several else line.name for source, _ in found}
    return [replace(line, name=named[source.root], ours=one) for source, one in found] or [line]


def _measured(source: Source, benchmark: str, method: str) -> Measured | None:
    result = source.result(benchmark)
    if result is None or method not in result.scores:
        return None
    score, block = result.scores[method], result.block
    one = next(one for one in block.methods if one.name == method)
    size = f"{block.size}, {one.coverage} judged"
    if len(one.seeds) >= MIN_SEEDS:
        return Measured(score.method_level, block.scale, "methods", size, note_of(block))
    return Measured(score.headline, block.scale, "checkpoints", size, note_of(block))


def note_of(block: Block) -> str:
    """What numbers of a block are of, where that is not a published benchmark as it is."""
    title = block.meta["title"]
    whole = title == OFFICIAL.get(block.benchmark.removeprefix("embedded_"), title)
    if whole and not block.meta.get("published"):
        return f"{block.title}, of how many prompts is not recorded"
    plain = whole and not block.part and not any(method.random_weights for method in block.methods)
    return "" if plain else block.title


def _remarks(key: str, source: Source) -> list[str]:
    """What a run does not have for a table, and what it withholds."""
    results = {benchmark: source.result(benchmark) for benchmark in BENCHMARKS[key]}
    lacking = [benchmark for benchmark, result in results.items() if result is None]
    told = [f"The run {source.root.name} has no {', '.join(lacking)}."] if lacking else []
    return told + [
        f"The run {source.root.name}, {result.block.title}: {name}: {reason}."
        for result in results.values()
        if result
        for name, reason in result.withheld.items()
        if name in source.methods
    ]


def markdown(laid: PaperTable) -> str:
    """A table for each backbone or run, what the numbers claim, and what is not there."""
    parts = [f"## {TITLES[laid.key]}"]
    for group, lines in groupby(laid.lines, key=lambda line: line.group):
        parts += [f"**{GROUPS.get(group, group)}**", _table(list(lines), len(BENCHMARKS[laid.key]) > 1)]
    told = [_claims([line.ours for line in laid.lines if line.ours])]
    if laid.left_out:
        told.append(f"Rows without a number in our copy of the paper or here: {', '.join(laid.left_out)}.")
    return "\n\n".join([*parts, *map(wrap, [*told, *laid.remarks])]) + "\n"


def _table(lines: list[Line], several: bool) -> str:
    """The rows of one group, without columns that are empty in all of them; several: whether of several benchmarks."""
    columns = {
        "benchmark": [line.benchmark for line in lines] if several else [],
        "paper": [line.printed for line in lines],
        "here": [_ours(line.ours) for line in lines],
        "prompts × pictures, judged": [_size(line.ours) for line in lines],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    rows = zip(
        [line.name for line in lines], *([cell or NONE for cell in cells] for cells in shown.values()), strict=True
    )
    return table(["policy", *shown], [list(row) for row in rows], left=1 + several)


def _size(ours: Measured | None) -> str:
    return ours.size.replace(" prompts, ", " × ").replace(" pictures each", "").removesuffix(" judged") if ours else ""


def _ours(ours: Measured | None) -> str:
    if ours is None:
        return ""
    text = number(ours.interval.estimate, ours.scale) + OTHER * bool(ours.note)
    return f"{text} {half_width(ours.interval, ours.scale)}".strip()


def _claims(ours: list[Measured]) -> str:
    """What our numbers are about."""
    if not ours:
        return "Nothing of this table was measured here."
    kinds = {one.claim for one in ours}
    text = [f"± half of the {LEVEL:.0%} interval."]
    if "checkpoints" in kinds:
        text.append(f"Intervals over prompts speak about {CHECKPOINTS_ONLY}.")
    if "methods" in kinds:
        text.append("Those of three or more training seeds are over seeds and prompts.")
    if unknown := dict.fromkeys(one.interval.note for one in ours if not one.interval.known):
        text.append(f"No interval: {', '.join(unknown)}.")
    if other := ", ".join(dict.fromkeys(one.note for one in ours if one.note)):
        text.append(
            f"{OTHER} These numbers are of {other}, which is not what the paper measured: none may be set against its "
            "numbers."
        )
    return " ".join(text)


def to_csv(laid: PaperTable) -> str:
    """One line per row, those that are shown; numbers at full precision."""
    return csv_text(FIELDS, [_csv_row(laid.key, line) for line in laid.lines])


def _csv_row(key: str, line: Line) -> dict[str, str]:
    row = {"table": key, "group": line.group, "row": line.name, "method": line.method, "benchmark": line.benchmark}
    row |= {"paper": line.printed, "section": line.section}
    if line.ours is None:
        return row
    one, found = line.ours, line.ours.interval
    numbers = {"estimate": exact(found.estimate), "low": exact(found.low), "high": exact(found.high)}
    return row | numbers | {"claim": one.claim, "size": one.size, "note": one.note or found.note}
