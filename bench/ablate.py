"""Runs the paper's ablation studies: every distinct variant is trained once, scored, and compared with the default
setting."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ask import arguments, kinds, machine
from bench.ask.budgets import training_budget
from bench.ask.cli import run_main
from bench.ask.flags import EXITS, OUTPUT, TRAINING, Parser
from bench.ask.presets import read
from htgrpo.base.errors import UserError, suggest
from htgrpo.base.files import atomic_json, sha256_json
from htgrpo.base.folders import check_place
from htgrpo.base.values import Names, OneOf, Text

if TYPE_CHECKING:
    from bench.ask.options import Options
    from bench.ask.request import Request

PRESET = "ablations"
DESCRIPTION = """\
Which parts of HT-GRPO matter? The paper's five studies, on any backbone:

  A1  one, two or three stages, and their order
  A2  how the updates are divided over the stages
  A3  annealing of the random subsets
  A4  structure ratio alpha
  A5  credit weights and context

A variant is HT-GRPO with some options changed (bench/ask/presets/ablations.json). Every distinct variant is trained
once, however many studies it stands in, from the same weights with the same seeds, and is compared on the same
prompts and noise with the paper's default, 2:4:2. The report has a table and a figure per study, and says of each of
the paper's findings whether it holds, fails or stays unresolved here, with the interval and the smallest difference
that could have been seen.

