"""A scorer behind HTTP: JSON in, JSON out, and nothing that a request says is trusted.

    GET  /health   -> {"status": "ok", "protocol": 1}                                      needs no token
    GET  /hello    -> {"protocol": 1, "identity": {...}, "scorer": {"name", "title", ...}, "limits": {"body", "items", "pixels"}}
    POST /score    {"items": [{"id": "0", "image": base64 of a PNG, JPEG or BMP, "prompt": "a cat"}, ...]}
                   -> {"items": [{"id": "0", "score": 1.5, "evidence": {...}} or {"id": "0", "error": "one sentence"}, ...]}
An error is {"error": "one sentence"} with status 400 (not understood), 401 (token), 404, 411 (no length), 413 (too large), 415 (no
JSON) or 500. With a token, every request but /health carries `Authorization: Bearer TOKEN`.

The standard library's server: one model answers one batch at a time, so that all a framework would add is a dependency.
"""

import hmac
import json
import sys
import threading
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from PIL import Image

from bench.scorers.base import Judged, Scorer, Unscorable
from bench.scorers.wire import MAX_PIXELS, decoded
from htgrpo.base.errors import UserError

PROTOCOL = 1
DESCRIPTION = (
    "name", "title", "version", "needs_prompt", "higher_is_better", "published_range", "reward_scale", "axes",
    "reads_spec",
)  # fmt: skip
"""What a client learns of the scorer's class."""
DECODED = 16
"""Pictures that are decoded at once, for each of IN_WORK requests."""
IN_WORK = 2
"""Requests that are worked on at once: one is decoded while the model is at another."""


@dataclass(frozen=True)
class Limits:
    """What one request may hold. body: bytes; items: pictures; pixels: of one picture."""

    body: int = 64 << 20
    items: int = 1024
    pixels: int = MAX_PIXELS


class _Reply(Exception):
    """Ends a request with an error."""

    def __init__(self, status: int, said: str):
        super().__init__(said)
        self.status = status


class ScoringServer(ThreadingHTTPServer):
    """Serves one scorer until `shutdown`. port 0: any free one, then in server_port. token "": none is asked for."""

    daemon_threads = True
    request_queue_size = 512  # connections that wait to be accepted; the system may allow fewer

    def __init__(
        self, scorer: Scorer, host: str = "127.0.0.1", port: int = 0, token: str = "", limits: Limits | None = None
    ):
        self.scorer, self.token, self.limits = scorer, token.encode(), limits or Limits()
        self.model, self.places = threading.Lock(), threading.BoundedSemaphore(IN_WORK)
        if not all("!" <= sign <= "~" for sign in token):
            raise UserError("a token is made of letters, digits and signs of ASCII without spaces: choose another one")
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise UserError(
                f"cannot listen on {host}:{port} ({error.strerror or error}): choose another --port"
            ) from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news; anything else is told in a line."""
        if not isinstance(error := sys.exception(), OSError):
            print(f"a request failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

    def hello(self) -> dict[str, Any]:
        """What a client must know."""
        about = {key: getattr(self.scorer, key) for key in DESCRIPTION}
        return {
            "protocol": PROTOCOL,
            "identity": self.scorer.identity(),
            "scorer": about,
            "limits": asdict(self.limits),
        }

    def judge(self, items: list[Any]) -> list[dict[str, Any]]:
        """The answers to a request's items, in order; one that is wrong fails alone."""
        answers = []
        with self.places:
            for start in range(0, len(items), DECODED):
                answers += self._judge_batch(items[start : start + DECODED])
        return answers

    def _judge_batch(self, items: list[Any]) -> list[dict[str, Any]]:
        ready: dict[int, tuple[Image.Image, str]] = {}
        judged: dict[int, Judged] = {}
        for index, item in enumerate(items):
            try:
                ready[index] = self._read(item)
            except Unscorable as error:
                judged[index] = Judged.failed(str(error))
        if ready:
            with self.model:  # one batch at a time
                judged |= zip(ready, self._score(list(ready.values())), strict=True)
        return [_answer(item, judged[index]) for index, item in enumerate(items)]

    def _read(self, item: Any) -> tuple[Image.Image, str]:
        picture, prompt = item.get("image"), item.get("prompt", "")
        if not isinstance(picture, str) or not isinstance(prompt, str):
            raise Unscorable('an item is {"id": text, "image": base64 text, "prompt": text}')
        return decoded(picture, self.limits.pixels), prompt

    def _score(self, pairs: list[tuple[Image.Image, str]]) -> list[Judged]:
        try:
            return self.scorer.score(*map(list, zip(*pairs)))
        except Exception as error:  # whatever a scorer raises is the failure of the picture that makes it do so
            if len(pairs) == 1:
                return [
                    Judged.failed(f"the scorer failed: {type(error).__name__}: {' '.join(str(error).split())[:500]}")
                ]
            return [judged for pair in pairs for judged in self._score([pair])]


