"""The published methods' gradients against brute force from their formulas, with weights moving between the updates."""

from dataclasses import replace

import pytest

from baselines.coupled import Coupled
from baselines.d1 import D1
from baselines.espo import ESPO
from baselines.focus import Focus
from baselines.gdsd import GDSD
from baselines.spg import SPG
from baselines.steps import EGSPO, Xing
from baselines.strata import Strata
from baselines.trace import CJ, D2
from baselines.wd1 import WD1
from tests.baselines import formulas
from tests.baselines.recorded import recorded_groups
from tests.htgrpo.formulas import terms_of
from tests.htgrpo.oracle import brute_force
from tests.htgrpo.tiny import moved, run_engine, tiny_policy

CASES = {
    "d1": (D1(3), formulas.d1_terms),
    "d1_own": (D1(3, advantage="own"), formulas.d1_terms),
    "wd1": (WD1(3), formulas.wd1_terms),
    "wd1_own_flat": (WD1(3, tau=0.3, advantage="own"), formulas.wd1_terms),
    "wd1_positive_sum": (WD1(3, sides="positive", reduction="sum"), formulas.wd1_terms),
    "coupled": (Coupled(3), formulas.coupled_terms),
    "coupled_own": (Coupled(3, advantage="own"), formulas.coupled_terms),
    "coupled_pair": (Coupled(3, views="pair"), formulas.coupled_terms),
    "espo": (ESPO(3), formulas.espo_terms),
    "espo_two_samples": (ESPO(3, samples=2, advantage="own"), formulas.espo_terms),
    "gdsd": (GDSD(3), formulas.gdsd_terms),
    "gdsd_two_samples": (GDSD(3, samples=2, eps=0.05, psi=2.0, advantage="own"), formulas.gdsd_terms),
    "spg": (SPG(3), formulas.spg_terms),
    "spg_upper": (SPG(3, samples=3, negative="eubo", power=2.0, advantage="own"), formulas.spg_terms),
    "spg_mostly_lower": (SPG(3, omega=0.3), formulas.spg_terms),
    "spg_lower": (SPG(3, negative="elbo", low=0.3, high=0.6), formulas.spg_terms),
    "spg_raise_only": (SPG(3, negative="zero"), formulas.spg_terms),
    "egspo": (EGSPO(3), formulas.egspo_terms),
    "egspo_product": (EGSPO(6, level="product", low=0.02, high=0.05, advantage="own"), formulas.egspo_terms),
    "xing": (Xing(3), formulas.xing_terms),
    "xing_uniform_mean": (Xing(3, visit="uniform", level="mean"), formulas.xing_terms),
    "focus": (Focus(2), formulas.focus_terms),
    "focus_step": (Focus(2, mask="step"), formulas.focus_terms),
    "focus_entropy": (Focus(3, select="entropy", shared_mask=False), formulas.focus_terms),
    "focus_uniform": (Focus(2, select="uniform"), formulas.focus_terms),
    "strata": (Strata(3), formulas.strata_terms),
    "strata_scored": (Strata(3, strata=2, score="step"), formulas.strata_terms),
    "d2": (D2(3), formulas.d2_terms),
    "d2_three": (D2(3, segments=3), formulas.d2_terms),
    "d2_own": (D2(3, advantage="own"), formulas.d2_terms),
    "cj": (CJ(3), formulas.cj_terms),
    "cj_own": (CJ(3, advantage="own"), formulas.cj_terms),
}


def gap(found, expected):
    """Largest difference of any update's gradient."""
    return max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(("case", "kl"), [(case, ("k3", "exact")[i % 2]) for i, case in enumerate(CASES)], ids=str)
def test_a_method_equals_brute_force(case, kl):
    """Two prompts of different length and grid, one image without reward, clipping active. Penalties, which no method
    knows of, take turns."""
    method, formula = CASES[case]
    policy = tiny_policy(1)
    groups, reference = recorded_groups(policy, size=4, failed=(1,)), moved(policy.net, 7)
    config = {"clip": 0.02, "beta": 0.05, "kl": kl}
    found, totals = run_engine(policy, groups, method, reference, 0.05, **config)
    expected, seen = brute_force(policy, groups, terms_of(method, formula), reference, 0.05, **config)
    assert gap(found, expected) < 1e-10
    assert all(float(one.abs().max()) > 1e-3 for one in expected), "an idle comparison"
    assert abs(totals.sums["loss"] - seen.loss) < 1e-10
    if "clipped" in totals.sums:
        assert totals.sums["clipped"] == seen.clipped
        assert min(seen.ratios) < 0.99 and max(seen.ratios) > 1.01, "the weights must move between updates"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equal_rewards_move_nothing(case):
    """GDSD once the weights have moved excepted: inside its clamp it pulls every image back."""
    method, policy = CASES[case][0], tiny_policy(1)
    groups = [replace(g, reward=0.3 + 0 * g.reward) for g in recorded_groups(policy)]
    found, _ = run_engine(policy, groups, method, beta=0.0)
    assert all(float(gradient.abs().max()) == 0.0 for gradient in found)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_single_image_gives_no_nan(case):
    """What is left of a group whose other images failed."""
    method, policy = CASES[case][0], tiny_policy(1)
    groups = recorded_groups(policy)
    alone = [
        replace(g, reward=g.reward.clone().fill_(float("nan")).index_fill(0, g.codes.new_tensor([1]), 0.5))
        for g in groups
    ]
    found, _ = run_engine(policy, alone, method, beta=0.0)
    assert all(float(gradient.abs().max()) == 0.0 for gradient in found)
