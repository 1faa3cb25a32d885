"""Scorers on servers: ours over JSON (`serving`), reward-servers that speak pickle, and UnifiedReward over OpenAI's
interface."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from PIL import Image

from bench.scorers.base import Judged, Scorer, Unscorable
from bench.scorers.servers import HOW, TOKEN, parts
from bench.scorers.serving import DESCRIPTION, PROTOCOL
from bench.scorers.web import Connection, Refusal, Unreachable
from bench.scorers.wire import base64_text, lossless
from bench.scorers.worker import judged_answer
from htgrpo.base.errors import UserError


class RemoteScorer(Scorer):
    """A scorer served by `python -m bench.serve`. Pictures travel without loss, so that scores are those of the scorer
    itself."""

    batch_size: int = 16
    at_once: int = 2  # batches on their way, so that one is packed or unpacked while the model is at the other

    def __init__(self, name: str, connection: Connection):
        """Raises UserError where the server does not answer, refuses the token, or serves another scorer."""
        self.connection = connection
        try:
            hello = json.loads(connection.get("/hello"))
            protocol, about, self._identity = hello["protocol"], hello["scorer"], dict(hello["identity"])
            self._largest, self.batch_size = (
                int(hello["limits"]["body"]),
                min(self.batch_size, int(hello["limits"]["items"])),
            )
        except Unreachable as error:
            raise UserError(
                f"{error}: start it with `python -m bench.serve {name}`, or mend --scorer-url {name}=…"
            ) from error
        except Refusal as error:
            raise UserError(
                f"{connection.url} refused ({error.status}: {error}); the token is taken from ${TOKEN}"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{connection.url} is no server of ours: --scorer-url takes {HOW}") from error
        if protocol != PROTOCOL or about.get("name") != name:
            served = f"{about.get('name')!r} by protocol {protocol!r}"
            raise UserError(f"{connection.url} serves {served}, wanted is {name!r} by {PROTOCOL}")
        for key in DESCRIPTION:
            setattr(self, key, about[key])

    @classmethod
    def load(cls, weights: Path | None = None, device: str = "cpu", dtype: Any = None) -> Self:
        """Raises UserError: the weights are with the server."""
        raise UserError(f"a scorer on a server is named with its address: --scorer-url {HOW}")

    def identity(self) -> dict[str, Any]:
        return dict(self._identity)

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Judged]:
        self.check_pairs(images, prompts)
        parts = [slice(start, start + self.batch_size) for start in range(0, len(images), self.batch_size)]
        if len(parts) < 2:
            return self._score_batch(images, prompts) if parts else []
        with ThreadPoolExecutor(self.at_once) as pool:
            found = pool.map(self._score_batch, [images[part] for part in parts], [prompts[part] for part in parts])
            return [judged for batch in found for judged in batch]

    def _score_batch(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Judged]:
        found: dict[str, Judged] = {}
        items: list[dict[str, str]] = []
        for index, (image, prompt) in enumerate(zip(images, prompts)):
            try:
                items.append({"id": str(index), "image": base64_text(lossless(image)), "prompt": prompt})
            except Unscorable as error:
                found[str(index)] = Judged.failed(str(error))
        if items:
            self._ask(items, found)
        return [found[str(index)] for index in range(len(images))]

    def _ask(self, items: list[dict[str, str]], found: dict[str, Judged]) -> None:
        """Adds a judgement of every item to `found`, in halves where they are too large together."""
        body = json.dumps({"items": items}).encode()
        if len(body) > self._largest and len(items) > 1:
            self._ask(items[: len(items) // 2], found)
            self._ask(items[len(items) // 2 :], found)
            return
        wanted = {item["id"] for item in items}
        try:
            for answer in json.loads(self.connection.post("/score", body, "application/json"))["items"]:
                if answer["id"] in wanted:
                    found.setdefault(answer["id"], judged_answer(answer))
            why = f"{self.connection.url} left this picture without an answer"
        except (Unreachable, Refusal) as error:
            why = f"{self.name} at {self.connection.url} failed: {error}"
        except (ValueError, KeyError, TypeError) as error:
            why = f"{self.connection.url} answered what is no list of judgements ({type(error).__name__}: {error})"
        for item in items:
            found.setdefault(item["id"], Judged.failed(why))


def connect(text: str) -> Scorer:
    """The scorer of one `--scorer-url NAME=URL`, with the token of $HTGRPO_SCORER_TOKEN. Raises UserError."""
    name, kind, url = parts(text)
    token = os.environ.get(TOKEN, "")
    if kind == "pickle":
        from bench.scorers.reward_server import RewardServer

        return RewardServer(name, url)
    if kind == "openai":
        from bench.scorers.unifiedreward_client import UnifiedRewardServer
        from bench.scorers.unigenbench import UniGenBenchServer

        for kind_of in (UnifiedRewardServer, UniGenBenchServer):
            if name == kind_of.name:
                return kind_of(url, api_key=token)
        raise UserError(f"{name!r} has no OpenAI interface: --scorer-url takes {HOW}")
    return RemoteScorer(name, Connection(url, {"Authorization": f"Bearer {token}"} if token else {}))
