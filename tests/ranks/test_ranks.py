"""What ranks do without a launch: nothing; and what a launch may ask for."""

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType

from htgrpo.base.errors import UserError
from htgrpo.parallel import ranks, sharding
from htgrpo.parallel.ranks import ALONE
from tests.ranks.launching import CONFIGS

FSDP = {"fsdp_version": 2, "fsdp_transformer_layer_cls_to_wrap": "Block"}


def test_one_process_alone():
    """Everything is its own and comes back as it is; errors pass untouched."""
    assert ALONE.is_main and ALONE.share([1, 2, 3]) == [1, 2, 3] and ALONE.together([1, 2, 3]) == [1, 2, 3]
    value = object()
    assert ALONE.gather(value) == [value]
    tensor = torch.ones(2)
    ALONE.add([tensor])
    assert tensor.tolist() == [1.0, 1.0]
    with pytest.raises(KeyError), ALONE.phase():
        raise KeyError


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_what_is_shared_out_comes_back_in_order(count, monkeypatch):
    """Also where there are more ranks than items."""
    every = [ranks.Ranks() for _ in range(count)]
    for index, one in enumerate(every):
        one.index, one.count = index, count
    items = list("abcd")
    shares = [one.share(items) for one in every]
    assert sorted(sum(shares, [])) == items and max(map(len, shares)) - min(map(len, shares)) <= 1
    monkeypatch.setattr(ranks.Ranks, "gather", lambda self, value: shares)
    assert all(one.together(share) == items for one, share in zip(every, shares, strict=True))


def test_gradients_are_sent_in_buckets(monkeypatch):
    """In order, of one dtype, and no larger than need be."""
    monkeypatch.setattr(ranks, "BUCKET", 10)
    tensors = [torch.zeros(n) for n in (4, 6, 1, 30, 2)] + [torch.zeros(3, dtype=torch.float64), torch.zeros(2)]
    buckets = list(ranks._buckets(tensors))
    assert [[t.numel() for t in bucket] for bucket in buckets] == [[4, 6], [1], [30], [2], [3], [2]]
    assert [t for bucket in buckets for t in bucket] == tensors
    assert all(len({t.dtype for t in bucket}) == 1 for bucket in buckets)


READ = {
    "one_gpu": (DistributedType.NO, 1, {}),
    "ddp_8gpu": (DistributedType.MULTI_GPU, 8, {}),
    "fsdp2_8gpu": (DistributedType.FSDP, 8, {**FSDP, "fsdp_reshard_after_forward": True}),
    "fsdp2_zero2_8gpu": (DistributedType.FSDP, 8, {**FSDP, "fsdp_reshard_after_forward": False}),
    "multi_node": (DistributedType.FSDP, 16, {**FSDP, "fsdp_reshard_after_forward": True}),
}


@pytest.mark.parametrize(("name", "kind", "processes", "spread"), [(name, *values) for name, values in READ.items()])
def test_the_shipped_configurations_are_read(name, kind, processes, spread):
    config = load_config_from_file(str(CONFIGS / f"{name}.yaml"))
    assert (config.distributed_type, config.num_processes, config.mixed_precision) == (kind, processes, "no")
    found = getattr(config, "fsdp_config", None) or {}
    assert spread.items() <= found.items() and bool(found) == bool(spread)
    assert config.num_machines == (2 if name == "multi_node" else 1)


def test_every_shipped_configuration_says_whether_it_ran():
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == READ.keys()
    for path in CONFIGS.glob("*.yaml"):
        text = path.read_text()
        assert ("Never run on two machines here" in text) == (path.stem == "multi_node")
        assert path.stem in ("one_gpu", "multi_node") or "Never run on several GPUs here" in text


MACHINES = {"num_machines", "main_process_ip", "main_process_port", "rdzv_backend", "same_network", "num_processes"}


def test_what_is_launched_speaks_for_what_is_not():
    """tests/ranks launches multi_node, once as it is and once with weights kept after the forward: of the two for one
    machine, one differs from it in the machines alone, and the other from that one in what is kept."""
    nodes, fsdp, zero2 = (
        yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
        for name in ("multi_node", "fsdp2_8gpu", "fsdp2_zero2_8gpu")
    )
    assert {key for key in nodes.keys() | fsdp.keys() if nodes.get(key) != fsdp.get(key)} == MACHINES
    assert zero2 == fsdp | {"fsdp_config": fsdp["fsdp_config"] | {"fsdp_reshard_after_forward": False}}


class _Accelerator:
    """As much of one as sharding.plugin reads."""

    def __init__(self, kind=DistributedType.MULTI_CPU, mixed_precision="no", processes=2):
        self.distributed_type, self.mixed_precision, self.num_processes, self.state = (
            kind, mixed_precision, processes, None,
        )  # fmt: skip


FSDP2 = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


@pytest.mark.parametrize(
    ("accelerator", "environment", "message"),
    [
        (_Accelerator(mixed_precision="bf16"), {}, "mixed_precision=bf16: set it to no"),
        (_Accelerator(), FSDP2 | {"FSDP_VERSION": "1"}, "FSDP version 1: set fsdp_version to 2"),
        (_Accelerator(), FSDP2 | {"FSDP_ACTIVATION_CHECKPOINTING": "true"},
         "fsdp_activation_checkpointing: set it to false"),
        (_Accelerator(), {"ACCELERATE_USE_DEEPSPEED": "true"}, "DeepSpeed: use fsdp2_zero2_8gpu.yaml"),
    ],
)  # fmt: skip
def test_what_a_launch_may_not_ask_for(accelerator, environment, message, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        sharding.plugin(accelerator)


def test_nothing_is_sharded_where_nobody_asks_for_it(monkeypatch):
    assert sharding.plugin(_Accelerator()) is None
    for name, value in FSDP2.items():
        monkeypatch.setenv(name, value)
    assert sharding.plugin(_Accelerator(processes=1)) is None
