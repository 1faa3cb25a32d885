"""Every field of an update against brute force: views, units, coefficients, powers, own advantages, objectives, clips;
and proof that each of them matters."""

from dataclasses import replace

import pytest
import torch

from baselines.mask import Mask
from baselines.trace import Trace
from baselines.uni import Uni
from htgrpo.base.errors import UserError
from htgrpo.ht import HT
from htgrpo.interface import Method
from htgrpo.training.planning import check
from tests.htgrpo.formulas import scripted_terms, terms_of
from tests.htgrpo.oracle import brute_force
from tests.htgrpo.test_engine_contract import good
from tests.htgrpo.tiny import Scripted, make_group, method_generator, moved, run_engine, tiny_policy, two_groups

ALL = ("coef", "power", "advantage", "clip")
CASES = {
    "views": {"views": 2},
    "views_units": {"views": 3, "units": True},
    "coef": {"units": True, "fields": ("coef",)},
    "coef_alone": {"fields": ("coef",)},
    "power": {"units": True, "fields": ("power",)},
    "advantage": {"fields": ("advantage",)},
    "clip": {"units": True, "fields": ("clip",)},
    "everything": {"views": 2, "units": True, "fields": ALL},
}


class Changed(Method):
    """Another method with its updates changed."""

    def __init__(self, method, change):
        self.method, self.change, self.kl_ref = method, change, method.kl_ref

    def updates(self, group, generator):
        return [self.change(update) for update in self.method.updates(group, generator)]


def both(method, lr=0.03, policy=None, **config):
    """Gradients of the engine and by brute force, and what brute force saw."""
    policy = policy or tiny_policy(3)
    groups, reference = two_groups(policy, failed=(2,)), moved(policy.net, 7)
    config = {"beta": 0.2, "clip": 0.03, **config}
    found, totals = run_engine(policy, groups, method, reference, lr, **config)
    expected, seen = brute_force(
        policy, groups, terms_of(method, scripted_terms), reference, lr, method.kl_ref, **config
    )
    return found, expected, totals, seen


