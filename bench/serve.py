"""Puts a scorer behind HTTP, for a machine that has the weights or the GPU."""

import os
import re
import signal
import socket
import sys

from bench.ask import arguments
from bench.ask.cli import run_main
from bench.ask.flags import RUNNING, Parser
from bench.scorers import registry
from bench.scorers.servers import TOKEN
from htgrpo.base.errors import EXIT_FAILED, UserError
from htgrpo.base.values import OneOf, Text, Whole, refuse

DESCRIPTION = """\
Serves one scorer over HTTP: JSON only, pictures in base64, with a health check at /health. It is asked with
--scorer-url NAME=http://HOST:PORT. The scorer first judges a few drawn pictures and is not served when it gets them wrong.
"""
EXAMPLES = (
    ("imagereward --device cuda", "on this machine only"),
    (
        "HTGRPO_SCORER_TOKEN=secret python -m bench.serve hpsv3 --host 0.0.0.0 --port 18100",
        "for others, who need the token",
    ),
)
LOCAL = ("127.0.0.1", "::1", "localhost")


def token(value: str, name: str) -> str:
    """What a header can carry; "" is no token."""
    if not re.fullmatch("[!-~]{0,1000}", value):
        raise refuse(name, "the value given", "it takes letters, digits and signs of ASCII without blanks")
    return value


def _check_address(host: str, port: int) -> None:
    """Raises UserError where this address cannot be listened on, before a scorer is loaded for it."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"--host {host} with --port {port} cannot be listened on ({getattr(error, 'strerror', '') or error}): give "
            "an address of this machine and a free port, or --port 0"
        ) from error


def parser() -> Parser:
    """The command line."""
    p = Parser("serve", DESCRIPTION, EXAMPLES)
    p.flag(
        "scorer SCORER",
        OneOf(lambda: registry.SCORERS.names(), "scorer"),
        "a registered scorer; python -m bench.doctor lists them",
    )
    p.flag(
        "--host",
        Text(most=255),
        "address to listen on; one that others reach needs a token",
        RUNNING,
        default="127.0.0.1",
    )
    p.flag("--port", Whole(0, 65535), "port to listen on, 0 for any free one", RUNNING, default=18100)
    p.flag("--token", token, "what clients must show (default: $HTGRPO_SCORER_TOKEN, unseen by others)", RUNNING)
    arguments.add_one_scorer(p)
    p.flag("--max-body MIB", Whole(1, 65536), "largest request", RUNNING, default=64)
    p.flag("--max-items N", Whole(1, 10**6), "most pictures in a request", RUNNING, default=1024)
    p.flag("--max-pixels N", Whole(1, 1 << 40), "most pixels of a picture", RUNNING, default=1 << 25)
    return p


def main(argv: list[str] | None = None) -> int:
    """Serves until interrupted; returns the exit code."""
    args = parser().parse_args(argv)
    secret = os.environ.get(TOKEN, "") if args.token is None else args.token
    if args.host not in LOCAL and not secret:
        raise UserError(
            f"--host {args.host} lets other machines in: set a token in ${TOKEN}, where clients read it too"
        )
    _check_address(args.host, args.port)
    from bench.scorers.serving import Limits, ScoringServer

    scorer = registry.SCORERS.get(args.scorer).load(args.weights, args.device, args.dtype)
    if failures := scorer.self_test():
        print(f"error: {args.scorer} is not to be trusted: {'; '.join(failures)}", file=sys.stderr)
        return EXIT_FAILED
    limits = Limits(body=args.max_body << 20, items=args.max_items, pixels=args.max_pixels)
    with ScoringServer(scorer, args.host, args.port, secret, limits) as server:
        print(
            f"serving {args.scorer} at http://{args.host}:{server.server_port} "
            f"({'with a token' if secret else 'without a token'}; Ctrl-C ends it)",
            flush=True,
        )
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
        finally:
            scorer.close()
    return 0


if __name__ == "__main__":
    run_main(main)
