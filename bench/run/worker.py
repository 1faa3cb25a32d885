"""What a worker process does: one job, with its progress told to the parent as lines of JSON."""

import contextlib
import json
import os
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.benchmarks.evaluation import Evaluation
from bench.record.work import GENERATE, SCORE, Job, Target
from htgrpo.base.errors import EXIT_INCOMPLETE, UserError
from htgrpo.base.files import atomic_write_text
from htgrpo.base.folders import remove
from htgrpo.training.train_config import TrainConfig

if TYPE_CHECKING:
    from htgrpo.parallel.ranks import Ranks
    from htgrpo.policies.policy import Policy

Emit = Callable[[dict[str, Any]], None]
"""Takes {"done": part of the job 0..1, "text": what it is at}."""


def run_in_process(job: Job, connection: Connection) -> None:
    """The main function of a worker: sends events, and last {"end": "ok"|"failed", "sentence", "missing"}.

    Ctrl-C is the parent's to handle. SIGTERM ends the job as an exception would, so that what is half written is
    removed. The parent's death ends it at once: nobody listens, and the next command sweeps.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    watch_parent()

    def emit(event: dict[str, Any]) -> None:
        try:
            connection.send_bytes(json.dumps(event).encode())
        except OSError:
            os._exit(EXIT_INCOMPLETE)  # the parent is dead

    try:
        missing = perform(job, emit)
        emit({"end": "ok", "missing": missing})
    except KeyboardInterrupt:
        os._exit(EXIT_INCOMPLETE)
    except BaseException as error:
        emit({"end": "failed", "sentence": explain(job, error)})
    os._exit(0)  # skips the slow tear-down of libraries; everything written is on disk


def _stop(*_: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def leave_with_parent() -> None:
    """What a pool's worker does first: Ctrl-C is the parent's to handle, whose death ends the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch_parent()


