"""How many pictures a second scorers judge here, and what a worker process or a server costs on top. Random weights
throughout, so that no score is shown: only rates. Called by `python -m bench.speed --scorers NAMES`."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from bench.cost.random_scorers import MAKERS, random_scorer
from bench.scorers.base import Scorer
from bench.scorers.worker import WorkerScorer
from htgrpo.base.errors import UserError, suggest

SIDE, BATCH = 512, 16
PROMPT = "a photo of a red cup and a blue dog"
SPEC = json.dumps({"tag": "two_object", "include": [{"class": "cup", "count": 1}, {"class": "dog", "count": 1}]})
OVERHEAD = "imagereward"
"""The scorer that the ways to reach one are measured with."""


@dataclass(frozen=True)
class Rate:
    """One scorer in this process. seconds: of CPU, of a picture's preparation by itself, None where that is no step of
    its own."""

    scorer: str
    size: str
    images_per_second: float
    cpu_seconds_per_image: float
    preparation_ms: float | None
    note: str = ""


@dataclass(frozen=True)
class Way:
    """One way to reach the same scorer, measured in turns with the others. overhead, cpu_overhead: over in-process, as
    parts of it; medians over rounds."""

    way: str
    images_per_second: float
    overhead: float
    cpu_overhead: float


def measure(names: Sequence[str], device: str, rounds: int, overhead: bool) -> dict[str, Any]:
    """{"weights", "device", "rates": [Rate], "ways": [Way]}. Raises UserError for names without a maker."""
    for name in names:
        if name not in MAKERS:
            raise suggest(name, MAKERS, "scorer to measure")
    rates = [asdict(rate(name, device, rounds)) for name in names]
    ways = [asdict(one) for one in measure_ways(OVERHEAD, device, rounds)] if overhead else []
    about = {"weights": "random weights", "device": device, "pictures": f"{SIDE} x {SIDE}", "batch": BATCH}
    return about | {"rates": rates, "ways": ways}


def drawn(count: int) -> list[Image.Image]:
    """Smooth pictures with some noise, about as hard to compress as photographs."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(count):
        blocks = Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        smooth = blocks.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        noisy = np.asarray(smooth, np.int16) + generator.integers(-6, 7, (SIDE, SIDE, 3), dtype=np.int16)
        found.append(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))
    return found


