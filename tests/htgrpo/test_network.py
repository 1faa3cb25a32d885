"""The LLaDA network against a literal reference: names, casts, rotary base, attention, packing, sliced head; with
controls."""

import re

import pytest
import torch

from htgrpo.base.rng import generator
from htgrpo.policies.llada import LLaDA, Packed, Size, initialise
from tests.htgrpo.oracle import reference_logits

SIZE = Size(d_model=64, n_layers=2, n_heads=4, mlp_hidden_size=192, embedding_size=640)
"""Configuration A of the fact sheet."""


@pytest.fixture(scope="module")
def net():
    net = LLaDA(SIZE)
    initialise(net, generator("network"))
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if weight.ndim == 1:
                weight.copy_(1 + 0.2 * torch.randn(weight.shape, generator=generator(name)))
    return net.requires_grad_(False)


@pytest.fixture(scope="module")
def wide(net):
    copy = LLaDA(SIZE).double()
    copy.load_state_dict(net.state_dict())
    return copy.requires_grad_(False)


def ids(length, seed=0):
    return torch.randint(640, (length,), generator=generator("ids", length, seed))


def run(net, *sequences, **options):
    return net(Packed(torch.cat(sequences), tuple(map(len, sequences))), **options)


def gap(one, other):
    return float((one.double() - other.double()).abs().max())


def test_published_names_and_shapes(net):
    """Nine tensors per block and three more, under the published keys; no bias, no buffer."""
    state = net.state_dict()
    assert len(state) == 9 * 2 + 3
    leaves = {
        "attn_norm": (64,), "q_proj": (64, 64), "k_proj": (64, 64), "v_proj": (64, 64), "attn_out": (64, 64),
        "ff_norm": (64,), "ff_proj": (192, 64), "up_proj": (192, 64), "ff_out": (64, 192),
    }  # fmt: skip
    wanted = {f"model.transformer.blocks.{i}.{leaf}.weight": shape for i in range(2) for leaf, shape in leaves.items()}
    wanted |= {
        "model.transformer.wte.weight": (640, 64),
        "model.transformer.ln_f.weight": (64,),
        "model.transformer.ff_out.weight": (640, 64),
    }
    assert {name: tuple(value.shape) for name, value in state.items()} == wanted
    assert not list(net.buffers())
    assert sum(w.numel() for w in net.parameters()) == 188_736 == SIZE.parameters()


def test_the_published_model_has_291_tensors():
    """Key names of the 8B model, on the meta device."""
    with torch.device("meta"):
        net = LLaDA(Size(4096, 32, 32, 12288, 134656))
    names = list(net.state_dict())
    assert len(names) == 291 and all(name.startswith("model.transformer.") for name in names)
    assert len({re.sub(r"\.\d+\.", ".i.", name) for name in names}) == 12
    assert sum(w.numel() for w in net.parameters()) == net.size.parameters()
    assert net.size.parameters() - 2 * 134656 * 4096 == pytest.approx(6.979e9, rel=1e-3)


def test_flops_of_the_sheet():
    """Section 8.1: 16.8 TFLOP of trunk at S = 1155, 0.069 of image head."""
    size = Size(4096, 32, 32, 12288, 134656)
    assert size.forward_flops(1155, 0, 0) == pytest.approx(16.8e12, rel=0.01)
    assert size.forward_flops(1539, 0, 0) == pytest.approx(22.7e12, rel=0.01)
    assert size.forward_flops(1, 1024, 8192) - size.forward_flops(1, 0, 0) == pytest.approx(0.069e12, rel=0.01)


def test_double_precision_equals_the_reference(wide):
    for length in (1, 2, 17, 40):
        assert gap(run(wide, ids(length)), reference_logits(wide, ids(length).tolist())) < 1e-11


def test_single_precision_equals_the_reference(net):
    assert gap(run(net, ids(40)), reference_logits(net, ids(40).tolist())) <= 1e-5


def test_bfloat16_keeps_the_order_of_casts(net):
    """Norms in fp32 cast back before the weight, rotation in fp32: as the literal reference, and not as one that
    rotates in bf16."""
    half = LLaDA(SIZE).to(torch.bfloat16)
    half.load_state_dict(net.state_dict())
    half.requires_grad_(False)
    found, sequence = run(half, ids(40)), ids(40).tolist()
    assert found.dtype == torch.bfloat16
    assert gap(found, reference_logits(half, sequence, fused=True)) <= 1e-2
    assert gap(found, reference_logits(half, sequence, fused=True, rope_dtype=torch.bfloat16)) > 2e-2
    assert gap(found, run(net, ids(40))) > 2e-2, "bf16 is visible at all"


