"""Presses a served scorer: many clients, slow ones, such as hang up, and bodies that are too large."""

import base64
import contextlib
import io
import json
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from PIL import Image

from bench.campaign.cases import Ground, Outcome, Part
from bench.campaign.standin import expected

CLIENTS = 50
REQUESTS = 8
BODY = 4
"""MiB that a request may have."""
GROWTH = 160 << 20
"""Bytes by which the server may have grown in the end: pictures of requests in work, and what the allocator keeps."""


@dataclass(frozen=True)
class Server:
    """A server in a process of its own, as the system sees it."""

    port: int
    process: subprocess.Popen

    def state(self) -> dict[str, int]:
        """Threads, open files and resident bytes."""
        proc = Path("/proc") / str(self.process.pid)
        if not proc.is_dir():
            return {"threads": 0, "files": 0, "bytes": 0}
        pages = int((proc / "statm").read_text().split()[1])
        return {
            "threads": len(list((proc / "task").iterdir())),
            "files": len(list((proc / "fd").iterdir())),
            "bytes": pages * 4096,
        }


@contextlib.contextmanager
def serving(scratch: Path) -> Iterator[Server]:
    """The stand-in behind bench.serve."""
    argv = [sys.executable, "-m", "bench.campaign.standin", "--port", "0", "--max-body", str(BODY)]
    with open(scratch / "told.txt", "w") as told:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=told, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if "http://" not in line:
                raise RuntimeError(f"the server did not start: {(scratch / 'told.txt').read_text()[-300:]}")
            yield Server(int(line.split("http://")[1].split()[0].rsplit(":", 1)[1]), process)
        finally:
            process.terminate()
            process.wait(30)


def question(draw: random.Random, size: int = 24) -> tuple[bytes, list[float]]:
    """A request of one to three pictures, and the right answers."""
    items, answers = [], []
    for number in range(draw.randint(1, 3)):
        image = Image.new("RGB", (size, size), tuple(draw.randrange(256) for _ in range(3)))
        prompt = "ä" * draw.randrange(60)
        stream = io.BytesIO()
        image.save(stream, "PNG")
        items.append({"id": str(number), "image": base64.b64encode(stream.getvalue()).decode(), "prompt": prompt})
        answers.append(expected(image, prompt))
    return json.dumps({"items": items}).encode(), answers


def ask(port: int, body: bytes, timeout: float = 60.0) -> tuple[int, dict]:
    """(status, answer) of one request on a connection of its own."""
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", "/score", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def head(more: str) -> bytes:
    """The beginning of a request."""
    return f"POST /score HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{more}\r\n\r\n".encode()


def fair(server: Server, seed: str) -> list[str]:
    """A client that asks as it should; what was wrong."""
    draw, wrong = random.Random(seed), []
    for _ in range(REQUESTS):
        body, answers = question(draw)
        try:
            status, told = ask(server.port, body)
        except OSError as error:
            wrong.append(f"{type(error).__name__}: {error}")
            continue
        if status != 200 or [item.get("score") for item in told["items"]] != answers:
            wrong.append(f"status {status} and {str(told)[:120]} where {answers} is right")
    return wrong


