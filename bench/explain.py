"""Draws what methods hide and what they train, from their own updates on a made-up group of pictures."""

from pathlib import Path

from bench.ask import kinds
from bench.ask.cli import run_main
from bench.ask.flags import OUTPUT, Parser
from bench.ask.methods import expanded, groups, told
from htgrpo.base.folders import add_files
from htgrpo.base.registry import METHODS
from htgrpo.base.values import Names, OneOf

FILES = Path("runs") / "explain"
DESCRIPTION = """\
What does a method hide, what does it train, and what does that cost? One row a method, drawn from the updates that it makes of a
made-up group: nine pictures of 8 x 8 slots, revealed in eight steps from the middle outwards. No model is loaded.
"""
EXAMPLES = (("", "every method that learns from rewards"), ("--methods ht,mask,coupled", ""))


def parser() -> Parser:
    """The command line."""
    p = Parser("explain", DESCRIPTION, EXAMPLES)
    names = OneOf(lambda: [*METHODS.names(), *groups(), "help"], "method")
    p.flag(
        "--methods NAMES", Names(names), "comma-separated methods, or all, literature, adaptive, help (default: all)"
    )
    p.flag("--out FOLDER", kinds.NewFolder(), f"where the files go (default {FILES})", OUTPUT, default=FILES)
    return p


def main(argv: list[str] | None = None) -> int:
    """Draws; returns the exit code."""
    args = parser().parse_args(argv)
    if told(args.methods or []):
        return 0
    from bench.cost.specimen import explained, reveal_steps
    from reports.figures.methods import explain, markdown
    from reports.figures.style import rendered

    methods = [explained(name) for name in expanded(args.methods or ["all"])]
    figure = rendered(explain(methods, reveal_steps(), "What methods hide and what they train"))
    text = markdown(methods)
    contents = {f"explain.{kind}": data for kind, data in figure.items()} | {"explain.md": text.encode()}
    add_files(args.out, "python -m bench.explain", contents)
    print("\n".join([text, f"Files: {', '.join(str(args.out / name) for name in contents)}"]))
    return 0


if __name__ == "__main__":
    run_main(main)
