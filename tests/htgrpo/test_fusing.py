"""Blocks in fewer kernels: compiled parts, and one attention for sequences of unequal length."""

import pytest
import torch
import torch.nn.functional as F

from htgrpo.policies import llada
from htgrpo.policies.llada import Packed
from htgrpo.training.train_config import TrainConfig
from htgrpo.training.tuning import TUNINGS
from tests.htgrpo.tiny import tiny_policy

PACKED = Packed(torch.arange(21) % 12, (7, 7, 4, 3))


def test_only_cuda_compiles_by_itself():
    """ "auto" leaves a CPU alone, where it does not pay (docs/speed.md)."""
    for compile, fused in (("auto", False), ("off", False), ("on", True)):
        policy = tiny_policy(3, layers=2)
        TUNINGS["lora"](policy, TrainConfig(compile=compile, lora_rank=2))
        assert [block.fused for block in policy.net.trunk.blocks] == [fused] * 2


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that compiling the blocks' parts makes, which then run as they are."""
    found = []

    def backend(graph, inputs):
        found.append([str(node.target) for node in graph.graph.nodes if node.op == "call_function"])
        return graph.forward

    monkeypatch.setattr(llada, "compiled", llada.cache(lambda part: torch.compile(part, dynamic=True, backend=backend)))
    yield found
    torch._dynamo.reset()


@pytest.mark.parametrize("adapters", [False, True])
def test_a_block_is_two_graphs_whatever_the_batch(graphs, adapters):
    """Two graphs serve all blocks, lengths and batches (two more the first block of a frozen trunk, whose input has no
    gradient), and as many without gradients; results are the same."""
    policy = tiny_policy(3, layers=3)
    if adapters:
        TUNINGS["lora"](policy, TrainConfig(tuning="lora", lora_rank=2))
    batches = [PACKED, Packed(torch.arange(9), (9,)), Packed(torch.arange(30) % 12, (10, 20))]
    wanted = [policy.net(batch) for batch in batches]
    policy.net.fuse(True)
    for batch, logits in zip(batches, wanted, strict=True):
        assert torch.allclose(policy.net(batch), logits, rtol=0, atol=1e-12)
    assert len(graphs) == (4 if adapters else 2)
    assert sum("linear" in name for graph in graphs for name in graph) == (2 * 7 * 3 if adapters else 7)
    with torch.no_grad():
        assert torch.allclose(policy.net(PACKED), wanted[0], rtol=0, atol=1e-12)
    assert len(graphs) <= 6


def one_by_one(q, k, v, starts, other, longest, most):
    """What torch's varlen attention computes."""
    assert torch.equal(starts, other) and longest == most == int(starts.diff().max()) and starts.dtype == torch.int32
    parts = [slice(int(a), int(b)) for a, b in zip(starts, starts[1:])]
    return torch.cat(
        [
            F.scaled_dot_product_attention(*(x[part].transpose(0, 1) for x in (q, k, v))).transpose(0, 1)
            for part in parts
        ]
    )


def test_unequal_lengths_go_through_one_kernel_where_there_is_one(monkeypatch):
    calls = []
    policy = tiny_policy(3, layers=2, dtype=torch.bfloat16)
    wanted = policy.net(PACKED)
    monkeypatch.setattr(llada, "varlen", lambda device: lambda *given: calls.append(1) or one_by_one(*given))
    assert torch.allclose(policy.net(PACKED), wanted, rtol=0, atol=0.02) and len(calls) == 2
    policy.net(Packed(torch.arange(10), (5, 5)))
    tiny_policy(3).net(PACKED)
    assert len(calls) == 2  # neither for equal lengths nor in full precision


def test_a_cpu_has_none():
    assert llada.varlen("cpu") is None
