"""Writes the model card of a checkpoint."""

from pathlib import Path

from bench.ask import kinds
from bench.ask.cli import run_main
from bench.ask.flags import OUTPUT, Parser
from bench.record.rundir import SAMPLE
from htgrpo.base.errors import UserError
from htgrpo.base.files import atomic_write_bytes, atomic_write_text
from htgrpo.base.values import Text

FILE = "README.md"
MARK = "<!-- written by python -m bench.card; edits are lost when it is written again -->"
DESCRIPTION = """\
Writes a model card, the README.md of a checkpoint on the hub, from the checkpoint and the run it belongs to. Results are
those that the run holds for these very weights, with their intervals. Nothing is computed by a model, and nothing is sent
anywhere.
"""
EXAMPLES = (("runs/NAME/train/ht/seed0/checkpoints/step_000040", ""), ("CHECKPOINT --run runs/NAME --out card.md", ""))


def parser() -> Parser:
    """The command line."""
    p = Parser("card", DESCRIPTION, EXAMPLES)
    p.flag("checkpoint CHECKPOINT", kinds.Folder(), "folder of a checkpoint, as training writes it")
    p.flag("--run RUN", kinds.RUN, "the run that trained or scored it (default: the one it lies in)")
    p.flag(
        "--license ID",
        Text(most=80),
        "licence of the weights, as the hub calls it (default: apache-2.0 where training "
        "began from this project's own policy, else that of the base model, which the card then does not name)",
    )
    p.flag("--out FILE", kinds.NewFile(), f"default: {FILE} in the checkpoint's folder", OUTPUT)
    p.switch("--overwrite", "also replace a card that this command did not write", OUTPUT)
    return p


def main(argv: list[str] | None = None) -> int:
    """Writes the card; returns the exit code."""
    args = parser().parse_args(argv)
    from bench.record.card import collect

    out = args.out or args.checkpoint / FILE
    facts = collect(str(args.checkpoint), args.run, args.license or "")
    if out.is_file() and not args.overwrite and MARK not in out.read_text("utf-8", errors="replace"):
        raise UserError(
            f"{str(out)!r} was not written by this command: give another --out, or replace it with --overwrite"
        )
    if facts.picture:
        atomic_write_bytes(out.parent / SAMPLE, facts.picture.read_bytes())
    atomic_write_text(out, render(facts))
    if out.resolve().parent == Path(args.checkpoint).resolve():
        _list(out.resolve())
    print(f"model card written to {out} ({facts.told})")
    return 0


def _list(card: Path) -> None:
    """Adds a card that lies in a checkpoint to the files that the run around it lists."""
    from bench.record.card import run_around
    from bench.record.complete import record_again
    from bench.record.rundir import PATIENCE, RunDir

    root = run_around(card.parent)
    if root is not None:
        with RunDir(root).locked(PATIENCE):
            files = [path for path in (card, card.parent / SAMPLE) if path.is_file()]
            record_again(RunDir(root), [RunDir(root).relative(path) for path in files])


def render(facts) -> str:
    """The card as text: YAML front matter for the hub, then what people read."""
    import jinja2
    from huggingface_hub import ModelCardData

    data = ModelCardData(**facts.metadata, eval_results=facts.results or None)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bench.record"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    body = environment.get_template("card.md.j2").render(**facts.texts, mark=MARK, sample=SAMPLE)
    return f"---\n{data.to_yaml()}\n---\n\n{body}\n"


if __name__ == "__main__":
    run_main(main)