def gap(found, expected):
    """Largest difference of any update's gradient."""
    return max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("objective", ["ratio", "likelihood", "square"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_objective_and_field_equals_brute_force(case, objective):
    method = Scripted(objective=objective, **CASES[case])
    found, expected, totals, seen = both(method, clip=0.05 if objective == "square" else 0.03)
    assert gap(found, expected) < 1e-10
    assert all(float(one.abs().max()) > 1e-3 for one in expected), "an idle comparison"
    assert abs(totals.sums["loss"] - seen.loss) < 1e-10 and totals.sums["tokens"] == seen.tokens
    if objective != "likelihood":
        assert 0 < totals.sums["clipped"] == seen.clipped < seen.tokens
        assert max(seen.ratios) > 1.02, "the weights must move between updates"


@pytest.mark.parametrize("kl_ref", ["ref", "old"])
@pytest.mark.parametrize("kl", ["k3", "exact"])
def test_the_penalty_of_a_likelihood(kl, kl_ref):
    method = Scripted(objective="likelihood", views=2, units=True, fields=ALL, kl_ref=kl_ref)
    found, expected, totals, _ = both(method, kl=kl)
    assert gap(found, expected) < 1e-10
    metrics = totals.metrics()
    assert metrics["log_prob"] < 0 and not {"clip_fraction", "ratio_mean", "ratio_max"} & set(metrics)


CHANGES = {
    "coef": lambda u: replace(u, coef=None),
    "power": lambda u: replace(u, power=None),
    "advantage": lambda u: replace(u, advantage=None),
    "clip": lambda u: replace(u, clip=None),
    "unit": lambda u: replace(u, unit=None, power=None),
    "share": lambda u: replace(u, share=2 * u.share),
    "weight": lambda u: replace(u, weight=2 * u.weight),
    "kl_share": lambda u: replace(u, kl_share=None),
    "row": lambda u: replace(u, row=u.row.flip(0)),
    "objective": lambda u: replace(u, objective="square"),
}


@pytest.fixture(scope="module")
def unchanged():
    """A method with every field, and the gradients of the engine."""
    method = Scripted(views=2, units=True, fields=ALL)
    return method, both(method)[0]


@pytest.mark.parametrize("field", CHANGES, ids=str)
def test_each_field_matters(field, unchanged):
    """Negative control: brute force of other updates disagrees."""
    method, found = unchanged
    _, expected, *_ = both(Changed(method, CHANGES[field]))
    assert gap(found, expected) > 1e-4


def with_view(update):
    """The same update with the axis of its one view written out."""
    return replace(
        update,
        row=update.row[None],
        share=update.share[None],
        weight=update.weight[None],
        kl_share=None if update.kl_share is None else update.kl_share[None],
        unit=None if update.unit is None else update.unit[None],
    )


@pytest.mark.parametrize(
    "method",
    [HT(), Mask(updates_per_rollout=3), Uni(updates_per_rollout=3, ratio="sequence"), Trace(updates_per_rollout=2)],
    ids=lambda method: type(method).__name__,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_one_view_is_no_view_bit_for_bit(method, dtype):
    policy = tiny_policy(1, dtype=dtype)
    groups, reference = two_groups(policy), moved(policy.net, 7)
    plain, totals = run_engine(policy, groups, method, reference, beta=0.1)
    viewed, others = run_engine(policy, groups, Changed(method, with_view), reference, beta=0.1)
    assert all(torch.equal(a, b) for a, b in zip(plain, viewed, strict=True))
    assert totals.sums == others.sums and totals.forwards == others.forwards


def halves(part):
    """The update with every entry twice, share split `part` to 1 - part and coefficients in halves; a token is one
    unit."""

    def change(u):
        token = torch.arange(u.share.numel()).reshape(u.share.shape)
        kl_share = u.share if u.kl_share is None else u.kl_share
        return replace(
            u,
            row=torch.stack([u.row, u.row]),
            share=torch.stack([part * u.share, (1 - part) * u.share]),
            weight=torch.stack([u.weight, u.weight]),
            kl_share=torch.stack([part * kl_share, (1 - part) * kl_share]),
            unit=torch.stack([token, token]),
            coef=torch.where(torch.stack([u.share, u.share]) > 0, 0.5, 0.0).double(),
        )

    return change


@pytest.mark.parametrize("part", [0.5, 0.2], ids=["even", "uneven"])
def test_entries_in_two_views_change_nothing(part):
    """A unit's share may be split among its entries in any way."""
    policy = tiny_policy(1)
    groups, reference = two_groups(policy), moved(policy.net, 7)
    for method in (HT(), Trace(updates_per_rollout=3)):
        plain, totals = run_engine(policy, groups, method, reference, beta=0.1, clip=0.03)
        split, others = run_engine(policy, groups, Changed(method, halves(part)), reference, beta=0.1, clip=0.03)
        assert totals.sums["clipped"] > 0 and gap(plain, split) < 1e-12
        assert totals.forwards == others.forwards and abs(totals.sums["loss"] - others.sums["loss"]) < 1e-12


@pytest.mark.parametrize("limit", [1, 60, 200])
@pytest.mark.parametrize("objective", ["ratio", "likelihood", "square"])
def test_batches_and_sharing_change_nothing(objective, limit):
    policy = tiny_policy(1)
    groups, reference = two_groups(policy), moved(policy.net, 7)
    method = Scripted(views=2, units=True, fields=ALL, objective=objective)
    whole, totals = run_engine(policy, groups, method, reference, 0.01, beta=0.1)
    for dedup in ("all", "rollout", "none"):
        parts, others = run_engine(
            policy, groups, method, reference, 0.01, beta=0.1, tokens_per_forward=limit, dedup=dedup
        )
        assert gap(whole, parts) < 1e-12 and abs(totals.sums["loss"] - others.sums["loss"]) < 1e-12


def test_a_likelihood_needs_no_old_policy():
    policy = tiny_policy(1)
    group, reference = make_group(policy), moved(policy.net, 7)
    for kl_ref, beta, expected in (
        ("ref", 0.1, (0, 1)),
        ("ref", 0.0, (0, 0)),
        ("old", 0.1, (1, 0)),
        ("old", 0.0, (0, 0)),
    ):
        method = Changed(HT(kl_ref=kl_ref), lambda u: replace(u, objective="likelihood"))
        forwards = run_engine(policy, [group], method, reference, beta=beta)[1].forwards
        assert (forwards["old"], forwards["ref"]) == expected


def test_groups_may_differ_in_their_clip():
    """Bounds that depend on the number of slots: two groups with one in a batch."""

    class Own(Scripted):
        def updates(self, group, generator):
            wide = (0.5, 1.0 + 0.05 / group.codes.shape[1])
            return [replace(u, clip=wide) for u in super().updates(group, generator)]

    found, expected, totals, seen = both(Own(units=True))
    assert gap(found, expected) < 1e-10 and 0 < totals.sums["clipped"] == seen.clipped


BROKEN = {
    "the shape": lambda u: {"weight": torch.ones(2, 3)},
    "the shape of an update's advantage": lambda u: {"advantage": torch.ones(1, 2, 4)},
    "coef": lambda u: {"coef": torch.full((2, 4), float("nan"))},
    "power": lambda u: {"power": torch.full((2, 4), -1.0)},
    "advantage": lambda u: {"advantage": torch.tensor([[float("inf")], [0.0]])},
    "coefficients without a share": lambda u: {"share": torch.zeros(2, 4), "coef": torch.ones(2, 4)},
    "clip": lambda u: {"clip": (1.1, 1.2)},
}


@pytest.mark.parametrize("message", BROKEN, ids=str)
def test_broken_fields_are_refused(message):
    bad = good()
    with pytest.raises(UserError, match=message):
        check([[replace(bad, **BROKEN[message](bad))]])


def test_one_objective_a_method():
    with pytest.raises(UserError, match="objective"):
        check([[good(), replace(good(), objective="likelihood")]])


def test_updates_that_spell_out_the_defaults_are_the_defaults():
    policy = tiny_policy(2)
    groups = [group.kept() for group in two_groups(policy)]
    for group in groups:
        update = Mask(updates_per_rollout=1).updates(group, method_generator(group))[0]
        spelt = replace(
            update,
            advantage=group.advantage()[:, None],
            coef=(update.share > 0).double(),
            power=torch.zeros_like(update.share),
            clip=(0.8, 1.2),
        )
        one = run_engine(policy, [group], Changed(Mask(updates_per_rollout=1), lambda u: u), beta=0.0)[0]
        other = run_engine(policy, [group], Changed(Mask(updates_per_rollout=1), lambda u, s=spelt: s), beta=0.0)[0]
        assert gap(one, other) < 1e-14
