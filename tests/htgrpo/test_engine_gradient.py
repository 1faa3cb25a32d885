"""The engine's loss and gradients against brute force, with weights moving between the updates, and proof that a wrong
engine would be caught."""

from dataclasses import replace

import pytest
import torch

from htgrpo.ht import HT
from htgrpo.training.engine import Engine, Totals
from tests.htgrpo.formulas import ht_terms, scripted_terms, terms_of
from tests.htgrpo.oracle import advantages, brute_force, log_table
from tests.htgrpo.tiny import (
    LAYOUTS,
    Scripted,
    flat_gradient,
    make_group,
    method_generator,
    moved,
    run_engine,
    tiny_policy,
    two_groups,
)

TOLERANCE = 1e-10

OBJECTIVES = {
    "no_kl": {"beta": 0.0}, "k3": {"beta": 0.3, "kl": "k3"}, "exact": {"beta": 0.3, "kl": "exact"},
    "population_std": {"beta": 0.1, "ddof": 0}, "tight_clip": {"beta": 0.05, "clip": 0.01},
}  # fmt: skip

HTS = {
    "default": HT(),
    "token_mean_bernoulli": HT(loss_norm="token_mean", subset="bernoulli", gamma_min=(0.2, 0.3, 0.4)),
    "structure_revealed": HT(context="structure_revealed", alpha=0.5),
    "stage_mean": HT(credit="stage_mean", lambda_s=3.0, lambda_r=0.25),
    "no_credit": HT(credit="none", stages=(2, 0, 1)),
    "kl_old_reordered": HT(kl_ref="old", order=("refinement", "structure", "global"), schedule="up"),
    "raster_ties": HT(ties="raster", stages=(1, 2, 1), schedule="cosine"),
}


def compare(policy, groups, method, formula, lr=0.1, **config):
    """Asserts equality with brute force and returns what brute force saw."""
    reference = moved(policy.net, 7)
    gradients, totals = run_engine(policy, groups, method, reference, lr, **config)
    expected, seen = brute_force(policy, groups, terms_of(method, formula), reference, lr, method.kl_ref, **config)
    assert len(gradients) == len(expected)
    for k, (found, wanted) in enumerate(zip(gradients, expected, strict=True)):
        assert float((found - wanted).abs().max()) < TOLERANCE, f"update {k}"
    assert sum(float(wanted.abs().max()) > 1e-3 for wanted in expected) > 1, "an idle comparison"
    assert abs(totals.sums["loss"] - seen.loss) < TOLERANCE
    assert totals.sums["tokens"] == seen.tokens
    assert totals.sums["clipped"] == seen.clipped
    assert totals.sums["ratio"] == pytest.approx(sum(seen.ratios), abs=1e-9)
    assert min(seen.ratios) < 0.95 and max(seen.ratios) > 1.05, "the weights must move between updates"
    return seen


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("options", HTS, ids=str)
def test_ht_equals_brute_force(options, layout):
    """Every stage, context, normalisation and credit; two prompts of different length and grid, one image without
    reward."""
    policy = tiny_policy(1, layout)
    seen = compare(policy, two_groups(policy, failed=(1,)), HTS[options], ht_terms, clip=0.05, beta=0.1)
    assert 0 < seen.clipped < seen.tokens


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_ht_equals_brute_force_under_every_objective(objective):
    policy = tiny_policy(2)
    seen = compare(
        policy,
        two_groups(policy, size=4, failed=(0,)),
        HT(stages=(1, 2, 1)),
        ht_terms,
        **{"clip": 0.05, **OBJECTIVES[objective]},
    )
    assert 0 < seen.clipped < seen.tokens


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("units", [False, True], ids=["tokens", "units"])
@pytest.mark.parametrize("kl_ref", ["ref", "old"])
@pytest.mark.parametrize("kl", ["k3", "exact"])
def test_any_update_equals_brute_force(units, kl_ref, kl, layout):
    """Shared and repeated contexts, KL shares off the support, units across contexts, images and prompts of any
    kind."""
    policy = tiny_policy(3, layout)
    seen = compare(
        policy,
        two_groups(policy, failed=(2,)),
        Scripted(units=units, kl_ref=kl_ref),
        scripted_terms,
        lr=0.03,
        kl=kl,
        beta=0.2,
        clip=0.03,
    )
    assert 0 < seen.clipped < seen.tokens


