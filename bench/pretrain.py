"""Makes the policy of an embedded world."""

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

from bench.ask import kinds
from bench.ask.arguments import check_heads
from bench.ask.cli import run_main
from bench.ask.flags import OUTPUT, RUNNING, TRAINING, Parser
from htgrpo.base.errors import EXIT_INCOMPLETE, UserError
from htgrpo.base.files import explained
from htgrpo.base.folders import atomic_dir, check_place, check_replaceable
from htgrpo.base.values import SEED, Number, OneOf, Whole
from htgrpo.world.world import TINY, find, names

MADE_BY = "python -m bench.pretrain"
SAVE_EVERY = 500
"""Steps after which an interrupted training goes on."""
PRODUCTS = ("float32", "bfloat16")
SIZES = ("d-model", "n-layers", "n-heads", "mlp-hidden-size")
DESCRIPTION = """\
Makes the policy of an embedded world: masked-token pre-training on its pictures, from random weights to a checkpoint
folder.
"""
EXAMPLES = (
    ("--out runs/policy", "remakes the shipped policy"),
    ("--world large --threads 2 --out runs/large", "that of the large world, about two hours"),
    ("--steps 300 --out runs/weak", "a weaker one, in a fraction of the time"),
)


def parser() -> Parser:
    """The command line."""
    p = Parser("pretrain", DESCRIPTION, EXAMPLES)
    p.flag("--out", kinds.NewFolder(), "folder for the policy and its log, pretrain.jsonl", OUTPUT, required=True)
    p.flag("--world", OneOf(names, "world"), f"{' or '.join(reversed(names()))}", default=TINY)
    tiny, large = find("tiny"), find("large")
    steps = f"optimiser steps (default: the world's, tiny {tiny.steps}, large {large.steps})"
    p.flag("--steps", Whole(1, 10**8), steps, TRAINING)
    p.flag("--batch", Whole(1, 65536), "pictures per step", TRAINING, default=32)
    p.flag(
        "--lr",
        Number(0, 10, open_low=True),
        f"peak rate of AdamW: warm-up, then cosine (default: the world's, tiny {tiny.lr}, large {large.lr})",
        TRAINING,
    )
    p.flag(
        "--muon",
        Number(0, 10),
        "peak rate of Muon for the blocks' matrices, 0: AdamW's for these too (default: the world's, "
        f"tiny {tiny.muon}, large {large.muon})",
        TRAINING,
    )
    p.flag(
        "--products",
        OneOf(PRODUCTS, "dtype"),
        f"dtype in which linear maps multiply (default: the world's, tiny {tiny.products}, large {large.products})",
        TRAINING,
    )
    p.flag("--ema", Number(0, 1), "decay of the averaged weights that are kept", TRAINING, default=0.998)
    p.flag("--seed", Whole(0, SEED), "seed of weights and data", TRAINING, default=0)
    p.flag(
        "--keep-every",
        Whole(0, 10**8),
        "also keep OUT-stepN every so many steps (default: only the last)",
        OUTPUT,
        default=0,
    )
    p.flag(
        "--threads",
        Whole(1, 4096),
        "compute threads (default 1); another number changes the last bits",
        RUNNING,
        default=1,
    )
    p.switch("--overwrite", "replace OUT where this command made it", OUTPUT)
    for name, small, big in zip(SIZES, tiny.network, large.network, strict=True):
        p.flag(f"--{name}", Whole(1, 65536), f"size of the network (default: the world's, tiny {small}, large {big})")
    return p


