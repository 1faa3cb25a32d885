"""Runs the paper's ablation studies: every distinct variant is trained once, scored, and compared with the default
setting."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ask import arguments, kinds
from bench.ask.cli import run_main, say
from bench.ask.flags import EXITS, OUTPUT, TRAINING, Parser
from bench.ask.width import fitted
from bench.cost import estimate
from htgrpo.base.device import find_device
from htgrpo.base.errors import EXIT_INCOMPLETE, EXIT_OK, UserError, suggest

if TYPE_CHECKING:
    from bench.ask.options import Options
    from bench.ask.request import Request
    from bench.run.jobs import Ended

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
    ("--dry-run", "what it would do, and how long that takes"),
    (
        "A1 --backbone mmada --policy runs/tiny-mmada --budget iterations:2 --limit 12",
        "on a random policy in MMaDA's layout",
    ),
)


def parser() -> Parser:
    """The command line."""
    p = Parser("ablate", DESCRIPTION, EXAMPLES, EXITS)
    p.add_argument("studies", nargs="*", metavar="STUDY", help="any of A1 A2 A3 A4 A5 (default: all)")
    p.add_argument(
        "--seeds",
        group=TRAINING,
        type=kinds.seeds,
        metavar="N|LIST",
        help="training seeds: a count such as 4, or a list such as 0,1,2 (default 2)",
    )
    arguments.add_preset(p, "whose settings, benchmarks and generation settings are the defaults of every variant")
    arguments.add_start(p)
    arguments.add_training(p)
    arguments.add_overrides(p)
    arguments.add_benchmarks(p)
    arguments.add_out(p, "runs/ablate-HASH, where HASH stands for the settings")
    arguments.add_running(p)
    p.add_argument(
        "--allow-incomplete",
        group=OUTPUT,
        action="store_true",
        help="report over the pictures that were scored even where some are missing",
    )
    p.add_argument(
        "--overwrite", group=OUTPUT, action="store_true", help="throw the variants asked for away and start them again"
    )
    return p


def main(argv: list[str] | None = None) -> int:
    """Ablates; returns the exit code."""
    args = parser().parse_args(argv)
    from bench.ask import machine
    from bench.ask.options import Options
    from bench.ask.presets import read
    from bench.record.work import GENERATE, SCORE, TRAIN

    data = read(PRESET)
    names = chosen(args.studies, data)
    parsed, requests = make_requests(args, data, names)
    from bench.run.variants import run_all
    from reports.ablations import VARIANTS

    root = args.out or Path("runs") / f"ablate-{parsed}"
    _check_root(root)
    stages = (TRAIN, GENERATE, SCORE)
    options = Options.of(args, *stages)
    if args.dry_run:
        return _dry_run(requests, root, options)
    if machine.is_main_process():
        _write_record(root, data, names)
    if args.overwrite or not _complete(requests, root, stages):
        ended = run_all(requests, root / VARIANTS, options)
    else:
        say(f"nothing to do: everything asked for is in {root} already")
        ended = []
    return _finish(root, args, ended, data, names) if machine.is_main_process() else EXIT_OK


def chosen(asked: list[str], data: dict[str, Any]) -> list[str]:
    """The studies asked for, in the paper's order; all by default. Raises UserError for an unknown one."""
    wanted = [name.upper() for name in asked]
    for given, name in zip(asked, wanted, strict=True):
        if name not in data["studies"]:
            raise suggest(given, data["studies"], "study", "STUDY")
    return [name for name in data["studies"] if not wanted or name in wanted]


def variants_of(data: dict[str, Any], studies: list[str]) -> dict[str, dict[str, Any]]:
    """Options by variant, each variant once, the default first, which every study needs."""
    default = data["default"]
    found = {default["name"]: dict(default["options"])}
    for study in studies:
        for name in data["studies"][study]["variants"]:
            if name != default["name"]:
                found[name] = {**default["options"], **data["variants"][name]["options"]}
    return found


def make_requests(
    args: argparse.Namespace, data: dict[str, Any], studies: list[str]
) -> "tuple[str, dict[str, Request]]":
    """A hash of the settings, and one request per variant. Raises UserError as bench.ask.request does, and for a --set
    of an option that the studies change."""
    from bench.ask.asked import from_arguments
    from bench.ask.budgets import training_budget
    from htgrpo.base.files import sha256_json

    method, taken = data["method"], data["default"]["options"]
    for text in args.set:
        key = text.partition("=")[0]
        if key.removeprefix(f"{method}.") in taken and key != key.removeprefix(f"{method}."):
            raise UserError(
                f"--set {text!r} changes an option that the studies themselves set ({', '.join(taken)}): leave it out"
            )
    args.methods, args.checkpoint, args.claim = [method], [], None
    args.seeds = args.seeds or list(range(data["seeds"]))
    parsed = from_arguments(args).told()
    request = replace(parsed.request, curve=0)
    if args.budget is None and any(not view.startswith("iterations") for view in request.views):
        request = replace(request, budget=f"iterations:{data['iterations']}")
    base = {**request.train[method], "budget": training_budget(request.views)}
    requests = {
        name: replace(request, train={method: {**base, "method_options": {**base["method_options"], **options}}})
        for name, options in variants_of(data, studies).items()
    }
    return sha256_json([parsed.folder.name, request.budget])[:8], requests


