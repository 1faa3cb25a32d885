"""Measures seconds and forwards of every phase and method against this machine's matrix-multiply peak."""

import json
import os
from dataclasses import asdict

from bench.ask import arguments, kinds
from bench.ask.cli import run_main
from bench.ask.flags import OUTPUT, RUNNING, Parser
from bench.ask.width import fitted
from bench.cost.speed import SIZES, measure, render
from htgrpo.base.values import Names, OneOf, Whole

DESCRIPTION = """\
Measures seconds and forwards of every phase and method, side by side in one run, against this machine's
matrix-multiply peak. The peak is measured before and after each, and the better one taken: what else the machine does
changes it.

At mid the embedding and the head are frozen, as in the published recipes, which adapt the trunk's linear layers only.
Ratios within one run are what to quote: seconds change from machine to machine and from hour to hour.
"""
EXAMPLES = (
    ("", "the embedded policy"),
    ("--size mid --methods ht,mask", "a random policy in MMaDA's layout: trunk of 13M weights, 8192 codes"),
    ("--size mid --methods mask --dedup none", ""),
    ("--compile", "does torch.compile pay for rollouts here?"),
)


def parser() -> Parser:
    """The command line."""
    p = Parser("speed", DESCRIPTION, EXAMPLES)
    p.add_argument(
        "--size",
        type=OneOf(SIZES, "size"),
        metavar="|".join(sorted(SIZES)),
        default="embedded",
        help="the policy to measure (default embedded)",
    )
    p.add_argument(
        "--methods",
        type=Names(arguments.METHOD),
        default=["ht", "mask", "uni", "trace"],
        metavar="NAMES",
        help="comma-separated methods (default ht,mask,uni,trace)",
    )
    p.add_argument(
        "--dedup",
        type=Names(OneOf(("all", "rollout", "none"), "way of sharing")),
        default=["all"],
        metavar="NAMES",
        help="of all, rollout, none: which equal contexts are shared (default all)",
    )
    p.add_argument(
        "--prompts",
        type=Whole(1, 10_000),
        metavar="N",
        help="prompt groups in the iteration (default 6 embedded, 1 mid)",
    )
    p.add_argument(
        "--threads", group=RUNNING, type=Whole(1, 4096), metavar="N", help="compute threads (default: all cores)"
    )
    p.add_argument(
        "--repeats",
        group=RUNNING,
        type=Whole(1, 10_000),
        metavar="N",
        default=1,
        help="repeat and keep the fastest of each phase (default 1)",
    )
    p.switch(
        "--compile", "also sample with the compiled network, and say what compiling it cost (needs a C++ compiler)"
    )
    p.switch("--json", "print one JSON object instead of the table", OUTPUT)
    p.add_argument(
        "--out", group=OUTPUT, type=kinds.NewFile(), metavar="FILE", help="also write the JSON object to this file"
    )
    return p


def main(argv: list[str] | None = None) -> int:
    """Measures and prints."""
    args = parser().parse_args(argv)
    from htgrpo.base import cpu

    if args.out:
        from htgrpo.base.folders import check_file

        check_file(args.out, ("threads", "peak_gflops", "rows"))
    threads = args.threads or len(os.sched_getaffinity(0))
    cpu.tune(threads)
    rows = measure(args.size, args.methods, args.dedup, args.prompts, args.repeats, args.compile)
    result = {
        "size": args.size,
        "threads": threads,
        "peak_gflops": max(r.peak for r in rows),
        "rows": [asdict(r) for r in rows],
    }
    if args.out:
        from htgrpo.base.files import atomic_json

        atomic_json(args.out, result)
    print(json.dumps(result) if args.json else fitted(render(result).split("\n")))
    return 0


if __name__ == "__main__":
    run_main(main)
