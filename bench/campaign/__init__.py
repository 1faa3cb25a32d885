"""What takes too long for a test of every commit and is run before a release: commands that are killed, given nonsense
and damaged files, a server that is pressed, and the calibration of the statistics."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.ask.flags import Parser


def parser() -> "Parser":
    """The command line."""
    from bench.campaign.command import parser as command

    return command()


def main(argv: list[str] | None = None) -> int:
    """`python -m bench.campaign`."""
    from bench.campaign.command import main as command

    return command(argv)
