"""Runs cases side by side, each result kept as it comes: what is done once is not done again."""

import contextlib
import os
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from bench.campaign.cases import Case, Ground, Outcome
from htgrpo.base.files import append_jsonl, read_jsonl

Result = dict[str, Any]
"""{"name", "group", "seconds", "faults", "value"} of a case."""
MEMORY = 16 << 30
"""Bytes of address space that a worker may use: a nonsensical size ends in MemoryError, not in a dead machine."""


class TookTooLong(BaseException):
    """A case is over its time. No `except Exception` hides it."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises TookTooLong in the block after `seconds`; in the main thread only."""

    def ring(*_: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, 1.0)  # again, should somebody swallow it
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def settle(log: Path, cpus: Any) -> None:
    """What a worker does first: one core, its own output into a file, an end with its parent."""
    import resource

    from bench.run.worker import leave_with_parent

    leave_with_parent()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cpus.get()})
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY if hard == resource.RLIM_INFINITY else min(hard, MEMORY), hard))
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(stream, 1), os.dup2(stream, 2)


def perform(case: Case, ground: Ground) -> Result:
    """Runs one case in a folder of its own."""
    scratch = Path(tempfile.mkdtemp(prefix="case-", dir=ground.root))
    started, outcome = time.monotonic(), Outcome()
    try:
        with limited(case.limit):
            outcome = case.run(ground, scratch)
    except TookTooLong:
        outcome.add("stuck", f"not at an end after {case.limit:.0f} s")
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        outcome.add("broken", f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {"name": case.name, "group": case.group, "seconds": round(time.monotonic() - started, 1), **outcome.record()}


def kept(file: Path) -> dict[str, Result]:
    """The results that are there already, by the name of their case."""
    return {result["name"]: result for result in read_jsonl(file)} if file.is_file() else {}


def run(
    cases: list[tuple[Path, Case]], ground: Ground, jobs: int, until: float, tell: Callable[[Result], None]
) -> None:
    """Runs cases with `jobs` workers and adds each result to its file; starts none after the moment `until`. A case
    that takes its worker down is tried once more, alone."""
    left, alone = list(reversed(cases)), []
    with _workers(ground, jobs) as pool:
        pending: dict[Future, tuple[Path, Case]] = {}
        while pending or left:
            while left and len(pending) < jobs and time.monotonic() < until:
                file, case = left.pop()
                pending[pool.submit(perform, case, ground)] = (file, case)
            if not pending:
                return
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                file, case = pending.pop(future)
                try:
                    _keep(file, future.result(), tell)
                except BrokenProcessPool:
                    alone.append((file, case))
            if alone:
                alone += pending.values()
                break
    for file, case in alone:
        with _workers(ground, 1) as pool:
            try:
                _keep(file, pool.submit(perform, case, ground).result(), tell)
            except BrokenProcessPool:
                outcome = Outcome()
                outcome.add("stuck", "it takes the whole process down")
                _keep(file, {"name": case.name, "group": case.group, "seconds": 0.0, **outcome.record()}, tell)
    if alone:
        run(list(reversed(left)), ground, jobs, until, tell)


def _keep(file: Path, result: Result, tell: Callable[[Result], None]) -> None:
    append_jsonl(file, result)
    tell(result)


@contextlib.contextmanager
def _workers(ground: Ground, jobs: int) -> Iterator[ProcessPoolExecutor]:
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    cpus = context.SimpleQueue()
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    for number in range(4 * jobs):
        cpus.put(available[number % len(available)])
    os.environ["OMP_NUM_THREADS"] = "1"
    pool = ProcessPoolExecutor(
        jobs, mp_context=context, initializer=settle, initargs=(ground.root / "workers.log", cpus)
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list((pool._processes or {}).values()):
            process.terminate()
