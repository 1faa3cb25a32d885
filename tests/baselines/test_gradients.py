"""The baselines' gradients against brute force from their formulas, with weights moving between the updates."""

import pytest

from baselines.mask import Mask
from baselines.trace import Trace
from baselines.uni import Uni
from tests.htgrpo.formulas import mask_terms, trace_terms, uni_terms
from tests.htgrpo.test_engine_gradient import compare
from tests.htgrpo.tiny import tiny_policy, two_groups

CASES = {
    "mask": (Mask(updates_per_rollout=3, min_rate=0.3), mask_terms),
    "mask_token_mean": (Mask(updates_per_rollout=3, min_rate=0.1, loss_norm="token_mean", kl_ref="old"), mask_terms),
    "mask_all_iterations": (
        Mask(updates_per_rollout=3, min_rate=0.1, mask_agg="all_iterations", loss_norm="token_mean"), mask_terms,
    ),
    "mask_all_iterations_rollout_mean": (
        Mask(updates_per_rollout=3, min_rate=0.1, mask_agg="all_iterations"), mask_terms,
    ),
    "uni_box": (Uni(updates_per_rollout=4), uni_terms),
    "uni_stride_token_mean": (Uni(updates_per_rollout=4, spacing="stride", loss_norm="token_mean"), uni_terms),
    "uni_box_sequence": (Uni(updates_per_rollout=4, ratio="sequence"), uni_terms),
    "uni_stride_sequence_old": (
        Uni(updates_per_rollout=4, spacing="stride", ratio="sequence", kl_ref="old"), uni_terms,
    ),
    "trace": (Trace(updates_per_rollout=3), trace_terms),
    "trace_shrunk": (Trace(updates_per_rollout=3, shrink=3), trace_terms),
    "trace_group_norm": (Trace(updates_per_rollout=3, shrink=2, norm="group"), trace_terms),
    "trace_upstream": (Trace(updates_per_rollout=3, norm="group", kl_norm="sum", kl_ref="old"), trace_terms),
    "trace_once": (Trace(updates_per_rollout=4, visit="once"), trace_terms),
    "trace_once_upstream": (
        Trace(updates_per_rollout=4, visit="once", norm="group", kl_norm="sum", kl_ref="old"), trace_terms,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kl", ["k3", "exact"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_baseline_equals_brute_force(case, kl):
    """Two prompts of different length and grid, one image without reward, clipping active."""
    method, formula = CASES[case]
    policy = tiny_policy(1)
    seen = compare(policy, two_groups(policy, failed=(1,)), method, formula, clip=0.02, beta=0.05, kl=kl)
    assert 0 < seen.clipped < seen.tokens


@pytest.mark.parametrize("case", ["mask", "uni_box_sequence", "trace"])
def test_baseline_equals_brute_force_without_kl(case):
    method, formula = CASES[case]
    policy = tiny_policy(2)
    compare(policy, two_groups(policy, failed=(0,)), method, formula, clip=0.05, beta=0.0, lr=0.2)
