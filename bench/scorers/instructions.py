"""The exact instructions that scorers give to their models. They are benchmark texts: an asset, never part of this
package."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.sources.assets import asset
from htgrpo.base.errors import UserError

ASSET = "scorer_prompts"


def instruction(key: str) -> Any:
    """The instruction of that key, a text or a mapping of texts. Raises UserError where the asset is missing, with the
    command that brings it, or lacks it."""
    path = asset(ASSET)
    found = _read(path, path.stat().st_mtime_ns).get(key)
    if not found:
        raise UserError(
            f"{str(path)!r} has no instruction {key!r}: bring the asset again with `python -m bench.fetch {ASSET}`"
        )
    return found


@lru_cache(maxsize=4)
def _read(path: Path, changed: int) -> dict[str, Any]:
    try:
        texts = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(
            f"{str(path)!r} is not JSON ({error}): bring the asset again with `python -m bench.fetch {ASSET}`"
        ) from error
    return texts if isinstance(texts, dict) else {}
