"""Our network against logits of MMaDA's, MaskGRPO's and Lumina-DiMOO's classes of equal weights; controls must fail."""

from dataclasses import replace

import pytest
import torch

from htgrpo.policies import llada
from htgrpo.policies.llada import LLaDA, Packed
from tests.golden.upstream import PAD, SIZE, network, numbers

SINGLE, HALF = 1e-5, 1e-2
"""Greatest differences allowed in fp32 and in bf16."""


def logits(net, *sequences):
    return net(Packed(torch.cat(sequences).long(), tuple(map(len, sequences))))


def gap(one, other):
    return float((one.double() - other.double()).abs().max())


def plain_gap(net, key="mmada"):
    """Distance to the recorded logits of 40 ids without pads."""
    stored = numbers("plain", "network")
    return gap(logits(net, stored["ids"]), stored[key])


def padded_gap(net, strip=True):
    """Distance to MMaDA's logits of two left-padded rows under the pair mask, at the positions that are no pads."""
    stored = numbers("padded", "network")
    rows, masks = stored["ids"], stored["mask"]
    if strip:
        return gap(logits(net, *(row[mask] for row, mask in zip(rows, masks, strict=True))), stored["mmada"])
    return gap(logits(net, *rows)[masks.flatten()], stored["mmada"])


def test_the_recorded_rows_have_pads_to_strip():
    stored = numbers("padded", "network")
    assert torch.equal(stored["mask"], stored["ids"] != PAD) and (~stored["mask"]).sum(1).tolist() == [0, 4]


def test_single_precision_equals_upstream():
    """MMaDA's class (whose logits Lumina-DiMOO's equal bit for bit), and Lumina-DiMOO's on its own layout."""
    stored = numbers("lumina", "network")
    assert plain_gap(network()) <= SINGLE
    assert gap(logits(network(), stored["ids"]), stored["lumina"]) <= SINGLE


def test_pads_stripped_and_packed_equal_the_pair_mask():
    assert padded_gap(network()) <= SINGLE


def test_pads_kept_equal_maskgrpo():
    """MaskGRPO's copy of the class passes no mask: pads are tokens like others."""
    stored = numbers("padded", "network")
    assert gap(logits(network(), *stored["ids"])[-len(stored["maskgrpo"]) :], stored["maskgrpo"]) <= SINGLE


def summed_linear(x, weight, bias=None):
    """x weight^T, summed in fp64 and then rounded to x's dtype, so that no processor's order of sums matters."""
    return (x.double() @ weight.double().T).to(x.dtype)


def summed_attention(q, k, v, is_causal=False):
    """Attention in fp64 between inputs and an output of q's dtype."""
    score = q.double() @ k.double().transpose(-1, -2) / q.shape[-1] ** 0.5
    if is_causal:
        score = score.masked_fill(torch.ones_like(score).triu(1).bool(), -torch.inf)
    return (score.softmax(-1) @ v.double()).to(q.dtype)


@pytest.fixture
def summed(monkeypatch):
    """Sums in fp64, as under the recorded bf16 runs of upstream: bf16 sums of other processors' kernels move these
    logits by 0.03, as much as a wrong order of casts would."""
    monkeypatch.setattr(llada.F, "linear", summed_linear)
    monkeypatch.setattr(llada.F, "scaled_dot_product_attention", summed_attention)


def test_half_precision_equals_upstream(summed):
    net, stored = network(torch.bfloat16), numbers("lumina", "network")
    assert stored["lumina_bf16"].dtype == torch.bfloat16
    assert plain_gap(net, "mmada_bf16") <= HALF
    assert gap(logits(net, stored["ids"]), stored["lumina_bf16"]) <= HALF


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_processors_own_sums_are_close_to_those_in_fp64(dtype, monkeypatch):
    stored, net = numbers("plain", "network"), network(dtype)
    own = logits(net, stored["ids"])
    monkeypatch.setattr(llada.F, "linear", summed_linear)
    monkeypatch.setattr(llada.F, "scaled_dot_product_attention", summed_attention)
    assert 0 < gap(own, logits(net, stored["ids"])) < {torch.float32: SINGLE, torch.bfloat16: 0.1}[dtype]


def bf16_rope(monkeypatch):
    """Rotation of q and k in bf16."""
    rope = LLaDA.rope
    monkeypatch.setattr(LLaDA, "rope", lambda *arguments: tuple(part.bfloat16() for part in rope(*arguments)))


def causal(monkeypatch):
    """Attention that looks back only."""
    attend = llada.F.scaled_dot_product_attention
    monkeypatch.setattr(llada.F, "scaled_dot_product_attention", lambda q, k, v: attend(q, k, v, is_causal=True))


@pytest.mark.parametrize(
    ("dtype", "key", "limit"), [(torch.float32, "mmada", SINGLE), (torch.bfloat16, "mmada_bf16", HALF)]
)
@pytest.mark.parametrize("wrong", [bf16_rope, causal, "theta"], ids=lambda wrong: getattr(wrong, "__name__", wrong))
def test_a_wrong_network_fails_the_tolerance(wrong, dtype, key, limit, summed, monkeypatch):
    net = network(dtype, replace(SIZE, rope_theta=10_000.0) if wrong == "theta" else SIZE)
    if wrong != "theta":
        wrong(monkeypatch)
    assert plain_gap(net, key) > 2 * limit


def test_pads_attended_fail_the_tolerance():
    assert padded_gap(network(), strip=False) > 1000 * SINGLE
