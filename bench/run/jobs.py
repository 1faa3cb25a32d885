"""A pool of worker processes, one per job: a job that dies takes no other with it, and its peak memory is its own."""

import contextlib
import json
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, cast

from bench.record.work import Job
from bench.run.worker import Emit, explain, perform, run_in_process

if TYPE_CHECKING:
    from htgrpo.parallel.ranks import Ranks

Do = Callable[[Job, Emit, "Ranks | None"], list[str]]
PATIENCE = 10.0
"""Seconds a stopped worker may take to clean up before it is killed."""


@dataclass(frozen=True)
class Ended:
    """How a job ended. sentence: why it failed, None when it did not; missing: sentences about pictures without a
    verdict."""

    job: Job
    sentence: str | None
    missing: list[str]


@dataclass
class _Running:
    job: Job
    process: multiprocessing.process.BaseProcess
    ended: Ended | None = None


def run_jobs(jobs: list[Job], at_once: int, on_event: Callable[[Job, dict[str, Any]], None]) -> list[Ended]:
    """Runs all jobs, the longest first, `at_once` together. Ctrl-C (or any exception in here) stops every worker first.

    on_event gets the events of worker.perform and, when a job ends, {"end": "ok"|"failed", "sentence", "missing"}.
    """
    waiting = sorted(jobs, key=lambda job: -job.seconds)
    running: dict[Connection, _Running] = {}
    ended: list[Ended] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                connection, worker = _start(waiting.pop(0))
                running[connection] = worker
            for ready in wait(list(running), timeout=0.5):
                connection = cast(Connection, ready)
                worker = running[connection]
                event = _receive(connection, worker)
                if "end" in event:
                    worker.ended = Ended(worker.job, event.get("sentence"), event.get("missing", []))
                    worker.process.join(PATIENCE)
                    connection.close()
                    del running[connection]
                    ended.append(worker.ended)
                on_event(worker.job, event)
    finally:
        _stop([worker.process for worker in running.values()])
    return ended


def run_here(
    jobs: list[Job], on_event: Callable[[Job, dict[str, Any]], None], ranks: "Ranks | None" = None, do: Do = perform
) -> list[Ended]:
    """Like run_jobs, but one after the other in this process. Several `ranks` do every job together. do: does a job, as
    worker.perform."""
    ended = []
    for job in jobs:
        sentence, missing = None, []
        try:
            missing = do(job, partial(on_event, job), ranks)
        except Exception as error:
            sentence = explain(job, error)
        on_event(job, {"end": "failed" if sentence else "ok", "sentence": sentence, "missing": missing})
        ended.append(Ended(job, sentence, missing))
    return ended


def _start(job: Job) -> tuple[Connection, _Running]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=run_in_process, args=(job, theirs), daemon=True, name=job.name)
    with _without_ctrl_c():
        process.start()
    theirs.close()
    return ours, _Running(job, process)


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """A child started in here never sees Ctrl-C (it inherits the mask); ours is only delayed until the end of the
    block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _receive(connection: Connection, worker: _Running) -> dict[str, Any]:
    """The next event of a worker; one that ended without a word has failed."""
    try:
        return json.loads(connection.recv_bytes())
    except (EOFError, OSError):
        worker.process.join(PATIENCE)
        code = worker.process.exitcode
        why = (
            "was killed, often because memory ran out: use fewer --jobs"
            if code == -signal.SIGKILL
            else f"ended with exit code {code}"
        )
        return {"end": "failed", "sentence": f"its worker process {why}"}


def _stop(processes: list[multiprocessing.process.BaseProcess]) -> None:
    """Ends workers: asked first, so that they remove what is half written, then killed."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + PATIENCE
    try:
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
                process.join()