class LazyEngine(Engine):
    """What must not pass: the old policy evaluated when an update is due, after the weights have moved."""

    def run(self, groups, method, generators, optimiser_step, total_groups=None):
        totals = Totals()
        for k in range(len(method.updates(groups[0], method_generator(groups[0])))):
            work = self.plan(groups, method, [method_generator(g) for g in groups], totals)[k]
            self.accumulate(work, len(groups), totals)
            optimiser_step()
        return totals


def test_a_lazy_old_policy_would_be_caught():
    policy, method = tiny_policy(1), HT()
    groups = two_groups(policy)
    eager, _ = run_engine(policy, groups, method, beta=0.0, clip=0.05)
    lazy, totals = run_engine(policy, groups, method, beta=0.0, clip=0.05, engine=LazyEngine)
    assert torch.equal(eager[0], lazy[0])
    assert all(float((a - b).abs().max()) > 1e-3 for a, b in zip(eager[1:], lazy[1:], strict=True))
    assert totals.sums["ratio_max"] == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [{"lambda_r": 1.5}, {"loss_norm": "token_mean"}, {"alpha": 0.5}, {"context": "structure_revealed"}],
    ids=str,
)  # fmt: skip
def test_each_part_of_the_formula_matters(wrong):
    """Negative control: brute force with one option changed disagrees, so the comparison sees that option."""
    policy = tiny_policy(1)
    groups = two_groups(policy)
    right = HT(subset="bernoulli", gamma_min=(0.5, 0.5, 0.5), gamma_max=(0.5, 0.5, 0.5), stages=(2, 1, 1))
    found, _ = run_engine(policy, groups, right, beta=0.0)
    terms = terms_of(right, lambda method, *rest: ht_terms(replace(method, **wrong), *rest))
    expected, _ = brute_force(policy, groups, terms, beta=0.0)
    assert max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)) > 1e-3


def test_first_update_is_plain_policy_gradient():
    """At the first update every ratio is 1, nothing is clipped, and the gradient is that of the A-weighted
    log-probability."""
    policy, method = tiny_policy(4), HT()
    groups = two_groups(policy)
    found, _ = run_engine(policy, groups, method, beta=0.0, clip=1e-6)
    net = moved(policy.net, 0, 0.0).requires_grad_(True)
    objective = 0.0
    for group in groups:
        advantage = advantages(group.reward.tolist())
        for t in terms_of(method, ht_terms)(group)[0]:
            table = log_table(policy, net, group.prompt, list(t.context), group.grid)
            objective += (
                t.share * t.weight * advantage[t.image] * table[t.slot, int(group.codes[t.image, t.slot])] / len(groups)
            )
    (-objective).backward()
    assert float((found[0] - flat_gradient(net)).abs().max()) < 1e-12


def test_equal_rewards_move_nothing():
    """Nine rewards of 0.1, whose mean is not 0.1 in floating point, give a gradient of exactly zero without a KL
    term."""
    policy = tiny_policy(4)
    group = replace(make_group(policy, size=9), reward=torch.full((9,), 0.1, dtype=torch.float64))
    assert float(group.reward.mean()) != 0.1 or float(group.reward.std()) == 0.0
    gradients, totals = run_engine(policy, [group], HT(), beta=0.0)
    assert all(float(g.abs().max()) == 0.0 for g in gradients)
    assert totals.sums["loss"] == 0.0


def test_fp32_policy_follows_the_fp64_one():
    """The same objective in single precision, to single precision."""
    policy = tiny_policy(1)
    single = policy.with_net(moved(policy.net, 0, 0.0).float())
    groups, method = two_groups(policy), HT(stages=(1, 1, 1))
    wide, _ = run_engine(policy, groups, method, beta=0.0)
    narrow, _ = run_engine(single, groups, method, beta=0.0)
    assert narrow[0].dtype == torch.float32
    for a, b in zip(wide, narrow, strict=True):
        assert float((a - b).abs().max()) < 1e-4 * float(a.abs().max())
