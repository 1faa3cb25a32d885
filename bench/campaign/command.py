"""The command line of the campaign: chooses cases, runs what is missing, and says what was found."""

import os
import sys
import time
from importlib import import_module
from pathlib import Path

from bench.ask import kinds
from bench.ask.flags import OUTPUT, RUNNING, Parser
from bench.campaign.cases import Ground, Part, thinned
from htgrpo.base.errors import EXIT_FAILED, EXIT_INCOMPLETE, UserError
from htgrpo.base.values import SEED, Number, OneOf, Text, Whole

NAMES = ("kills", "inputs", "damage", "server", "statistics")
DESCRIPTION = """\
Tries to make the harness print a wrong number, lose work or leave without an explanation, and counts how often it succeeds. It is
run before a release; the tests of every commit take small draws from it.

  kills       SIGKILL at a change of a file, then the same command again: every result must be that of the undisturbed run
  inputs      nonsense for every flag of every command: refused in one sentence, exit code 2 or 3, nothing written
  damage      one file of a finished run is changed: every command names it, or makes it again to the last bit
  server      a served scorer with 50 clients at once, slow ones, such as hang up, large bodies: every answer right, nothing leaks
  statistics  simulated studies with a known truth: how often 95 % intervals hold it, how often equal methods are told apart

Each result is kept in OUT as it comes. The same command goes on where it was stopped; another seed tries other moments, values and
bytes. All of it takes under an hour on two idle cores.
"""
EXAMPLES = (
    ("", "everything"),
    ("kills damage --minutes 20", "as far as 20 minutes go; again, and it goes on"),
    ("inputs --only serve --cases 100", "of one command"),
    ("statistics --out runs/campaign --copy docs/statistics.md", ""),
)


def parser() -> Parser:
    """The command line."""
    p = Parser("campaign", DESCRIPTION, EXAMPLES)
    p.flag(
        "parts NAME",
        OneOf(NAMES, "part of the campaign"),
        f"parts to run: {', '.join(NAMES)} (default: all)",
        nargs="*",
    )
    p.flag(
        "--out OUT",
        kinds.NewFolder(),
        "folder of the results, PART.jsonl and summary.md",
        OUTPUT,
        default=Path("runs/campaign"),
    )
    p.flag("--seed N", Whole(0, SEED), "which moments, values and bytes are tried", default=0)
    p.flag(
        "--cases N",
        Whole(0, 10**7),
        "at most N cases of each part, spread evenly over all (default: the part's own number; 0: all there are)",
    )
    p.flag("--only TEXT", Text(), "cases whose name holds this text, e.g. pretrain, config.json, '3 seeds'")
    p.flag("--minutes N", Number(0, 10**6), "start no case after N minutes; the same command goes on", RUNNING)
    p.flag(
        "--trials N",
        Whole(100, 10**7),
        "simulated reports of every cell of statistics; single intervals are drawn five times as often",
        default=2000,
    )
    p.flag("--jobs N", Whole(1, 4096), "cases side by side (default: CPU cores)", RUNNING)
    p.flag(
        "--copy FILE",
        kinds.File(),
        "also write the summary, below what FILE says up to its first line '<!-- figures -->', into FILE, e.g. "
        "docs/reliability.md",
        OUTPUT,
    )
    return p


def part(name: str) -> Part:
    """A part by its name."""
    return import_module(f"bench.campaign.{name}").PART


def main(argv: list[str] | None = None) -> int:
    """Runs what is missing; returns the exit code."""
    args = parser().parse_args(argv)
    from bench.ask.machine import cores
    from bench.campaign.pool import Result, kept, run
    from bench.campaign.summary import check_copy, markdown, settle, write

    if args.copy:
        check_copy(args.copy)
    parts = [part(name) for name in args.parts or NAMES]
    root = args.out.resolve()
    chosen = {
        one.name: [
            case
            for case in thinned(one.cases(args.seed, args.trials), _count(args.cases, one), args.seed)
            if not args.only or args.only in case.name
        ]
        for one in parts
    }
    if not any(chosen.values()):
        raise UserError(
            f"--only is {args.only!r}, which is in no case's name: leave it out to see them in OUT/PART.jsonl"
        )
    settle(root, args.seed, args.trials)
    left = []
    for name, cases in chosen.items():
        known = kept(root / f"{name}.jsonl")
        left += [(root / f"{name}.jsonl", case) for case in cases if case.name not in known]
    started = time.monotonic()
    until = started + 60 * args.minutes if args.minutes is not None else float("inf")
    done = found = 0

    def tell(result: Result) -> None:
        nonlocal done, found
        done, found = done + 1, found + len(result["faults"])
        for fault in result["faults"]:
            print(f"{result['group']}: {result['name']}: {fault['kind']}: {fault['told']}", file=sys.stderr)
        if result["faults"] or done % 10 == 0 or done == len(left):
            print(
                f"[{time.monotonic() - started:.0f} s, {done}/{len(left)} cases, {found} faults]",
                file=sys.stderr,
                flush=True,
            )

    ground = root / "ground"
    ground.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    run(left, Ground(ground, args.seed), args.jobs or cores(), until, tell)
    results = {
        name: [known[case.name] for case in cases if case.name in known]
        for name, cases in chosen.items()
        for known in [kept(root / f"{name}.jsonl")]
    }
    text = markdown(parts, results, {name: len(cases) for name, cases in chosen.items()}, args.seed, args.trials)
    write(root / "summary.md", text, args.copy)
    faults = sum(len(result["faults"]) for rows in results.values() for result in rows)
    missing = sum(map(len, chosen.values())) - sum(map(len, results.values()))
    print(
        f"{faults} faults in {sum(map(len, results.values()))} cases, {missing} cases are left: {root / 'summary.md'}"
    )
    return EXIT_FAILED if faults else EXIT_INCOMPLETE if missing else 0


def _count(asked: int | None, one: Part) -> int | None:
    return one.usual if asked is None else asked or None
