"""The presets: what `--preset quick|full` stands for on each backbone, as data in bench/presets/*.json. Imports no torch."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from htgrpo.errors import UserError
from htgrpo.options import require
from htgrpo.registry import SAMPLERS

PRESETS = ("quick", "full")
MAIN = "main"
"""The generation setting every preset has."""


@dataclass(frozen=True)
class Setting:
    """How pictures to be scored are made. seed: of the noise, which all policies share. samples: pictures per prompt.
    resolution: HEIGHTxWIDTH in pixels, or one number; "" is the policy's own. dtype "auto": bfloat16 where the hardware
    multiplies it."""

    sampler: str
    steps: int
    guidance: float
    resolution: str
    dtype: Literal["auto", "float32", "bfloat16", "float64"]
    seed: int
    samples: int

    def validate(self, name: str) -> "Setting":
        """Itself; raises UserError naming the first value of setting `name` that cannot work."""
        SAMPLERS.check(self.sampler)
        for field in ("steps", "samples"):
            require(getattr(self, field) >= 1, f"{name}.{field}", getattr(self, field), "it must be at least 1")
        require(self.guidance >= 0, f"{name}.guidance", self.guidance, "it must not be negative")
        return self


@cache
def read(name: str) -> dict[str, Any]:
    """bench/presets/NAME.json. Treat it as read-only."""
    text = (files("bench") / "presets" / f"{name}.json").read_text("utf-8")
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"bench/presets/{name}.json is not JSON ({error}): re-install the package") from error


def preset(name: str, backbone: str) -> dict[str, Any]:
    """A preset: methods, seeds, budget, benchmarks, equal_iterations, train (for all methods), settings (of generation).

    What bench/presets/backbone_NAME.json says, for all presets and for this one, replaces the preset's own.
    """
    there = (files("bench") / "presets" / f"backbone_{backbone}.json").is_file()
    own = read(f"backbone_{backbone}") if there else {}
    return {**read(name), **own.get("all", {}), **own.get(name, {})}


def tuned(method: str, backbone: str) -> dict[str, Any]:
    """Training settings and options of `method` found by tuning on the validation prompts with `backbone`; empty if nobody did."""
    return read("methods").get(backbone, {}).get(method, {})


def gpus() -> dict[str, Any]:
    """Published rates and memory of graphics cards, and what is assumed about their use."""
    return read("gpus")


def timing() -> dict[str, Any]:
    """Measured seconds behind the expected time of --dry-run."""
    return read("timing")
