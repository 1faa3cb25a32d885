"""Training checkpoints: a policy folder any loader can read, with the trainer's state in a subfolder of its own."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from htgrpo.errors import UserError
from htgrpo.files import atomic_dir
from htgrpo.policies.policy import WEIGHTS, Policy, load_weights

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


def save(run: Path, policy: Policy, optimizer: torch.optim.Optimizer, progress: Progress, identity: str) -> None:
    """Writes checkpoints/step_N whole or not at all, then drops the trainer state of older ones."""
    older = saved(run)
    with atomic_dir(run / "checkpoints" / f"step_{progress.iteration:06d}") as folder:
        policy.write(folder)
        (folder / STATE).mkdir()
        state = optimizer.state_dict()["state"]
        tensors = {f"{i}.{name}": value.detach().cpu().contiguous() for i, s in state.items() for name, value in s.items()}
        save_file(tensors, folder / STATE / "optimizer.safetensors")
        (folder / STATE / "state.json").write_text(json.dumps({**progress.__dict__, "identity": identity}) + "\n")
    for folder in older:
        if folder.name != f"step_{progress.iteration:06d}":
            shutil.rmtree(folder / STATE, ignore_errors=True)


def resume(run: Path, policy: Policy, optimizer: torch.optim.Optimizer, identity: str) -> Progress:
    """Loads the newest checkpoint of `run` that has trainer state into policy and optimizer; a fresh Progress if there is
    none. Raises UserError when it was made with other settings or cannot be read."""
    states = [folder for folder in saved(run) if (folder / STATE / "state.json").is_file()]
    if not states:
        return Progress()
    newest = states[-1]
    try:
        state = json.loads((newest / STATE / "state.json").read_text())
        tensors = load_file(newest / STATE / "optimizer.safetensors")
    except Exception as error:  # safetensors raises its own untyped errors for damaged files
        raise UserError(f"the trainer state in {str(newest)!r} is damaged ({error}): delete that folder to go on from the "
                        "checkpoint before it, or the training folder to start again") from error
    if state.pop("identity") != identity:
        raise UserError(f"{str(run)!r} holds a training run of other settings: use another --out, or delete that folder")
    load_weights(policy.net, newest / WEIGHTS)
    packed: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        packed.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": packed, "param_groups": optimizer.state_dict()["param_groups"]})
    return Progress(**state)
