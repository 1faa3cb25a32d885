"""The views of a run: which checkpoint of every training each of them shows. Equal seconds are chosen once, and written
down."""

from pathlib import Path
from typing import Any

from bench.ask.request import Request
from bench.ask.weights import inspect
from bench.record.rundir import EQUAL_SECONDS, RunDir
from bench.record.work import Target
from htgrpo.base.errors import UserError
from htgrpo.base.files import atomic_json
from htgrpo.base.records import FINAL, MILESTONE, log_lines
from htgrpo.training.train_config import SECONDS, TrainConfig, parse_budgets


def trained_targets(run: RunDir, config: TrainConfig, reached: dict[str, int]) -> list[Target]:
    """The policies that the views of a training show, each once, that of the main view first. reached: iteration by
    budget."""
    main = parse_budgets(config.budget)[0].text
    iterations = dict.fromkeys(sorted(reached.values(), key=lambda iteration: iteration != reached.get(main)))
    return [target_at(run, config, iteration, reached.get(main)) for iteration in iterations]


def target_at(run: RunDir, config: TrainConfig, iteration: int, main: int | None) -> Target:
    """The policy of a training at one of its checkpoints. main: the iteration that the main view shows."""
    weights = inspect(str(run.train(config.method, config.seed) / "checkpoints" / f"step_{iteration:06d}"))
    own, name = iteration == main, f"{config.method}-seed{config.seed}"
    return Target.of(
        weights, name if own else f"{name}@{iteration}", config.method, config.seed, FINAL if own else MILESTONE
    )


def equal_seconds(run: RunDir, request: Request, dry: bool) -> list[tuple[TrainConfig, int, dict[str, int]]]:
    """(settings, iteration, reached) of every training in the view at equal seconds; nothing before all trainings are
    done.

    The limit is what the quickest training took in all; each shows the last checkpoint it had saved by then. Once
    chosen and written down (unless `dry`), neither limit nor checkpoints move; trainings that are added later are held
    to the same limit.
    """
    from bench.record.trainings import training_of

    if SECONDS not in request.views:
        return []
    trainings = {(m, s): training_of(run, request, m, s) for m in request.methods for s in request.seeds}
    if len(request.methods) < 2 or not all(training.done for training in trainings.values()):
        return []
    from reports.run.views import read_chosen

    clocks = {pair: _clock(run, *pair) for pair in trainings}
    record = read_chosen(run.root)
    if record is None:
        quickest = min(clocks, key=lambda pair: max(clocks[pair].values()))
        record = {"limit": max(clocks[quickest].values()), "of": _name(*quickest), "checkpoints": {}}
    known = record["checkpoints"]
    chosen = {
        pair: known[_name(*pair)]
        if _name(*pair) in known
        else _last_within(clocks[pair], run.train(*pair), record["limit"])
        for pair in trainings
    }
    new = {**record, "checkpoints": {**known, **{_name(*pair): one for pair, one in chosen.items()}}}
    if not dry and new != read_chosen(run.root):
        atomic_json(run.root / EQUAL_SECONDS, new)
    return [
        (request.config(*pair), one["iteration"], trainings[pair].reached)
        for pair, one in chosen.items()
        if one["iteration"]
    ]


def _name(method: str, seed: int) -> str:
    return f"{method} seed {seed}"


def _clock(run: RunDir, method: str, seed: int) -> dict[int, float]:
    """Iteration -> training seconds up to its end."""
    path = run.train(method, seed) / "timing.jsonl"
    lines = log_lines(path)
    if not lines:
        raise UserError(
            f"{str(path)!r} holds no times, which equal seconds are chosen by: train {method} again, or leave "
            f"{SECONDS} out of --budget"
        )
    return {line["iteration"]: line["seconds_total"] for line in lines}


def _last_within(clock: dict[int, float], training: Path, limit: float) -> dict[str, Any]:
    """The last saved checkpoint that was reached within `limit` seconds."""
    from htgrpo.training.checkpoints import saved

    saves = [int(folder.name.removeprefix("step_")) for folder in saved(training)]
    if missing := [save for save in saves if save not in clock]:
        raise UserError(
            f"{str(training / 'timing.jsonl')!r} lacks the time of iteration {missing[0]}, which was saved: "
            f"restore it, or delete the folder {str(training)!r} and train again"
        )
    iteration = max((save for save in saves if clock[save] <= limit), default=0)
    return {"iteration": iteration, "seconds": clock.get(iteration, 0.0)}
