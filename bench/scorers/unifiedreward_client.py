"""UnifiedReward (arXiv 2503.05236; CodeGoat24/UnifiedReward @ ff6f520): a vision-language model that writes its
judgement, asked through an OpenAI-compatible server such as vLLM or SGLang."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from PIL import Image

from bench.scorers.base import Expectation, Judged, Scorer, Unscorable
from bench.scorers.drawings import matching
from bench.scorers.unifiedreward_answers import TOKENS, VARIANT, question, read
from bench.scorers.web import Connection, Refusal, Unreachable
from bench.scorers.wire import base64_text, jpeg
from htgrpo.base.errors import UserError, suggest

START = "vllm serve CodeGoat24/UnifiedReward-2.0-qwen3vl-8b --served-model-name UnifiedReward --port 8080"
JPEG_QUALITY = 95


class UnifiedRewardServer(Scorer):
    """UnifiedReward on a server; evidence as in unifiedreward_answers.read."""

    name, title, version = "unifiedreward", "UnifiedReward", "1"
    needs_prompt, published_range, reward_scale = True, "1..5", 0.2

    def __init__(
        self,
        url: str,
        model: str = "UnifiedReward",
        api_key: str = "",
        concurrency: int = 16,
        timeout: float = 300.0,
        retries: int = 6,
        backoff: float = 0.5,
    ):
        """url: of the server, with or without /v1. Raises UserError where it does not answer or does not serve
        `model`."""
        self.model, self.concurrency = model, concurrency
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.connection = Connection(url.rstrip("/").removesuffix("/v1"), headers, timeout, retries, backoff)
        self.root = self._served()

    @classmethod
    def load(cls, weights: Path | None = None, device: str = "cpu", dtype: Any = None) -> Self:
        """Raises UserError: the weights are with the server."""
        raise UserError(
            f"a scorer on a server is named with its address: run `{START}` where the weights are and give "
            f"--scorer-url {cls.name}=openai+http://HOST:8080"
        )

    def identity(self) -> dict[str, Any]:
        """Beside the common keys "model", "variant" and "upstream", whether an answer without a score counts as 0, as in
        flow_grpo, instead of failing; weights_revision is what the server calls the model's origin."""
        return {
            "name": self.name,
            "version": self.version,
            "weights_revision": self.root,
            "dtype": "the server's",
            "model": self.model,
            "variant": VARIANT,
            "upstream": False,
        }

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Judged]:
        self.check_pairs(images, prompts)
        if not images:
            return []
        with ThreadPoolExecutor(min(self.concurrency, len(images))) as pool:  # the server batches what comes together
            return list(pool.map(self._judge, images, prompts))

    def expectations(self) -> list[Expectation]:
        return matching()

    def _judge(self, image: Image.Image, prompt: str) -> Judged:
        try:
            return read(self._answer(image, prompt))
        except Unscorable as error:
            return Judged.failed(str(error))
        except (Unreachable, Refusal) as error:
            return Judged.failed(f"{self.name} at {self.connection.url} failed: {error}")

    def _answer(self, image: Image.Image, prompt: str) -> str:
        """What the model writes about a picture. Raises Unscorable, Unreachable and Refusal."""
        picture = f"data:image/jpeg;base64,{base64_text(jpeg(image, JPEG_QUALITY))}"
        content = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": question(prompt)}]
        request = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": TOKENS,
        }
        reply = self.connection.post("/v1/chat/completions", json.dumps(request).encode(), "application/json")
        try:
            text = json.loads(reply)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise Unscorable(f"{self.connection.url} answered what is no chat completion") from error
        if not isinstance(text, str):
            raise Unscorable(f"{self.connection.url} answered without a text")
        return text

    def _served(self) -> str | None:
        """The origin of the model, where the server tells it."""
        try:
            models = {one["id"]: one for one in json.loads(self.connection.get("/v1/models"))["data"]}
        except (Unreachable, Refusal) as error:
            raise UserError(f"{self.connection.url} does not list its models ({error}): run `{START}`") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.connection.url} is no OpenAI-compatible server: run `{START}`") from error
        if self.model not in models:
            raise suggest(self.model, models, f"model of the server {self.connection.url}")
        root = models[self.model].get("root")
        return root if isinstance(root, str) else None
