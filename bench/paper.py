"""The paper's tables and figures, with what our runs have measured beside its numbers."""

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ask import arguments, kinds
from bench.ask.cli import run_main
from bench.ask.flags import Parser
from bench.ask.presets import read
from htgrpo.base.errors import EXIT_OK, UserError
from htgrpo.base.folders import add_files
from htgrpo.base.values import OneOf

if TYPE_CHECKING:
    from reports.ablations.studies import Study
    from reports.paper.tables import Source
    from reports.run.load import Run

TABLES, FIGURES = ("1", "2", "3", "4", "5", "7"), ("1", "2", "4", "5", "6", "7")
OF_PICTURES = ("2", "5", "6", "7")
"""Figures that show the pictures of a run."""
BACKBONES = ("mmada", "lumina-dimoo")
FILES = Path("runs") / "paper"
SHOWN = kinds.Folder((kinds.CONFIG, kinds.ABLATIONS), "bench.compare or bench.ablate")
DESCRIPTION = """\
Lays out a table or figure of the HT-GRPO paper: its numbers, as far as our copy of it still has them (reports/paper/), what the
given runs have measured beside them, with its interval, and the settings in which those runs differ from the paper.
A run on another policy than the paper's gets rows of its own, never the paper's rows.

  --table 1   GenEval
  --table 2   DPG-Bench
  --table 3   preference and quality scores
  --table 4   the paradigms, from the methods' own updates
  --table 5   annealing schedules (a folder of bench.ablate)
  --table 7   the schedules' formulas, with a plot
  --figure 1  what each inner loop hides and trains
  --figure 2  a generation, early and late tokens coloured (pictures of a run)
  --figure 4  stages, alpha, components (a folder of bench.ablate)
  --figure 5  counting, --figure 6 whole scenes (DPG-Bench), --figure 7 GenEval: the same prompts by base, MaskGRPO and HT-GRPO,
              four samples each (pictures of a run)
"""
EXAMPLES = (
    ("", "everything, with the paper's numbers alone"),
    ("--table 1 --table 2 --run runs/quick-1a2b3c4d", ""),
    ("--figure 4 --table 5 --run runs/ablate-1a2b3c4d", ""),
    ("--command --backbone mmada", "how to start the paper's experiment at full size"),
)


