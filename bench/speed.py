"""Measures seconds and forwards of every phase and method against this machine's matrix-multiply peak."""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from bench.ask import arguments, kinds
from bench.ask.cli import run_main
from bench.ask.flags import OUTPUT, RUNNING, Parser
from bench.ask.machine import cpu_name
from bench.ask.machine import threads as machine_threads
from bench.ask.width import fitted
from bench.cost import speed_gate, upstream
from bench.cost.sizes import SIZES
from bench.cost.speed import measure
from bench.cost.speed_table import beside, render
from htgrpo.base.device import find_device
from htgrpo.base.errors import EXIT_FAILED, EXIT_INCOMPLETE, EXIT_OK, UserError
from htgrpo.base.values import Names, OneOf, Whole

DESCRIPTION = """\
Measures seconds and forwards of every phase and method, side by side in one run, against this machine's
matrix-multiply peak in the dtype the phase computes in, which is that of training (rollouts in bfloat16 where the CPU
multiplies it). The peak is measured before and after each, and the better one taken: what else the machine does changes
it. Operations are counted as needed: 2 per weight and token (2P) forward, 4P for an update of adapters, 6P where all
weights learn.

At mid the embedding and the head are frozen, as in the published recipes, which adapt the trunk's linear layers only; at
tiny and 8b adapters learn. At 8b the weights are random, and the settings those of the published backbones' presets.
Ratios within one run are what to quote: seconds change from machine to machine and from hour to hour.

With --gate: has anything become slower? Ratios of CPU time on one thread (the rollout against matrix products, the cycle
of mask against them, that of ht against that of mask) beside the stored ones; takes some seconds. Exit code 1 where one
has grown by more than the tolerance.

With --upstream: generation by a checkout of MaskGRPO, MMaDA or Lumina-DiMOO beside ours, in turn, on the same random weights.
Its network must answer as ours does. Of MaskGRPO's trainer the emerge sampler runs as well, whose decisions are compared
under the same draws, and old, reference and updates, on the same pictures and masks, whose gradients are compared. The
code in DIR is run: give one that you trust.
"""
EXAMPLES = (
    ("", "the embedded policy"),
    ("--size mid --methods ht,mask", "a random policy in MMaDA's layout: trunk of 13M weights, 8192 codes"),
    ("--size mid --methods mask --dedup none", ""),
    ("--device cuda --size 8b --limit-seconds 240", "one GPU: rollouts, updates, memory, a profile"),
    ("--compile", "does torch.compile pay for rollouts here?"),
    ("--size mid --upstream ../MMaDA --threads 1", "their generation beside ours"),
    ("--gate", "for a CI: has anything become slower?"),
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
        "--device",
        group=RUNNING,
        type=OneOf(("auto", "cpu", "cuda"), "device"),
        metavar="auto|cpu|cuda",
        default="auto",
        help="where to measure (default auto)",
    )
    p.add_argument(
        "--limit-seconds",
        group=RUNNING,
        type=Whole(1, 10**6),
        metavar="N",
        help="begin nothing after so many seconds, and say what was left out",
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
        help="prompt groups in the iteration (default 6 embedded, 1 mid, 2 tiny and 8b)",
    )
    p.add_argument(
        "--threads",
        group=RUNNING,
        type=Whole(1, 4096),
        metavar="N",
        help="compute threads (default: all cores, or OMP_NUM_THREADS)",
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
    p.flag(
        "--upstream DIR", kinds.Folder(), "a checkout whose generation to run beside ours; needs --size tiny, mid or 8b"
    )
    p.switch("--gate", "compare ratios with the stored ones instead of measuring every phase")
    p.switch("--update", "with --gate: store the ratios of this machine", OUTPUT)
    p.switch("--json", "print one JSON object instead of the table", OUTPUT)
    p.add_argument(
        "--out", group=OUTPUT, type=kinds.NewFile(), metavar="FILE", help="also write the JSON object to this file"
    )
    return p


def main(argv: list[str] | None = None) -> int:
    """Measures and prints."""
    lines = parser()
    args = lines.parse_args(argv)
    if args.gate:
        lines.refuse_all_but(args, {"gate", "update", "json"}, "with --gate")
        return gate(args.update, args.json)
    lines.refuse(args, {"update"}, "without --gate")
    if args.upstream:
        used = {"upstream", "size", "device", "prompts", "threads", "repeats", "json", "out"}
        lines.refuse_all_but(args, used, "with --upstream")
        upstream.known(args.upstream)
        if args.size == "embedded":
            raise UserError(
                "--upstream needs --size tiny, mid or 8b: the embedded policy's ids are not the published ones"
            )
    from htgrpo.base import cpu

    if args.out:
        from htgrpo.base.folders import check_file

        check_file(args.out, ("threads", "samplers") if args.upstream else ("threads", "peak_gflops", "rows"))
    threads = args.threads or machine_threads()
    device = find_device(args.device)
    cpu.tune(threads)
    if args.upstream:
        found = upstream.beside(args.upstream, args.size, args.prompts, args.repeats, device)
        result = {"size": args.size, "device": device_name(device), "threads": threads, **found}
        report(result, args, beside)
        return EXIT_OK
    choice = (args.size, args.methods, args.dedup, args.prompts, args.repeats, args.compile, device, args.limit_seconds)
    found = measure(*choice)
    rows = [asdict(row) for row in found["rows"]]
    result = {
        "size": args.size,
        "device": device_name(device),
        "threads": threads,
        "limit_seconds": args.limit_seconds,
        "peak_gflops": max(row["peak"] for row in rows),
        **found,
        "rows": rows,
    }
    report(result, args, render)
    # nobody else is at work on a GPU: more than its peak is a miscount
    return EXIT_INCOMPLETE if device == "cuda" and any(row["share"] is None for row in rows) else 0


def report(result: dict[str, Any], args: argparse.Namespace, render: Callable[[dict[str, Any]], str]) -> None:
    """Writes and prints a result as was asked for."""
    if args.out:
        from htgrpo.base.files import atomic_json

        atomic_json(args.out, result)
    print(json.dumps(result) if args.json else fitted(render(result).split("\n")))


def gate(update: bool, as_json: bool) -> int:
    """Compares this machine's ratios with the stored ones, or stores them; returns the exit code."""
    from htgrpo.base import cpu

    cpu.tune(1)
    if update:
        import torch

        ratios = speed_gate.write(speed_gate.BASELINE, {"cpu": cpu_name(), "torch": torch.__version__})
        print(json.dumps(ratios) if as_json else f"stored in {speed_gate.BASELINE}: {ratios}")
        return EXIT_OK
    found = speed_gate.compare(speed_gate.BASELINE)
    slower = [one.name for one in found if one.slower]
    if as_json:
        print(json.dumps({"status": "slower" if slower else "ok", "ratios": [asdict(one) for one in found]}))
        return EXIT_FAILED if slower else EXIT_OK
    for one in found:
        print(f"{'slower' if one.slower else 'ok'}: {one.name} {one.now:.3g}, was {one.then:.3g}")
    if slower:
        print(
            f"slower: {', '.join(slower)}. Find the change that costs this; where it is wanted, or the machine is of "
            "another kind, store the new ratios with python -m bench.speed --gate --update."
        )
    return EXIT_FAILED if slower else EXIT_OK


def device_name(device: str) -> str:
    """What the device is called."""
    if device == "cpu":
        return cpu_name()
    import torch

    return torch.cuda.get_device_name()


if __name__ == "__main__":
    run_main(main)