def _check_root(root: Path) -> None:
    """Raises UserError when `root` is something else than a folder of ablations, or a new or empty one."""
    from htgrpo.base.folders import check_place
    from reports.ablations import RECORD

    if not (root / RECORD).is_file():
        check_place(root)
    if root.is_dir() and not (root / RECORD).is_file() and any(path.name[0] != "." for path in root.iterdir()):
        raise UserError(f"--out {str(root)!r} holds other files and no {RECORD}: give a new or empty folder")


def _complete(requests: "dict[str, Request]", root: Path, stages: tuple[str, ...]) -> bool:
    """Whether nothing is left to do, found without loading torch."""
    from bench.record.complete import is_complete
    from bench.record.rundir import RunDir
    from reports.ablations import VARIANTS

    return all(is_complete(RunDir(root / VARIANTS / name), request, stages) for name, request in requests.items())


def _write_record(root: Path, data: dict[str, Any], studies: list[str]) -> None:
    """Writes ablations.json: the studies asked for now or before, in the paper's order."""
    from htgrpo.base.files import atomic_json
    from reports.ablations import RECORD, read_record

    before = read_record(root) if (root / RECORD).is_file() else {"studies": {}}
    kept = {name: study for name, study in data["studies"].items() if name in studies or name in before["studies"]}
    if before != {**data, "studies": kept}:
        atomic_json(root / RECORD, {**data, "studies": kept})


def _dry_run(requests: "dict[str, Request]", root: Path, options: "Options") -> int:
    """Prints what would be done. Writes nothing."""
    from bench.ask import machine
    from bench.ask.options import check
    from bench.run.variants import plan_all
    from reports.ablations import VARIANTS

    if not machine.is_main_process():
        return EXIT_OK
    check(options)
    say("loading")
    planned = plan_all(requests, root / VARIANTS, options, find_device(options.device))
    if options.json:
        jobs = [{"job": job.name, "seconds": round(job.seconds), "work": list(job.notes)} for job in planned.jobs]
        plan = {"run": str(root), "variants": list(requests), "jobs": jobs, "at_once": planned.at_once}
        print(json.dumps({**plan, "expected_seconds": round(planned.seconds) if jobs else 0}, indent=2))
        return EXIT_OK
    if not planned.jobs:
        print(f"nothing to do: everything asked for is in {root} already")
        return EXIT_OK
    clock = next(iter(planned.contexts.values())).clock
    lines = [f"Plan for {root} (nothing is written):"]
    for job in planned.jobs:
        lines.append(f"  {job.name}, about {estimate.in_words(job.seconds)}: {'; '.join(job.notes)}")
    lines.append(f"{len(requests)} variants, {len(planned.jobs)} jobs, {planned.at_once} at a time")
    lines.append(f"expected time: about {estimate.in_words(planned.seconds)} (rough: {clock.basis()})")
    print(fitted(lines))
    return EXIT_OK


def _finish(
    root: Path, args: argparse.Namespace, ended: "list[Ended]", data: dict[str, Any], studies: list[str]
) -> int:
    """Prints the report and what went wrong; returns the exit code."""
    from reports.ablation_build import build

    failed = {one.job.name: one.sentence for one in ended if one.sentence}
    gaps = [sentence for one in ended for sentence in one.missing]
    for name, sentence in failed.items():
        say(f"failed: {name}: {sentence}")
    for sentence in gaps:
        say(f"incomplete: {sentence}")
    status = "incomplete" if failed or gaps else "complete" if ended else "unchanged"
    result: dict[str, Any] = {"run": str(root), "status": status, "failed": failed, "incomplete": gaps}
    try:
        report = build(root, args.allow_incomplete)
        result |= {"report": [str(path) for path in report.files], "rows": report.rows}
        if not args.json:
            print(report.terminal)
    except UserError as error:
        if not failed:
            raise
        say(f"no report: {error.message}")
    if args.json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
    if failed or (gaps and not args.allow_incomplete):
        say("some of it is missing: the same command does what is left")
        return EXIT_INCOMPLETE
    return EXIT_OK


if __name__ == "__main__":
    run_main(main)
