"""Where the published methods are one and the same, and what each is an estimate of."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from baselines import espo
from baselines.coupled import Coupled
from baselines.d1 import D1
from baselines.espo import ESPO
from baselines.gdsd import GDSD
from baselines.spg import SPG
from baselines.strata import Strata
from baselines.trace import CJ, D2, Trace
from baselines.wd1 import WD1
from htgrpo.ht import HT
from tests.baselines.recorded import recorded_groups
from tests.htgrpo.test_engine_fields import Changed
from tests.htgrpo.test_engine_invariance import difference
from tests.htgrpo.tiny import make_group, method_generator, moved, run_engine, tiny_policy, two_groups

HT_GLOBAL = HT(stages=(3, 0, 0), credit="none", gamma_min=(1.0, 1.0, 1.0))


def gradients(method, groups=None, **config):
    """Of every update, on the same policy."""
    policy = tiny_policy(1)
    config = {"beta": 0.1, "clip": 0.02, **config}
    return run_engine(policy, groups or two_groups(policy), method, moved(policy.net, 7), **config)


def both_halves_empty(update):
    """coupled-GRPO at rate 1 and without its weights 1/t."""
    hidden = torch.full_like(update.contexts, -1)
    return replace(update, contexts=hidden, coef=torch.full_like(update.coef, 0.5))


@pytest.mark.parametrize(
    "other",
    [HT_GLOBAL, Trace(3, segments=1), Strata(3, strata=1), Changed(Coupled(3), both_halves_empty)],
    ids=["ht", "d2_one_segment", "one_stratum", "coupled_at_one"],
)
def test_all_are_diffu_grpo_under_the_empty_context(other):
    one, first = gradients(D1(3))
    two, second = gradients(other)
    assert difference(one, two) < 1e-12 and first.forwards == second.forwards


class EverythingHidden(SPG):
    """SPG with masks of all slots."""

    def _masks(self, codes, generator):
        return torch.ones(self.samples, *codes.shape, dtype=torch.bool)


class Pulled(D1):
    """diffu-GRPO with wd1's advantages."""

    def updates(self, group, generator):
        pull = len(group.codes) * WD1().pull(group)
        return [replace(u, advantage=pull) for u in super().updates(group, generator)]


@pytest.mark.parametrize("negative", ["elbo", "eubo", "mix"])
def test_without_movement_a_likelihood_has_the_gradient_of_a_ratio(negative):
    """The first update, for equal advantages; with one mask of everything both of SPG's bounds are one. SPG and wd1
    are lines without a clip, so at the second update they part from the ratio."""
    policy = tiny_policy(1)
    groups = two_groups(policy)
    plain, _ = gradients(D1(2), groups)
    spg, _ = gradients(EverythingHidden(2, samples=1, negative=negative), groups)
    assert float((plain[0] - spg[0]).abs().max()) < 1e-12 < 1e-4 < float((plain[1] - spg[1]).abs().max())
    weighted, _ = gradients(WD1(2), groups)
    pulled, _ = gradients(Pulled(2), groups)
    assert float((weighted[0] - pulled[0]).abs().max()) < 1e-12 < 1e-4 < float((weighted[1] - pulled[1]).abs().max())


def test_wd1_weights():
    """They sum to zero, are -+ tanh for two images, and those of a flat softmax are the advantages times 2 / (tau G)."""
    group = make_group(tiny_policy(), size=5)
    assert abs(float(WD1(tau=0.7).pull(group).sum())) < 1e-14
    two = make_group(tiny_policy(), size=2)
    half = float((two.reward[0] - two.reward[1]) / 2)
    pull = WD1(advantage="own").pull(two)[:, 0].tolist()
    assert pull == pytest.approx([math.tanh(half), -math.tanh(half)], abs=1e-14)
    flat = WD1(tau=1e5).pull(group) * 1e5 * 5 / 2
    assert torch.allclose(flat[:, 0], group.advantage(), atol=1e-8)


