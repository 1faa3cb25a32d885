"""Training checkpoints: a policy folder any loader can read, or adapters in peft's layout, with the trainer's state in a subfolder
of its own."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from htgrpo.errors import UserError
from htgrpo.files import atomic_dir
from htgrpo.tuning import Tuning

STATE = "trainer_state"


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a whole iteration. forwards: so far; last: of the last iteration; seconds: spent training."""

    iteration: int = 0
    forwards: int = 0
    last: int = 0
    seconds: float = 0.0


def saved(run: Path) -> list[Path]:
    """Whole checkpoints of a training folder, oldest first."""
    found = [p for p in (run / "checkpoints").glob("step_*") if re.fullmatch(r"step_\d+", p.name)]
    return sorted(found, key=lambda p: int(p.name[5:]))


def save(run: Path, tuning: Tuning, optimizer: torch.optim.Optimizer, progress: Progress, identity: str) -> None:
    """Writes checkpoints/step_N whole or not at all, then drops the trainer state of older ones."""
    older = saved(run)
    with atomic_dir(run / "checkpoints" / f"step_{progress.iteration:06d}") as folder:
        tuning.write(folder)
        (folder / STATE).mkdir()
        state = optimizer.state_dict()["state"]
        tensors = {f"{i}.{name}": value.detach().cpu().contiguous() for i, s in state.items() for name, value in s.items()}
        save_file(tensors, folder / STATE / "optimizer.safetensors")
        (folder / STATE / "state.json").write_text(json.dumps({**progress.__dict__, "identity": identity}) + "\n")
    for folder in older:
        if folder.name != f"step_{progress.iteration:06d}":
            shutil.rmtree(folder / STATE, ignore_errors=True)


def resume(run: Path, tuning: Tuning, optimizer: torch.optim.Optimizer, identity: str) -> Progress:
    """Loads the newest checkpoint of `run` that has trainer state into tuning and optimizer; a fresh Progress if there is
    none. Raises UserError when it was made with other settings or cannot be read."""
    for left in (run / "checkpoints").glob(".step_*"):  # of a process that was killed while saving
        shutil.rmtree(left, ignore_errors=True)
    states = [folder for folder in saved(run) if (folder / STATE / "state.json").is_file()]
    if not states:
        return Progress()
    newest = states[-1]
    try:
        state = json.loads((newest / STATE / "state.json").read_text())
        found, progress = state.pop("identity"), Progress(**state)
        moments = _moments(optimizer, load_file(newest / STATE / "optimizer.safetensors")) if found == identity else {}
    except Exception as error:  # safetensors raises its own untyped errors for damaged files
        raise UserError(f"the trainer state in {str(newest)!r} is damaged ({error}): delete the training folder to start "
                        "again") from error
    if found != identity:
        raise UserError(f"{str(run)!r} holds a training run of other settings: use another --out, or delete that folder")
    tuning.load(newest)
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return progress


def _moments(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """The optimiser's state by number of the weight. Raises ValueError where it does not fit the optimiser's weights."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = value
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    trained = {index for index, weight in enumerate(weights) if weight.requires_grad}
    if moments and moments.keys() != trained:
        raise ValueError(f"it has the state of {len(moments)} weights, the network trains {len(trained)}")
    for index, state in moments.items():
        for name, value in state.items():
            if value.ndim and value.shape != weights[index].shape:
                raise ValueError(f"{name} of weight {index} has shape {list(value.shape)}, not {list(weights[index].shape)}")
    return moments
