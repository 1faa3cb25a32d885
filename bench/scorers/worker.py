"""Scorers that live in an environment of their own, seen from here: pictures go over as files, judgements come back as
lines.

A worker that dies, hangs or runs out of memory costs the picture that does it, and nothing else.
"""

import os
import re
import tempfile
import threading
import tomllib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from PIL import Image

from bench.scorers.base import Judged, Scorer, Unscorable
from bench.scorers.weights import revision
from bench.scorers.wire import BMP_MODES, plain, png
from bench.scorers.worker_process import WorkerDied, WorkerProcess
from htgrpo.base.errors import UserError

LOGS = "HTGRPO_LOGS"
"""The environment variable that names the folder for workers' logs: a run's logs/. By default the system's temporary
folder."""
SCRIPTS = Path(__file__).parent / "workers"


def uv_command(script: Path, *arguments: str) -> list[str]:
    """The command that runs a script in the environment that its head asks for, which uv makes on the first run."""
    import uv

    return [uv.find_uv_bin(), "run", "--script", str(script), *arguments]


def pins(script: str) -> dict[str, str]:
    """Package -> version of the dependencies that the head of a script (PEP 723) names with "=="."""
    head = re.search(r"^# /// script$(.*?)^# ///$", script, re.MULTILINE | re.DOTALL)
    text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in head[1].splitlines()) if head else ""
    return dict(name.split("==") for name in tomllib.loads(text).get("dependencies", []) if "==" in name)


def log_file(name: str) -> Path:
    """Where the worker of scorer `name` leaves what it prints."""
    return Path(os.environ.get(LOGS) or tempfile.gettempdir()) / f"worker-{name}-{os.getpid()}.log"


