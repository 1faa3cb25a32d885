"""Two gates for a CI: has anything changed, and has quality fallen?"""

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ask import arguments, kinds
from bench.ask.cli import run_main
from bench.ask.flags import OUTPUT, Parser
from htgrpo.base.errors import EXIT_FAILED, EXIT_INCOMPLETE, EXIT_OK, UserError, suggest
from htgrpo.base.registry import METHODS
from htgrpo.base.values import Names, Text
from htgrpo.policies.model_files import EMBEDDED

if TYPE_CHECKING:
    from bench.checking.regression.detector import Changes
    from bench.checking.regression.gate import Outcome
    from reports.run.load import Run

SHIPPED = Path(__file__).parent / "checking" / "regression" / "baselines" / "embedded.json"
DESCRIPTION = """\
Without --gate: the change detector. Frozen prompts and seeds must give frozen tokens for every sampler, and for the policy after
a tiny training of every method; frozen pictures must give frozen verdicts. In fp64 on one thread, to the last bit where the
baseline knows this platform; elsewhere log-probabilities and rewards of the frozen codes within 1e-6. Takes some seconds.

With --gate RUN: the quality gate. Each method's scores in RUN against the stored ones, prompt by prompt: a one-sided paired
permutation test at 5 %, Holm-adjusted over methods. The smallest fall that could have been seen (80 % power) is printed beside it.

Baselines are small JSON files, written with --update.
Exit code: 0 ok, 1 something changed or fell, 2 usage, 3 incomplete (pictures of RUN are missing).
"""
EXAMPLES = (
    ("", ""),
    ("--update", ""),
    ("--gate runs/good --baseline good.json --subset geneval:60 --update", ""),
    ("--gate runs/new --baseline good.json", ""),
)