def asked(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags, what is not said being as the world has it."""
    args = parser().parse_args(argv)
    world = find(args.world)
    recipe = {name: getattr(world, name) for name in ("steps", "lr", "muon", "products")}
    for name, value in (recipe | dict(zip(SIZES, world.network, strict=True))).items():
        key = name.replace("-", "_")
        setattr(args, key, value if getattr(args, key) is None else getattr(args, key))
    return args


def main(argv: list[str] | None = None) -> int:
    """Pre-trains and writes the policy."""
    args = asked(argv)
    check_heads(args.d_model, args.n_heads)
    check_place(args.out)
    state = _state_of(args.out)
    check_replaceable(state, MADE_BY, True)
    if args.overwrite and args.out.exists():
        shutil.rmtree(state, ignore_errors=True)
    going_on = args.overwrite or state.is_dir()
    kept = range(args.keep_every, args.steps, args.keep_every) if args.keep_every > 0 else ()
    between = {step: args.out.with_name(f"{args.out.name}-step{step}") for step in kept}
    for out in between.values():
        check_replaceable(out, MADE_BY, going_on)
    with atomic_dir(args.out, MADE_BY, args.overwrite) as folder:
        loss = _train(args, between, folder)
    shutil.rmtree(state, ignore_errors=True)
    print(f"policy written to {args.out} (last loss {loss:.4f})")
    return 0


def _state_of(out: Path) -> Path:
    """Where a training that is not done keeps what it goes on from."""
    return out.with_name(f"{out.name}-unfinished")


def _train(args: argparse.Namespace, between: dict[int, Path], folder: Path) -> float:
    """Trains, and writes the policies of the steps in `between` and at last the one in `folder`. Returns the last
    loss."""
    import math
    from contextlib import nullcontext
    from copy import deepcopy

    import torch
    from rich.console import Console
    from rich.progress import track

    from htgrpo.base import cpu
    from htgrpo.base.rng import generator
    from htgrpo.policies.storage import write_policy
    from htgrpo.training import pretraining as making

    cpu.tune(args.threads)
    world = find(args.world)
    sizes = (args.d_model, args.n_layers, args.n_heads, args.mlp_hidden_size)
    size = making.TinySize(*sizes, rope_theta=world.rope_theta)
    policy = making.new_policy(world, size, generator(args.seed, "weights"))
    average = deepcopy(policy.net).requires_grad_(False)
    optimizers = making.optimizers(policy.net, args.lr, args.muon)
    products = making.HalfProducts() if args.products == "bfloat16" else nullcontext()
    settings = {"command": MADE_BY, **{k: v for k, v in vars(args).items() if k not in ("out", "overwrite")}}
    state = making.Unfinished(_state_of(args.out), MADE_BY, settings, policy.net, average, optimizers)
    done, log = state.load()
    groups = [(group, group["lr"]) for optimizer in optimizers for group in optimizer.param_groups]
    started = time.perf_counter() - log[-1].get("seconds", 0.0)

    def write(place: Path) -> None:
        write_policy(policy.with_net(average), place)
        (place / making.LOG).write_text("".join(json.dumps(line) + "\n" for line in log))

    def keep(step: int) -> None:
        if step in between:
            with atomic_dir(between[step], MADE_BY, True) as place:  # main has seen to it that it may be replaced
                write(place)

    keep(done)  # which may have been all that was left to do of it
    loss = float(log[-1].get("loss", math.nan))
    for step in track(range(done + 1, args.steps + 1), "pre-training", console=Console(stderr=True)):
        for group, peak in groups:
            group["lr"] = peak * min(1.0, step / 50) * (0.1 + 0.45 * (1 + math.cos(math.pi * step / args.steps)))
        batch = making.masked_batch(policy, world, args.batch, generator(args.seed, "pretraining", step))
        with products:
            loss = making.masked_backward(policy, *batch)
        torch.nn.utils.clip_grad_norm_(policy.net.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        decay = min(args.ema, step / (step + 10))
        with torch.no_grad():
            for kept, now in zip(average.parameters(), policy.net.parameters(), strict=True):
                kept.lerp_(now, 1.0 - decay)
        if step % 50 == 0 or step == args.steps:
            cpu.give_back()
            log.append(
                {
                    "step": step,
                    "loss": round(loss, 5),
                    "lr": groups[0][0]["lr"],
                    "seconds": round(time.perf_counter() - started, 1),
                }
            )
        if (step % SAVE_EVERY == 0 or step in between) and step < args.steps:
            state.save(step, log)
        keep(step)
    _write_or_rescue(write, folder, args.out)
    return loss


def _write_or_rescue(write: Callable[[Path], None], folder: Path, out: Path) -> None:
    """Writes a policy that took hours into `folder`, or, where that is refused, to where there is room. Raises
    UserError then."""
    try:
        with explained(out):
            write(folder)
    except UserError as error:
        place = Path(gettempdir()) / f"{out.name}-{os.urandom(4).hex()}"
        try:
            with atomic_dir(place, MADE_BY) as elsewhere:
                write(elsewhere)
        except UserError:
            raise error from None
        raise UserError(
            f"{error.message.partition(';')[0]}; the trained policy is kept in {str(place)!r}: move that folder to "
            f"{str(out)!r} when there is room",
            EXIT_INCOMPLETE,
        ) from error


if __name__ == "__main__":
    run_main(main)
