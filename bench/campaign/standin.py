"""A scorer without a model behind `bench.serve`, for the campaign alone: registered in this process and in no package.

python -m bench.campaign.standin --port 0
"""

import sys
import time
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from PIL import Image

from bench import serve
from bench.ask.cli import run_main
from bench.scorers.base import Expectation, Judged, Scorer
from bench.scorers.registry import SCORERS

NAME = "standin"
WAIT = 0.005
"""Seconds of a batch."""


def expected(image: Image.Image, prompt: str) -> float:
    """The right score: the picture's mean grey and the prompt's letters."""
    return round(image.convert("L").resize((1, 1), Image.Resampling.BOX).tobytes()[0] + len(prompt) / 1000, 6)


class Standin(Scorer):
    """Scores by brightness."""

    name, title, version, needs_prompt, published_range = NAME, "Stand-in", "1", True, "0..256"

    @classmethod
    def load(cls, weights: Path | None = None, device: str = "cpu", dtype: Any = None) -> "Standin":
        return cls()

    @classmethod
    def find(cls) -> None:
        return

    def identity(self) -> dict[str, Any]:
        return {"name": NAME, "version": "1", "weights_revision": "none", "dtype": "float32"}

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Judged]:
        time.sleep(WAIT)
        return [Judged.of(expected(image, prompt)) for image, prompt in zip(images, prompts)]

    def expectations(self) -> list[Expectation]:
        dark, light = (Image.new("RGB", (8, 8), (grey,) * 3) for grey in (40, 200))
        return [Expectation("light is lighter than dark", (light, "a"), (dark, "a"))]


def register() -> None:
    """From now on SCORERS knows it, in this process."""
    SCORERS._entries[NAME] = EntryPoint(NAME, f"{__name__}:Standin", SCORERS.group)


def main(argv: list[str] | None = None) -> int:
    """Serves it."""
    register()
    return serve.main([NAME, *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    run_main(main)
