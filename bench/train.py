"""Trains one method."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from bench.ask import arguments
from bench.ask.cli import run_main
from bench.ask.flags import EXITS, OUTPUT, RUNNING, TRAINING, Parser
from bench.ask.machine import is_main_process
from htgrpo.base.errors import UserError
from htgrpo.base.records import log_lines
from htgrpo.base.registry import BACKBONES
from htgrpo.base.values import SEED, Whole
from htgrpo.policies.model_files import EMBEDDED

if TYPE_CHECKING:
    from bench.ask.request import Request

DESCRIPTION = """\
Trains one method with one seed, into RUN/train/METHOD/seedN: metrics.jsonl, timing.jsonl, checkpoints that any loader can read.
A training that was interrupted goes on from its newest checkpoint and repeats the lost iterations bit for bit (on a CPU).
"""
EXAMPLES = (
    ("--method ht --out runs/mine", ""),
    ("--method ht --seed 1 --budget iterations:100 --set lr=3e-5 --set ht.alpha=0.5 --out runs/mine", ""),
    ("accelerate launch -m bench.train --method ht --out runs/mine", "several GPUs"),
)


def parser() -> Parser:
    """The command line."""
    p = Parser("train", DESCRIPTION, EXAMPLES, EXITS)
    p.flag("--method NAME", arguments.METHOD, f"the method: {arguments.method_names()}", required=True)
    p.flag("--seed N", Whole(0, SEED), "training seed", TRAINING, default=0)
    arguments.add_out(p, "runs/PRESET-HASH, where HASH stands for the settings")
    arguments.add_start(p)
    arguments.add_training(p)
    arguments.add_overrides(p)
    arguments.add_preset(p, "whose budget and settings of training are the defaults")
    arguments.add_running(p, jobs=False)
    p.switch("--resume", "insist that there is a training to go on with (going on needs no flag)", RUNNING)
    p.switch("--overwrite", "throw this training away and start it again", OUTPUT)
    p.set_defaults(
        checkpoint=[], benchmarks=None, limit=None, subset=[], split="heldout", curve=None, claim=None, margin=None
    )
    return p


def main(argv: list[str] | None = None) -> int:
    """Trains; returns the exit code."""
    args = parser().parse_args(argv)
    from bench.ask.asked import from_arguments
    from bench.ask.options import Options
    from bench.record.work import TRAIN
    from bench.run.loop import execute

    if args.resume and args.overwrite:
        raise UserError("--resume goes on with a training, which --overwrite throws away: leave one of them out")
    args.methods, args.seeds = [args.method], [args.seed]
    parsed = from_arguments(args).told()
    root = args.out or parsed.folder
    code = execute(parsed.request, root, Options.of(args, TRAIN, in_process=True))
    if not (code or args.dry_run or args.json) and is_main_process():
        print("\n".join(ending(parsed.request, root)))
    return code


def ending(request: "Request", root: Path) -> list[str]:
    """What has come of the training, and how it is compared."""
    from bench.record.rundir import RunDir

    method = request.methods[0]
    folder = RunDir(root).train(method, request.seeds[0])
    lines = log_lines(folder / "metrics.jsonl")
    newest = max((folder / "checkpoints").glob("step_[0-9]*"), key=lambda path: int(path.name[5:]))
    told = [f"checkpoint: {newest}"]
    for name, title in (("reward_mean", "reward"), ("loss", "loss")):
        values = [line[name] for line in lines if line.get(name) is not None]
        if values:
            told.insert(
                0, f"{title}: {values[0]:.3f} in the first iteration, {values[-1]:.3f} in the last of {len(lines)}"
            )
            break
    start = ["--policy", request.policy] if request.policy != EMBEDDED else []
    start += ["--backbone", request.backbone] if request.backbone in BACKBONES.names() else []
    words = ["python", "-m", "bench.compare", "--checkpoint", f"{method}={newest}", *start]
    return [*told, "next, its pictures and scores beside those of the start:", f"  {shlex.join(words)}"]


if __name__ == "__main__":
    run_main(main)
