"""How the work is arranged never changes a result: deduplication, micro-batches, order of groups, packing."""

import pytest
import torch

from baselines.mask import Mask
from baselines.trace import Trace
from baselines.uni import Uni
from htgrpo.ht import HT
from htgrpo.training.engine import Engine, Totals
from htgrpo.training.tokens import batches, sort_tokens
from htgrpo.training.train_config import TrainConfig
from tests.htgrpo.tiny import (
    LAYOUTS,
    LONG,
    SHORT,
    Scripted,
    flat_gradient,
    make_group,
    method_generator,
    moved,
    run_engine,
    tiny_policy,
    two_groups,
)

METHODS = {
    "ht": HT(),
    "ht_structure_revealed": HT(context="structure_revealed", stages=(1, 1, 2)),
    "mask": Mask(updates_per_rollout=3),
    "mask_all_iterations": Mask(updates_per_rollout=3, min_rate=0.2, mask_agg="all_iterations", loss_norm="token_mean"),
    "uni": Uni(updates_per_rollout=3),
    "uni_sequence": Uni(updates_per_rollout=3, ratio="sequence", spacing="stride"),
    "trace": Trace(updates_per_rollout=2),
    "trace_once": Trace(updates_per_rollout=3, visit="once", norm="group", kl_norm="sum", kl_ref="old"),
    "scripted_units": Scripted(units=True),
}


def difference(one, other):
    """Largest difference of any update's gradient."""
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("beta", [0.0, 0.2])
@pytest.mark.parametrize("name", METHODS, ids=str)
def test_sharing_contexts_changes_nothing(name, beta, layout):
    """dedup all, rollout and none agree in loss and gradient (clip small enough to be active)."""
    policy = tiny_policy(1, layout)
    groups, reference = two_groups(policy, size=4), moved(policy.net, 7)
    settings = {"beta": beta, "clip": 0.02, "kl": "exact" if beta else "k3"}
    runs = {
        d: run_engine(policy, groups, METHODS[name], reference, dedup=d, **settings) for d in ("all", "rollout", "none")
    }
    gradients, totals = runs.pop("all")
    assert totals.sums["clipped"] > 0
    for other, others in runs.values():
        assert difference(gradients, other) < 1e-12
        assert abs(totals.sums["loss"] - others.sums["loss"]) < 1e-12
        assert totals.sums["tokens"] == others.sums["tokens"] and totals.sums["clipped"] == others.sums["clipped"]


@pytest.mark.parametrize("name", ["ht_structure_revealed", "uni_sequence", "trace_once", "scripted_units"])
def test_micro_batches_change_nothing(name):
    """One row per forward up to everything in one forward."""
    policy = tiny_policy(1)
    groups, reference = two_groups(policy), moved(policy.net, 7)
    whole, totals = run_engine(policy, groups, METHODS[name], reference, beta=0.2, kl="exact", tokens_per_forward=10**9)
    for limit in (1, 23, 50, 75, 200):
        parts, others = run_engine(
            policy, groups, METHODS[name], reference, beta=0.2, kl="exact", tokens_per_forward=limit
        )
        assert difference(whole, parts) < 1e-12
        assert abs(totals.sums["loss"] - others.sums["loss"]) < 1e-12
        assert name == "scripted_units" or totals.forwards == others.forwards  # units beyond the limit: two passes


@pytest.mark.parametrize("name", ["ht", "mask", "trace", "scripted_units"])
def test_order_of_groups_changes_nothing(name):
    policy = tiny_policy(1)
    groups = [*two_groups(policy), make_group(policy, "a photo of red square", (3, 3), seed=5)]
    one, first = run_engine(policy, groups, METHODS[name], moved(policy.net, 7), beta=0.2)
    other, second = run_engine(policy, groups[::-1], METHODS[name], moved(policy.net, 7), beta=0.2)
    assert difference(one, other) < 1e-12
    assert first.forwards == second.forwards


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", METHODS, ids=str)
def test_packed_prompts_equal_one_prompt_at_a_time(name, layout):
    """Prompts of different length and grid together, against each alone, after the weights have moved from the old
    ones."""
    policy = tiny_policy(1, layout)
    groups, method, reference = two_groups(policy), METHODS[name], moved(policy.net, 7)
    now = moved(policy.net, 3, 0.05)

    def gradient(part):
        net = moved(policy.net, 0, 0.0).requires_grad_(True)
        engine = Engine(policy.with_net(net), reference, TrainConfig(beta=0.2))
        work = engine.plan(part, method, [method_generator(g) for g in part], Totals())[1]
        net.load_state_dict(now.state_dict())
        engine.accumulate(work, len(groups), Totals())
        return flat_gradient(net)

    together, apart = gradient(groups), gradient(groups[:1]) + gradient(groups[1:])
    assert float(together.abs().max()) > 1e-3
    assert float((together - apart).abs().max()) < 1e-12


