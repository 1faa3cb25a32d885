"""Requests to scorers' servers: with retries that are bounded, answers that are, and failures that are one sentence."""

from dataclasses import dataclass, field

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.util import Retry, Timeout

from bench.scorers.servers import check_url

LARGEST_ANSWER = 64 << 20
BUSY = (502, 503, 504)
"""Statuses of a server that is starting or restarting."""


class Unreachable(Exception):
    """No answer, or one that is no use, after all tries; the message is one sentence."""


class Refusal(Exception):
    """The server answered with an error. status: its HTTP status; the message is what it said, on one line."""

    def __init__(self, status: int, said: str):
        super().__init__(said)
        self.status = status


@dataclass
class Connection:
    """A server at `url`. timeout: seconds of silence. retries: further tries, `backoff` x 1, 2, 4... seconds apart (at
    most 30), after no answer or a status in `retried`. Once they were in vain there is one try per request, until one
    succeeds: a server that is gone costs the waiting once. Proxies of the environment are not used."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    timeout: float = 120.0
    retries: int = 6
    backoff: float = 0.5
    retried: tuple[int, ...] = BUSY

    def __post_init__(self) -> None:
        self.url, self._down = check_url(self.url), False
        self._pool = urllib3.PoolManager(maxsize=32)

    def get(self, path: str) -> bytes:
        """The answer to GET. Raises Unreachable and Refusal."""
        return self._request("GET", path, None, None)

    def post(self, path: str, body: bytes, kind: str) -> bytes:
        """The answer to POST of a body of MIME type `kind`. Raises Unreachable and Refusal."""
        return self._request("POST", path, body, kind)

    def _request(self, method: str, path: str, body: bytes | None, kind: str | None) -> bytes:
        tries = 0 if self._down else self.retries
        retry = Retry(
            total=tries,
            redirect=0,
            backoff_factor=self.backoff,
            backoff_max=30.0,
            status_forcelist=self.retried,
            allowed_methods=None,
            raise_on_status=False,
            raise_on_redirect=False,
        )
        headers = self.headers | ({"Content-Type": kind} if kind else {})
        try:
            answer = self._pool.request(
                method,
                self.url + path,
                body=body,
                headers=headers,
                retries=retry,
                redirect=False,
                timeout=Timeout(connect=min(10.0, self.timeout), read=self.timeout),
                preload_content=False,
            )
            data = answer.read(LARGEST_ANSWER + 1)
            answer.release_conn()
        except HTTPError as error:
            self._down = True
            reason = error.reason if isinstance(error, MaxRetryError) and error.reason else error
            raise Unreachable(f"{self.url} gave no answer in {tries + 1} tries ({_one_line(str(reason))})") from error
        if len(data) > LARGEST_ANSWER:
            answer.close()
            raise Unreachable(f"the answer of {self.url} is larger than {LARGEST_ANSWER} bytes")
        self._down = answer.status in self.retried
        if answer.status >= 300:
            raise Refusal(answer.status, _one_line(data.decode("utf-8", "replace")) or "nothing")
        return data


def _one_line(text: str) -> str:
    """The end of a text, where a traceback has its message, on one line."""
    return " ".join(text.split())[-300:]
