"""Where the methods meet: with everything hidden they are one and the same."""

import pytest

from baselines.trace import Trace
from baselines.uni import Uni
from htgrpo.ht import HT
from tests.htgrpo.test_engine_invariance import difference
from tests.htgrpo.tiny import run_engine, tiny_policy, two_groups

PLAIN = HT(stages=(3, 0, 0), credit="none", gamma_min=(1.0, 1.0, 1.0))
"""HT-GRPO's global stage with weight 1 at rate 1."""


class AllMasked(Uni):
    """UniGRPO at ratio 1 throughout."""

    def timesteps(self, start):
        return [1000] * self.updates_per_rollout


@pytest.mark.parametrize(
    "other",
    [
        Trace(updates_per_rollout=3, shrink=12),
        Trace(updates_per_rollout=3, shrink=4),
        AllMasked(updates_per_rollout=3),
        HT(stages=(3, 0, 0), lambda_s=1.0, lambda_r=1.0, gamma_min=(1.0, 1.0, 1.0), loss_norm="token_mean"),
    ],
    ids=["trace_far", "trace_exact", "uni_at_one", "ht_weights_one"],
)
def test_methods_meet_under_the_empty_context(other):
    policy = tiny_policy(1)
    groups = two_groups(policy, steps=4)
    one, first = run_engine(policy, groups, PLAIN, beta=0.0, clip=0.02)
    two, second = run_engine(policy, groups, other, beta=0.0, clip=0.02)
    assert difference(one, two) < 1e-12
    assert first.forwards == second.forwards
    assert first.sums["clipped"] == second.sums["clipped"] > 0


def test_they_part_again_when_codes_are_shown():
    """Negative control: one more trace group is another objective."""
    policy = tiny_policy(1)
    groups = two_groups(policy, steps=4)
    one, _ = run_engine(policy, groups, PLAIN, beta=0.0)
    two, _ = run_engine(policy, groups, Trace(updates_per_rollout=3, shrink=3), beta=0.0)
    assert difference(one, two) > 1e-3
