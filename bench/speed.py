"""Measures seconds and forwards of every phase and method against this machine's matrix-multiply peak."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TypeVar

from bench.ask import arguments, kinds
from bench.ask.cli import run_main
from bench.ask.flags import OUTPUT, RUNNING, Parser
from htgrpo.base.values import Names, OneOf, Whole

SIZES = {
    "embedded": {"group": 9, "steps": 8, "guidance": 2.0, "prompts": 6},
    "mid": {"group": 9, "steps": 12, "guidance": 3.5, "prompts": 1},
}
T = TypeVar("T")
FASTER = "(busy)"
"""Stands in a table in place of a share above 100 %."""


@dataclass(frozen=True)
class Row:
    """One measured phase. peak: GFLOP/s of matrix products beside it. share: of that peak, 0..1, on the FLOPs that are
    needed; None where it would be more than all of it, which says that the machine was busier beside the phase than in
    it."""

    name: str
    phase: str
    forwards: int
    seconds: float
    gflop: float
    peak: float
    share: float | None


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
    p.add_argument(
        "--compile",
        action="store_true",
        help="also sample with the compiled network, and say what compiling it cost (needs a C++ compiler)",
    )
    p.add_argument("--json", group=OUTPUT, action="store_true", help="print one JSON object instead of the table")
    p.add_argument(
        "--out", group=OUTPUT, type=kinds.NewFile(), metavar="FILE", help="also write the JSON object to this file"
    )
    return p


def main(argv: list[str] | None = None) -> int:
    """Measures and prints."""
    args = parser().parse_args(argv)
    import os

    from htgrpo.base import cpu

    if args.out:
        from htgrpo.base.folders import check_file

        check_file(args.out, ("threads", "peak_gflops", "rows"))
    threads = args.threads or len(os.sched_getaffinity(0))
    cpu.tune(threads)
    rows = measure(
        args.size, args.methods, args.dedup, args.prompts or SIZES[args.size]["prompts"], args.repeats, args.compile
    )
    result = {
        "size": args.size,
        "threads": threads,
        "peak_gflops": max(r.peak for r in rows),
        "rows": [asdict(r) for r in rows],
    }
    if args.out:
        from htgrpo.base.files import atomic_json

        atomic_json(args.out, result)
    print(json.dumps(result) if args.json else render(result))
    return 0


def matmul_peak(dtype: str = "float32", size: int = 1536, repeats: int = 4) -> float:
    """GFLOP/s of a square matrix product on this machine: the best of a few."""
    import torch

    a = torch.randn(size, size, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    best = float("inf")
    for _ in range(repeats + 1):
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
    return 2.0 * size**3 / best / 1e9


def beside(work: Callable[[], T]) -> tuple[T, float]:
    """What `work` returns, and the better of the peaks before and after it."""
    before = matmul_peak()
    return work(), max(before, matmul_peak())


def share_of(gflop: float, seconds: float, peak: float) -> float | None:
    """The part of `peak` that was reached; None where that is more than all of it."""
    share = gflop / seconds / peak if seconds else 0.0
    return round(share, 3) if share <= 1.0 else None


def measure(
    size: str, methods: list[str], dedups: list[str], prompts: int, repeats: int, compiled: bool = False
) -> list[Row]:
    """One rollout (and one by the compiled network), then one update cycle (old, reference, K updates) of every method
    and way of sharing contexts."""
    from copy import deepcopy

    import torch

    from bench.cost.sizes import policy_of
    from htgrpo.base.registry import METHODS
    from htgrpo.base.rng import generator
    from htgrpo.interface import RolloutGroup
    from htgrpo.rollout import Rollouts, generate
    from htgrpo.samplers import RandomOrder
    from htgrpo.training.engine import Engine, EngineConfig

    setting = SIZES[size]
    policy, texts = policy_of(size, prompts)
    count, grid = setting["group"], policy.backbone.grid
    owners = [text for text in texts for _ in range(count)]
    keys = [("speed", i) for i in range(len(owners))]
    length = sum(len(text) for text in texts) / len(texts) + len(policy.backbone.image_block(grid))
    bare = (
        len(policy.unconditional()) + len(policy.backbone.image_block(grid))
        if size == "embedded"
        else 3 + grid[0] * grid[1] + 2
    )

    trained_head = policy.net.trunk.ff_out.weight.requires_grad

    def row(name: str, phase: str, forwards: int, heads: int, seconds: float, mean_length: float, peak: float) -> Row:
        net = policy.net.size
        heads = heads if phase != "update" or trained_head else heads * 2 / 3  # no weight gradient
        head = 2.0 * heads * net.d_model * policy.backbone.codebook_size
        gflop = (forwards * net.forward_flops(mean_length, 0, 0) + head) / 1e9
        return Row(
            name, phase, forwards, round(seconds, 3), round(gflop, 1), round(peak, 1), share_of(gflop, seconds, peak)
        )

    def sample(sampled) -> tuple[Rollouts, float]:
        started = time.perf_counter()
        found = generate(sampled, owners, keys, RandomOrder(setting["steps"]), setting["guidance"])
        return found, time.perf_counter() - started

    def fastest_sample(sampled) -> tuple[Rollouts, float]:
        return min((sample(sampled) for _ in range(repeats)), key=lambda pair: pair[1])

    (rollouts, best), peak = beside(lambda: fastest_sample(policy))
    rows = [row("(all)", "rollout", rollouts.forwards, rollouts.heads, best, (length + bare) / 2, peak)]
    if compiled:
        network = policy.with_net(torch.compile(policy.net, dynamic=True))
        compiling = sum(sample(network)[1] for _ in range(2))  # the second meets the shapes that the first made dynamic
        (_, best), peak = beside(lambda: fastest_sample(network))
        rows += [
            row("(all)", name, rollouts.forwards, rollouts.heads, seconds, (length + bare) / 2, peak)
            for name, seconds in (("compiled", best), ("compiling", compiling - 2 * best))
        ]
    groups = []
    for index, text in enumerate(texts):
        part = slice(index * count, (index + 1) * count)
        reward = torch.rand(count, generator=generator("speed", "reward", index), dtype=torch.float64)
        groups.append(
            RolloutGroup(text, grid, rollouts.codes[part], rollouts.reveal_step[part], rollouts.rank[part], reward)
        )
    reference = deepcopy(policy.net).requires_grad_(False)
    start = deepcopy(policy.net.state_dict())
    for name in methods:
        for dedup in dedups:
            fastest: dict[str, Row] = {}
            for _ in range(repeats):
                policy.net.load_state_dict(start)
                optimizer = torch.optim.AdamW(
                    [w for w in policy.net.parameters() if w.requires_grad], lr=1e-5, weight_decay=0.0
                )

                def step(optimizer=optimizer) -> float:
                    norm = torch.nn.utils.clip_grad_norm_(policy.net.parameters(), 1.0)
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                    return float(norm)

                engine = Engine(policy, reference, EngineConfig(dedup=dedup))
                streams = [generator("speed", name, i) for i in range(len(groups))]
                totals, peak = beside(partial(engine.run, groups, METHODS.get(name)(), streams, step))
                for phase, counter in (("old", "old"), ("ref", "ref"), ("update", "train")):
                    got = row(
                        f"{name} ({dedup})",
                        phase,
                        totals.forwards[counter],
                        totals.heads[counter],
                        totals.seconds[phase],
                        length,
                        peak,
                    )
                    if phase not in fastest or got.seconds < fastest[phase].seconds:
                        fastest[phase] = got
            rows.extend(fastest.values())
    return rows


def render(result: dict) -> str:
    """The table a person reads."""
    least = min(row["peak"] for row in result["rows"])
    lines = [
        f"size {result['size']}, {result['threads']} threads, matrix-multiply peak {result['peak_gflops']} GFLOP/s (fp32), "
        f"best of all; shares are of the peak beside each phase, {least} at the least",
        "",
        f"{'method':18} {'phase':8} {'forwards':>9} {'seconds':>9} {'GFLOP':>9} {'of peak':>8}",
    ]
    names = list(dict.fromkeys(row["name"] for row in result["rows"]))
    for name in names:
        rows = [row for row in result["rows"] if row["name"] == name]
        for r in rows:
            share = FASTER if r["share"] is None else f"{r['share']:.0%}"
            lines.append(
                f"{r['name']:18} {r['phase']:8} {r['forwards']:9} {r['seconds']:9.3f} {r['gflop']:9.1f} {share:>8}"
            )
        if len(rows) > 1:
            total = sum(r["seconds"] for r in rows)
            lines.append(f"{name:18} {'= cycle':8} {sum(r['forwards'] for r in rows):9} {total:9.3f}")
    if any(row["share"] is None for row in result["rows"]):
        lines.append(
            f"{FASTER}: faster than the matrix products before and after it, so the machine was busy with something else "
            "while those ran, and no share of the peak can be told. Measure again when it is idle."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run_main(main)
