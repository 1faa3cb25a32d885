"""A scorer's process in an environment of its own: started, asked, watched and ended. workers/htgrpo_worker.py has the
protocol."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from bench.scorers.workers.htgrpo_worker import MARK, PROTOCOL
from htgrpo.base.errors import UserError

LONGEST_LINE = 1 << 22
GRACE = 5.0
"""Seconds a worker has to end by itself."""
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")  # these would lead our packages into the worker's environment


class WorkerDied(Exception):
    """The worker ended, went silent or broke the protocol; the message is one sentence. Its process is gone."""


class WorkerProcess:
    """A running worker that has said hello. hello: what it said. Raises WorkerDied, and UserError where the worker
    refuses."""

    def __init__(self, name: str, command: Sequence[str], log: Path, start_timeout: float):
        self.name, self.log = name, log
        self._batch, self._chatter, self._log_start = 0, 0, log.stat().st_size if log.exists() else 0
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if k not in FOREIGN} | {"PYTHONUNBUFFERED": "1"}
        with open(log, "ab") as stderr:
            try:
                # its own session, hence its own group: Ctrl-C is ours to handle, and the group can be ended as one
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    start_new_session=True,
                    env=environment,
                )
            except OSError as error:
                raise WorkerDied(f"the worker of {name} cannot be started: {error}") from error
        assert self._process.stdin and self._process.stdout  # both are pipes
        self._input = self._process.stdin
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        self._senders: list[threading.Thread] = []
        self.close = weakref.finalize(self, _end, self._process, self._reader, self._senders)
        self.hello = self._handshake(start_timeout)

    def ask(self, items: list[dict[str, str]], timeout: float) -> Iterator[dict[str, Any]]:
        """Yields the answers to {"id", "path", "prompt"} items as they come, in the worker's order.

        timeout: seconds of silence before the worker counts as hanging. Raises WorkerDied; what was yielded before
        stays good.
        """
        self._batch += 1
        message = json.dumps({"batch": self._batch, "items": items}).encode() + b"\n"
        self._senders[:] = [threading.Thread(target=self._send, args=(message,), daemon=True)]
        self._senders[0].start()  # beside us, since a worker that hangs does not read either
        while True:
            answer = self._next(timeout, f"gave no answer for {timeout:g} s")
            if answer.get("batch") != self._batch:
                continue
            if answer.get("done"):
                return
            yield answer

    def _handshake(self, timeout: float) -> dict[str, Any]:
        first = self._next(timeout, f"did not say hello within {timeout:g} s")
        if refusal := first.get("refused"):
            self.close()
            raise UserError(str(refusal))
        hello = first.get("hello")
        if not isinstance(hello, dict) or hello.get("protocol") != PROTOCOL:
            spoken = hello.get("protocol") if isinstance(hello, dict) else None
            self.close()
            raise UserError(
                f"the worker of {self.name} speaks protocol {spoken!r}, accepted is {PROTOCOL}: update its script or this package"
            )
        return hello

    def _send(self, message: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):  # the one who waits for the answer hears of its death
            self._input.write(message)
            self._input.flush()

    def _next(self, timeout: float, silence: str) -> dict[str, Any]:
        try:
            message = self._messages.get(timeout=timeout)
        except queue.Empty:
            chatter = f", only {self._chatter} other lines" if self._chatter else ""
            self._die(silence + chatter)
        if message is None:
            self._die(self._ending())
        return message

    def _die(self, what: str) -> NoReturn:
        _kill(self._process)
        self.close()
        last = self._last_words()
        raise WorkerDied(
            f"the worker of {self.name} {what}{f'; its last words: {last}' if last else ''} (log: {self.log})"
        )

    def _ending(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)
        code = self._process.returncode
        if code is None:
            return "closed its output"
        if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
            return "was killed (signal 9, which is also how the system ends a process when memory runs out)"
        return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def _last_words(self) -> str:
        """The last line that this process left in the log."""
        with contextlib.suppress(OSError), open(self.log, "rb") as stream:
            stream.seek(max(self._log_start, stream.seek(0, os.SEEK_END) - 4096))
            lines = [line.strip() for line in stream.read().decode("utf-8", "replace").splitlines() if line.strip()]
            return lines[-1][:300] if lines else ""
        return ""

    def _read(self, stream: IO[bytes]) -> None:
        """Queues the protocol's lines and puts the others into the log; runs in a thread of its own."""
        mark = MARK.encode()
        with contextlib.suppress(OSError, ValueError), open(self.log, "ab") as log:
            while line := stream.readline(LONGEST_LINE):
                chatter, found, text = line.partition(mark)
                message = _parsed(text) if found else None
                if message is not None:
                    self._messages.put(message)
                if message is None or chatter:
                    self._chatter += 1
                    log.write(line if message is None else chatter + b"\n")
                    log.flush()
        self._messages.put(None)


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(text)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _kill(process: subprocess.Popen) -> None:
    """Kills the worker and all that it started and that stayed in its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes], reader: threading.Thread, senders: list[threading.Thread]) -> None:
    """Ends the worker: by closing its input, and by force where that is not enough. Runs once, at the latest at our
    exit."""
    if any(sender.is_alive() for sender in senders):
        _kill(process)  # closing a pipe that is being written to would wait for the writer
    assert process.stdin and process.stdout
    with contextlib.suppress(OSError):
        process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    _kill(process)
    process.wait()
    reader.join(GRACE)
    process.stdout.close()
