"""How the settings of a run were chosen, for its config.json: what bench.tune has recorded, and how its world was
made."""

from typing import Any

from bench.ask.presets import read, tuning_record
from bench.ask.request import Request

KEPT = ("seeds", "split", "samples", "lr", "start", "ladder")
"""What a record of tuning says of all methods."""


def choices(request: Request) -> dict[str, Any]:
    """{"world", "tuning", "methods"}: methods holds, for each that was tuned, what was chosen from how many tries,
    whether the best learning rate is an interior one, and whether this run trains with that ("as_tuned")."""
    world, record = read("tune")["worlds"].get(request.backbone, ""), tuning_record(request.backbone)
    if record is None:
        return {"world": world, "tuning": None, "methods": {}}
    methods = {
        name: {**record["chosen"][name], "as_tuned": _as_tuned(request.train[name], record["chosen"][name]["settings"])}
        for name in request.methods
        if name in record["chosen"]
    }
    about = {**{key: record[key] for key in KEPT}, "budget": record["settings"]["budget"]}
    return {"world": world, "tuning": about, "methods": methods}


def _as_tuned(train: dict[str, Any], settings: dict[str, Any]) -> bool:
    used = {**train, **train["method_options"]}
    return all(used.get(name) == value for name, value in settings.items())
