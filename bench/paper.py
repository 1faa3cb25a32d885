"""The paper's tables 1, 2, 3 and 5 and its figure 4, with what our runs have measured beside its numbers."""

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ask import arguments, kinds
from bench.ask.cli import run_main
from bench.ask.flags import Parser
from htgrpo.base.errors import EXIT_OK, UserError
from htgrpo.base.values import OneOf

if TYPE_CHECKING:
    from reports.paper.tables import Source

TABLES, FIGURES = ("1", "2", "3", "5"), ("4",)
BACKBONES = ("mmada", "lumina-dimoo")
FILES = Path("runs") / "paper"
SHOWN = kinds.Folder((kinds.CONFIG, kinds.ABLATIONS), "bench.compare or bench.ablate")
DESCRIPTION = """\
Lays out a table or figure of the HT-GRPO paper: its rows, columns and published numbers (as far as our copy of it still has them;
reports/paper/), what the given runs have measured with its interval, and the settings in which those runs differ from the paper.
Every empty cell says why it is empty. A run on another policy than the paper's gets rows of its own, never the paper's rows.

  --table 1   GenEval
  --table 2   DPG-Bench
  --table 3   preference and quality scores
  --table 5   annealing schedules (a folder of bench.ablate)
  --figure 4  stages, alpha, components (a folder of bench.ablate)
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
    p.add_argument(
        "--table",
        type=OneOf(TABLES, "table of the paper"),
        action="append",
        default=[],
        metavar="N",
        help=f"one of {', '.join(TABLES)}; repeatable",
    )
    p.add_argument(
        "--figure",
        type=OneOf(FIGURES, "figure of the paper"),
        action="append",
        default=[],
        metavar="N",
        help="4; without --table and --figure: everything",
    )
    p.add_argument(
        "--run",
        action="append",
        default=[],
        type=SHOWN,
        metavar="RUN",
        help="a folder of bench.compare (tables 1 to 3) or bench.ablate (table 5, figure 4); repeatable",
    )
    p.add_argument(
        "--backbone",
        type=OneOf(BACKBONES, "backbone of the paper"),
        metavar="NAME",
        help=f"only the rows of one backbone: {', '.join(BACKBONES)} (default: both)",
    )
    p.add_argument(
        "--out", type=kinds.NewFolder(), default=FILES, metavar="FOLDER", help=f"where the files go (default {FILES})"
    )
    p.add_argument("--allow-incomplete", action="store_true", help="use runs of which some pictures have no verdict")
    p.add_argument(
        "--command", action="store_true", help="print the command of the full-size experiment and every choice in it"
    )
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
    wanted = list(TABLES) if everything else args.table
    return _lay_out(args, wanted, list(FIGURES) if everything else args.figure)


def _lay_out(args: argparse.Namespace, tables: list[str], figures: list[str]) -> int:
    from htgrpo.base.folders import add_files
    from reports.paper import tables as paper_tables
    from reports.paper import text as paper_text

    ablations = [root for root in args.run if paper_tables.is_ablation(root)]
    if len(ablations) > 1:
        named = ", ".join(map(str, ablations))
        raise UserError(f"--run names {len(ablations)} folders of bench.ablate ({named}): give one at a time")
    folder = ablations[0] if ablations else None
    sources = [paper_tables.open_source(root, args.allow_incomplete) for root in args.run if root not in ablations]
    backbones = [args.backbone] if args.backbone else list(BACKBONES)
    contents, text, shown = {}, [], {}
    for key in dict.fromkeys(tables):
        laid = (
            paper_tables.layout_5(folder, args.allow_incomplete)
            if key == "5"
            else paper_tables.layout(key, sources, backbones)
        )
        settings = _settings(sources, folder, key)
        shown |= settings
        text.append(paper_text.markdown(laid))
        contents[f"table{key}.md"] = "\n".join([text[-1], *settings.values()]).encode()
        contents[f"table{key}.csv"] = paper_text.to_csv(laid).encode()
    if figures:
        drawn, words = _figure_4(folder, args.allow_incomplete)
        contents |= {f"figure4.{kind}": data for kind, data in drawn.items()}
        text.append(words)
    text += shown.values()
    add_files(args.out, "python -m bench.paper", contents)
    written = [str(args.out / name) for name in contents]
    if args.json:
        print(json.dumps({"files": written, "text": "\n".join(text)}, indent=2, ensure_ascii=False))
    else:
        print("\n".join([*text, f"Files: {', '.join(written)}"]))
    return EXIT_OK


def _settings(sources: "list[Source]", folder: Path | None, key: str) -> dict[str, str]:
    """The settings of every run that table `key` shows, beside the paper's, by run."""
    from bench.ask.presets import read
    from bench.paper_settings import of_paper, of_run
    from reports.paper.settings import compared
    from reports.paper.tables import open_ablations
    from reports.paper.text import settings_markdown

    if key == "5":
        if folder is None:
            return {}
        run, _ = open_ablations(folder)
        runs = [(folder.name, run, str(run.config.get("backbone")))]
    else:
        runs = [(source.root.name, source.run, source.backbone) for source in sources]
    found = {}
    for name, run, backbone in runs:
        backbone = backbone if backbone in BACKBONES else BACKBONES[0]
        wanted = of_paper(backbone, list(run.config.get("train", {})))
        found[name] = settings_markdown(
            f"the run {name}", compared(of_run(run, backbone), wanted, read(f"paper_{backbone}"))
        )
    return found


def _figure_4(folder: Path | None, allow_incomplete: bool) -> tuple[dict[str, bytes], str]:
    """Figure 4 as {"png", "pdf"}, and what it shows in words."""
    from bench.ask.presets import read
    from reports.ablations import build as ablation_build
    from reports.ablations import figures as ablation_figures
    from reports.ablations import text as ablation_text
    from reports.ablations.studies import NOTHING, unmeasured
    from reports.figures.style import rendered
    from reports.paper.tables import open_ablations

    data, found, title = read("ablations"), {}, "the paper's values alone: no folder of bench.ablate was given"
    if folder is not None:
        run, found = open_ablations(folder, allow_incomplete)
        title = ", ".join(filter(None, [run.title, f"run {folder.name}"]))
    why = "not run: python -m bench.ablate" if folder is None else "not run here"
    order = [found.get(key) or unmeasured(key, data, why) for key in ablation_build.FIGURE_4]
    order.sort(key=lambda study: study.block.title == NOTHING)  # the axis is named by the first
    words = ["## Figure 4: stages, structure ratio, components", f"({title})"]
    for study in order:
        words += [f"- {study.key} {ablation_text.finding_text(finding, study)}" for finding in study.findings]
    return rendered(ablation_figures.figure(order, title)), "\n".join(words) + "\n"


def command(backbone: str) -> list[str]:
    """The command that starts the paper's experiment at full size on `backbone`, from
    bench/ask/presets/paper_*.json."""
    from bench.ask.presets import read

    preset = read(f"paper_{backbone}")
    words = ["accelerate", "launch", "--config_file", f"bench/run/launch/{preset['launch']}", "-m", "bench.compare"]
    return words + ["--preset", "paper", "--backbone", backbone]


def command_text(backbone: str, as_json: bool) -> str:
    """The command, what of it the paper gives, and what is our choice."""
    from bench.ask.presets import read

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
