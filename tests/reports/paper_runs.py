"""A made-up run that says it was made with MMaDA."""

import json
from pathlib import Path

from tests.reports.synthetic import write_run


def on_mmada(root: Path, title: str = "", **train) -> Path:
    """A made-up run that says it was made with MMaDA."""
    write_run(root, {"ht": 0.2, "coupled": 0.1}, seeds=3, images=False, dense=30)
    config = json.loads((root / "config.json").read_text())
    common = {"group_size": 9, "guidance": 3.5, "rewards": "hpsv3=1,clip=1,unifiedreward=1", "lr": 3e-6, **train}
    config |= {"backbone": "mmada", "title": title, "train": {m: {"method": m, **common} for m in config["methods"]}}
    (root / "config.json").write_text(json.dumps(config))
    return root
