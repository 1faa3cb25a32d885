"""Judges that write their judgement, asked through an OpenAI-compatible server such as vLLM or SGLang."""

import json
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Self

from PIL import Image

from bench.scorers.base import Judged, Scorer, Unscorable
from bench.scorers.web import Connection, Refusal, Unreachable
from bench.scorers.wire import base64_text, jpeg
from htgrpo.base.errors import UserError, suggest

JPEG_QUALITY = 95
TOKENS = 4096
"""The longest answer."""
TEMPERATURE = 0
"""Sent with every request: servers have one of their own otherwise."""


class OpenAIServer(Scorer):
    """A judge on a server. A subclass says what it is asked and how its answer is read. start: the command that serves
    it. served_as: the name that its model has there by default."""

    start: ClassVar[str]
    served_as: ClassVar[str]
    needs_prompt = True

    def __init__(
        self,
        url: str,
        model: str = "",
        api_key: str = "",
        concurrency: int = 16,
        timeout: float = 300.0,
        retries: int = 6,
        backoff: float = 0.5,
    ):
        """url: of the server, with or without /v1. Raises UserError where it does not answer or does not serve
        `model`."""
        self.model, self.concurrency = model or self.served_as, concurrency
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.connection = Connection(url.rstrip("/").removesuffix("/v1"), headers, timeout, retries, backoff)
        self.root = self._served()

    @classmethod
    def find(cls) -> None:
        """Raises UserError: the weights are with the server."""
        cls.load()

    @classmethod
    def load(cls, weights: Path | None = None, device: str = "cpu", dtype: Any = None) -> Self:
        """Raises UserError: the weights are with the server."""
        raise UserError(
            f"a scorer on a server is named with its address: run `{cls.start}` where the weights are and give "
            f"--scorer-url {cls.name}=openai+http://HOST:8080"
        )

    def identity(self) -> dict[str, Any]:
        """Beside the common keys "model", by the name that it is served under; weights_revision is what the server calls
        the model's origin."""
        return {
            "name": self.name,
            "version": self.version,
            "weights_revision": self.root,
            "dtype": "the server's",
            "model": self.model,
        }

    @abstractmethod
    def question(self, prompt: str) -> str:
        """What is asked about a picture of this prompt. Raises Unscorable."""

    @abstractmethod
    def read(self, prompt: str, answer: str) -> Judged:
        """The judgement in an answer."""

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Judged]:
        self.check_pairs(images, prompts)
        if not images:
            return []
        with ThreadPoolExecutor(min(self.concurrency, len(images))) as pool:  # the server batches what comes together
            return list(pool.map(self._judge, images, prompts))

    def _judge(self, image: Image.Image, prompt: str) -> Judged:
        try:
            return self.read(prompt, self._answer(image, self.question(prompt)))
        except Unscorable as error:
            return Judged.failed(str(error))
        except (Unreachable, Refusal) as error:
            return Judged.failed(f"{self.name} at {self.connection.url} failed: {error}")

    def _answer(self, image: Image.Image, text: str) -> str:
        """What the model writes about a picture. Raises Unscorable, Unreachable and Refusal."""
        picture = f"data:image/jpeg;base64,{base64_text(jpeg(image, JPEG_QUALITY))}"
        content = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": text}]
        request = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": TEMPERATURE,
            "max_tokens": TOKENS,
        }
        reply = self.connection.post("/v1/chat/completions", json.dumps(request).encode(), "application/json")
        try:
            completion = json.loads(reply)
            written, model = completion["choices"][0]["message"]["content"], completion.get("model", self.model)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise Unscorable(f"{self.connection.url} answered what is no chat completion") from error
        if not isinstance(written, str):
            raise Unscorable(f"{self.connection.url} answered without a text")
        if model != self.model:
            raise Unscorable(f"{self.connection.url} answered by the model {model!r}, but {self.model!r} was asked")
        return written

    def _served(self) -> str | None:
        """The origin of the model, where the server tells it."""
        try:
            models = {one["id"]: one for one in json.loads(self.connection.get("/v1/models"))["data"]}
        except (Unreachable, Refusal) as error:
            raise UserError(f"{self.connection.url} does not list its models ({error}): run `{self.start}`") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.connection.url} is no OpenAI-compatible server: run `{self.start}`") from error
        if self.model not in models:
            raise suggest(self.model, models, f"model of the server {self.connection.url}")
        root = models[self.model].get("root")
        return root if isinstance(root, str) else None