def test_loss_is_a_mean_over_the_groups_of_all_ranks():
    policy = tiny_policy(1)
    groups = two_groups(policy)
    half, _ = run_engine(policy, groups, HT(), beta=0.0, lr=0.0)
    quarter, _ = run_engine(policy, groups, HT(), beta=0.0, lr=0.0, total_groups=4)
    assert difference(half, [2.0 * g for g in quarter]) < 1e-12


@pytest.mark.parametrize("limit", [1, 30, 60, 90, 10**6])
def test_a_unit_is_never_split(limit):
    """Rows tied by a unit, directly or through other rows, come in one batch; all other rows are still batched
    freely."""
    policy = tiny_policy()
    tied, free = make_group(policy, LONG, (2, 3)), make_group(policy, SHORT, (2, 3))
    contexts = torch.randint(6, (7, 6), generator=torch.Generator().manual_seed(1))
    row = torch.tensor([0, 3, 3, 5, 1, 2, 4, 6, 6])
    unit = torch.tensor([0, 0, 1, 1, 2, 3, 4, 5, 6])  # ties rows 0, 3 and 5
    slot, code = torch.arange(9) % 6, torch.zeros(9, dtype=torch.long)
    tokens, order = sort_tokens(tied, contexts, row, slot, code, unit)
    assert torch.equal(tokens.contexts[tokens.row], contexts[row][order])
    assert torch.equal(tokens.slot, slot[order])
    others, _ = sort_tokens(free, contexts, row, slot, code)
    owners, rows = {}, {0: 0, 1: 0}
    units = unit[order]
    for number, batch in enumerate(batches(policy, [tokens, others], limit)):
        for piece in batch:
            rows[piece.index] += piece.last - piece.first
            if piece.index == 0:
                for u in units[piece.span].tolist():
                    assert owners.setdefault({1: 0}.get(u, u), number) == number
    assert rows == {0: 7, 1: 7}


def test_batches_keep_to_their_limit():
    """Only a single indivisible part may exceed the limit, and nothing is left out or repeated."""
    policy = tiny_policy()
    group = make_group(policy, LONG, (2, 3))
    length = len(group.prompt) + 8
    contexts, row = torch.zeros(10, 6, dtype=torch.long), torch.arange(10)
    tokens, _ = sort_tokens(group, contexts, row, row % 6, row % 6)
    for limit in (1, length, 3 * length, 3 * length + 1, 100 * length):
        pieces = [piece for batch in batches(policy, [tokens, tokens], limit) for piece in batch]
        assert [(p.index, r) for p in pieces for r in range(p.first, p.last)] == [
            (i, r) for i in (0, 1) for r in range(10)
        ]
        for batch in batches(policy, [tokens, tokens], limit):
            assert sum(p.last - p.first for p in batch) * length <= max(limit, length)


def test_interleave_takes_the_update_of_the_micro_batch():
    """MaskGRPO's slip: with two micro-batches and K = 6 the first only ever sees updates 0, 2, 4 and the second 1, 3,
    5."""
    policy = tiny_policy()
    groups = two_groups(policy)
    method = Mask(updates_per_rollout=6, min_rate=0.1)
    plain, slipped = (
        Engine(policy, None, TrainConfig(beta=0.0, interleave=i)).plan(
            groups, method, [method_generator(g) for g in groups], Totals()
        )
        for i in (False, True)
    )
    for k, work in enumerate(slipped):
        for p, step in enumerate(work):
            assert torch.equal(step.tokens.contexts, plain[(2 * k + p) % 6][p].tokens.contexts)