def watch_parent() -> None:
    """From now on this process ends with its parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(EXIT_INCOMPLETE)


def explain(job: Job, error: BaseException) -> str:
    """One sentence about `error`; the traceback of an unexpected one goes to logs/ of the run."""
    if isinstance(error, UserError):
        return error.message
    if "No space left on device" in str(error) or "os error 28" in str(error):
        return f"cannot write below {str(job.run.root)!r}: the disk is full; free some space and run the same command again"
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "memory ran out: use fewer --jobs, or a smaller --set group_size or tokens_per_forward"
    path = _log(job)
    with contextlib.suppress(Exception):
        atomic_write_text(path, "".join(traceback.format_exception(error)))
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:200]} (the details are in {path})"


def _log(job: Job) -> Path:
    """Where the details of an unexpected failure of `job` are told."""
    return job.run.root / "logs" / f"{job.name.replace(' ', '-')}.txt"


def perform(job: Job, emit: Emit, ranks: "Ranks | None" = None) -> list[str]:
    """Trains, generates and scores; returns a sentence for every set of pictures without full coverage. Several `ranks`
    do so together."""
    from htgrpo.parallel.ranks import ALONE

    ranks = ranks or ALONE
    with ranks.phase():
        missing = _perform(job, emit, ranks)
        if ranks.is_main:  # what an earlier try has told is no longer true
            remove(_log(job).parent, [_log(job).name])
        return missing


def _perform(job: Job, emit: Emit, ranks: "Ranks") -> list[str]:
    from htgrpo.base import cpu

    cpu.tune(job.threads)
    emit({"done": 0.0, "text": "starting"})
    targets = list(job.targets)
    share = job.train_seconds / max(job.seconds, 1e-9) if job.config else 0.0
    if job.config:
        targets = _train(job, job.config, share, emit)
    return _evaluate(job, targets, lambda part, text: emit({"done": share + (1 - share) * part, "text": text}), ranks)


def _evaluate(job: Job, targets: list[Target], tell: Callable[[float, str], None], ranks: "Ranks") -> list[str]:
    """Generates and scores `targets`, pictures that several benchmarks judge only once; tell gets the part done and a
    text."""
    from bench.benchmarks.base import PictureBenchmark, TextBenchmark
    from bench.benchmarks.registry import make

    benchmarks = {one.benchmark: make(one.benchmark) for one in job.evaluations}
    for benchmark in benchmarks.values():
        benchmark.device = job.device
    steps = [(target, lot) for target in targets for lot in _by_pictures(target.asked(job.evaluations))]
    missing, policies = [], _Policies(job)
    for index, (target, lot) in enumerate(steps):
        lot = [one for one in lot if not _already(job, target, one, benchmarks[one.benchmark])]
        if not lot:
            continue
        first = lot[0]
        where = f"{target.name} {first.drawn.name}/{first.setting}"

        def show(
            text: str, begun: float = 0.0, share: float = 1.0, index: int = index, where: str = where
        ) -> Callable[[float], None]:
            return lambda part: tell((index + begun + share * part) / len(steps), f"{text} {where}")

        benchmark = benchmarks[first.benchmark]
        if isinstance(benchmark, TextBenchmark):
            if SCORE in job.stages:
                from bench.judge.examining import examine

                show("ask")(0.0)
                examine(job.run, target, first, benchmark, policies.of(target), show("ask"), ranks)
            continue
        if GENERATE in job.stages:
            from bench.judge.images import generate

            show("generate")(0.0)
            folder = job.run.images(target.name, first.drawn.name, first.setting)
            generate(policies.of(target), first, folder, show("generate", 0.0, 0.8), ranks)
        if SCORE in job.stages:
            from bench.judge.judging import score

            judges = {name: one for name, one in benchmarks.items() if isinstance(one, PictureBenchmark)}
            judging = show("score", 0.8, 0.2)
            judging(0.0)
            found = score(job.run, target, lot, judges, judging, ranks)
            missing += [
                f"{target.name} {name}/{first.setting}: {one.missing} of {one.expected} pictures have no verdict "
                f"({one.reason})"
                for name, one in found.items()
                if one.missing
            ]
    for benchmark in benchmarks.values():
        benchmark.close()
    return missing


def _by_pictures(evaluations: tuple[Evaluation, ...]) -> list[list[Evaluation]]:
    """Evaluations in lots that judge the same pictures."""
    lots: dict[tuple[str, str], list[Evaluation]] = {}
    for one in evaluations:
        lots.setdefault((one.drawn.name, one.setting), []).append(one)
    return list(lots.values())


class _Policies:
    """Loads policies of `job`, and lets go of each before the next one is there."""

    def __init__(self, job: Job):
        self._job = job
        self._held: dict[str, Policy] = {}

    def of(self, target: Target) -> "Policy":
        """The policy of `target`."""
        if target.source not in self._held:
            self._held.clear()
            self._held[target.source] = _load(self._job, target.source, target.revision)
        return self._held[target.source]


def _load(job: Job, source: str, revision: str, dtype: str = "auto") -> "Policy":
    """The policy at `source` on the job's device, its weights in `dtype`."""
    from htgrpo.policies.storage import load_policy

    return load_policy(source, job.device, backbone=job.backbone, revision=revision or None, dtype=dtype)


def _already(job: Job, target: Target, evaluation, benchmark) -> bool:
    """Whether a scoring job finds its verdicts there already, with the pictures that they are about."""
    from bench.record.pictures import is_generated
    from bench.record.verdicts import is_scored

    if SCORE not in job.stages or not is_scored(job.run, target, evaluation, benchmark):
        return False
    folder = job.run.images(target.name, evaluation.drawn.name, evaluation.setting)
    return GENERATE not in job.stages or evaluation.of_policy or is_generated(folder, evaluation, target.sha256)


def _train(job: Job, config: TrainConfig, share: float, emit: Emit) -> list[Target]:
    """Trains until every budget is reached and returns the policies that the run's views show."""
    from bench.run.progress import Iterations
    from bench.run.views import trained_targets
    from htgrpo.training.trainer import train

    iterations = Iterations()
    last = {"reward": ""}

    def on_progress(event: dict[str, Any]) -> None:
        value = event.get("reward_mean")
        if value is not None:
            last["reward"] = f", reward {value:.3f}"
        elif event.get("loss") is not None:
            last["reward"] = f", loss {event['loss']:.3f}"
        phase = "" if event["phase"] == "done" else f" {event['phase']}"
        emit(
            {
                "done": share * iterations.done(event),
                "text": f"train iteration {event['iteration']}{phase}{last['reward']}",
            }
        )

    out = job.run.train(config.method, config.seed)
    policy = _load(job, job.policy, job.revision, config.weights_dtype)
    reached = train(policy, config, list(job.prompts), out, job.report_to, on_progress).reached
    return trained_targets(job.run, config, reached)
