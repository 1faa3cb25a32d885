"""The presets: what `--preset quick|full|study|paper` stands for on each backbone, as data in bench/ask/presets/*.json.
Imports no torch."""

import json
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from htgrpo.base.errors import UserError
from htgrpo.base.files import atomic_json
from htgrpo.base.options import require
from htgrpo.base.registry import BACKBONES
from htgrpo.base.values import SEED, Resolution, Whole
from htgrpo.policies.cache_config import CacheConfig, CacheRatio, RefreshInterval, WarmupRatio
from htgrpo.training.train_config import Dtype, Guidance, Sampler, Steps

PRESETS = ("quick", "full", "study", "paper")


TUNED_ALIKE = (
    "policy_sha256",
    "settings",
    "samples",
    "seeds",
    "lr",
    "start",
    "ladder",
    "split",
    "prompts",
    "benchmark",
)
"""What a record of tuning says once, for all of its methods."""
CACHE_FIELDS = tuple(f.name for f in fields(CacheConfig))


@dataclass(frozen=True)
class Setting:
    """How pictures to be scored are made. seed: of the noise, which all policies share. samples: pictures per prompt.
    resolution: HEIGHTxWIDTH in pixels, or one number; "" is the policy's own. dtype "auto": bfloat16 where the hardware
    multiplies it. pads: as in TrainConfig. cache "ml": Lumina-DiMOO's ML-Cache, quicker and approximate, with
    cache_ratio, warmup_ratio and refresh_interval as in htgrpo.policies.cache_config."""

    sampler: Sampler
    steps: Steps
    guidance: Guidance
    resolution: Annotated[str, Resolution()]
    dtype: Dtype
    seed: Annotated[int, Whole(0, SEED)]
    samples: Annotated[int, Whole(1, 1000)]
    pads: Literal["strip", "attend"] = "strip"
    cache: Literal["none", "ml"] = "none"
    cache_ratio: CacheRatio = CacheConfig.cache_ratio
    warmup_ratio: WarmupRatio = CacheConfig.warmup_ratio
    refresh_interval: RefreshInterval = CacheConfig.refresh_interval

    def validate(self, name: str) -> "Setting":
        """Itself; raises UserError naming the first value of setting `name` that has no effect."""
        for field in CACHE_FIELDS:
            idle = self.cache == "none" and getattr(self, field) != getattr(CacheConfig, field)
            require(not idle, f"{name}.{field}", getattr(self, field), f"it needs --set {name}.cache=ml")
        return self

    def ml_cache(self) -> CacheConfig | None:
        """The cache; None without one. Raises UserError for a value out of its range."""
        return None if self.cache == "none" else CacheConfig(**{name: getattr(self, name) for name in CACHE_FIELDS})

    def values(self) -> dict[str, Any]:
        """The fields by name; pads only where they are attended to, and those of the cache only where there is one."""
        absent = {"pads"} if self.pads == "strip" else set()
        absent |= {"cache", *CACHE_FIELDS} if self.cache == "none" else set()
        return {name: value for name, value in asdict(self).items() if name not in absent}


@cache
def read(name: str) -> dict[str, Any]:
    """bench/ask/presets/NAME.json. Treat it as read-only."""
    text = (resources.files("bench.ask") / "presets" / f"{name}.json").read_text("utf-8")
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"bench/ask/presets/{name}.json is not JSON ({error}): re-install the package") from error


def preset(name: str, backbone: str, random_weights: bool = False) -> dict[str, Any]:
    """A preset: methods, seeds, budget, benchmarks, curve, train (for all methods), settings (of generation).

    It is read from NAME_BACKBONE.json, which extends another preset, or from NAME.json; what backbone_BACKBONE.json
    says, for all presets and for this one, replaces what that says, and for `random_weights`, which no published scorer
    is worth running on, what it says for those. Raises UserError where the preset is not made for the backbone.
    """
    found = _preset(name, backbone)
    own = (
        read(f"backbone_{backbone}").get("random_weights", {})
        if random_weights and _is_there(f"backbone_{backbone}")
        else {}
    )
    return {**found, **own, "train": {**found["train"], **own.get("train", {})}}


def _preset(name: str, backbone: str) -> dict[str, Any]:
    if _is_there(f"{name}_{backbone}"):
        data = read(f"{name}_{backbone}")
        base = _preset(data["extends"], backbone)
        return {**base, **data, "train": {**base["train"], **data["train"]}}
    if not _is_there(name):
        made = [other for other in BACKBONES.names() if _is_there(f"{name}_{other}")]
        raise UserError(
            f"--preset {name} is not made for the backbone {backbone!r}: give --backbone {' or '.join(made)}, or take "
            "another preset"
        )
    own = read(f"backbone_{backbone}") if _is_there(f"backbone_{backbone}") else {}
    return {**read(name), **own.get("all", {}), **own.get(name, {})}


def _is_there(name: str) -> bool:
    return (resources.files("bench.ask") / "presets" / f"{name}.json").is_file()


def tuned(method: str, backbone: str) -> dict[str, Any]:
    """Training settings and options of `method` found by tuning on the validation prompts with `backbone`; empty if
    nobody did."""
    return read("methods").get(backbone, {}).get(method, {})


def published(method: str) -> dict[str, Any]:
    """What the published code of `method` uses beside what all methods share; empty where that is nothing."""
    return read("published")["methods"].get(method, {})


def tuning_record(backbone: str) -> dict[str, Any] | None:
    """What bench.tune has recorded of the settings of an embedded policy (presets/tuning_BACKBONE.json); None where it
    was never written."""
    return read(f"tuning_{backbone}") if _is_there(f"tuning_{backbone}") else None


def write_tuned(backbone: str, record: dict[str, Any]) -> list[Path]:
    """Makes what bench.tune has found the settings of an embedded policy's methods; returns the files. Methods that
    were not tuned this time keep theirs; raises UserError where these were tuned otherwise, since one record tells of all."""
    settings, old = read("methods"), tuning_record(backbone) or {}
    chosen = {method: one["settings"] for method, one in record["chosen"].items()}
    others = [method for method in old.get("chosen", {}) if method not in chosen]
    for key in TUNED_ALIKE if others else ():
        if old[key] != record[key]:
            raise UserError(
                f"tuning_{backbone}.json has {', '.join(others)} tuned with {key} = {old[key]!r}, but these tries have "
                f"{record[key]!r}: give these --methods too (finished tries are kept)"
            )
    tries = [one for one in old.get("tries", []) if one["method"] in others]
    both = {part: {**old.get(part, {}), **record[part]} for part in ("chosen", "own_choice")}
    record = {**record, **both, "tries": [*tries, *record["tries"]]}
    own = {**settings.get(backbone, {}), **chosen}
    whole = {"methods": {**settings, backbone: own}, f"tuning_{backbone}": record}
    return [written(name, value) for name, value in whole.items()]


def written(name: str, value: dict[str, Any]) -> Path:
    """Writes bench/ask/presets/NAME.json, and returns it."""
    path = Path(str(resources.files("bench.ask") / "presets")) / f"{name}.json"
    atomic_json(path, value)
    return path


def gpus() -> dict[str, Any]:
    """Published rates and memory of graphics cards, and what is assumed about their use."""
    return read("gpus")


def timing() -> dict[str, Any]:
    """Measured seconds behind the expected time of --dry-run."""
    return read("timing")
