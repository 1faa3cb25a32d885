"""Adaptive HT-GRPO: neutral options are HT-GRPO bit for bit, planted curves give known answers, nulls are null."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from htgrpo.adaptive import (
    CAP,
    OFFSET,
    AdaptiveAgreement,
    AdaptiveAlpha,
    AdaptiveCredit,
    at_ranks,
    change_point,
    entropy_by_rank,
    explained,
    mass_point,
)
from htgrpo.ht import HT
from tests.baselines.recorded import recorded_groups
from tests.htgrpo.test_engine_forwards import cost
from tests.htgrpo.tiny import make_group, method_generator, tiny_policy

SLOTS = 64


def group_of(curve, size=5, per_step=1):
    """Images that reveal `per_step` slots a step in random orders, with the curve's entropy at every rank."""
    policy, slots = tiny_policy(grid=(1, len(curve))), len(curve)
    group = make_group(policy, grid=(1, slots), size=size)
    g = torch.Generator().manual_seed(1)
    rank = torch.stack([torch.randperm(slots, generator=g) for _ in range(size)]) + 1
    return replace(group, rank=rank, reveal_step=(rank - 1) // per_step, entropy=curve[rank - 1])


def level(at):
    """A curve that falls once."""
    return torch.where(torch.arange(SLOTS) < at, 2.0, 0.5).double()


NEUTRAL = {
    "alpha": AdaptiveAlpha(strength=0.0),
    "alpha_mass": AdaptiveAlpha(strength=0.0, rule="mass"),
    "credit": AdaptiveCredit(tau=0.0, between=0.0),
    "agreement": AdaptiveAgreement(strength=0.0),
    "fed_others": AdaptiveAlpha(strength=0.0, fed="other"),
}


@pytest.mark.parametrize("name", NEUTRAL, ids=str)
def test_neutral_options_are_ht_bit_for_bit(name):
    for group in recorded_groups(tiny_policy(), size=5):
        for options in (
            {},
            {"subset": "bernoulli"},
            {"credit": "stage_mean"},
            {"context": "structure_revealed", "alpha": 0.5},
        ):
            plain = HT(**options).updates(group, method_generator(group))
            method = replace(NEUTRAL[name], **options)
            for one, two in zip(plain, method.updates(group, method_generator(group)), strict=True):
                for field in ("contexts", "row", "share", "weight"):
                    assert torch.equal(getattr(one, field), getattr(two, field)), field


@pytest.mark.parametrize(
    "method", [AdaptiveAlpha(), AdaptiveCredit(), AdaptiveAgreement()], ids=lambda m: type(m).__name__
)
def test_without_another_group_a_control_is_ht(method):
    group = recorded_groups(tiny_policy(), size=5)[0]
    alone = replace(group, other=None)
    control = replace(method, fed="other")
    for one, two in zip(HT().updates(alone, method_generator(group)), control.updates(alone, method_generator(group))):
        assert torch.equal(one.share, two.share) and torch.equal(one.weight, two.weight)


@pytest.mark.parametrize("at", [7, 13, 20, 31])
def test_a_planted_change_is_found(at):
    assert change_point(level(at)) == at / SLOTS
    method = AdaptiveAlpha()
    group = group_of(level(at))
    assert (method.structure(group).sum(1) == at).all()
    assert method.measures(group) == {"alpha": pytest.approx(at / SLOTS), "change_point": 1.0}
    halfway = replace(method, strength=0.5).fraction(group)
    assert halfway == pytest.approx((0.3 + at / SLOTS) / 2)


REFUSED = {
    "line": torch.linspace(2.0, 0.0, SLOTS).double(),
    "slow_decay": (0.5 ** (torch.arange(SLOTS) / (SLOTS / 4))).double(),
    "constant": torch.ones(SLOTS).double(),
    "zero": torch.zeros(SLOTS).double(),
    "rising": level(20).flip(0),
    "early_lower": 2.5 - level(20),
    "noise": torch.rand(SLOTS, generator=torch.Generator().manual_seed(0)).double(),
}


@pytest.mark.parametrize("name", REFUSED, ids=str)
def test_what_is_no_change_leaves_alpha(name):
    assert change_point(REFUSED[name]) is None
    assert AdaptiveAlpha().fraction(group_of(REFUSED[name])) == 0.3


def test_a_fast_decay_is_a_change():
    assert change_point((0.5 ** (torch.arange(SLOTS) / (SLOTS / 8))).double()) == 12 / SLOTS


def test_a_change_point_does_not_see_scale_shift_or_order():
    group = group_of(level(17) + 0.1 * torch.rand(SLOTS, generator=torch.Generator().manual_seed(2)).double())
    same = replace(group, entropy=3.0 * group.entropy + 0.7)
    turned = replace(
        group, **{n: getattr(group, n).flip(0) for n in ("codes", "rank", "reveal_step", "entropy", "reward")}
    )
    fractions = {round(AdaptiveAlpha().fraction(one), 12) for one in (group, same, turned)}
    assert len(fractions) == 1 and fractions != {0.3}


def test_mass_is_alpha_on_a_line_and_less_where_it_falls_faster():
    line = torch.arange(1000, 0, -1).double()
    assert mass_point(line, 1 - 0.7**2) == pytest.approx(0.3, abs=2e-3)
    assert mass_point(line**3, 0.51) < 0.3 < mass_point(torch.ones(1000).double(), 0.51) == 0.5
    assert mass_point(torch.zeros(9).double(), 0.51) is None
    assert mass_point(torch.tensor([1.0] + [0.0] * 19).double(), 0.51) == 0.1


def test_slots_of_one_step_count_as_their_mean():
    group = group_of(torch.arange(12).double(), size=1, per_step=3)
    assert entropy_by_rank(group).tolist() == [1, 1, 1, 4, 4, 4, 7, 7, 7, 10, 10, 10]


def parts(group, weight, method):
    """Of structure and refinement: weights relative to the set's mean, per image."""
    structure = method.structure(group)
    for part in (structure, ~structure):
        yield part, torch.stack([weight[g][part[g]] for g in range(len(weight))])


def test_credit_keeps_every_sets_mean():
    group = recorded_groups(tiny_policy(), size=5)[0]
    method = AdaptiveCredit(tau=2.0)
    weight = method.weights(group, method.structure(group))
    for (_, values), expected in zip(parts(group, weight, method), (1.5, 0.5), strict=True):
        assert torch.allclose(values.mean(1), torch.full((5,), expected).double(), atol=1e-12)
    assert float(weight.max()) < 1.5 * CAP**2
    raised = (group.entropy.double() + OFFSET) ** 2
    for part, values in parts(group, weight, method):
        order = torch.stack([raised[g][part[g]] for g in range(5)])
        assert (torch.diff(values.gather(1, order.argsort(1)), dim=1) >= 0).all()


@pytest.mark.parametrize("between", [0.0, 0.5, 1.0])
def test_credit_keeps_the_mean_of_all(between):
    group = recorded_groups(tiny_policy(), size=5)[0]
    method = AdaptiveCredit(tau=0.5, between=between)
    structure = method.structure(group)
    plain = HT().weights(group, structure)
    assert float(method.weights(group, structure).mean()) == pytest.approx(float(plain.mean()), abs=1e-12)


def test_constant_entropy_between_sets_is_equal_credit():
    group = replace(recorded_groups(tiny_policy(), size=5)[0])
    group = replace(group, entropy=torch.full_like(group.entropy, 0.4))
    structure = HT().structure(group)
    weight = AdaptiveCredit(tau=1.0, between=1.0).weights(group, structure)
    assert torch.allclose(weight, HT().weights(group, structure).mean().expand_as(weight), atol=1e-12)


def test_nothing_explains_with_equal_kernels_and_nothing_is_explained_in_the_mean():
    """A constant kernel gives 0 (a naive covariance gives -1); over all permutations of four rewards the mean is 0."""
    part = torch.ones(4, 6, dtype=torch.bool)
    reward = torch.tensor([0.1, 0.9, 0.4, 0.3]).double()
    assert explained(torch.zeros(4, 6).long(), part, reward) == pytest.approx(0.0, abs=1e-15)
    codes = torch.randint(3, (4, 6), generator=torch.Generator().manual_seed(4))
    values = [explained(codes, part, reward[list(p)]) for p in itertools.permutations(range(4))]
    assert max(map(abs, values)) > 0.1 and sum(values) / len(values) == pytest.approx(0.0, abs=1e-15)


def test_two_pure_clusters():
    """Rewards 1, 1, 1, 0, 0 with codes that agree within and not between: 1.25, but for the kernel's floor of 1e-3."""
    codes = torch.tensor([[0] * 6] * 3 + [[1] * 6] * 2)
    reward = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0]).double()
    part = torch.ones(5, 6, dtype=torch.bool)
    assert explained(codes, part, reward) == pytest.approx(1.25, abs=5e-3)
    assert explained(codes, part, 4.0 * reward - 7.0) == pytest.approx(explained(codes, part, reward), abs=1e-14)
    assert explained(codes, part, 0 * reward) == 0.0 and explained(codes, ~part, reward) == pytest.approx(
        0.0, abs=1e-15
    )


