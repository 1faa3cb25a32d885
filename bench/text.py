"""The command line of `python -m bench.text`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from bench.ask import kinds
from bench.ask.arguments import BACKBONE, COUNT
from bench.ask.cli import run_main, say
from bench.ask.flags import OUTPUT, RUNNING, SCORING, Parser
from bench.ask.machine import launch
from bench.benchmarks.text.settings import OPTIONS, Decoding, TextSettings, from_options
from htgrpo.base.device import find_device
from htgrpo.base.errors import UserError
from htgrpo.base.options import Field
from htgrpo.base.values import Names, OneOf, Whole
from htgrpo.policies.model_files import EMBEDDED
from htgrpo.training.train_config import Dtype

if TYPE_CHECKING:
    from bench.ask.weights import Weights

DESCRIPTION = """\
Asks a policy for text through lm-eval, to see that training on pictures has left its language alone: run it on the weights before
and after. Likelihoods are LLaDA's Monte-Carlo estimate, answers are written by its semi-autoregressive decoding. Results are in
lm-eval's schema: OUT/results.json and OUT/samples_TASK.jsonl.
"""
EXAMPLES = (
    ("", "our small tasks on the embedded policy: no network is needed"),
    ("--policy Gen-Verse/MMaDA-8B-MixCoT --backbone mmada --tasks gsm8k --chat --device cuda", "a published model"),
    (
        "--checkpoint runs/a/train/ht/seed0/checkpoints/step_000040 --tasks arc_easy,hellaswag --limit 200",
        "after training",
    ),
    ("accelerate launch -m bench.text --checkpoint DIR --tasks gsm8k", "requests are shared among the processes"),
)
DEFAULT_TASKS = "embedded_text"
HOW: tuple[tuple[str, str, str, str], ...] = (
    ("samples", SCORING, "N",
     "masks per likelihood (default 128; where an answer has no more than that, all of them: exact for answers of up to 7 tokens)"),
    ("batch", RUNNING, "N", "sequences in one forward (default 16); changes speed and memory only"),
    ("seed", SCORING, "N", "of masks and drawn tokens (default 0); equal seeds pair policies"),
    ("head", SCORING, "full|text",
     "probabilities over all ids, as upstream has them (full, default: what image codes take counts as lost), or over those "
     "below the image codes (text)"),
    ("max_length", SCORING, "N",
     "tokens of context and answer (default 4096); longer contexts lose their beginning, and the results say how many did"),
    ("gen_length", SCORING, "N", "tokens of a written answer (default 256; a task's max_gen_toks may shorten it)"),
    ("block_length", SCORING, "N",
     "tokens of a block, written before the next begins (default 32, or gen-length where that is less)"),
    ("steps", SCORING, "N", "forwards for a whole answer (default gen-length: a token each)"),
    ("temperature", SCORING, "T", "of drawn tokens; 0: the likeliest (default: as the task asks)"),
    ("remasking", SCORING, "low_confidence|random", "which tokens of a block wait (default low_confidence)"),
    ("cfg_scale", SCORING, "S", "guidance against the masked prompt (default 0: none)"),
)  # fmt: skip
"""How a policy is asked: the fields of TextSettings and Decoding that are flags, with group, metavar and help."""


def parser() -> Parser:
    """The command line."""
    p = Parser("text", DESCRIPTION, EXAMPLES)
    fields = {**get_type_hints(Decoding, include_extras=True), **get_type_hints(TextSettings, include_extras=True)}
    p.flag("--checkpoint DIR", kinds.place, "folder of the weights to ask; the same as --policy DIR")
    p.flag("--policy NAME_OR_PATH", kinds.place, "the weights to ask: 'embedded' (default), a folder, or a hub id")
    p.flag("--backbone NAME", BACKBONE, "model family, where the folder does not say it, e.g. mmada")
    p.flag("--revision REV", kinds.revision, "commit, tag or branch of a hub id")
    p.flag(
        "--dtype DTYPE",
        OneOf(get_args(Dtype), "dtype"),
        "of the network: auto (default), float32, bfloat16, float64",
        RUNNING,
        default="auto",
    )
    p.flag(
        "--device auto|cpu|cuda",
        kinds.Device(),
        "where it runs (default auto: cuda if there is one)",
        RUNNING,
        default="auto",
    )
    p.flag(
        "--tasks NAMES",
        Names(),
        f"comma-separated tasks, groups, tags or patterns of lm-eval, or ours (default {DEFAULT_TASKS}: "
        "embedded_choice and embedded_write, which need no network)",
        SCORING,
        default=[DEFAULT_TASKS],
    )
    p.flag("--limit N", COUNT, "only the first N documents of every task", SCORING)
    p.flag("--num-fewshot N", Whole(0, 1000), "examples before every question (default: the task's own)", SCORING)
    p.switch("--chat", "put every context into MMaDA's chat layout", SCORING)
    for name, group, metavar, told in HOW:
        p.flag(f"--{name.replace('_', '-')} {metavar}", Field(fields[name]), told, group)
    p.switch("--confirm-run-unsafe-code", "allow tasks that run code that the model wrote", RUNNING)
    p.flag("--out DIR", kinds.NewFolder(), "folder of the results (default runs/text-IDENTITY)", OUTPUT)
    p.switch("--overwrite", "replace results of another setting in --out", OUTPUT)
    p.switch("--json", "print one JSON object on standard output instead of tables", OUTPUT)
    return p


def settings_of(args: argparse.Namespace) -> TextSettings:
    """The settings that the flags name. Raises UserError."""
    given = {name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None}
    return from_options(given, "--")


def main(argv: list[str] | None = None) -> int:
    """Evaluates, writes and prints; returns the exit code. What is there already is only printed again."""
    args = parser().parse_args(argv)
    from dataclasses import asdict

    from bench.ask.weights import inspect
    from bench.benchmarks.text.results import RESULTS, identity_of, stored

    if args.checkpoint and args.policy:
        raise UserError(
            f"both --checkpoint {args.checkpoint!r} and --policy {args.policy!r} are given: name the weights once"
        )
    names = args.tasks
    settings = settings_of(args)
    weights = inspect(args.checkpoint or args.policy or EMBEDDED, args.backbone, args.revision)
    options = {"limit": args.limit, "num_fewshot": args.num_fewshot, "dtype": args.dtype}
    identity = identity_of(weights.sha256, names, asdict(settings), options)
    out = args.out or Path("runs") / f"text-{identity[:8]}"
    results = stored(out, identity, args.overwrite)
    if results is None:
        results = _evaluate(args, names, settings, weights, identity, out)
    else:
        say(f"nothing to do: everything asked for is in {out} already")
    if results is not None:
        _print(results, out / RESULTS, args.json)
    return 0


def _evaluate(
    args: argparse.Namespace, names: list[str], settings: TextSettings, weights: "Weights", identity: str, out: Path
) -> dict[str, Any] | None:
    """Results, written to `out`; None in all but the first process of a launch."""
    say("loading")
    from bench.benchmarks.text.evaluation import Tasks, evaluate, write
    from bench.benchmarks.text.model import PolicyLM
    from htgrpo.policies.storage import load_policy

    tasks = Tasks(names, args.confirm_run_unsafe_code)
    device = find_device(args.device)
    with launch(device == "cpu") as ranks:
        where = str(ranks.device) if ranks.count > 1 else device
        policy = load_policy(weights.source, where, backbone=args.backbone, revision=args.revision, dtype=args.dtype)
        policy.net.requires_grad_(False).eval()
        model = PolicyLM(policy, settings, ranks)
        results = evaluate(model, tasks, args.limit, args.num_fewshot)
        if not ranks.is_main:
            return None
        results["config"]["identity"] = identity
        write(results, out)
    return results


def _print(results: dict[str, Any], path: Path, as_json: bool) -> None:
    from bench.benchmarks.text.results import table

    if as_json:
        shown = ("results", "groups", "n-samples", "n-shot", "versions", "config")
        print(
            json.dumps(
                {"path": str(path), **{key: results[key] for key in shown if key in results}}, indent=2, default=str
            )
        )
    else:
        print(table(results))
        print(f"results: {path}")


if __name__ == "__main__":
    run_main(main)
