"""Proves a port: our scorer and its official package judge the same pictures."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ask import arguments, kinds
from bench.ask.cli import run_main
from bench.ask.flags import Parser
from bench.scorers import registry
from htgrpo.base.errors import EXIT_FAILED, EXIT_INCOMPLETE, UserError
from htgrpo.base.values import OneOf

if TYPE_CHECKING:
    from PIL import Image

    from bench.scorers.base import Judged, Scorer

DESCRIPTION = """\
Judges the same pictures with our port and with the official package, which runs in an environment of its own that uv makes on the
first run, and prints the greatest difference and the rank correlation. Without --images, drawn pictures are judged.
Exit code 0: they agree; 1: they do not; 3: the weights are not here.
"""
EXAMPLES = (
    ("imagereward", ""),
    ("hpsv3 --device cuda --images FOLDER", "FOLDER/a.png with its prompt in FOLDER/a.txt"),
)
OFFICIAL = ("imagereward", "hpsv3", "unipercept", "pickscore", "hpsv2", "soft_tifa", "vqascore_qwen3vl")
"""Names of bench.scorers.references."""
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.05, "float16": 0.02}
"""Greatest difference that counts as agreement, as a part of the spread of the official scores (but at least of 1)."""
RANKS = 0.99


def parser() -> Parser:
    """The command line."""
    p = Parser("verify_scorer", DESCRIPTION, EXAMPLES)
    p.flag("scorer SCORER", OneOf(OFFICIAL, "scorer with an official package"), ", ".join(OFFICIAL))
    p.flag("--images FOLDER", kinds.Folder(), "pictures, each with its prompt in a .txt")
    arguments.add_one_scorer(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Compares; returns the exit code."""
    args = parser().parse_args(argv)
    from bench.scorers.references import REFERENCES
    from bench.scorers.weights import locate

    images, prompts, names = _from_folder(args.images) if args.images else _drawn()
    ours = registry.SCORERS.get(args.scorer)
    prompts = [ours.about(prompt) for prompt in prompts]
    try:
        folders = locate(ours.name, ours.repositories, args.weights)
    except UserError as error:
        print(f"not verified: {error.message}", file=sys.stderr)
        return EXIT_INCOMPLETE
    theirs = _judge(REFERENCES[args.scorer].start(folders, args.device, args.dtype), images, prompts)
    own = _judge(ours.load(args.weights, args.device, args.dtype), images, prompts)
    dtype = own[0]["dtype"]
    return compare(args.scorer, names, own[1], theirs[1], ours.axes, TOLERANCE.get(dtype, TOLERANCE["bfloat16"]), dtype)


def _judge(
    scorer: "Scorer", images: Sequence["Image.Image"], prompts: Sequence[str]
) -> tuple[dict[str, Any], list["Judged"]]:
    """The identity and the judgements of a scorer, which is let go of: two of 7B may not fit beside each other."""
    try:
        return scorer.identity(), scorer.score(images, prompts)
    finally:
        scorer.close()


def _told(judged: "Judged") -> dict[str, Any]:
    """The score and the evidence, by name."""
    return {"score": judged.score, **judged.evidence}


def compare(
    scorer: str,
    names: list[str],
    own: list["Judged"],
    theirs: list["Judged"],
    axes: Sequence[str],
    tolerance: float,
    dtype: str,
) -> int:
    """Prints how two scorers' judgements agree, for the score or for every axis; returns the exit code."""
    from rich.console import Console
    from rich.table import Table
    from scipy.stats import spearmanr

    failed = [f"{name}: {a.error or b.error}" for name, a, b in zip(names, own, theirs) if a.error or b.error]
    if failed:
        print(f"error: {len(failed)} of {len(names)} pictures were not judged; {failed[0]}", file=sys.stderr)
        return EXIT_FAILED
    table = Table(
        "", "greatest difference", "allowed", "rank correlation", "", title=f"{scorer}, {dtype}: {len(names)} pictures"
    )
    agree = True
    for axis in axes or ("score",):
        ours, official = ([_value(one, axis if axes else "") for one in judged] for judged in (own, theirs))
        gap = max(abs(a - b) for a, b in zip(ours, official))
        allowed = tolerance * max(1.0, max(official) - min(official))
        constant = len(set(ours)) == 1 or len(set(official)) == 1
        ranks = 1.0 if ours == official else float("nan") if constant else float(spearmanr(ours, official).statistic)
        good = gap <= allowed and not ranks < RANKS
        agree &= good
        table.add_row(axis, f"{gap:.3g}", f"{allowed:.3g}", f"{ranks:.4f}", "agrees" if good else "DIFFERS")
    Console(soft_wrap=True).print(table)
    return 0 if agree else EXIT_FAILED


def _value(judged: "Judged", axis: str) -> float:
    """The score of a picture that was judged, or an axis of it."""
    if axis:
        return judged.evidence[axis]
    assert judged.score is not None
    return judged.score


def _drawn() -> tuple[list["Image.Image"], list[str], list[str]]:
    """Drawings with each of their captions, in two proportions, sharp and blurred."""
    from PIL import ImageFilter

    from bench.scorers.drawings import SHAPES, drawing, landscape

    captions = [*SHAPES, "a landscape with a lake and trees"]
    pictures = {caption: drawing(caption) for caption in SHAPES} | {captions[-1]: landscape()}
    found = [
        (picture.crop(box).filter(ImageFilter.GaussianBlur(blur)), prompt, f"{caption}, for {prompt!r}")
        for caption, picture in pictures.items()
        for box in ((0, 0, 512, 512), (0, 96, 512, 416))
        for blur in (0, 6)
        for prompt in captions
    ]
    return tuple(map(list, zip(*found)))  # type: ignore[return-value]


def _from_folder(folder: Path) -> tuple[list["Image.Image"], list[str], list[str]]:
    """The pictures of a folder, each with the prompt beside it. Raises UserError, also for one that cannot be read."""
    from bench.given.layouts import read
    from htgrpo.base.pictures import Unreadable, opened

    found, images = read(folder, "flat", None, None), []
    for note in found.notes:
        print(note, file=sys.stderr)
    for picture in found.pictures:
        try:
            images.append(opened(picture.file.read_bytes()))
        except (OSError, Unreadable) as error:
            raise UserError(f"{str(picture.file)!r} cannot be compared: {error}") from error
    return images, [one.text or "" for one in found.pictures], [one.file.name for one in found.pictures]


if __name__ == "__main__":
    run_main(main)