def test_norm_casts_exactly():
    """bf16: bit for bit the sheet's order; the weight applied before the cast back gives other numbers."""
    from htgrpo.policies.llada import RMSNorm

    norm = RMSNorm(64, 1e-5).to(torch.bfloat16)
    with torch.no_grad():
        norm.weight.copy_(1 + torch.rand(64, generator=generator("w")))
    x = torch.randn(50, 64, generator=generator("x")).to(torch.bfloat16)
    scale = torch.rsqrt((x.float() ** 2).mean(-1, keepdim=True) + 1e-5)
    assert torch.equal(norm(x), norm.weight * (x.float() * scale).to(torch.bfloat16))
    assert not torch.equal(norm(x), (norm.weight.float() * x.float() * scale).to(torch.bfloat16))


@pytest.mark.parametrize("wrong", [{"theta": 10_000.0}, {"causal": True}], ids=str)
def test_controls_that_must_differ(wide, wrong):
    assert gap(run(wide, ids(40)), reference_logits(wide, ids(40).tolist(), **wrong)) > 0.1


def test_attention_looks_both_ways(wide):
    """Changing the last token changes the first position, and the other way round."""
    one, other = ids(12), ids(12)
    other[-1] = (one[-1] + 1) % 640
    assert gap(run(wide, one)[0], run(wide, other)[0]) > 1e-3
    other = one.clone()
    other[0] = (one[0] + 1) % 640
    assert gap(run(wide, one)[-1], run(wide, other)[-1]) > 1e-3


def test_positions_are_relative_only(wide):
    """Swapping two tokens changes the result (positions matter); the same sequence packed elsewhere does not."""
    one = ids(12)
    swapped = one.clone()
    swapped[[3, 8]] = one[[8, 3]]
    assert gap(run(wide, one)[0], run(wide, swapped)[0]) > 1e-3
    assert gap(run(wide, ids(5), one)[5:], run(wide, one)) < 1e-12


def test_packed_equals_separate(wide):
    """Neighbours in a pack never see each other, whatever the mix of lengths."""
    sequences = [ids(n, seed) for seed, n in enumerate((7, 7, 3, 12, 12, 12, 7, 1))]
    packed = run(wide, *sequences).split([len(s) for s in sequences])
    for part, sequence in zip(packed, sequences, strict=True):
        assert gap(part, run(wide, sequence)) < 1e-12


def test_runs_join_equal_neighbours_only():
    assert Packed(torch.zeros(30).long(), (4, 4, 7, 4, 4, 7)).runs() == [(2, 4), (1, 7), (2, 4), (1, 7)]


def test_sliced_head_equals_a_slice_of_the_full_head(net, wide):
    full, at = run(wide, ids(9), ids(4)), torch.tensor([12, 0, 5, 5])
    assert gap(run(wide, ids(9), ids(4), at=at, columns=slice(500, 564)), full[at][:, 500:564]) < 1e-13
    assert gap(run(net, ids(20), at=torch.arange(20), columns=slice(500, 564)), run(net, ids(20))[:, 500:564]) < 1e-5


def test_head_gradient_outside_the_slice_is_zero(wide):
    net = LLaDA(SIZE).double()
    net.load_state_dict(wide.state_dict())
    run(net, ids(9), columns=slice(500, 564)).logsumexp(-1).sum().backward()
    gradient = net.trunk.ff_out.weight.grad
    assert float(gradient[500:564].abs().min(1)[0].max()) > 0
    assert float(gradient[:500].abs().max()) == float(gradient[564:].abs().max()) == 0.0


def test_initialise_is_reproducible_and_scaled():
    one, other = LLaDA(SIZE).requires_grad_(False), LLaDA(SIZE).requires_grad_(False)
    initialise(one, generator(1))
    initialise(other, generator(1))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    block = one.trunk.blocks[0]
    assert float(block.q_proj.weight.std()) == pytest.approx(64**-0.5, rel=0.05)
    assert float(block.ff_out.weight.std()) == pytest.approx(192**-0.5 / 2, rel=0.05)
    assert float(one.trunk.ff_out.weight.std()) == pytest.approx(64**-0.5, rel=0.05)


def test_making_a_network_draws_from_no_global_generator():
    before = torch.get_rng_state()
    LLaDA(SIZE)
    assert torch.equal(before, torch.get_rng_state())