def test_agreement_moves_the_contrast_and_keeps_the_mean():
    group = make_group(tiny_policy(grid=(2, 5)), grid=(2, 5), size=6)
    method = AdaptiveAgreement()
    structure = method.structure(group)
    cluster = torch.tensor([0, 0, 0, 1, 1, 1])[:, None]
    everywhere = torch.arange(6)[:, None].expand(6, 10)
    reward = (cluster[:, 0] == 0).double()
    rank = torch.arange(1, 11).expand(6, 10)
    group = replace(group, codes=torch.where(rank <= 3, cluster, everywhere), rank=rank, reward=reward)
    structure = method.structure(group)
    weight = method.weights(group, structure)
    assert method.lean(group) > 0.9 and method.measures(group)["lean"] == method.lean(group)
    assert float(weight.mean()) == pytest.approx(0.8, abs=1e-12)
    contrast = float(weight[structure].mean() / weight[~structure].mean())
    assert contrast == pytest.approx(3.0 * math.exp(method.lean(group)))
    flipped = replace(group, codes=torch.where(rank <= 3, everywhere, cluster))
    assert method.lean(flipped) < -0.9
    equal = replace(group, reward=torch.ones(6).double())
    assert torch.allclose(method.weights(equal, structure), HT().weights(equal, structure), atol=1e-15)


def test_controls_use_the_others_rollouts():
    one, two = group_of(level(10)), group_of(level(25))
    assert AdaptiveAlpha(fed="other").fraction(replace(one, other=two)) == AdaptiveAlpha().fraction(two)
    moved = at_ranks(two, one)
    assert torch.equal(moved.gather(1, one.rank.argsort(1)), level(25).expand(5, SLOTS))
    fewer = replace(two, **{n: getattr(two, n)[:2] for n in ("codes", "rank", "reveal_step", "entropy", "reward")})
    assert at_ranks(fewer, one).shape == (5, SLOTS)


def test_the_cost_stays_3k_and_2():
    class Recorded(AdaptiveAgreement):
        pass

    assert cost(Recorded()) == {"old": 1, "ref": 1, "train": 24}
