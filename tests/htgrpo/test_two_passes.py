"""Units that are larger than a batch: two passes have the gradient, the loss and the counts of one."""

import pytest
import torch

from baselines.coupled import Coupled
from baselines.espo import ESPO
from baselines.gdsd import GDSD
from baselines.spg import SPG
from htgrpo.policies.llada import LLaDA
from htgrpo.training import two_passes
from htgrpo.training.engine import Engine
from htgrpo.training.train_config import TrainConfig
from htgrpo.training.tuning import TUNINGS
from tests.htgrpo.test_engine_fields import ALL, gap
from tests.htgrpo.tiny import Scripted, method_generator, moved, run_engine, tiny_policy, two_groups

LIMIT = 40
"""Packed tokens that hold one context of the longer prompt, or two of the shorter one."""
PUBLISHED = {
    "espo": ESPO(updates_per_rollout=3, samples=2),
    "gdsd": GDSD(updates_per_rollout=3, samples=2, eps=0.3),
    "coupled": Coupled(updates_per_rollout=3),
    "spg": SPG(updates_per_rollout=3, samples=3, low=0.5),
}
FIELDS = {
    "units": {"units": True},
    "views": {"units": True, "views": 3},
    "coef": {"units": True, "fields": ("coef",)},
    "power": {"units": True, "fields": ("power",)},
    "everything": {"units": True, "views": 2, "fields": ALL},
}


def both(method, limit=LIMIT, lr=0.05, **config):
    """Gradients and totals of one pass and of two."""
    policy = tiny_policy(3)
    groups, reference = two_groups(policy, failed=(2,)), moved(policy.net, 7)
    config = {"beta": 0.2, "clip": 0.03, **config}
    return [
        run_engine(policy, groups, method, reference, lr, tokens_per_forward=tokens, **config)
        for tokens in (10**9, limit)
    ]


def check(method, **config):
    (one, totals), (two, others) = both(method, **config)
    assert gap(one, two) < 1e-12
    assert all(float(gradient.abs().max()) > 1e-4 for gradient in one), "an idle comparison"
    assert set(totals.sums) == set(others.sums)
    for name, value in totals.sums.items():
        if name != "unshared":
            assert others.sums[name] == pytest.approx(value, abs=1e-11), name
    return totals, others


@pytest.mark.parametrize("limit", [1, LIMIT])
@pytest.mark.parametrize("objective", ["ratio", "likelihood", "square"])
@pytest.mark.parametrize("fields", FIELDS, ids=str)
def test_two_passes_equal_one(fields, objective, limit):
    """Clipped and not, with powers and without."""
    totals, others = check(Scripted(objective=objective, **FIELDS[fields]), limit=limit)
    if objective != "likelihood":
        assert 0 < totals.sums["clipped"] < totals.sums["tokens"]
    linear = objective == "likelihood" and "power" not in FIELDS[fields].get("fields", ())
    assert (others.forwards == totals.forwards) is linear
    assert {phase: others.forwards[phase] for phase in ("old", "ref")} == {
        phase: totals.forwards[phase] for phase in ("old", "ref")
    }


@pytest.mark.parametrize("kl_ref", ["ref", "old"])
@pytest.mark.parametrize("kl", ["k3", "exact"])
def test_the_penalty_is_that_of_one_pass(kl, kl_ref):
    for objective in ("ratio", "likelihood"):
        check(Scripted(objective=objective, kl_ref=kl_ref, **FIELDS["everything"]), kl=kl)


@pytest.mark.parametrize("dedup", ["all", "none"])
@pytest.mark.parametrize("name", PUBLISHED, ids=str)
def test_published_methods(name, dedup):
    totals, others = check(PUBLISHED[name], dedup=dedup, lr=0.5 if name == "coupled" else 0.05)
    if name != "spg":
        assert totals.sums["clipped"] > 0
    assert others.forwards["train"] > totals.forwards["train"]
    if dedup == "none":
        for each in (totals, others):
            assert each.sums["unshared"] == sum(each.forwards.values()), "nothing was shared"


def test_old_ratios_that_are_one_spare_the_first_pass():
    """Three forwards a context at the first update and four later; a likelihood with power has nothing to go by."""
    (_, totals), (_, others) = both(PUBLISHED["coupled"], limit=1, beta=0.0)
    assert others.forwards["train"] == totals.forwards["train"] // 9 * (3 + 4 + 4)
    method = Scripted(objective="likelihood", count=1, units=True, fields=("power",))
    (_, totals), (_, others) = both(method, limit=1, beta=0.0)
    assert others.forwards["train"] == totals.forwards["train"] // 3 * 4


@pytest.mark.parametrize("name", PUBLISHED, ids=str)
def test_no_forward_is_above_the_limit_and_all_are_counted(name, monkeypatch):
    seen, forward = {True: 0, False: 0}, LLaDA.forward

    def watched(self, packed, *rest):
        assert len(packed.ids) <= LIMIT
        seen[torch.is_grad_enabled()] += len(packed.lengths)
        return forward(self, packed, *rest)

    policy = tiny_policy(1)
    groups = two_groups(policy)
    monkeypatch.setattr(LLaDA, "forward", watched)
    forwards = run_engine(policy, groups, PUBLISHED[name], beta=0.0, tokens_per_forward=LIMIT)[1].forwards
    assert sum(forwards.values()) == 3 * seen[True] + seen[False]
    assert forwards["train"] > 3 * seen[True] > 0


def test_what_fits_takes_one_pass(monkeypatch):
    def refuse(*given):
        raise AssertionError("a second look at what fits")

    monkeypatch.setattr(two_passes, "judge", refuse)
    policy = tiny_policy(1)
    for method in PUBLISHED.values():
        run_engine(policy, two_groups(policy), method, beta=0.0)


def test_dropout_draws_alike_in_both_passes(monkeypatch):
    """A slope belongs to the log-probabilities that it was found at. What is drawn afterwards is new."""
    found, judge = [], two_passes.judge

    def recorded(*given):
        judged = judge(*given)
        found.append((torch.is_grad_enabled(), judged.log_prob.detach()))
        return judged

    monkeypatch.setattr(two_passes, "judge", recorded)
    policy = tiny_policy(4, d_model=16, layers=2)
    config = TrainConfig(tuning="lora", lora_rank=2, lora_dropout=0.5, tokens_per_forward=LIMIT, beta=0.0)
    tuning = TUNINGS["lora"](policy, config)
    with torch.no_grad():
        for weight in tuning.learning():
            weight += 0.3
    groups, method = two_groups(policy), PUBLISHED["coupled"]
    before = torch.get_rng_state()
    with tuning.updating(1):
        Engine(policy, None, config).run(groups, method, [method_generator(g) for g in groups], lambda: 0.0)
    assert torch.equal(torch.get_rng_state(), before)
    first, second = ([value for grad, value in found if grad is which] for which in (False, True))
    assert len(first) > 6 and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert len({float(value.sum()) for value in first}) == len(first), "every part draws anew"


def test_a_wrong_slope_would_be_caught(monkeypatch):
    """Negative control: slopes of the loss as if every entry were alone."""
    surrogate = two_passes.surrogate

    def alone(values, work, batch, *rest):
        work = [type(step)(**{**vars(step), "unit": None, "coef": None}) for step in work]
        return surrogate(values, work, batch, *rest)

    monkeypatch.setattr(two_passes, "surrogate", alone)
    (one, _), (two, _) = both(PUBLISHED["espo"])
    assert gap(one, two) > 1e-4