def parser() -> Parser:
    """The command line."""
    p = Parser("paper", DESCRIPTION, EXAMPLES)
    p.flag("--table N", OneOf(TABLES, "table of the paper"), f"one of {', '.join(TABLES)}; repeatable", many=True)
    p.flag(
        "--figure N",
        OneOf(FIGURES, "figure of the paper"),
        f"one of {', '.join(FIGURES)}; without --table and --figure: everything that --run has what is needed for",
        many=True,
    )
    p.flag(
        "--run RUN",
        SHOWN,
        "a folder of bench.compare (tables 1 to 3, figures 2 and 5 to 7) or bench.ablate (table 5, figure 4); repeatable",
        many=True,
    )
    p.flag(
        "--backbone NAME",
        OneOf(BACKBONES, "backbone of the paper"),
        f"only the rows of one backbone: {', '.join(BACKBONES)} (default: both)",
    )
    p.flag("--out FOLDER", kinds.NewFolder(), "where the files go", default=FILES)
    p.switch("--allow-incomplete", "use runs of which some pictures have no verdict")
    p.switch("--command", "print the command of the full-size experiment and every choice in it")
    arguments.add_json(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Lays out; returns the exit code."""
    lines = parser()
    args = lines.parse_args(argv)
    if args.command:
        lines.refuse_all_but(args, ("command", "backbone", "json"), "with --command")
        print(command_text(args.backbone or BACKBONES[0], args.json))
        return EXIT_OK
    if not args.run:
        lines.refuse(args, ("allow_incomplete",), "without --run")
    everything = not args.table and not args.figure
    if everything:
        return _lay_out(args, list(TABLES), [key for key in FIGURES if key not in OF_PICTURES])
    return _lay_out(args, args.table, args.figure)


def _lay_out(args: argparse.Namespace, tables: list[str], figures: list[str]) -> int:
    from reports.ablations.studies import RECORD
    from reports.paper.tables import layout, markdown, open_source, to_csv

    ablations = [root for root in args.run if (root / RECORD).is_file()]
    if len(ablations) > 1:
        named = ", ".join(map(str, ablations))
        raise UserError(f"--run names {len(ablations)} folders of bench.ablate ({named}): give one at a time")
    run, studies = _ablations(ablations[0], args.allow_incomplete) if ablations else (None, {})
    sources = [open_source(root, args.allow_incomplete) for root in args.run if root not in ablations]
    schedules = [_source(ablations[0], run, studies)] if run else []
    backbones = [args.backbone] if args.backbone else list(BACKBONES)
    contents: dict[str, bytes] = {}
    text: list[str] = []
    shown: dict[Path, str] = {}
    for key in dict.fromkeys(tables):
        if key in ("4", "7"):
            files, words = _of_methods(f"table_{key}")
            contents, text = contents | files, [*text, words]
            continue
        used = schedules if key == "5" else sources
        laid = layout(key, used, backbones)
        settings = {source.root: _settings(source) for source in used}
        shown |= settings
        text.append(markdown(laid))
        contents[f"table{key}.md"] = "\n".join([text[-1], *settings.values()]).encode()
        contents[f"table{key}.csv"] = to_csv(laid).encode()
    for key in dict.fromkeys(figures):
        if key == "1":
            files, words = _of_methods("figure_1")
        elif key == "4":
            files, words = _figure_4(studies, schedules[0].label if schedules else "")
        else:
            files, words = _of_pictures(key, sources)
        contents, text = contents | files, [*text, words]
    text += shown.values()
    add_files(args.out, "python -m bench.paper", contents)
    written = [str(args.out / name) for name in contents]
    if args.json:
        print(json.dumps({"files": written, "text": "\n".join(text)}, indent=2, ensure_ascii=False))
    else:
        print("\n".join([*text, f"Files: {', '.join(written)}"]))
    return EXIT_OK


def _ablations(folder: Path, allow_incomplete: bool) -> "tuple[Run, dict[str, Study]]":
    """The variants of a folder of bench.ablate as one run, and its studies by name, on GenEval or on its embedded
    namesake. Raises UserError as load_variants does."""
    from reports.ablations.studies import blocks_of, load_variants, read_record, studies

    record = read_record(folder)
    run = load_variants(folder, record)
    found = studies(blocks_of(run, record), record, allow_incomplete)
    there = {study.block.benchmark for study in found}
    here = "geneval" if "geneval" in there else "embedded_geneval"
    return run, {study.key: study for study in found if study.block.benchmark == here}


def _source(folder: Path, run: "Run", studies: "dict[str, Study]") -> "Source":
    """The schedules of table 5, as methods of a run."""
    from reports.ablations.build import TABLE_5
    from reports.paper.tables import Source

    study = studies.get(TABLE_5)
    results = {study.block.benchmark: study.result} if study else {}
    methods = {row.name: row.label for row in study.rows} if study else {}
    return Source(folder, str(run.config.get("backbone", "embedded")), run, results, methods)


def _settings(source: "Source") -> str:
    """The settings of a run beside the paper's."""
    from bench import compare
    from bench.ask.paper_settings import of_paper, of_run
    from reports.paper.settings import compared, settings_markdown

    run, backbone = source.run, source.backbone if source.backbone in BACKBONES else BACKBONES[0]
    wanted = of_paper(backbone, list(run.config.get("train", {})), compare.parser())
    found = compared(of_run(run, backbone), wanted, read(f"paper_{backbone}"))
    return settings_markdown(f"the run {source.root.name}", found)


def _of_methods(part: str) -> tuple[dict[str, bytes], str]:
    """Files and words of a part that comes from the methods themselves, a function of bench.cost.paper_parts."""
    from bench.cost import paper_parts

    return getattr(paper_parts, part)()


def _of_pictures(key: str, sources: "list[Source]") -> tuple[dict[str, bytes], str]:
    """Files and words of a figure of pictures, of the first run given. Raises UserError without one."""
    from reports.figures.style import rendered
    from reports.paper.pictures import comparison, generation

    if not sources:
        raise UserError(f"--figure {key} shows pictures of a run: give its folder with --run")
    drawn = rendered(generation(sources[0]) if key == "2" else comparison(key, sources[0]))
    return {f"figure{key}.{kind}": data for kind, data in drawn.items()}, f"Figure {key}: {sources[0].label}"


def _figure_4(studies: "dict[str, Study]", label: str) -> tuple[dict[str, bytes], str]:
    """Files of figure 4, and what it shows in words. label: of the run; empty without one."""
    from reports.ablations.build import FIGURE_4
    from reports.ablations.figures import figure
    from reports.ablations.studies import NOTHING, unmeasured
    from reports.ablations.text import finding_text
    from reports.figures.style import rendered
    from reports.format import wrap

    title = label or "the paper's values alone: no folder of bench.ablate was given"
    why = "not run here" if label else "not run: python -m bench.ablate"
    data = read("ablations")
    order = [studies.get(key) or unmeasured(key, data, why) for key in FIGURE_4]
    order.sort(key=lambda study: study.block.title == NOTHING)  # the axis is named by the first
    words = ["## Figure 4: stages, structure ratio, components", f"({title})"]
    for study in order:
        words += [wrap(f"- {study.key} {finding_text(finding, study)}", hang="  ") for finding in study.findings]
    drawn = rendered(figure(order, title))
    return {f"figure4.{kind}": data for kind, data in drawn.items()}, "\n".join(words) + "\n"


def command(backbone: str) -> list[str]:
    """The command that starts the paper's experiment at full size on `backbone`, from
    bench/ask/presets/paper_*.json."""
    preset = read(f"paper_{backbone}")
    words = ["accelerate", "launch", "--config_file", f"bench/run/launch/{preset['launch']}", "-m", "bench.compare"]
    return words + ["--preset", "paper", "--backbone", backbone]


def command_text(backbone: str, as_json: bool) -> str:
    """The command, what of it the paper gives, and what is our choice."""
    preset: dict[str, Any] = read(f"paper_{backbone}")
    words = command(backbone)
    if as_json:
        return json.dumps(
            {"command": words, "given": preset["given"], "ours": preset["ours"]}, indent=2, ensure_ascii=False
        )
    lines = [shlex.join(words), "", "Given by the paper:"]
    lines += [f"  {name:<26} {given['value']}  ({given['where']})" for name, given in preset["given"].items()]
    lines += ["", "Our choice, because the paper does not say:"]
    return "\n".join(lines + [f"  {name:<26} {why}" for name, why in preset["ours"].items()])


if __name__ == "__main__":
    run_main(main)
