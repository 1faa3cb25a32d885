"""How much is sampled together."""

from dataclasses import replace

import pytest
import torch

from htgrpo.base.files import atomic_json
from htgrpo.parallel.ranks import ALONE
from htgrpo.training import batching
from htgrpo.training.batching import ROLLOUT, fastest, rollout_tokens
from htgrpo.training.train_config import TrainConfig
from tests.htgrpo.tiny import tiny_policy


def device(most_useful, memory=10**9):
    """Seconds of a forward on a device that is full with `most_useful` sequences."""

    def seconds(count):
        if count > memory:
            raise torch.OutOfMemoryError("full")
        return max(count, most_useful) / 100

    return seconds


@pytest.mark.parametrize(
    ("useful", "memory", "most", "wanted"),
    [(64, 10**9, 144, 64), (1000, 10**9, 144, 144), (1000, 50, 144, 32), (1, 10**9, 144, 36), (1, 10**9, 1, 1)],
)
def test_a_batch_grows_while_that_pays(useful, memory, most, wanted):
    """Never beyond an iteration's images or the memory; a quarter of them at least, so that few batches are left."""
    found = fastest(device(useful, memory), most)
    assert found <= most and (found == wanted or wanted <= found < 2 * wanted)


def test_a_setting_counts_and_a_cpu_is_not_measured(tmp_path):
    policy, config = tiny_policy(3), TrainConfig(tokens_per_forward=77)
    assert rollout_tokens(config, policy, lambda: policy.net, ALONE, tmp_path) == 77
    assert rollout_tokens(replace(config, rollout_tokens=5), policy, lambda: policy.net, ALONE, tmp_path) == 5
    assert not list(tmp_path.iterdir())


def test_what_was_measured_is_kept(tmp_path, monkeypatch):
    """A resumed training samples in the batches it began with."""
    policy = tiny_policy(3)
    elsewhere = replace(policy, net=Elsewhere())
    monkeypatch.setattr(batching, "_forward_seconds", lambda policy, net, length, count: device(8)(count))
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a card")
    config = TrainConfig(group_size=3, prompts_per_iteration=4, guidance=1.0)
    length = len(policy.unconditional()) + len(policy.backbone.image_block((2, 3)))
    assert rollout_tokens(config, elsewhere, lambda: policy.net, ALONE, tmp_path) == 8 * length
    monkeypatch.setattr(batching, "_forward_seconds", None)
    assert rollout_tokens(config, elsewhere, lambda: policy.net, ALONE, tmp_path) == 8 * length
    atomic_json(tmp_path / ROLLOUT, {"tokens": 5, "device": "another"})
    assert rollout_tokens(config, elsewhere, lambda: policy.net, ALONE, tmp_path) == 5


class Elsewhere:
    """A network on a GPU."""

    def parameters(self):
        yield type("Weight", (), {"device": torch.device("cuda")})


def test_a_forward_is_timed():
    policy = tiny_policy(3)
    assert batching._forward_seconds(policy, policy.net, 9, 2) > 0
