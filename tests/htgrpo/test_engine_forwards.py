"""The forward counters: the formula of the engine, and the fact sheet's table of costs (section 8.2)."""

import math
from dataclasses import replace

import pytest
import torch

from baselines.mask import Mask
from baselines.trace import Trace
from baselines.uni import Uni
from htgrpo.ht import HT
from htgrpo.policies.llada import LLaDA
from tests.htgrpo.test_engine_invariance import METHODS
from tests.htgrpo.tiny import make_group, method_generator, moved, run_engine, tiny_policy, two_groups


def cost(method, dedup="all", beta=0.1, size=9, steps=12, grid=(4, 4), **config):
    """Forwards by phase of one group on a reference-sized cycle: G 9, K 8."""
    policy = tiny_policy(grid=grid)
    group = make_group(policy, "blue square", grid, size, steps)
    reference = moved(policy.net, 7) if beta else None
    return run_engine(policy, [group], method, reference, lr=0.0, beta=beta, dedup=dedup, **config)[1].forwards


@pytest.mark.parametrize(
    ("method", "dedup", "old_and_ref", "train"),
    [
        (Mask(), "none", 144, 216), (Uni(), "none", 144, 216), (HT(), "none", 144, 216), (HT(), "rollout", 18, 216),
        (HT(), "all", 2, 24), (Trace(updates_per_rollout=8, shrink=1), "rollout", 216, 2592),
        (Trace(updates_per_rollout=8, shrink=8), "rollout", 36, 432),
    ],
    ids=lambda v: type(v).__name__ if hasattr(v, "updates") else str(v),
)  # fmt: skip
def test_costs_of_the_table(method, dedup, old_and_ref, train):
    spent = cost(method, dedup)
    assert spent["old"] == spent["ref"] == old_and_ref / 2
    assert spent["train"] == train


def test_ht_costs_three_per_update_and_two():
    assert cost(HT()) == {"old": 1, "ref": 1, "train": 24}
    assert cost(HT(), beta=0.0) == {"old": 1, "ref": 0, "train": 24}
    assert sum(cost(HT(stages=(1, 0, 2))).values()) == 3 * 3 + 2


def test_shared_first_contexts_are_counted_once():
    """With sharing, UniGRPO's last update is one context (320 in all) and so is TraceGRPO's first group (2,600 in
    all)."""

    class FromHundred(Uni):
        def timesteps(self, start):
            return super().timesteps(100)

    assert sum(cost(FromHundred(), grid=(8, 8)).values()) == 320
    assert sum(cost(Trace()).values()) == 2600


def test_kl_to_the_old_policy_costs_no_reference():
    assert cost(HT(kl_ref="old")) == {"old": 1, "ref": 0, "train": 24}
    assert cost(HT(kl_ref="old"), kl="exact")["train"] == 24


@pytest.mark.parametrize("dedup", ["all", "rollout", "none"])
@pytest.mark.parametrize("name", METHODS, ids=str)
def test_the_counter_follows_its_definition(name, dedup):
    """3 x the distinct contexts carrying loss at k, summed over k, + their union once for old and once for the
    reference."""
    policy, method = tiny_policy(1), METHODS[name]
    groups = two_groups(policy, size=4)
    train, union = 0, set()
    for p, group in enumerate(groups):
        for k, u in enumerate(method.updates(group, method_generator(group))):
            kl_share = u.share if u.kl_share is None else u.kl_share
            now = set()
            for g, slot in ((u.share > 0) | (kl_share > 0)).nonzero().tolist():
                row = int(u.row[g, slot])
                owner = () if dedup == "all" else (g,)
                repeated = () if name != "scripted_units" or dedup == "all" else (row,)
                now.add((p, *owner, *repeated, tuple(u.contexts[row].tolist())))
                union.add((p, *owner, *((k,) if dedup == "none" else ()), tuple(u.contexts[row].tolist())))
            train += 3 * len(now)
    forwards = run_engine(policy, groups, method, moved(policy.net, 7), beta=0.1, dedup=dedup)[1].forwards
    assert forwards["train"] == train
    assert forwards["old"] == len(union)
    assert forwards["ref"] == (0 if method.kl_ref == "old" else len(union))


@pytest.mark.parametrize(
    "method", [HT(), Uni(updates_per_rollout=2), Trace(updates_per_rollout=1)], ids=lambda m: type(m).__name__
)
def test_the_counter_counts_what_the_network_really_runs(method, monkeypatch):
    """Sequences pushed through the network, with gradient (three forwards each) and without."""
    policy = tiny_policy(1)
    seen = {True: 0, False: 0}
    forward = LLaDA.forward

    def counted(self, packed, *rest):
        seen[torch.is_grad_enabled()] += len(packed.lengths)
        return forward(self, packed, *rest)

    monkeypatch.setattr(LLaDA, "forward", counted)
    forwards = run_engine(policy, two_groups(policy), method, moved(policy.net, 7), beta=0.1, tokens_per_forward=60)[
        1
    ].forwards
    assert forwards["train"] == 3 * seen[True]
    assert forwards["old"] + forwards["ref"] == seen[False]


def test_the_head_runs_on_image_slots_and_columns_only(monkeypatch):
    """No forward computes more logits than tokens that are judged, and none outside the codebook."""
    policy = tiny_policy(1)
    shapes = []
    forward = LLaDA.forward

    def watched(self, *given):
        logits = forward(self, *given)
        shapes.append(tuple(logits.shape))
        return logits

    monkeypatch.setattr(LLaDA, "forward", watched)
    group = make_group(policy, size=5)
    run_engine(policy, [group], HT(stages=(0, 1, 0)), beta=0.0)
    structure = (group.rank <= math.floor(0.3 * 6)).any(0).sum()
    assert shapes == [(int(structure), 6)] * 2


def test_an_unused_context_costs_nothing():
    """Contexts that judge no token of the support are never run."""
    policy = tiny_policy(1)

    class Wasteful(HT):
        def updates(self, group, generator):
            extra = torch.arange(group.codes.shape[1])[None] % policy.backbone.codebook_size
            return [replace(u, contexts=torch.cat([u.contexts, extra])) for u in super().updates(group, generator)]

    forwards = run_engine(policy, [make_group(policy)], Wasteful(), beta=0.0)[1].forwards
    assert forwards == {"old": 1, "ref": 0, "train": 24}
