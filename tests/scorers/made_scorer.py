"""A scorer as somebody else's package brings it: registered, with weights that may be missing, and with pictures it
fails."""

import json
import os
from pathlib import Path

from bench.scorers.base import Expectation, Judged, Scorer, Unscorable
from tests.scorers.brightness import greys

EVENTS = []
"""What was done with scorers, in order: ("load", device), ("close",)."""


class Made(Scorer):
    """The mean grey, 0..255. Fails on every picture darker than `dark` at (0, 0), those of its test excepted."""

    name, title, version, needs_prompt, published_range, reward_scale = "made", "Made", "1", True, "0..255", 0.01
    axes = ("red",)
    dark = 0

    @classmethod
    def load(cls, weights=None, device="cpu", dtype=None):
        cls.find()
        EVENTS.append(("load", device))
        return cls()

    @classmethod
    def folders(cls, weights=None):
        from htgrpo.base.errors import UserError

        if not os.environ.get("MADE_WEIGHTS"):
            raise UserError("weights not found: run `hf download made/made`, since made needs it")
        return [Path(os.environ["MADE_WEIGHTS"])]

    def identity(self):
        return {
            "name": self.name,
            "version": self.version,
            "weights_revision": os.environ["MADE_WEIGHTS"],
            "dtype": "float32",
        }

    def score(self, images, prompts):
        return [
            Judged.failed("too dark")
            if prompt != "a" and image.convert("L").getpixel((0, 0)) < self.dark
            else Judged.of(
                float(image.convert("L").resize((1, 1)).getpixel((0, 0))),
                {"red": float(image.resize((1, 1)).getpixel((0, 0))[0]), "word": prompt},
            )
            for image, prompt in zip(images, prompts)
        ]

    def expectations(self):
        dark, light = greys(40, 200)
        pair = ((dark, "a"), (light, "a")) if os.environ.get("MADE_FAILS") else ((light, "a"), (dark, "a"))
        return [Expectation("light is lighter than dark", *pair)]

    def close(self):
        EVENTS.append(("close",))


class Specified(Made):
    """Counts what the specification asks for."""

    name, reads_spec = "specified", True

    @classmethod
    def check_prompt(cls, prompt):
        if "n" not in json.loads(prompt):
            raise Unscorable("it has no n")

    def score(self, images, prompts):
        return [
            Judged.of(float(json.loads(prompt)["n"])) if prompt != "a" else Judged.of(float(image.getpixel((0, 0))[0]))
            for image, prompt in zip(images, prompts)
        ]
