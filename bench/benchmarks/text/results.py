"""Results in lm-eval's schema: which ones they are, whether they are there already, and how they read. Imports no
torch."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from htgrpo.base.errors import UserError
from htgrpo.base.files import sha256_json
from htgrpo.base.versions import libraries

RESULTS = "results.json"
LIBRARIES = ("tokenizers", "transformers", "datasets")
"""What turns tasks into documents and these into tokens, beside lm-eval."""


def identity_of(weights_sha256: str, tasks: list[str], settings: dict[str, Any], options: dict[str, Any]) -> str:
    """Hex identity of results: weights, tasks, settings (but for the batch, which changes nothing), and versions of
    lm-eval and of LIBRARIES."""
    settings = {name: value for name, value in settings.items() if name != "batch"}
    return sha256_json([weights_sha256, sorted(tasks), settings, options, version("lm_eval"), libraries(LIBRARIES)])


def stored(folder: Path, identity: str, overwrite: bool) -> dict[str, Any] | None:
    """The results in `folder`, None where there are none. Raises UserError for those of another identity, unless
    `overwrite`."""
    try:
        results = json.loads((folder / RESULTS).read_text("utf-8"))
        found = results["config"].get("identity")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        results, found = None, f"unreadable ({error})"
    if found == identity and not overwrite:
        return results
    if overwrite and results is not None and isinstance(found, str):  # they are ours
        return None
    raise UserError(
        f"{str(folder / RESULTS)!r} holds other results (of other weights, tasks, settings or libraries, or damaged): "
        "give another --out, or --overwrite where this command wrote them"
    )


def table(results: dict[str, Any]) -> str:
    """One line per task, filter and metric, groups first where there are any, and what must not be concluded."""
    rows = [("task", "documents", "filter", "metric", "value", "standard error")]
    for name, found in {**results.get("groups", {}), **results["results"]}.items():
        for key, value in found.items():
            metric, comma, kind = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = found.get(f"{metric}_stderr,{kind}")
            documents = results["n-samples"].get(name, {}).get("effective", "")
            spread = f"{error:.4f}" if isinstance(error, int | float) else "-"
            rows.append((name, str(documents), kind, metric, f"{value:.4f}", spread))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    config = results["config"]
    if config.get("contexts_cut"):
        lines.append(f"{config['contexts_cut']} contexts were longer than --max-length and lost their beginning")
    if config.get("not_claimed"):
        lines.append(config["not_claimed"])
    return "\n".join(lines)
