"""What a run will be able to see, from what differences varied with in earlier ones."""

import json
from dataclasses import asdict
from pathlib import Path

from bench.ask import arguments, kinds
from bench.ask.cli import run_main
from bench.ask.flags import OUTPUT, Parser
from bench.ask.width import fitted

DESCRIPTION = """\
Measures what the differences of trained methods vary with in a finished run: with the training seed, with the prompt, with
both, and with the picture. Of these variances follows how small a difference another run can see and how close to equal it
can call two methods, which --dry-run of every command says. Where two benchmarks judge the same pictures, such as a verdict
and its continuous read-out, it says how well each knows the same differences, and which needs fewer prompts for them.

The shipped ones (bench/ask/presets/variance.json) were written by --write on the run that they name.
"""
EXAMPLES = (("runs/study", "the variances, and what seeds, prompts and pictures would see"), ("runs/study --write", ""))


def parser() -> Parser:
    """The command line."""
    p = Parser("power", DESCRIPTION, EXAMPLES)
    p.flag("run RUN", kinds.RUN, "a finished run of at least two methods with two training seeds each")
    p.switch("--write", "make them the ones that plans are made with", OUTPUT)
    arguments.add_json(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Measures, prints and writes."""
    args = parser().parse_args(argv)
    from bench.cost import power
    from htgrpo.base.errors import UserError
    from reports.findings.readouts import NOTE, readouts
    from reports.findings.spread import components
    from reports.run.load import load_run

    run = load_run(Path(args.run))
    found, both = components(run), readouts(run)
    if not found and (args.write or not both):
        raise UserError(
            f"{str(args.run)!r} has no benchmark on which two trained methods have two training seeds in common: give a "
            "run that has"
        )
    record = power.record(run, found)
    if args.write:
        power.write(record)
    if args.json:
        print(json.dumps({**record, "same_pictures": [asdict(one) for one in both]}, indent=2))
        return 0
    print(
        fitted([*power.table(found), *(line for one in both for line in power.beside(one)), *([NOTE] if both else [])])
    )
    return 0


if __name__ == "__main__":
    run_main(main)
