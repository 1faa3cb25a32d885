"""The exact instructions that scorers give to their models. They are benchmark texts: an asset, never part of this
package."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.sources.assets import asset
from htgrpo.base.errors import UserError

ASSET = "scorer_prompts"


def instruction(key: str, name: str = ASSET) -> Any:
    """The instruction of that key, a text or a mapping of texts, in the asset `name`. Raises UserError where that is
    missing, with the command that brings it, or lacks it."""
    path = asset(name)
    remedy = f"bring the asset again with `python -m bench.fetch {name}`"
    found = _read(path, path.stat().st_mtime_ns, remedy).get(key)
    if not found:
        raise UserError(f"{str(path)!r} has no instruction {key!r}: {remedy}")
    return found


@lru_cache(maxsize=4)
def _read(path: Path, changed: int, remedy: str) -> dict[str, Any]:
    try:
        texts = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{str(path)!r} is not JSON ({error}): {remedy}") from error
    return texts if isinstance(texts, dict) else {}
