"""A training run of a second or less, its prompts, and what is left of it on disk."""

from dataclasses import replace
from pathlib import Path

from htgrpo.base.files import read_jsonl, sha256_file
from htgrpo.base.prompts import Prompt
from htgrpo.policies.policy import Policy
from htgrpo.training.checkpoints import saved
from htgrpo.training.train_config import TrainConfig
from htgrpo.training.trainer import train
from tests.htgrpo.tiny import tiny_policy

REWARD = "tests.htgrpo.reward_functions:"

PROMPTS = [
    Prompt("one", "red circle", "colors", {}),
    Prompt("two", "a photo of blue square", "colors", {}),
    Prompt("three", "two circle", "counting", {}),
    Prompt("four", "red square left of blue circle", "position", {}),
]

CONFIG = TrainConfig(
    method="ht",
    method_options={"stages": "1:1:1", "alpha": 0.5},
    budget="iterations:6",
    group_size=4,
    prompts_per_iteration=2,
    steps=2,
    guidance=1.0,
    rollout_dtype="float64",
    rewards=f"{REWARD}brightness",
    lr=0.01,
    save_every=2,
)


def run(out: Path, policy: Policy | None = None, on_progress=lambda event: None, **changes) -> list[dict]:
    """Trains a fresh tiny policy in `out` (going on from what is there) and returns the lines of metrics.jsonl."""
    train(policy or tiny_policy(8), replace(CONFIG, **changes), PROMPTS, out, on_progress=on_progress)
    return read_jsonl(out / "metrics.jsonl")


def remains(out: Path) -> dict[str, str]:
    """Everything of a run that must be bit-identical: hashes of metrics and of the last checkpoint's files."""
    last = saved(out)[-1]
    timed = ("trainer_state/state.json", "trainer_state/files.json")  # these hold seconds
    kept = sorted(p for p in last.rglob("*") if p.is_file() and p.relative_to(last).as_posix() not in timed)
    files = [out / "metrics.jsonl", *kept]
    return {str(p.relative_to(out)): sha256_file(p) for p in files}
