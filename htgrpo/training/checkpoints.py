"""Training checkpoints: a policy folder any loader can read, or adapters in peft's layout, with the trainer's state in
a subfolder of its own."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from htgrpo.base.errors import UserError
from htgrpo.base.folders import atomic_dir, read_seal, remove_sealed, seal, sweep, verify
from htgrpo.base.records import TrainerState, read
from htgrpo.training.adamw import AdamW
from htgrpo.training.tuning import Tuning

STATE = "trainer_state"
MADE_BY = "training"


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a whole iteration. forwards: so far; last: of the last iteration; seconds: spent
    training."""

    iteration: int = 0
    forwards: int = 0
    last: int = 0
    seconds: float = 0.0


def saved(run: Path) -> list[Path]:
    """Whole checkpoints of a training folder, oldest first."""
    found = [p for p in (run / "checkpoints").glob("step_*") if re.fullmatch(r"step_\d+", p.name)]
    return sorted(found, key=lambda p: int(p.name[5:]))


@dataclass(frozen=True)
class State:
    """A trainer's state as state.json has it. identity: of the training; policy: sha256 of the files it belongs to, by
    name."""

    progress: Progress
    identity: str
    policy: dict[str, str]


def read_state(checkpoint: Path) -> State:
    """What state.json in `checkpoint` says. Raises UserError where its values are of a wrong kind or belong to other
    weights."""
    path, again = checkpoint / STATE / "state.json", "delete the training folder to start again"
    value = read(path, TrainerState, again)
    if (
        strange := value.keys() - TrainerState.__annotations__.keys()
    ):  # of another version, whose state means something else
        raise UserError(f"{str(path)!r} is damaged (it has {', '.join(sorted(strange))}): {again}")
    if value["iteration"] != int(checkpoint.name.removeprefix("step_")):
        raise UserError(f"{str(path)!r} is damaged (it is of iteration {value['iteration']}): {again}")
    progress = Progress(value["iteration"], value["forwards"], value["last"], value["seconds"])
    return State(progress, value["identity"], value["policy"])


def with_state(run: Path) -> list[Path]:
    """Checkpoints of a training folder that training can go on from, oldest first."""
    return [folder for folder in saved(run) if (folder / STATE / "state.json").is_file()]


def save(run: Path, tuning: Tuning, optimizer: AdamW, progress: Progress, identity: str) -> None:
    """Writes checkpoints/step_N whole or not at all, with lists of its files, then drops the trainer state of older
    ones."""
    with atomic_dir(run / "checkpoints" / f"step_{progress.iteration:06d}", MADE_BY, overwrite=True) as folder:
        tuning.write(folder)
        seal(folder, MADE_BY)
        (folder / STATE).mkdir()
        state = optimizer.state()
        tensors = {
            f"{i}.{name}": value.detach().cpu().contiguous() for i, s in state.items() for name, value in s.items()
        }
        save_file(tensors, folder / STATE / "optimizer.safetensors")
        record = {**asdict(progress), "identity": identity, "policy": read_seal(folder).files}
        (folder / STATE / "state.json").write_text(json.dumps(record) + "\n")
        seal(folder / STATE, MADE_BY)
    tidy(run)


def tidy(run: Path) -> None:
    """Drops all trainer states but the newest, and what a process that was killed while saving has left."""
    for folder in with_state(run)[:-1]:
        remove_sealed(folder / STATE)
    for left in [*run.glob("checkpoints/.*"), *run.glob("checkpoints/step_*/.*")]:
        sweep(left)


def resume(run: Path, tuning: Tuning, optimizer: AdamW, identity: str) -> Progress:
    """Loads the newest checkpoint of `run` that has trainer state into tuning and optimizer; a fresh Progress if there
    is none. Raises UserError when it was made with other settings, or when any file of it is not as it was written."""
    again = "delete the training folder to start again, or restore it from a copy"
    if not (states := with_state(run)):
        return Progress()
    newest = states[-1]
    try:
        verify(newest / STATE, again)
        state = read_state(newest)
        moments = (
            _moments(optimizer, load_file(newest / STATE / "optimizer.safetensors"))
            if state.identity == identity
            else {}
        )
    except UserError:
        raise
    except Exception as error:  # safetensors raises its own untyped errors for damaged files
        raise UserError(f"the trainer state in {str(newest)!r} is damaged ({error}): {again}") from error
    if state.identity != identity:
        raise UserError(
            f"{str(run)!r} holds a training run of other settings: use another --out, or delete that folder"
        )
    weights = verify(newest, again).files
    for name in sorted(name for name in state.policy if state.policy[name] != weights.get(name)):
        raise UserError(
            f"{str(newest / name)!r} is damaged (it is not the one that the trainer's state was saved with): {again}"
        )
    tuning.load(newest)
    optimizer.load(moments)
    return state.progress


def _moments(optimizer: AdamW, tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """The optimiser's state by number of the weight. Raises ValueError where it does not fit the optimiser's
    weights."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = value
    weights = optimizer.weights
    if moments and moments.keys() != set(range(len(weights))):
        raise ValueError(f"it has the state of {len(moments)} weights, the network trains {len(weights)}")
    for number, state in moments.items():
        for name, value in state.items():
            if value.ndim and value.shape != weights[number].shape:
                raise ValueError(
                    f"{name} of weight {number} has shape {list(value.shape)}, not {list(weights[number].shape)}"
                )
    return moments