class WorkerScorer(Scorer):
    """A scorer whose process is started now and again after it died, and ended by `close`, with this object or with
    ours."""

    script: ClassVar[str] = ""  # its file in workers/; "": started by a command of its own
    batch_size: int = 16
    timeout: float = 300.0  # seconds without an answer; then the worker hangs
    start_timeout: float = (
        3600.0  # seconds until hello: the first start brings the environment, every start reads the weights
    )
    restarts: int = 3  # deaths in a row, without a judgement between, that are followed by another start

    def __init__(self, command: Sequence[str], log: Path | None = None):
        """Raises UserError where the worker refuses, dies or stays silent before it is ready."""
        self.command, self.log = list(command), Path(log) if log else log_file(self.name)
        self._folder: Path | None = None
        self._lock, self._deaths, self._given_up = threading.Lock(), 0, ""
        try:
            self._process: WorkerProcess | None = self._start()
        except WorkerDied as error:
            raise UserError(str(error)) from error
        self.hello = self._process.hello
        if self.hello.get("name") != self.name:
            self.close()
            said = self.hello.get("name")
            raise UserError(
                f"the worker started for {self.name} says that it is {said!r}: use the script of {self.name}"
            )

    @classmethod
    def load(cls, weights: Path | None = None, device: str = "cpu", dtype: Any = None) -> Self:
        """See Scorer.load; dtype by name."""
        return cls.start(cls.folders(weights), device, dtype)

    @classmethod
    def start(cls, folders: list[Path], device: str = "cpu", dtype: Any = None) -> Self:
        """The scorer with the weights in `folders`, in their order. Raises UserError."""
        dtype_name = str(dtype or "").removeprefix("torch.")
        arguments = {"weights": str(folders[0]), "device": device, "dtype": dtype_name} | cls.arguments(folders)
        scorer = cls(
            uv_command(SCRIPTS / cls.script, *(f"--{key}={value}" for key, value in arguments.items() if value))
        )
        scorer._folder = folders[0]
        return scorer

    @classmethod
    def arguments(cls, folders: list[Path]) -> dict[str, str]:
        """What the script is told beside the weights, the device and the dtype. folders: of `repositories`."""
        return {}

    @cached_property
    def _revision(self) -> str | None:
        return revision(self._folder, self.repositories[0]) if self._folder and self.repositories else None

    def identity(self) -> dict[str, Any]:
        """What the worker says of itself; where it leaves the weights' revision to us, as the scorers of this process
        have it."""
        said = {key: value for key, value in self.hello.items() if key not in ("protocol", "device")}
        return said | {"weights_revision": said.get("weights_revision") or self._revision, "libraries": self.pinned()}

    @classmethod
    def planned_identity(cls) -> dict[str, Any]:
        """Without what the worker will say of its environment."""
        return {
            "name": cls.name,
            "version": cls.version,
            "weights_revision": revision(cls.folders()[0], cls.repositories[0]),
            "libraries": cls.pinned(),
        }

    @classmethod
    def pinned(cls) -> dict[str, str]:
        """The versions that its script asks for (PEP 723)."""
        return pins((SCRIPTS / cls.script).read_text("utf-8")) if cls.script else {}

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Judged]:
        self.check_pairs(images, prompts)
        with tempfile.TemporaryDirectory(prefix="htgrpo-") as folder:
            saved: dict[int, Path | Judged] = {}  # a picture that is asked about several times is written once
            for image in images:
                if id(image) not in saved:
                    saved[id(image)] = _save(image, Path(folder) / str(len(saved)))
            files = [saved[id(image)] for image in images]
            good = [(file, prompt) for file, prompt in zip(files, prompts) if isinstance(file, Path)]
            judged = iter(self.score_files([file for file, _ in good], [prompt for _, prompt in good]))
            return [next(judged) if isinstance(file, Path) else file for file in files]

    def score_files(self, paths: Sequence[Path], prompts: Sequence[str]) -> list[Judged]:
        """`score` for pictures that are files already."""
        self.check_pairs(paths, prompts)
        pairs = enumerate(zip(map(os.path.abspath, paths), prompts))
        items = [{"id": str(number), "path": path, "prompt": prompt} for number, (path, prompt) in pairs]
        found: dict[str, Judged] = {}
        with self._lock:
            for start in range(0, len(items), self.batch_size):
                self._ask(items[start : start + self.batch_size], found)
        return [found[item["id"]] for item in items]

    def close(self) -> None:
        """Ends the worker."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(self, items: list[dict[str, str]], found: dict[str, Judged]) -> None:
        """Adds a judgement of every item to `found`. Items that were on their way when the worker died are asked again
        one by one, so that the one that kills it is found."""
        if self._given_up:
            found |= {item["id"]: Judged.failed(self._given_up) for item in items}
            return
        wanted = {item["id"] for item in items}
        try:
            for answer in self._answers(items):
                if answer.get("id") in wanted and answer["id"] not in found:
                    found[answer["id"]] = judged_answer(answer)
                    self._deaths = 0
        except WorkerDied as error:
            self._mourn(error)
            left = [item for item in items if item["id"] not in found]
            if len(items) == 1:
                found |= {item["id"]: Judged.failed(str(error)) for item in left}
            else:
                for item in left:
                    self._ask([item], found)
        for item in items:
            found.setdefault(
                item["id"], Judged.failed(f"the worker of {self.name} left this picture without an answer")
            )

    def _answers(self, items: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
        if self._process is None:
            try:
                self._process = self._start()
            except UserError as error:
                raise WorkerDied(error.message) from error
            if self._process.hello != self.hello:
                raise WorkerDied(
                    f"the worker of {self.name} changed: it was {self.hello} and came back as {self._process.hello}"
                )
        return self._process.ask(items, self.timeout)

    def _mourn(self, error: WorkerDied) -> None:
        self.close()
        self._deaths += 1
        if self._deaths > self.restarts:
            self._given_up = f"{self.name} was given up after {self._deaths} deaths in a row: {error}"

    def _start(self) -> WorkerProcess:
        return WorkerProcess(self.name, self.command, self.log, self.start_timeout)


def _save(image: Image.Image, path: Path) -> Path | Judged:
    """Writes a picture without loss -> its file, or why that failed."""
    try:
        image = plain(image)
        if image.mode in BMP_MODES:  # BMP is written and read much faster than PNG
            target = path.with_suffix(".bmp")
            image.save(target)
        else:
            target = path.with_suffix(".png")
            target.write_bytes(png(image))
        return target
    except Unscorable as error:
        return Judged.failed(str(error))


def judged_answer(answer: dict[str, Any]) -> Judged:
    """The judgement in a worker's or a server's answer."""
    if error := answer.get("error"):
        return Judged.failed(str(error)[:1000])
    score, evidence = answer.get("score"), answer.get("evidence")
    if isinstance(score, bool) or not isinstance(score, int | float):
        return Judged.failed(f"the answer has no number as its score but {score!r}")
    return Judged.of(score, evidence if isinstance(evidence, dict) else {})
