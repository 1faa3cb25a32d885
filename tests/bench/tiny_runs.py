"""Runs small enough for tests: a random policy of one layer, pictures in two steps, a few prompts."""

import json
from pathlib import Path

from bench import compare
from bench.ask.cli import run_main
from htgrpo.base.errors import EXIT_OK
from htgrpo.base.rng import generator
from htgrpo.policies import storage
from htgrpo.training.pretraining import TinySize, new_policy
from htgrpo.world.world import find
from reports.findings import costs
from reports.findings.analysis import analyse
from reports.run.blocks import make_blocks
from reports.run.load import load_run
from reports.tables import text as tables

SMALL = (
    "--set group_size=2 --set prompts_per_iteration=2 --set steps=2 --set pretrain.updates_per_iteration=1 "
    "--set pretrain.batch=4 --set main.steps=2 --set main.samples=1 --limit 7"
).split()


def save_policy(folder: Path, d_model: int = 16) -> Path:
    """A random policy of the embedded world."""
    size = TinySize(d_model=d_model, n_layers=1, n_heads=2, mlp_hidden_size=32)
    storage.save_policy(new_policy(find(), size, generator("tiny policy", d_model)), folder)
    return folder


def arguments(policy: Path, out: Path, *more: str, budget: str = "iterations:2", jobs: int = 0) -> list[str]:
    """A command line of bench.compare for a tiny run, without worker processes unless asked for."""
    return ["--policy", str(policy), "--out", str(out), "--budget", budget, "--jobs", str(jobs), *SMALL, *more]


def run_compare(policy: Path, out: Path, *more: str, expect: int = EXIT_OK, **how) -> None:
    """Runs bench.compare in this process and checks its exit code."""
    assert compare.main(arguments(policy, out, *more, **how)) == expect


def leave(main, argv: list[str]) -> int:
    """The exit code a command leaves with, through the error handling that all commands share."""
    try:
        run_main(lambda: main(argv))
    except SystemExit as done:
        return int(done.code)
    raise AssertionError("the command did not exit")


def records(path: Path) -> list[dict]:
    """The records of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def tree(root: Path) -> dict[str, tuple[int, int]]:
    """Size and modification time of every file below `root`."""
    return {str(p.relative_to(root)): (p.stat().st_size, p.stat().st_mtime_ns) for p in root.rglob("*") if p.is_file()}


def print_quickly(run, options) -> dict:
    """The report's text without its figures, which take seconds to draw."""
    found = load_run(run.root)
    results = [analyse(block) for block in make_blocks(found)]
    print(tables.terminal(found.title, results, costs.costs(found), ""))
    return {}


def fail(prompts, completions, specs, **_):
    """A reward that breaks."""
    raise RuntimeError("the scorer fell over")
