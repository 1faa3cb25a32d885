"""Whether two folders hold the same results: equal bytes but for clocks, memory, and the paths and hashes of what holds
them."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

from bench.campaign.killing import Contents, contents

CLOCKS = {"seconds", "created", "peak_memory_mb"}
"""Keys of JSON objects that tell of the clock or the machine."""
VOLATILE = re.compile(
    r"(^|/)(timing\.jsonl|config\.json|state\.json|files\.json|pretrain\.jsonl|meta\.json|tune\.md|tune\.json|report/.*)$"
)
"""Files whose hashes, in the lists of files, hold clocks."""
DRAWN = re.compile(
    r"(^|/)report/(?!table\.csv|categories|contact_sheet|unmasking|curves_(iterations|forwards)\.png|differences\.png)"
)
"""Of a report, what shows seconds somewhere; its table.csv has all numbers, and bench.check makes the rest again."""
IGNORED = re.compile(r"(^|/)(\.lock|timing\.jsonl|tune\.md)$|\.pdf$")
COSTS = ("seconds", "memory")


def results(folder: Path, names: dict[str, str] | None = None) -> Contents:
    """What must be equal, by path. names: texts, such as paths, that stand for others."""
    found = contents(folder, lambda name: bool(IGNORED.search(name) or DRAWN.search(name)))
    return {name: _essence(name, data, names or {}) for name, data in found.items()}


def differences(wanted: Contents, there: Contents) -> list[str]:
    """One sentence for each file that is not as wanted."""
    return [
        f"{name} {'differs' if name in wanted and name in there else 'is gone' if name in wanted else 'is left over'}"
        for name in sorted(wanted.keys() | there.keys())
        if wanted.get(name) != there.get(name)
    ]


def _essence(name: str, data: bytes, names: dict[str, str]) -> bytes:
    for old, new in names.items():
        data = data.replace(old.encode(), new.encode())
    try:
        if name.endswith(".csv"):
            rows = [
                row
                for row in csv.reader(io.StringIO(data.decode()))
                if not (row[:1] == ["cost"] and set(row) & set(COSTS))
            ]
            return json.dumps(rows).encode()
        if name.endswith(".json"):
            return json.dumps(_without_clocks(json.loads(data)), sort_keys=True).encode()
        if name.endswith(".jsonl"):
            return "\n".join(json.dumps(_without_clocks(json.loads(line))) for line in data.splitlines()).encode()
    except ValueError:
        pass  # a torn or damaged file is compared as it is
    return data


def _without_clocks(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_clocks(one) for one in value]
    if not isinstance(value, dict):
        return value
    listing = "made_by" in value and isinstance(value.get("files"), dict)
    kept = {
        key: _without_clocks(one)
        for key, one in value.items()
        if key not in CLOCKS and not (listing and key == "sha256")
    }
    if listing:
        kept["files"] = {name: "" if VOLATILE.search(name) else digest for name, digest in value["files"].items()}
    return kept