The budget counts iterations, so that variants differ in one thing only: 'structure revealed' then costs about 2.5 times the
forwards of the others. With --budget forwards:N it gets fewer iterations instead.
"""
EXAMPLES = (
    ("", "all five, two training seeds: 18 variants, 36 trainings"),
    ("A4 --seeds 4", "one study; studies and seeds can be added later to the same --out"),
    ("--variants reversed,no_credit", "these two and the default; others can be added later to the same --out"),
    ("--dry-run", "what it would do, and how long that takes"),
    (
        "A1 --backbone mmada --policy runs/tiny-mmada --budget iterations:2 --limit 12",
        "on a random policy in MMaDA's layout",
    ),
)


def variants() -> list[str]:
    """Of all studies, the default first."""
    data = read(PRESET)
    return [data["default"]["name"], *data["variants"]]


def parser() -> Parser:
    """The command line."""
    p = Parser("ablate", DESCRIPTION, EXAMPLES, EXITS)
    p.flag("studies STUDY", Text(), "any of A1 A2 A3 A4 A5 (default: all)", nargs="*")
    p.flag(
        "--variants NAMES",
        Names(OneOf(variants, "variant")),
        "only these variants of the studies beside the default, with commas between (default: all); the report says which "
        "were not run",
        TRAINING,
    )
    p.flag(
        "--seeds N|LIST",
        kinds.seeds,
        "training seeds: a count such as 4, or a list such as 0,1,2 (default 2; study: 8)",
        TRAINING,
    )
    arguments.add_preset(p, "whose settings, benchmarks and generation settings are the defaults of every variant")
    arguments.add_start(p)
    arguments.add_training(p)
    arguments.add_overrides(p)
    arguments.add_benchmarks(p)
    arguments.add_out(p, "runs/ablate-HASH, where HASH stands for the settings")
    arguments.add_running(p)
    p.switch("--allow-incomplete", "report over the pictures that were scored even where some are missing", OUTPUT)
    p.switch("--overwrite", "throw the variants asked for away and start them again", OUTPUT)
    return p


def main(argv: list[str] | None = None) -> int:
    """Ablates; returns the exit code."""
    args = parser().parse_args(argv)
    from bench.record.work import GENERATE, SCORE, TRAIN

    data = read(PRESET)
    studies = chosen(args.studies, data, args.variants)
    parsed, requests = make_requests(args, data, studies)
    from bench.ask.options import Options, check
    from bench.record.rundir import RunDir
    from bench.run.ending import tell
    from bench.run.loop import check_servers, run_all
    from reports.ablations.studies import VARIANTS

    root = args.out or Path("runs") / f"ablate-{parsed}"
    _check_root(root)
    options = Options.of(args, TRAIN, GENERATE, SCORE)
    check(options)
    check_servers(options.scorer_url, requests.values(), options.stages)
    if machine.is_main_process() and not args.dry_run:
        _write_record(root, data, studies)
    runs = {RunDir(root / VARIANTS / name): request for name, request in requests.items()}
    return run_all(runs, root, options, lambda ended: tell(root, options, ended, lambda: _print_report(root, options)))


def _print_report(root: Path, options: "Options") -> dict[str, Any]:
    """Builds the report and prints its text (unless it is for --json); returns {"report": files, "rows": its lines}."""
    from bench.run.progress import steps
    from reports.ablations.build import build

    with steps("tables, figures and page", quiet=options.json):
        report = build(root, options.allow_incomplete)
    if not options.json:
        print(report.terminal)
    return {"report": [str(path) for path in report.files], "rows": report.rows}


def chosen(asked: list[str], data: dict[str, Any], only: list[str] | None = None) -> list[str]:
    """The studies asked for, in the paper's order; by default all, or those that have one of the variants `only`. Raises
    UserError for an unknown one."""
    studies, wanted = data["studies"], [name.upper() for name in asked]
    for given, name in zip(asked, wanted, strict=True):
        if name not in studies:
            raise suggest(given, studies, "study", "STUDY")
    if not wanted:
        own = {*(only or ())} - {data["default"]["name"]}
        wanted = [name for name, study in studies.items() if not own or own & {*study["variants"]}]
    return [name for name in studies if name in wanted]


def variants_of(data: dict[str, Any], studies: list[str], only: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """Options by variant, each variant once, the default first, which every study needs. only: those that are wanted
    beside it. Raises UserError for one that the studies do not have."""
    default = data["default"]["name"]
    names = dict.fromkeys([default, *(name for study in studies for name in data["studies"][study]["variants"])])
    for name in only or ():
        if name not in names:
            raise suggest(name, names, "variant", "--variants")
    options = {name: data["variants"][name]["options"] for name in names if name != default}
    found = {name: {**data["default"]["options"], **options.get(name, {})} for name in names}
    return {name: one for name, one in found.items() if not only or name in (default, *only)}


def make_requests(
    args: argparse.Namespace, data: dict[str, Any], studies: list[str]
) -> "tuple[str, dict[str, Request]]":
    """A hash of the settings, and one request per variant. Raises UserError as bench.ask.asked does, and for a --set
    of an option that the studies change."""
    from bench.ask.asked import from_arguments

    method, taken = data["method"], data["default"]["options"]
    for text in args.set:
        key = text.partition("=")[0]
        if key.removeprefix(f"{method}.") in taken and key != key.removeprefix(f"{method}."):
            raise UserError(
                f"--set {text!r} changes an option that the studies themselves set ({', '.join(taken)}): leave it out"
            )
    args.methods, args.checkpoint, args.claim, args.margin = [method], [], None, None
    args.seeds = args.seeds or list(range(data["seeds"][args.preset]))
    parsed = from_arguments(args).told()
    request = replace(parsed.request, curve=0)
    if args.budget is None and any(not view.startswith("iterations") for view in request.views):
        request = replace(request, budget=f"iterations:{data['iterations'][args.preset]}")
    base = {**request.train[method], "budget": training_budget(request.views)}
    requests = {
        name: replace(request, train={method: {**base, "method_options": {**base["method_options"], **options}}})
        for name, options in variants_of(data, studies, args.variants).items()
    }
    return sha256_json([parsed.folder.name, request.budget])[:8], requests


def _check_root(root: Path) -> None:
    """Raises UserError when `root` is something else than a folder of ablations, or a new or empty one."""
    from reports.ablations.studies import RECORD

    if not (root / RECORD).is_file():
        check_place(root)
    if root.is_dir() and not (root / RECORD).is_file() and any(path.name[0] != "." for path in root.iterdir()):
        raise UserError(f"--out {str(root)!r} holds other files and no {RECORD}: give a new or empty folder")


def _write_record(root: Path, data: dict[str, Any], studies: list[str]) -> None:
    """Writes ablations.json: the studies asked for now or before, in the paper's order."""
    from reports.ablations.studies import RECORD, read_record

    before = read_record(root) if (root / RECORD).is_file() else {"studies": {}}
    kept = {name: study for name, study in data["studies"].items() if name in studies or name in before["studies"]}
    if before != {**data, "studies": kept}:
        atomic_json(root / RECORD, {**data, "studies": kept})


if __name__ == "__main__":
    run_main(main)
