"""What can be scored here: every scorer's environment, weights, device and self-test, and what to run next."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from bench.ask.arguments import add_json, add_scorers
from bench.ask.cli import run_main
from bench.ask.flags import RUNNING, Parser
from bench.ask.kinds import Device
from bench.scorers import registry, servers
from bench.scorers.base import Scorer
from htgrpo.base.device import find_device
from htgrpo.base.errors import EXIT_INCOMPLETE, UserError
from htgrpo.base.values import Text

DESCRIPTION = """\
Lists every registered scorer: where it runs, whether its weights are here, on which device it would run, whether it passes its own
test (it judges a few drawn pictures with a known order), how long a picture of that took, and what to run next. A
test loads the scorer; --quick leaves it out. A scorer on a server (--scorer-url, $HTGRPO_SCORER_URLS) is asked there.
Exit code 0, or 3 where a scorer that was named is not ready.
"""
EXAMPLES = (
    ("", ""),
    ("imagereward clip --device cuda", ""),
    ("unifiedreward --scorer-url unifiedreward=openai+http://HOST:8080", "a scorer on a server"),
)
NOT_RUN = "not run"


@dataclass(frozen=True)
class Finding:
    """One scorer's row. seconds_per_picture: wall time of the self-test by its pictures, the first that the scorer sees
    after it was loaded; None where it was not run or judges none here."""

    scorer: str
    environment: str
    weights: str
    device: str
    self_test: str
    next: str
    seconds_per_picture: float | None = None

    @property
    def ready(self) -> bool:
        """Whether it can be used: its weights are here and no test has failed."""
        return self.weights == "found" and self.self_test in ("passed", NOT_RUN)


def parser() -> Parser:
    """The command line."""
    p = Parser("doctor", DESCRIPTION, EXAMPLES)
    p.flag("scorers SCORER", Text(), "registered scorers (default: all)", nargs="*")
    p.flag(
        "--device", Device(("cpu", "cuda"), numbered=True), "cpu, cuda ... (default: a GPU where there is one)", RUNNING
    )
    add_scorers(p)
    p.switch("--quick", "look for weights only, load nothing", RUNNING)
    add_json(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Prints the table; returns the exit code."""
    args = parser().parse_args(argv)
    servers.use_servers(args.scorer_url)
    names = [
        name if name in servers.servers() else registry.SCORERS.check(name, "SCORER") for name in args.scorers
    ] or servers.names()
    servers.check_asked(args.scorer_url, names)
    device = args.device or find_device()
    findings = [examine(name, registry.SCORERS.get, device, args.quick) for name in names]
    if args.json:
        print(json.dumps([asdict(one) | {"ready": one.ready} for one in findings], indent=2))
    else:
        _print(findings)
    return EXIT_INCOMPLETE if args.scorers and not all(one.ready for one in findings) else 0


def examine(name: str, get: Callable[[str], type[Scorer]], device: str, quick: bool) -> Finding:
    """The row of a scorer. get: from its name to its class. What it raises becomes the row's text, never an end of the
    list."""
    from bench.scorers import opening

    remote, kind = name in servers.servers(), Scorer
    try:
        kind = kind if remote else get(name)
    except UserError as error:
        return Finding(name, "cannot be loaded", "", "", NOT_RUN, error.message)
    script = getattr(kind, "script", None)
    environment = "a server" if remote else f"its own, by uv ({script})" if script else "this one"
    where, use = ("the server's", f"--reward {name}=1") if remote else (device, f"python -m bench.serve {name}")
    try:
        opening.check(name) if remote else kind.find()
    except UserError as error:
        return Finding(name, environment, "no server" if remote else "not found", where, NOT_RUN, error.message)
    if quick:
        return Finding(name, environment, "found", where, NOT_RUN, f"python -m bench.doctor {name}")
    scorer: Scorer | None = None
    seconds = None
    try:
        scorer = opening.load(name, device) if remote else kind.load(device=device)
        started = time.perf_counter()
        failures = scorer.self_test()
        took, pictures = time.perf_counter() - started, scorer.tested_on()
        seconds = took / pictures if pictures else None
        tested, after = ("passed", use) if not failures else ("FAILED", "; ".join(failures))
    except UserError as error:
        tested, after = "cannot start", error.message
    except Exception as error:  # a broken environment or a full GPU is a finding too
        tested, after = "cannot start", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    finally:
        if scorer is not None:
            scorer.close()
    return Finding(name, environment, "found", where, tested, after, seconds)


def _print(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=False)
    if not findings:
        console.print("no scorers are registered: re-install this package (pip install -e .)")
        return
    columns = ("scorer", "environment", "weights", "device", "self-test", "s/picture")
    table = Table(*columns, title="Scorers on this machine")
    for one in findings:
        took = "" if one.seconds_per_picture is None else f"{one.seconds_per_picture:.3g}"
        table.add_row(one.scorer, one.environment, one.weights, one.device, one.self_test, took)
    console.print(table)
    for one in findings:
        console.print(f"{one.scorer}: {one.next}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run_main(main)
