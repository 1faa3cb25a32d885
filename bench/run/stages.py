"""bench.generate and bench.score: one stage, on a run that exists or on weights named on the command line."""

import argparse

from bench.ask import arguments, kinds
from bench.ask.flags import Parser

OF_A_RUN = ("run", "device", "jobs", "scorer_url", "dry_run", "gpu", "json")
"""What can be said of a run that is there."""


def stage_parser(command: str, description: str, examples: tuple[tuple[str, str], ...], after: str = "") -> Parser:
    """The command line of a stage."""
    p = Parser(command, description, examples, after)
    p.flag("run RUN", kinds.RUN, "a run folder: its own policies, benchmarks and settings are used", nargs="?")
    arguments.add_start(p)
    arguments.add_checkpoints(p)
    arguments.add_benchmarks(p)
    arguments.add_overrides(p, common=False)
    arguments.add_preset(p, "whose benchmarks and generation settings are the defaults, where no RUN is named")
    arguments.add_out(p, "RUN")
    arguments.add_running(p)
    p.set_defaults(methods=["base"], seeds=None, budget=None, claim=None, margin=None, reward=None, train_prompts=None)
    return p


def run_stage(args: argparse.Namespace, parser: Parser, stages: tuple[str, ...]) -> int:
    """Runs `stages`. Raises UserError when both or neither of a run and weights are named."""
    from bench.ask.asked import check_card, from_arguments
    from bench.ask.options import Options
    from bench.ask.weights import inspect
    from bench.record.rundir import RunDir
    from bench.run.loop import execute
    from htgrpo.base.errors import UserError

    options = Options.of(args, *stages)
    if args.run is None:
        if args.out is None:
            raise UserError(
                "no run is named: give a run folder, or --checkpoint METHOD=PATH with --benchmarks and --out"
            )
        return execute(from_arguments(args).told().request, args.out, options)
    parser.refuse_all_but(args, OF_A_RUN, f"with the run {str(args.run)!r}, which has its own settings")
    request = RunDir(args.run).request()
    check_card(args.gpu, args.dry_run, request.backbone)
    known = [
        (request.policy, request.revision, request.policy_sha256),
        *((i["path"], "", i["sha256"]) for items in request.checkpoints.values() for i in items),
    ]
    for source, revision, sha256 in known:
        if inspect(source, request.backbone, revision or None).sha256 != sha256:
            raise UserError(
                f"the weights {source!r} are not those that {str(args.run)!r} was made with: restore them, or start a new run"
            )
    return execute(request, args.run, options)