def slow(server: Server, seed: str) -> list[str]:
    """A client that sends its request in drops, and is answered nevertheless."""
    draw = random.Random(seed)
    body, answers = question(draw)
    data = head(f"Content-Length: {len(body)}\r\nConnection: close") + body
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            for start in range(0, len(data), max(1, len(data) // 20)):
                connection.sendall(data[start : start + max(1, len(data) // 20)])
                time.sleep(draw.uniform(0, 0.2))
            reply = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        found = [item.get("score") for item in json.loads(reply.partition(b"\r\n\r\n")[2])["items"]]
        return [] if found == answers else [f"{found} where {answers} is right"]
    except (OSError, ValueError) as error:
        return [f"{type(error).__name__}: {error}"]


def resetting(server: Server, seed: str) -> list[str]:
    """A client that hangs up hard, before, in the midst of, or after its request."""
    draw = random.Random(seed)
    for _ in range(REQUESTS):
        body, _ = question(draw)
        data = head(f"Content-Length: {len(body)}") + body
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection,
        ):
            connection.sendall(data[: draw.randrange(len(data) + 1)])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return []


def large(server: Server, seed: str) -> list[str]:
    """A client whose bodies are too large, or that says no or another length; refused with the right status."""
    wrong, body = [], b"x" * ((BODY << 20) + 1000)
    for wanted, data, header in (
        (413, body, str(len(body))),
        (413, b"", str(10**12)),
        (411, b"", ""),
        (400, b"{" * 4000, "4000"),
        (400, b'{"items": {}}', "13"),
        (411, b"", "-5"),
        (411, b"", "²"),
    ):
        said = head(f"Content-Length: {header}" if header else "X: y")
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=90) as connection:
                connection.sendall(said + data)
                if wanted == 413 and not data:
                    connection.shutdown(socket.SHUT_WR)
                status = int(connection.recv(1 << 16).split()[1])
            if status != wanted:
                wrong.append(f"status {status} where {wanted} is right, for a length of {header or 'none'}")
        except (OSError, IndexError, ValueError) as error:
            wrong.append(f"{type(error).__name__}: {error}, for a length of {header or 'none'}")
    return wrong


CLIENT: dict[str, Callable[[Server, str], list[str]]] = {
    "fair": fair,
    "slow": slow,
    "resetting": resetting,
    "large": large,
}
CROWDS = {
    "50 fair clients": {"fair": CLIENTS},
    "50 fair, 50 slow": {"fair": CLIENTS, "slow": 50},
    "50 fair, 50 that hang up": {"fair": CLIENTS, "resetting": 50},
    "50 fair, 20 with large bodies": {"fair": CLIENTS, "large": 20},
    "all at once": {"fair": CLIENTS, "slow": 50, "resetting": 50, "large": 20},
}


@dataclass(frozen=True)
class Crowd:
    """Clients that press a server at once, three times over."""

    name: str
    group: str
    seed: int
    limit: float = 600.0

    def run(self, ground: Ground, scratch: Path) -> Outcome:
        """Starts a server and lets them in."""
        outcome = Outcome()
        with serving(scratch) as server:
            idle = server.state()["threads"]
            states = [self._wave(server, wave, idle, outcome) for wave in range(3)]
            outcome.value |= {"requests": 3 * REQUESTS * CLIENTS, "states": states}
            first, last = states[0], states[-1]
            if last["threads"] > idle:
                outcome.add("left", f"{idle} threads before, {last['threads']} when all clients have gone")
            if last["files"] > first["files"] + 2:
                outcome.add("left", f"{first['files']} open files became {last['files']}")
            if last["bytes"] > first["bytes"] + GROWTH:
                outcome.add(
                    "left",
                    f"{first['bytes'] >> 20} MiB became {last['bytes'] >> 20} MiB from the first wave to the third",
                )
            if server.process.poll() is not None:
                outcome.add("stuck", f"the server has ended with {server.process.returncode}")
        told = (scratch / "told.txt").read_text()
        if "Traceback" in told:
            outcome.add("traceback", told[-400:])
        return outcome

    def _wave(self, server: Server, wave: int, idle: int, outcome: Outcome) -> dict[str, int]:
        who = [(kind, number) for kind, count in CROWDS[self.name].items() for number in range(count)]
        start = threading.Barrier(len(who))

        def one(kind: str, number: int) -> list[str]:
            start.wait(60)
            return [f"{kind} client: {wrong}" for wrong in CLIENT[kind](server, f"{self.seed} {wave} {kind} {number}")]

        with ThreadPoolExecutor(len(who)) as pool:
            for wrong in dict.fromkeys(told for found in pool.map(lambda pair: one(*pair), who) for told in found):
                outcome.add("mismatch", wrong)
        deadline = time.monotonic() + 20
        while server.state()["threads"] > idle and time.monotonic() < deadline:
            time.sleep(0.2)
        return server.state()


def cases(seed: int, trials: int) -> list[Crowd]:
    """One for each crowd."""
    return [Crowd(name, name, seed) for name in CROWDS]


PART = Part(
    "server",
    "Scorer server",
    "A stand-in scorer behind bench.serve is asked by 50 clients at once, with others that send in drops, hang up hard in the "
    "midst, or send bodies that are too large or of no length. Right is every answer to the last digit, no connection that is "
    "reset, and no more threads, files or memory after three waves than after one.",
    cases,
)