def rate(name: str, device: str, rounds: int) -> Rate:
    """The rate of one scorer, the best of `rounds` after a warm-up."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            scorer, size = random_scorer(name, device, Path(folder))
        except UserError as error:
            return Rate(name, MAKERS[name][1], 0.0, 0.0, None, f"not measured: {error.message}")
        pictures = drawn(BATCH)
        judge = (
            _colours_too(scorer) if name == "geneval" else lambda images: scorer.score(images, [PROMPT] * len(images))
        )
        judge(pictures[:1])
        wall, cpu = zip(*(_timed(lambda: judge(pictures)) for _ in range(rounds)))
        prepare = getattr(scorer, "prepare", None)
        preparation = min(_timed(lambda: prepare(pictures[0], PROMPT))[0] for _ in range(5)) * 1000 if prepare else None
        note = "of every picture the objects, and the colour of one" if name == "geneval" else ""
        return Rate(name, size, BATCH / min(wall), min(cpu) / BATCH, preparation, note)


def _colours_too(scorer: Any) -> Any:
    """GenEval's work on pictures; a random detector finds nothing, so that each picture's left half stands for an
    object."""
    from bench.scorers.geneval.detector import Detection

    mask = np.zeros((SIDE, SIDE), bool)
    mask[:, : SIDE // 2] = True
    half = Detection("cup", 1.0, (0.0, 0.0, SIDE / 2, float(SIDE)), mask)

    def judge(images: Sequence[Image.Image]) -> None:
        arrays = [np.asarray(image) for image in images]
        scorer.detector.detect(arrays)
        for array in arrays:
            scorer.colours.of(array, half)

    return judge


def measure_ways(name: str, device: str, rounds: int) -> list[Way]:
    """In this process, in a worker, behind HTTP: in turns, `rounds` times."""
    from bench.scorers.remote import RemoteScorer
    from bench.scorers.web import Connection

    pictures, prompts = drawn(BATCH), [PROMPT] * BATCH
    with tempfile.TemporaryDirectory() as folder, _server(name, device) as (url, server):
        here, _ = random_scorer(name, device, Path(folder))
        kind = type("Worker", (WorkerScorer,), {"name": name, "load": None, "batch_size": BATCH})
        with kind(_command("worker", name, device)) as worker:
            remote = RemoteScorer(name, Connection(url))
            ways: dict[str, tuple[Scorer, int | None]] = {
                "in process": (here, None),
                "worker": (worker, worker._process._process.pid),
                "HTTP": (remote, server),
            }
            for scorer, _ in ways.values():
                scorer.score(pictures[:1], prompts[:1])
            found = [
                {way: _timed(lambda one=one: one[0].score(pictures, prompts), one[1]) for way, one in ways.items()}
                for _ in range(rounds)
            ]
    return [_way(way, found) for way in ways]


def _way(way: str, found: list[dict[str, tuple[float, float]]]) -> Way:
    wall, cpu = ([one[way][part] / one["in process"][part] - 1 for one in found] for part in (0, 1))
    seconds = statistics.median(one[way][0] for one in found)
    return Way(way, BATCH / seconds, statistics.median(wall), statistics.median(cpu))


def _timed(work: Any, child: int | None = None) -> tuple[float, float]:
    """Seconds and CPU seconds of some work, those of a child process (and of its own) included."""

    def spent() -> float:
        processes = [psutil.Process(child), *psutil.Process(child).children(recursive=True)] if child else []
        return time.process_time() + sum(sum(one.cpu_times()[:2]) for one in processes)

    wall, cpu = time.perf_counter(), spent()
    work()
    return time.perf_counter() - wall, spent() - cpu


def _command(role: str, name: str, device: str) -> list[str]:
    import torch

    return [sys.executable, "-m", "bench.cost.speed_scorers", role, name, device, str(torch.get_num_threads())]


@contextmanager
def _server(name: str, device: str) -> Iterator[tuple[str, int]]:
    """The address of a server in a process of its own, and that process."""
    process = subprocess.Popen(_command("server", name, device), stdout=subprocess.PIPE, text=True)
    try:
        port = process.stdout.readline().strip()
        if not port.isdigit():
            raise UserError(f"the server of {name} did not start; what it said is above")
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait()


def _serve(role: str, name: str, device: str, threads: str) -> None:
    """The other side: a worker or a server of a random scorer, until it is ended."""
    import torch

    torch.set_num_threads(int(threads))
    with tempfile.TemporaryDirectory() as folder:
        scorer, _ = random_scorer(name, device, Path(folder))
        if role == "server":
            from bench.scorers.serving import ScoringServer

            scorer.identity = lambda: {"name": name, "weights_revision": None}
            with ScoringServer(scorer) as server:
                print(server.server_port, flush=True)
                server.serve_forever()
        from bench.scorers.workers import htgrpo_worker

        def score(images: list[Image.Image], prompts: list[str]) -> list[tuple[float, dict]]:
            return [(one.score, one.evidence) for one in scorer.score(images, prompts)]

        sys.argv = [sys.argv[0], f"--device={device}"]
        about = {"name": name, "version": "1", "weights_revision": "random", "dtype": "float32"}
        htgrpo_worker.main(lambda arguments: (about, score))


def render(result: dict[str, Any]) -> str:
    """The table a person reads."""
    about = f"{result['weights']}, {result['device']}, {result['pictures']} pixels, batches of {result['batch']}"
    lines = [f"{about}: rates, no scores", "", f"{'scorer':14} {'images/s':>9} {'CPU s/image':>12} {'to prepare':>11}"]
    for one in result["rates"]:
        if not one["images_per_second"]:
            lines.append(f"{one['scorer']:14} {one['note']}")
            continue
        prepared = f"{one['preparation_ms']:8.1f} ms" if one["preparation_ms"] else ""
        note = f"; {one['note']}" if one["note"] else ""
        lines.append(
            f"{one['scorer']:14} {one['images_per_second']:9.2f} {one['cpu_seconds_per_image']:12.3f} {prepared:>11}  "
            f"({one['size']}, {result['weights']}{note})"
        )
    if result["ways"]:
        lines += ["", f"{OVERHEAD:14} {'images/s':>9} {'overhead':>9} {'of CPU':>8}"]
        lines += [
            f"{one['way']:14} {one['images_per_second']:9.2f} {one['overhead']:9.1%} {one['cpu_overhead']:8.1%}"
            for one in result["ways"]
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    _serve(*sys.argv[1:5])
