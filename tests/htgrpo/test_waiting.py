"""No step of a rollout and no batch of an update waits for the device, and every product has the network's dtype."""

from collections import Counter

import pytest
import torch

from htgrpo.base.rng import generator
from htgrpo.parallel.ranks import ALONE
from htgrpo.parallel.totals import Totals
from htgrpo.rollout import generate
from htgrpo.samplers import Emerge, Lumina, MaskGIT, RandomOrder
from htgrpo.training.engine import Engine
from htgrpo.training.holding import Holding
from htgrpo.training.planning import _distinct_rows
from htgrpo.training.train_config import TrainConfig
from htgrpo.training.tuning import TUNINGS
from tests.htgrpo.tiny import LONG, SHORT, Scripted, method_generator, tiny_policy, two_groups
from tests.htgrpo.waiting import Counting


def sampled(policy, sampler, texts=(LONG, SHORT, LONG), **options):
    """What sampling counts, the second time (schedules are then known)."""
    prompts, keys = [policy.prompt(text) for text in texts], [("waiting", i) for i in range(len(texts))]
    for _ in range(2):
        with Counting() as counting:
            generate(policy, prompts, keys, sampler, 1.5, **options)
    return counting


@pytest.mark.parametrize("predict", [False, True])
@pytest.mark.parametrize("sampler", [RandomOrder, Emerge, MaskGIT, Lumina])
def test_no_step_of_a_rollout_waits(sampler, predict):
    """More steps and more images: as many waits, which are there for the schedule, on the host."""
    policy = tiny_policy(5, grid=(8, 8))
    few, many = (sampled(policy, sampler(steps), predict=predict).waits for steps in (3, 12))
    assert few == many and sum(many.values()) <= 4, many
    assert sampled(policy, sampler(3), [LONG, SHORT] * 5, predict=predict).waits == few


def test_sequences_are_packed_once_for_all_steps(monkeypatch):
    calls, pack = [], __import__("htgrpo.rollout", fromlist=["pack"]).pack
    monkeypatch.setattr("htgrpo.rollout.pack", lambda *given: calls.append(1) or pack(*given))
    policy = tiny_policy(5, grid=(8, 8))
    rope = type(policy.net).rope
    monkeypatch.setattr(type(policy.net), "rope", lambda *given: calls.append(2) or rope(*given))
    sampled(policy, MaskGIT(12))
    assert Counter(calls) == {1: 4, 2: 4}  # two rollouts of two packs: before anything is revealed, and after


def work(tuning="full", beta=0.1, dtype=torch.float64, limit=10**6, **changes):
    """An engine with its plan, and what steps."""
    policy = tiny_policy(4, d_model=16, layers=2, dtype=dtype)
    config = TrainConfig(tuning=tuning, lora_rank=2, beta=beta, tokens_per_forward=limit, **changes)
    tuned = TUNINGS[tuning](policy, config)
    engine, groups = Engine(policy, tuned.reference(), config), two_groups(policy)
    return engine, groups, Holding(tuned, config, ALONE)


@pytest.mark.parametrize("units", [False, True])
@pytest.mark.parametrize(
    "changes", [{}, {"kl": "exact"}, {"tuning": "lora"}, {"limit": 1}, {"recompute": True}], ids=str
)
def test_no_batch_of_an_update_waits(changes, units):
    engine, groups, holding = work(**changes)
    steps = engine.plan(groups, Scripted(units=units), [method_generator(group) for group in groups], Totals())
    totals = Totals()
    with Counting() as counting:
        for k, step in enumerate(steps):
            engine.accumulate(step, 2, totals, unmoved=k == 0)
            totals.add(grad_norm=holding.step())
    assert not counting.waits
    assert counting.operations["mm"] > 50
    with Counting() as counting:
        assert totals.metrics()["loss"] != 0.0
    assert not counting.waits  # one copy brings all of them


@pytest.mark.parametrize("kl", ["k3", "exact"])
def test_no_batch_before_an_update_waits(kl, monkeypatch):
    """Old and reference: what waits is there for the plan, on the host, and the same for one batch as for many."""
    found = []
    for limit in (1, 10**6):
        engine, groups, _ = work(kl=kl, limit=limit)
        with Counting() as counting:
            engine.plan(groups, Scripted(), [method_generator(group) for group in groups], Totals())
        found.append(counting.waits)
    assert found[0] == found[1]


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_every_product_of_a_half_precision_network_is_in_half_precision(tuning):
    """Rollouts, old and reference, updates; norms, rotary embedding and log-softmax are no products."""
    engine, groups, holding = work(tuning, dtype=torch.bfloat16)
    with Counting() as counting:
        generate(engine.policy, [engine.policy.prompt(SHORT)], [("half", 0)], RandomOrder(3), 1.0)
        engine.run(groups, Scripted(), [method_generator(group) for group in groups], holding.step)
    assert set(counting.dtypes) == {torch.bfloat16}


def test_the_counter_sees_what_waits():
    values = torch.rand(5, generator=generator("waits"))
    with Counting() as counting:
        float(values.sum())
        values[values > 0.5]
        torch.unique(values)
        values[:, None].float() @ values[None]
    assert counting.waits == {"_local_scalar_dense": 1, "nonzero": 1, "_unique2": 1}
    assert counting.dtypes == {torch.float32: 1}


@pytest.mark.parametrize("shape", [(40, 3), (1, 5), (0, 4), (9, 1)])
def test_distinct_rows_are_those_of_torch(shape):
    rows = torch.randint(-1, 2, shape, generator=generator("rows", shape))
    for ours, theirs in zip(_distinct_rows(rows), torch.unique(rows, dim=0, return_inverse=True), strict=True):
        assert torch.equal(ours, theirs)
