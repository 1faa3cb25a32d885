"""Clients of the reward-servers that came with flow_grpo and MaskGRPO (yifan123/reward-server @ 92ac29fb): pickles over
HTTP.

A pickle from a server is a program, so answers go through `unpickle`, and only plain lists are sent. Those servers take
nothing but JPEG: scores differ a little from those of the pictures themselves, which the scorer's identity says.
"""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from bench.scorers import unpickle
from bench.scorers.base import Judged, Scorer, Unscorable
from bench.scorers.web import BUSY, Connection, Refusal, Unreachable
from bench.scorers.wire import jpeg, plain
from htgrpo.base.errors import UserError, suggest

LARGEST_PART = 64
QUALITY = 75


@dataclass(frozen=True)
class Dialect:
    """How one kind of server is asked. second: the request's key beside the pictures, "" for none. reply: the answer's
    key of the scores. factor: from what it sends to the published range. reward_scale: from that to what trainers were
    given. also: further lists of the answer that go into the evidence, by their name there."""

    title: str
    port: int
    second: str
    reply: str
    published_range: str
    factor: float = 1.0
    reward_scale: float = 1.0
    also: tuple[tuple[str, str], ...] = ()


DIALECTS = {
    "geneval": Dialect(
        "GenEval (server)",
        18085,
        "meta_datas",
        "scores",
        "partial credit, at most 1",
        also=(("binary", "rewards"), ("strict", "strict_rewards")),
    ),
    "deqa": Dialect("DeQA (server)", 18086, "", "outputs", "1..5", factor=5.0, reward_scale=0.2),
    "hpsv3": Dialect("HPSv3 (server)", 18087, "prompts", "scores", "unbounded, roughly -5..15", reward_scale=0.2),
    "unifiedreward": Dialect("UnifiedReward (server)", 18088, "prompts", "scores", "1..5", reward_scale=0.2),
}


class RewardServer(Scorer):
    """One such server. A geneval server is asked about specifications as JSON, or about GenEval's own prompts: metadata
    has their specification by prompt, None: from the asset."""

    version = "1"

    def __init__(
        self,
        name: str,
        url: str,
        metadata: Mapping[str, dict] | None = None,
        timeout: float = 120.0,
        retries: int = 10,
        backoff: float = 1.0,
    ):
        """Asks nothing yet: these servers have no health check. Raises UserError for an unknown name or a wrong
        address."""
        if name not in DIALECTS:
            raise suggest(name, DIALECTS, "reward-server")
        self.name, self.dialect = name, DIALECTS[name]
        self.title, self.published_range = self.dialect.title, self.dialect.published_range
        self.reads_spec = name == "geneval"
        self.needs_prompt, self.reward_scale = bool(self.dialect.second), self.dialect.reward_scale
        self.connection = Connection(url, timeout=timeout, retries=retries, backoff=backoff, retried=(500, *BUSY))
        self._metadata = metadata

    @classmethod
    def load(cls, weights: Path | None = None, device: str = "cpu", dtype: Any = None) -> Self:
        """Raises UserError: the weights are with the server."""
        raise UserError("a reward-server is named with its address: --scorer-url NAME=pickle+http://HOST:PORT")

    def identity(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "weights_revision": None,
            "dtype": "the server's",
            "through": f"reward-server, JPEG quality {QUALITY}",
        }

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Judged]:
        self.check_pairs(images, prompts)
        judged: dict[int, Judged] = {}
        ready: list[tuple[int, bytes, Any]] = []
        for index, (image, prompt) in enumerate(zip(images, prompts)):
            try:
                # geneval's server would turn it, by data that a JPEG of ours lacks
                picture = plain(image, turn=self.name == "geneval")
                ready.append((index, jpeg(picture, QUALITY), self._second(prompt)))
            except Unscorable as error:
                judged[index] = Judged.failed(str(error))
        for part in near_equal_parts(ready):
            indices, pictures, seconds = zip(*part)
            judged |= zip(indices, self._ask(list(pictures), list(seconds)), strict=True)
        return [judged[index] for index in range(len(images))]

    def _second(self, prompt: str) -> Any:
        if self.name != "geneval":
            return prompt
        if prompt.lstrip().startswith("{"):
            from bench.scorers.geneval.scorer import read_spec

            return read_spec(prompt)
        self._metadata = _metadata() if self._metadata is None else self._metadata
        if prompt not in self._metadata:
            raise Unscorable(
                f"GenEval has no prompt {prompt[:60]!r}: a geneval server judges GenEval's own prompts only"
            )
        return self._metadata[prompt]

    def _ask(self, pictures: list[bytes], seconds: list[Any]) -> list[Judged]:
        request: dict[str, Any] = {"images": pictures}
        if self.dialect.second:
            request[self.dialect.second] = seconds
        if self.name == "geneval":
            request["only_strict"] = False  # with it the partial scores are all 0
        try:
            body = pickle.dumps(request, protocol=4)
            reply = unpickle.loads(self.connection.post("/", body, "application/octet-stream"))
            scores = _numbers(reply, self.dialect.reply, len(pictures))
            also = {name: _numbers(reply, key, len(pictures)) for name, key in self.dialect.also if key in reply}
        except (Unreachable, Refusal, unpickle.Refused) as error:
            return [Judged.failed(f"{self.name} at {self.connection.url} failed: {error}")] * len(pictures)
        evidence = [{key: float(values[n]) for key, values in also.items()} for n in range(len(pictures))]
        return [Judged.of(float(score) * self.dialect.factor, one) for score, one in zip(scores, evidence)]


def near_equal_parts(items: list[Any]) -> list[list[Any]]:
    """ceil(n / 64) parts whose lengths differ by at most one, longer ones first: the servers' official clients split
    so."""
    count = -(-len(items) // LARGEST_PART)
    short, longer = divmod(len(items), count) if count else (0, 0)
    ends = np.cumsum([short + (n < longer) for n in range(count)], dtype=int).tolist()
    return [items[start:end] for start, end in zip([0, *ends], ends)]


def _numbers(reply: Any, key: str, count: int) -> np.ndarray:
    """The answer's list of `count` numbers. Raises unpickle.Refused."""
    try:
        values = np.asarray(reply[key], dtype=np.float64)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise unpickle.Refused(f"the answer has no list of numbers {key!r}") from error
    if values.shape != (count,):
        raise unpickle.Refused(f"the answer's {key!r} has shape {list(values.shape)} for {count} pictures")
    return values


def _metadata() -> dict[str, dict]:
    from bench.sources.assets import asset
    from htgrpo.base.files import read_jsonl

    return {record["prompt"]: record for record in read_jsonl(asset("geneval_metadata"))}
