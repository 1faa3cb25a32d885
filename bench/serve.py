"""Puts a scorer behind HTTP, for a machine that has the weights or the GPU."""

import argparse
import os
import signal
import sys

from bench.cli import run_main
from htgrpo.errors import EXIT_FAILED, UserError

DESCRIPTION = """\
Serves one scorer over HTTP: JSON only, pictures in base64, with a health check at /health. It is asked with
--scorer-url NAME=http://HOST:PORT. The scorer first judges a few drawn pictures and is not served when it gets them wrong.

examples:
  python -m bench.serve imagereward --device cuda                      on this machine only
  HTGRPO_SCORER_TOKEN=secret python -m bench.serve hpsv3 --host 0.0.0.0 --port 18100
"""
LOCAL = ("127.0.0.1", "::1", "localhost")


def main(argv: list[str] | None = None) -> int:
    """Serves until interrupted; returns the exit code."""
    args = _parser().parse_args(argv)
    from bench.scorers.registry import SCORERS
    from bench.scorers.remote import TOKEN
    from bench.scorers.serving import Limits, ScoringServer

    token = os.environ.get(TOKEN, "") if args.token is None else args.token
    if args.host not in LOCAL and not token:
        raise UserError(f"--host {args.host} lets other machines in: set a token in ${TOKEN}, where clients read it too")
    scorer = SCORERS.get(args.scorer).load(args.weights, args.device, args.dtype)
    if failures := scorer.self_test():
        print(f"error: {args.scorer} is not to be trusted: {'; '.join(failures)}", file=sys.stderr)
        return EXIT_FAILED
    limits = Limits(body=args.max_body << 20, items=args.max_items, pixels=args.max_pixels)
    with ScoringServer(scorer, args.host, args.port, token, limits) as server:
        print(f"serving {args.scorer} at http://{args.host}:{server.server_port} "
              f"({'with a token' if token else 'without a token'}; Ctrl-C ends it)", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
        finally:
            getattr(scorer, "close", lambda: None)()
    return 0


def _parser() -> argparse.ArgumentParser:
    from pathlib import Path

    parser = argparse.ArgumentParser(prog="python -m bench.serve", description=DESCRIPTION,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scorer", metavar="SCORER", help="a registered scorer; python -m bench.doctor lists them")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; one that others reach needs a token")
    parser.add_argument("--port", type=int, default=18100, help="port to listen on, 0 for any free one (default 18100)")
    parser.add_argument("--token", default=None, help="what clients must show (default: $HTGRPO_SCORER_TOKEN, unseen by others)")
    parser.add_argument("--weights", type=Path, default=None, help="folder of the weights (default: the hub's cache)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default cpu)")
    parser.add_argument("--dtype", default=None, help="float32, bfloat16 or float16 (default: the official one)")
    parser.add_argument("--max-body", type=int, default=64, metavar="MIB", help="largest request (default 64)")
    parser.add_argument("--max-items", type=int, default=1024, metavar="N", help="most pictures in a request (default 1024)")
    parser.add_argument("--max-pixels", type=int, default=1 << 25, metavar="N", help="most pixels of a picture (default 33554432)")
    return parser


if __name__ == "__main__":
    run_main(main)