def test_espo_is_unbiased(monkeypatch):
    """The mean of an image's L over all sizes and all masks of four slots is the any-order bound: the sum over the
    number of hidden slots of the mean log-probability over masks and hidden slots; and its coefficients sum to 1."""
    slots, table = 4, {}
    masks = [frozenset(m) for x in range(slots + 1) for m in itertools.combinations(range(slots), x)]
    g = torch.Generator().manual_seed(3)
    for mask in masks:
        table[mask] = torch.rand(slots, generator=g, dtype=torch.float64)
    group = replace(make_group(tiny_policy(grid=(2, 2)), grid=(2, 2), size=2))

    def estimate(mask):
        half = torch.tensor([s in mask for s in range(slots)])[None].expand(2, slots)
        count = half.sum(1, keepdim=True)
        contexts = torch.cat([group.codes.where(~half, -1), group.codes.where(half, -1)])
        row = torch.where(half, 0, 2) + torch.arange(2)[:, None]
        given = contexts, row, torch.where(half, count, slots - count)
        monkeypatch.setattr(espo, "stratified_halves", lambda codes, generator: given)
        (update,) = ESPO(1).updates(group, method_generator(group))
        total = 0.0
        for s in range(slots):
            hidden = frozenset((update.contexts[update.row[0, 0, s]] == -1).nonzero()[:, 0].tolist())
            total += float(update.coef[0, 0, s]) * slots * float(table[hidden][s])
        return total, float(update.coef[0, 0].sum())

    mean = norm = 0.0
    for mask in masks:
        weight = 1 / (slots + 1) / math.comb(slots, len(mask))
        value, coefs = estimate(mask)
        mean, norm = mean + weight * value, norm + weight * coefs
    bound = sum(
        sum(float(table[m][s]) / x for m in masks if len(m) == x for s in m) / math.comb(slots, x)
        for x in range(1, slots + 1)
    )
    assert mean == pytest.approx(bound, abs=1e-14) and norm == pytest.approx(1.0, abs=1e-14)


def test_espos_halves_are_spread_over_the_group():
    """Sizes differ by (N + 1) / G around a circle, each token is hidden in exactly one half, and all sizes occur."""
    group, seen = make_group(tiny_policy(), size=7), set()
    g = torch.Generator().manual_seed(0)
    for _ in range(60):
        contexts, row, hidden = espo.stratified_halves(group.codes, g)
        assert torch.equal((contexts == -1).sum(1)[row], hidden)
        assert torch.equal((contexts[:7] == -1), (contexts[7:] != -1))
        assert (contexts[row, torch.arange(6)] == -1).all()
        sizes = sorted((contexts[:7] == -1).sum(1).tolist())
        assert sizes == list(range(7))
        seen.add(int((contexts[0] == -1).sum()))
    assert seen == set(range(7))


def test_gdsd_is_a_policy_gradient_with_a_stop():
    """At the start 2 psi times the likelihood's gradient; where every image's d has left the clamp, nothing."""
    policy = tiny_policy(1)
    groups = recorded_groups(policy)
    found, totals = gradients(GDSD(2, psi=3.0, eps=1e-7), groups, beta=0.0)
    as_likelihood = Changed(GDSD(2, psi=3.0), lambda u: replace(u, objective="likelihood"))
    expected, _ = gradients(as_likelihood, groups, beta=0.0)
    assert float((found[0] - 2.0 * expected[0]).abs().max()) < 1e-12
    assert float(found[0].abs().max()) > 1e-3 and float(found[1].abs().max()) == 0.0
    assert totals.sums["clipped"] == totals.sums["tokens"] / 2


def test_gdsd_pulls_images_without_an_advantage_back():
    """Not silent for equal rewards once the weights have moved: the documented exception."""
    policy = tiny_policy(1)
    groups = [replace(g, reward=0.5 + 0 * g.reward) for g in two_groups(policy)]

    def drift(update):
        return replace(update, advantage=torch.ones(1, 1, dtype=torch.float64)) if next(first) == 0 else update

    first = iter([0, 1] * 2)
    found, _ = gradients(Changed(GDSD(2, eps=0.9), drift), groups, beta=0.0, lr=0.01)
    assert all(float(gradient.abs().max()) > 1e-4 for gradient in found)


def test_segments_of_d2():
    """Hand-written cuts of 10 steps in 4: 2, 5, 7; as many segments as steps is no merging; where the number divides
    the steps it is shrink; empty segments leave no row."""
    steps = torch.arange(10)[None]
    assert D2(1, segments=4).trace_groups(steps)[0].tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    assert torch.equal(D2(1, segments=10).trace_groups(steps), Trace(1).trace_groups(steps))
    assert torch.equal(D2(1, segments=5).trace_groups(steps), Trace(1, shrink=2).trace_groups(steps))
    gappy = torch.tensor([[0, 6, 9, 9]])
    assert D2(1, segments=4).trace_groups(gappy)[0].tolist() == [0, 1, 2, 2]


def test_cjs_shares():
    """Sum to 1, and are those of trace groups where all images reveal alike."""
    group = make_group(tiny_policy(), size=5)
    (update,) = CJ(1).updates(group, method_generator(group))
    assert float(update.share.sum()) == pytest.approx(1.0)
    alike = replace(group, reveal_step=group.reveal_step[:1].expand_as(group.codes))
    (step,) = CJ(1).updates(alike, method_generator(group))
    (of_groups,) = Trace(1, norm="group").updates(alike, method_generator(group))
    assert torch.allclose(step.share, of_groups.share, atol=1e-15)
    assert not torch.allclose(update.share, Trace(1, norm="group").updates(group, method_generator(group))[0].share)