class _Handler(BaseHTTPRequestHandler):
    server: ScoringServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "htgrpo", ""
    timeout = 60.0  # seconds that a client may be silent in the midst of a request
    routes: ClassVar[dict[tuple[str, str], str]] = {
        ("GET", "/health"): "_health",
        ("GET", "/hello"): "_hello",
        ("POST", "/score"): "_score",
    }

    def do_GET(self) -> None:  # noqa: N802 (the base class wants this name)
        self._handle()

    def do_POST(self) -> None:  # noqa: N802
        self._handle()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are not logged: they may hold what is nobody's business."""

    def _handle(self) -> None:
        try:
            route = self.routes.get((self.command, self.path))
            if route != "_health":
                self._check_token()
            if route is None:
                raise _Reply(404, "unknown address: there are GET /health, GET /hello and POST /score")
            self._send(200, getattr(self, route)())
        except _Reply as reply:
            self.close_connection = True  # the rest of the request may still be on its way
            self._send(reply.status, {"error": str(reply)})
        except ConnectionError:
            self.close_connection = True
        except Exception as error:
            self.close_connection = True
            self._send(500, {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"})

    def _health(self) -> dict[str, Any]:
        return {"status": "ok", "protocol": PROTOCOL}

    def _hello(self) -> dict[str, Any]:
        return self.server.hello()

    def _score(self) -> dict[str, Any]:
        try:
            items = json.loads(self._body())["items"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _Reply(400, 'the body is not {"items": [...]} in JSON') from error
        if not isinstance(items, list) or not all(isinstance(item, dict) and _is_id(item.get("id")) for item in items):
            raise _Reply(
                400, '"items" is a list of {"id": text of at most 200 characters, "image": base64 text, "prompt": text}'
            )
        if len(items) > self.server.limits.items:
            raise _Reply(413, f"{len(items)} items in one request, accepted are at most {self.server.limits.items}")
        return {"items": self.server.judge(items)}

    def _check_token(self) -> None:
        given = self.headers.get("Authorization", "").encode("latin-1", "replace")
        if self.server.token and not hmac.compare_digest(given, b"Bearer " + self.server.token):
            self._drain(self._length() or 0)
            raise _Reply(401, "wrong or missing token: send `Authorization: Bearer TOKEN`")

    def _body(self) -> bytes:
        length = self._length()
        if length is None:
            raise _Reply(411, "the request does not say how long it is: send Content-Length")
        if length > self.server.limits.body:
            self._drain(length)
            raise _Reply(413, f"the body has {length} bytes, accepted are at most {self.server.limits.body}")
        if self.headers.get_content_type() != "application/json":
            self._drain(length)
            raise _Reply(415, "the body must be application/json")
        return self.rfile.read(length)

    def _length(self) -> int | None:
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None

    def _drain(self, length: int) -> None:
        """Reads past a body that is refused, as far as an accepted one could go: a client still sending hears no
        answer."""
        left = min(length, self.server.limits.body)
        while left > 0 and (block := self.rfile.read(min(left, 1 << 16))):
            left -= len(block)

    def _send(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value, allow_nan=False).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            self.close_connection = True  # the client has gone


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 200


def _answer(item: dict[str, Any], judged: Judged) -> dict[str, Any]:
    if judged.error:
        return {"id": item["id"], "error": judged.error}
    return {"id": item["id"], "score": judged.score, "evidence": judged.evidence}
