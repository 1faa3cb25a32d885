"""Text retention: can a policy still read and write after it was trained to paint? lm-eval's tasks, on our policies.

`python -m bench.text --help` teaches the command. In the order in which one may read: settings, reader (the network as text is read
with it), likelihood, generation, words (text and ids), model (what lm-eval calls), evaluation (what calls lm-eval), command.
"""


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code. lm-eval and torch are imported only when there is work for them."""
    from bench.text.command import main

    return main(argv)