def parser() -> Parser:
    """The command line."""
    p = Parser("regress", DESCRIPTION, EXAMPLES)
    p.flag("--gate RUN", kinds.RUN, "test the quality of this run instead of looking for changes")
    p.flag("--baseline FILE", kinds.File(there=False), "the stored baseline (default without --gate: the shipped one)")
    p.switch("--update", "write the baseline instead of comparing with it", OUTPUT)
    p.flag(
        "--methods NAMES",
        Names(),
        "comma-separated methods (quality gate: default all of the baseline; change "
        "detector, --update: default all that are registered)",
    )
    p.flag("--policy NAME_OR_PATH", kinds.place, "change detector: the policy to watch (default embedded)")
    p.flag("--prompts N", arguments.COUNT, "change detector, --update: how many prompts (default 32)")
    p.flag(
        "--subset NAME:N",
        kinds.Drawn(2, bare=True),
        "quality gate: N prompts of a benchmark, drawn evenly over its categories by "
        "the hash of their ids, or NAME for all; recorded in the baseline, which is then the default",
    )
    p.flag("--setting NAME", Text(), "quality gate: the generation setting (default main)")
    arguments.add_json(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Runs one gate; returns the exit code."""
    lines = parser()
    args = lines.parse_args(argv)
    if args.gate:
        lines.refuse_all_but(
            args, {"gate", "baseline", "update", "methods", "subset", "setting", "json"}, "with --gate"
        )
        if args.baseline is None:
            raise UserError(
                "--gate needs --baseline FILE: the stored scores to compare with, or with --update to write"
            )
    else:
        update = {"methods", "prompts"} if args.update else set()
        without = "without --gate" if args.update else "without --gate or --update"
        lines.refuse_all_but(args, {"baseline", "update", "policy", "json", *update}, without)
        _check_policy(args)
    if args.baseline is not None and args.update:
        kinds.NewFile()(str(args.baseline), "--baseline")
    elif args.baseline is not None and not args.baseline.is_file():
        raise UserError(f"there is no baseline {str(args.baseline)!r}: make one with --update")
    return _gate(args) if args.gate else _detect(args)


def _check_policy(args: argparse.Namespace) -> None:
    """Raises UserError for a policy without a baseline, or that is not there, and for an unknown method."""
    from bench.ask.weights import inspect

    if args.policy not in (None, EMBEDDED) and args.baseline is None:
        raise UserError(f"--policy is {args.policy!r}, whose baseline does not ship: name its file with --baseline")
    inspect(args.policy or EMBEDDED)
    for name in args.methods or ():
        if name not in METHODS.names():
            raise suggest(name, METHODS.names(), "method in --methods")


def _detect(args: argparse.Namespace) -> int:
    from bench.checking.regression import detector, frozen

    started, path, policy = time.perf_counter(), args.baseline or SHIPPED, args.policy or EMBEDDED
    if args.update:
        old = detector.read(path) if path.is_file() else None
        methods = args.methods or METHODS.names()
        facts = frozen.gather(policy, frozen.chosen(args.prompts or frozen.PROMPTS), methods)
        kept = detector.write(path, facts, old)
        print(
            f"baseline {path}: {'this platform was added' if kept else 'written'} ({len(facts.codes)} prompts, methods "
            f"{', '.join(methods)})"
        )
        return EXIT_OK
    baseline = detector.read(path)
    trained = [name for name in baseline.facts.log_probs if name != "base"]
    facts = frozen.gather(
        policy, frozen.named(baseline.facts.prompts), [METHODS.check(m) for m in trained], baseline.facts.codes
    )
    changes = detector.compare(baseline, facts)
    _print_changes(
        changes, args.json, f"{len(facts.codes)} prompts, methods {', '.join(trained)}", time.perf_counter() - started
    )
    return EXIT_FAILED if changes.found else EXIT_OK


def _print_changes(changes: "Changes", as_json: bool, what: str, seconds: float) -> None:
    if as_json:
        status = "changed" if changes.found else "ok"
        print(
            json.dumps(
                {"status": status, "changes": changes.found, "notes": changes.notes, "exact": changes.exact}, indent=2
            )
        )
        return
    for label, lines in (("changed", changes.found), ("note", changes.notes)):
        for line in lines:
            print(f"{label}: {line}")
    how = "to the last bit" if changes.exact else "within 1e-6: the baseline does not know this platform"
    print(f"{'changed' if changes.found else 'ok'}: {what}, compared {how}, {seconds:.1f} s")


def _gate(args: argparse.Namespace) -> int:
    from bench.checking.regression import gate

    name, count = args.subset or (None, None)
    if args.update:
        if name is None:
            raise UserError("--update needs --subset NAME:N: which prompts of which benchmark the baseline is about")
        stored = gate.measure(_load(args.gate), name, args.setting or "main", count, methods=args.methods)
        gate.write(args.baseline, stored)
        print(f"baseline {args.baseline}: {len(stored.prompts)} prompts of {name}, methods {', '.join(stored.scores)}")
        outcomes = gate.compare(stored, stored, None)
        for one in outcomes:
            print(f"{one.method}: {one.then:.4g}; a fall of {one.visible:.2g} will be found with 80 % power")
        return EXIT_OK
    baseline = gate.read(args.baseline)
    asked: tuple[tuple[str, Any, Any], ...] = (
        ("--subset", args.subset and (name, count), (baseline.benchmark, baseline.subset)),
        ("--setting", args.setting, baseline.setting),
    )
    for flag, given, kept in asked:
        if given is not None and given != kept:
            raise UserError(
                f"{flag} is not that of the baseline {str(args.baseline)!r}, which has {kept!r}: leave it out"
            )
    now = gate.measure(_load(args.gate), baseline.benchmark, baseline.setting, baseline.subset, baseline.prompts)
    outcomes = gate.compare(baseline, now, args.methods)
    _print_outcomes(outcomes, args.json, f"{len(baseline.prompts)} prompts of {baseline.benchmark}")
    return EXIT_FAILED if any(one.regressed for one in outcomes) else EXIT_OK


def _load(folder: Path) -> "Run":
    """The run in `folder`. Raises UserError, with the exit code for incomplete work where nothing has been scored."""
    from reports.run.load import load_run

    if (folder / "config.json").is_file() and not any(folder.glob("verdicts/*/*/*.meta.json")):
        raise UserError(
            f"{str(folder)!r} holds no verdicts yet: score it first with python -m bench.score", EXIT_INCOMPLETE
        )
    return load_run(folder)


def _print_outcomes(outcomes: "list[Outcome]", as_json: bool, what: str) -> None:
    fallen = [one.method for one in outcomes if one.regressed]
    if as_json:
        rows = [{**one.__dict__, "regressed": one.regressed} for one in outcomes]
        print(json.dumps({"status": "regression" if fallen else "ok", "prompts": what, "methods": rows}, indent=2))
        return
    for one in outcomes:
        print(
            f"{'fell' if one.regressed else 'ok'}: {one.method} {one.now:.4g}, was {one.then:.4g} (change {one.change:+.3g}, "
            f"one-sided p {one.p:.3g}, {one.changed} prompts changed); a fall of {one.visible:.2g} is found with 80 % power"
        )
    print(f"{'regression: ' + ', '.join(fallen) if fallen else 'ok'} ({what})")


if __name__ == "__main__":
    run_main(main)
