"""A scorer without weights and what the tests of its server and of its client share."""

import base64
import http.client
import io
import json
import os

from PIL import Image

from bench.scorers.base import Judged, Scorer
from bench.scorers.remote import RemoteScorer
from bench.scorers.web import Connection


class Brightness(Scorer):
    """The mean grey of a picture, as its pixels really arrive."""

    name, title, version, needs_prompt, published_range, reward_scale = (
        "brightness", "Brightness", "3", True, "0..255", 0.5,
    )  # fmt: skip
    axes = ("length",)

    def __init__(self):
        self.batches, self.busy = [], 0

    @classmethod
    def load(cls, weights=None, device="cpu", dtype=None):
        return cls()

    def identity(self):
        return {"name": self.name, "version": self.version, "weights_revision": "abc", "dtype": "float32"}

    def score(self, images, prompts):
        self.busy += 1
        assert self.busy == 1, "two batches at once"
        try:
            self.batches.append(len(images))
            if "break" in prompts:
                raise RuntimeError("the model broke")
            return [
                Judged.of(float(image.convert("L").resize((1, 1)).getpixel((0, 0))), {"length": len(prompt)})
                for image, prompt in zip(images, prompts)
            ]
        finally:
            self.busy -= 1

    def self_test(self):
        return ["it cannot tell dark from light"] if os.environ.get("BRIGHTNESS_FAILS") else []


def url(server):
    return f"http://127.0.0.1:{server.server_port}"


def client(server, token="", **options):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return RemoteScorer("brightness", Connection(url(server), headers, **{"retries": 2, "backoff": 0.0} | options))


def greys(*values):
    return [Image.new("RGB", (8, 8), (value, value, value)) for value in values]


def png(image, **options):
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def item(data, prompt="a", name="0"):
    return {"id": name, "image": base64.b64encode(data).decode(), "prompt": prompt}


def ask(server, method="POST", path="/score", body=b"", headers=None):
    """(status, JSON) of one raw request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(
        method,
        path,
        body if isinstance(body, bytes) else json.dumps(body).encode(),
        {"Content-Type": "application/json"} | (headers or {}),
    )
    answer = connection.getresponse()
    data = json.loads(answer.read())
    connection.close()
    return answer.status, data
