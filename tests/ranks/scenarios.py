"""Trainings of a second, run by `accelerate launch -m tests.ranks.scenarios OUT NAME…` and, for comparison, by one
process."""

import gc
import json
import os
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import torch

from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt
from htgrpo.base.rng import generator
from htgrpo.training.pretraining import TinySize, new_policy
from htgrpo.training.trainer import train
from htgrpo.world.world import find
from tests.htgrpo.tiny import tiny_policy
from tests.htgrpo.training import CONFIG

HERE = "tests.ranks.rewards:"
PROMPTS = [
    Prompt("one", "red circle", "colors", {}),
    Prompt("two", "a photo of two red circle left of a blue square", "colors", {}),
    Prompt("three", "two circle", "counting", {}),
    Prompt("four", "a photo of blue square", "position", {}),
]
BASE = replace(CONFIG, budget="iterations:2", prompts_per_iteration=3, group_size=3, save_every=2)
PER_UPDATE = {"updates_per_rollout": 3}
STOPPED = {"budget": "iterations:3"}
"""Of those that are stopped on the way: one iteration more than a checkpoint."""
SCENARIOS = {
    "plain": STOPPED,
    "dropped_group": {"rewards": f"{HERE}one_prompt_fails", "prompts_per_iteration": 4, "tokens_per_forward": 30},
    "one_prompt": {"prompts_per_iteration": 1},
    "no_group_on_one_rank": {
        "rewards": f"{HERE}one_prompt_fails", "prompts_per_iteration": 2, "budget": "iterations:5",
    },
    "no_group_at_all": {"rewards": f"{HERE}one_of_a_prompt"},
    "normalised": {"rewards": f"{CONFIG.rewards}=1,{HERE}redness_or_nothing=0.5", "normalise_rewards": True},
    "exact_kl": {"kl": "exact", "recompute": True},
    "units": {"method": "trace", "method_options": PER_UPDATE, "tokens_per_forward": 40, "beta": 0.0},
    "two_passes": {"method": "coupled", "method_options": PER_UPDATE, "tokens_per_forward": 60},
    "interleaved": {
        "method": "mask", "method_options": PER_UPDATE, "interleave": True, "rewards": f"{HERE}one_prompt_fails",
        "prompts_per_iteration": 4,
    },
    "adapters": {"tuning": "lora", "lora_rank": 2, "lora_alpha": 4.0, **STOPPED},
    "pretrain": {"method": "pretrain", "method_options": {"updates_per_iteration": 2, "batch": 5}},
    "pretrain_of_one": {"method": "pretrain", "method_options": {"updates_per_iteration": 1, "batch": 1}},
    "refuses": {"rewards": f"{HERE}refuses"},
    "breaks": {"rewards": f"{HERE}breaks"},
    "dies": {"rewards": f"{HERE}dies"},
    "node_dies": {"rewards": f"{HERE}node_dies_once", "save_every": 1, **STOPPED},
}  # fmt: skip


class Killed(Exception):
    """Stands for the end of the launch."""


def go(name: str, out: Path, stop: tuple[int, str] | None = None) -> None:
    """Trains scenario `name` in `out`, going on from what is there; every process notes how it ended in
    `out`/ended.RANK, and in `out`/held that the network outlived the training."""

    def on_progress(event):
        if (event["iteration"], event["phase"]) == stop:
            raise Killed

    pretrain = name.startswith("pretrain")
    policy = new_policy(find(), TinySize(16, 1, 2, 24), generator("world")) if pretrain else tiny_policy(8, layers=2)
    policy.net.to(torch.float64)
    try:
        train(policy, replace(BASE, **SCENARIOS[name]), PROMPTS, out, on_progress=on_progress)
        ended = "well"
    except (UserError, RuntimeError, Killed) as error:
        ended = f"{type(error).__name__}: {error}"
    out.mkdir(parents=True, exist_ok=True)
    (out / f"ended.{os.environ.get('RANK', '0')}").write_text(ended)
    net = weakref.ref(policy.net)
    del policy
    gc.collect()
    if net() is not None:
        (out / "held").touch()


def resumed(name: str, out: Path) -> None:
    """The same, stopped twice."""
    for stop in ((2, "update"), (3, "done"), None):
        go(name, out, stop)


def main(out: Path, names: list[str]) -> None:
    """Every scenario in a folder of its own; NAME+begun is stopped, NAME+resumed also gone on with, NAME@zero2 is
    sharded as fsdp2_zero2_8gpu.yaml says."""
    for name in names:
        whole, _, way = name.partition("@")
        scenario, _, how = whole.partition("+")
        if way == "zero2":
            os.environ["FSDP_RESHARD_AFTER_FORWARD"] = "false"
        if how == "resumed":
            resumed(scenario, out / name)
        else:
            go(scenario, out / name, (3, "update") if how == "begun" else None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
