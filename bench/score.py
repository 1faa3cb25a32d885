"""Judges pictures by the benchmarks' own rules and models: those of a run, or any folder of pictures."""

import argparse
import re
from pathlib import Path

from bench.ask import kinds
from bench.ask.cli import run_main
from bench.ask.flags import OUTPUT, SCORING, Parser
from bench.run.stages import run_stage, stage_parser
from htgrpo.base.errors import UserError
from htgrpo.base.records import BASE
from htgrpo.base.values import OneOf, Text, Whole

LAYOUTS = ("geneval", "dpg", "dpg-single", "dpg-grid", "folders", "flat")
OF_IMAGES = {"layout", "prompts", "grid", "note", "allow_incomplete"}
"""What can be said of --images."""
OF_PICTURES = ("device", "scorer_url", "dry_run", "json", "allow_incomplete")
"""How pictures that are there are scored."""
DESCRIPTION = """\
Judges pictures by the benchmark's own rule and writes a verdict for each into RUN/verdicts. A picture that is damaged or missing is
recorded as failed or skipped with the reason, never as a zero. Verdicts that are there already are kept, batch by batch, unless
what judges is another: other weights, another rule, or another version of a library that runs the scorer (transformers, ...).
Then all that the run holds is judged again, so that no table mixes two judges; pictures are not made again.
"""
EXAMPLES = (
    ("runs/mine", "all policies of a run"),
    ("--checkpoint ht=PATH --benchmarks geneval --out runs/other", "after bench.generate with the same flags"),
    (
        "--images flux=DIR --images sdxl=DIR2 --benchmarks geneval,hpsv3 --out runs/others",
        "pictures from any models, side by side, into a run of their own with a report",
    ),
    ("--images DIR --layout dpg-grid --benchmarks dpg,imagereward,unipercept --out runs/others", ""),
    ("--images DIR --prompts prompts.jsonl --benchmarks hpsv3,clip --out runs/others", ""),
)
GIVEN = """\
layouts:
  geneval     DIR/00000/samples/0000.png ..., beside samples/ the prompt's metadata.jsonl (recognised)
  dpg         DIR/ID_0.png ... or DIR/ID/0.png ..., one file a picture, several of each prompt of DPG-Bench
  dpg-single  DIR/ID.png, one file a picture, one of each prompt of DPG-Bench
  dpg-grid    DIR/ID.png, four pictures of a prompt of DPG-Bench in a 2 x 2 grid (--grid: side of one in px)
  folders     DIR/NAME/*.png, a folder for each prompt, which is in DIR/NAME/prompt.txt (recognised) or in --prompts FILE
  flat        any pictures with --prompts FILE, or with a.txt or a.json beside a.png (recognised)
Prompts of GenEval or DPG-Bench are known by their text. --dry-run shows which picture is judged under which prompt.

--prompts FILE:
  .jsonl .json .csv .tsv  records that name pictures, {"image": "a.png", "prompt": "a red cup"}, with "id" and "category" if \
you like; or ids that stand in pictures' names, {"id": "7", "prompt": "..."} for 7.png, 7_0.png, 7/0.png
  .txt                    a prompt a line for pictures whose names count from 0 or 1: 0.png, 1.png, ... 10.png
Pictures with one id are samples of one prompt. What would be a guess is refused, and files that are left out are named.
Pictures of any kind are judged with 8 bits a channel; animations, files of several pages, and 32-bit values are refused.
Scorers judge whatever is given: hpsv3 on GenEval's pictures is called hpsv3@geneval.
"""


def main(argv: list[str] | None = None) -> int:
    """Scores; returns the exit code."""
    from bench.record.work import SCORE

    lines = parser()
    args = lines.parse_args(argv)
    given = _given(args, lines)
    return run_stage(args, lines, (SCORE,)) if given is None else _score_given(args, *given)


def parser() -> Parser:
    """The command line."""
    p = stage_parser("score", DESCRIPTION, EXAMPLES, GIVEN)
    p.flag(
        "--images LABEL=DIR",
        kinds.place,
        "pictures from any model, by the name that tables call it (default: the folder's name); repeatable",
        many=True,
    )
    p.flag(
        "--layout LAYOUT",
        OneOf(("auto", *LAYOUTS), "layout"),
        "how --images lie there: auto (default), geneval, dpg, dpg-single, dpg-grid, folders or flat",
        SCORING,
        default="auto",
    )
    p.flag("--prompts FILE", kinds.File(), "prompts of flat --images or folders, see above", SCORING)
    p.flag("--grid PX", Whole(1, 65536), "side of one picture of a dpg-grid (default: half the file's width)", SCORING)
    p.flag(
        "--note TEXT",
        Text(least=0),
        "how --images were made, e.g. 'FLUX.1-dev, 50 steps'; only recorded",
        SCORING,
        default="",
    )
    p.switch("--allow-incomplete", "with --images: headlines over those that were scored", OUTPUT)
    return p


def _given(args: argparse.Namespace, lines: Parser):
    """(what is asked for, the run's folder) of given pictures; None for a run of policies. Raises UserError."""
    from bench.ask.asked import subset
    from bench.record.rundir import RunDir
    from bench.run.given import Given

    if not args.images:
        known = Given.of_run(RunDir(args.run)) if args.run is not None else None
        if known is not None:
            lines.refuse_all_but(
                args, ("run", *OF_PICTURES), "with a run of given pictures, which has its own settings"
            )
            return known, args.run
        lines.refuse(args, OF_IMAGES, "without --images")
        return None
    lines.refuse_all_but(
        args,
        {*OF_IMAGES, *OF_PICTURES, "images", "benchmarks", "limit", "subset", "out"},
        "with --images, which are pictures that are there",
    )
    asked = args.benchmarks
    if not asked or args.out is None:
        raise UserError("--images needs --benchmarks NAMES and --out RUN: what to score them on, and where to write")
    folders = [_folder(text, args) for text in args.images]
    for folder in folders:
        if [one.label for one in folders].count(folder.label) > 1:
            raise UserError(f"--images has two folders called {folder.label!r}: write LABEL=DIR with different labels")
    return Given(folders, asked, args.limit, subset(args.subset, asked)), args.out


def _folder(text: str, args: argparse.Namespace):
    """One --images."""
    from bench.run.given import Folder

    label, equals, path = text.partition("=")
    if not equals or "/" in label:
        label, path = Path(text).resolve().name, text
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", label) or label == BASE:
        raise UserError(
            f"--images {text!r}: {label!r} is no label; write LABEL=DIR with a LABEL of letters, digits, '_', '-' and "
            "'.' that is not 'base'"
        )
    prompts = str(args.prompts.resolve()) if args.prompts else None
    return Folder(label, str(Path(path).resolve()), args.layout, prompts, args.grid, args.note)


def _score_given(args: argparse.Namespace, given, root: Path) -> int:
    """Scores and reports."""
    from bench.ask.options import Options
    from bench.record.work import REPORT, SCORE
    from bench.run.given import execute

    return execute(given, root, Options.of(args, SCORE, REPORT))


if __name__ == "__main__":
    run_main(main)
