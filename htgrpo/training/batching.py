"""How many packed tokens are sampled together: what a setting says, what pays on a CPU, or what is measured once."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from htgrpo.base.device import finished
from htgrpo.base.files import atomic_json, read_object
from htgrpo.parallel.ranks import InStep, Ranks
from htgrpo.policies.llada import Network, Packed
from htgrpo.policies.policy import Policy
from htgrpo.training.train_config import TrainConfig

ROLLOUT = "rollout.json"
"""Beside a training's log: what was chosen, so that a resumed training samples in the same batches."""
GAIN = 1.03
"""A batch of twice the size must be so much faster a token to be worth its memory."""


def rollout_tokens(
    config: TrainConfig, policy: Policy, sampling: Callable[[], Network], ranks: Ranks, out: Path
) -> int:
    """Packed tokens to sample together from the network that `sampling` gives. All ranks take the first one's number, and
    a resumed training its own. A network that is spread over ranks is not measured."""
    if config.rollout_tokens:
        return config.rollout_tokens
    if policy.device.type != "cuda" or isinstance(policy.net, InStep):
        return config.tokens_per_forward
    if (out / ROLLOUT).is_file():
        return int(read_object(out / ROLLOUT, "delete the training folder to start again")["tokens"])
    net, length = (
        sampling(),
        len(policy.unconditional(config.pads)) + len(policy.backbone.image_block(policy.backbone.grid)),
    )
    rows = config.group_size * config.prompts_per_iteration * (2 if config.guidance else 1)

    def seconds(count: int) -> float:
        return _forward_seconds(policy, net, length, count)

    tokens = ranks.gather(length * fastest(seconds, rows))[0]
    if ranks.is_main:
        atomic_json(out / ROLLOUT, {"tokens": tokens, "device": torch.cuda.get_device_name()})
    return tokens


def fastest(seconds: Callable[[int], float], most: int) -> int:
    """How many sequences go through the network together: doubled as long as that pays and there is memory, up to
    `most`. seconds: of one forward of so many."""
    count, rate = 1, 1 / seconds(1)
    while count < most:
        larger = min(most, 2 * count)
        try:
            new = larger / seconds(larger)
        except torch.OutOfMemoryError:
            return count
        if new < GAIN * rate and count >= most / 4:
            return count
        count, rate = larger, new
    return count


@torch.inference_mode()
def _forward_seconds(policy: Policy, net: Network, length: int, count: int) -> float:
    """Seconds of the second of two forwards of `count` sequences, with the head on a third of the positions."""
    ids = torch.full((length * count,), policy.backbone.mask, device=policy.device)
    packed, at = Packed(ids, (length,) * count), torch.arange(0, len(ids), 3, device=policy.device)
    took = 0.0
    for _ in range(2):
        finished(policy.device)
        started = time.perf_counter()
        net(packed, at, policy.backbone.image_columns).float().log_softmax(-1)
        finished(policy.device)
        took = time.perf_counter() - started
    return took
