"""HT-GRPO as a method: rates, structure, stages, subsets, contexts, weights, and refusals."""

import math

import pytest
import torch

from htgrpo.base.errors import UserError
from htgrpo.base.rng import generator
from htgrpo.ht import HT
from htgrpo.interface import HIDDEN
from tests.htgrpo.tiny import make_group, tiny_policy

G, N = 9, 64
CUT = 19  # floor(0.3 x 64)


@pytest.fixture(scope="module")
def group():
    return make_group(tiny_policy(grid=(8, 8)), "blue square", (8, 8), G, steps=8)


def supports(method, group, *key):
    """(stage, rate, bool [G, N]) of every update."""
    updates = method.updates(group, generator("ht", *key))
    return [(stage, rate, u.share > 0) for (stage, rate), u in zip(method.rates(), updates, strict=True)]


def test_rates_of_the_paper():
    stages, rates = zip(*HT().rates(), strict=True)
    assert stages == ("global",) * 2 + ("structure",) * 4 + ("refinement",) * 2
    assert rates == pytest.approx([1.0, 0.5, 1.0, 5 / 6, 4 / 6, 0.5, 1.0, 0.5])


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({"schedule": "up"}, [0.5, 1.0, 0.5, 4 / 6, 5 / 6, 1.0, 0.5, 1.0]),
        ({"gamma_max": (0.2,) * 3, "gamma_min": (0.2,) * 3}, [0.2] * 8),
        ({"stages": (1, 0, 1)}, [1.0, 1.0]),
        ({"stages": (1, 0, 1), "schedule": "up"}, [1.0, 1.0]),
        ({"stages": (0, 3, 0), "schedule": "cosine"}, [1.0, 0.75, 0.5]),
        ({"stages": (0, 3, 0), "schedule": "square"}, [1.0, 0.625, 0.5]),
        ({"stages": (2, 0, 2), "gamma_max": (0.9, 1.0, 0.6), "gamma_min": (0.7, 0.5, 0.1)}, [0.9, 0.7, 0.6, 0.1]),
        ({"order": ("refinement", "structure", "global"), "stages": (2, 1, 3)}, [1.0, 0.75, 0.5, 1.0, 1.0, 0.5]),
    ],
)
def test_rates_of_the_ablations(options, rates):
    """Triples stay (global, structure, refinement) whatever the order of the stages."""
    assert [rate for _, rate in HT(**options).rates()] == pytest.approx(rates)


@pytest.mark.parametrize(
    ("slots", "alpha", "count"), [(1024, 0.3, 307), (4096, 0.3, 1228), (64, 0.3, 19), (10, 0.3, 3), (7, 0.5, 3)]
)
def test_structure_is_the_first_floor_alpha_n(slots, alpha, count):
    side = make_group(tiny_policy(grid=(1, slots)), "blue square", (1, slots), 2, steps=5)
    structure = HT(alpha=alpha).structure(side)
    assert (structure.sum(1) == count).all() and count == math.floor(alpha * slots)
    assert torch.equal(structure, side.rank <= count)


def test_raster_ties_take_the_top_of_the_boundary_step(group):
    """Slots of earlier steps all, of the step where the cut falls the first in raster order."""
    structure = HT(ties="raster").structure(group)
    for steps, chosen in zip(group.reveal_step.tolist(), structure.tolist(), strict=True):
        order = sorted(range(N), key=lambda s, steps=steps: (steps[s], s))
        assert [s for s in range(N) if chosen[s]] == sorted(order[:CUT])
    assert not torch.equal(structure, HT().structure(group)), "the default breaks ties by the sampler's shuffle"


@pytest.mark.parametrize("norm", ["rollout_mean", "token_mean"])
def test_exact_subsets_have_the_stated_size_in_the_right_set(group, norm):
    method = HT(loss_norm=norm)
    structure = group.rank <= CUT
    sets = {"global": torch.ones_like(structure), "structure": structure, "refinement": ~structure}
    for (stage, rate, support), update in zip(
        supports(method, group, 1), method.updates(group, generator("ht", 1)), strict=True
    ):
        wanted = max(1, round(rate * int(sets[stage][0].sum())))
        assert (support.sum(1) == wanted).all()
        assert not (support & ~sets[stage]).any()
        assert torch.allclose(update.share[support], torch.tensor(1 / (G * wanted), dtype=torch.float64)), (
            "both norms coincide"
        )


def test_subset_sizes_are_rounded_to_the_nearest():
    """max(1, round(rate x size)) for many sizes; at an exact half either neighbour will do."""
    for slots in range(4, 201, 7):
        images = make_group(tiny_policy(grid=(1, slots)), "blue square", (1, slots), 2, steps=4)
        size = math.floor(0.5 * slots)
        for _, rate, support in supports(HT(alpha=0.5, stages=(0, 7, 0), gamma_min=(0.1,) * 3), images, slots):
            found = support.sum(1).tolist()
            assert found[0] == found[1] >= 1
            assert abs(found[0] - max(1.0, rate * size)) <= 0.5 + 1e-5


def test_bernoulli_subsets_hold_their_rate_and_are_never_empty(group):
    method = HT(subset="bernoulli", gamma_min=(0.3,) * 3, gamma_max=(0.3,) * 3)
    draws = [supports(method, group, seed) for seed in range(20)]
    for k, (stage, _) in enumerate(method.rates()):
        size = {"global": N, "structure": CUT, "refinement": N - CUT}[stage]
        drawn = torch.stack([d[k][2] for d in draws]).sum(-1)
        assert abs(float(drawn.double().mean()) / size - 0.3) < 4.5 * (0.21 / size / drawn.numel()) ** 0.5 + 1e-3
        assert float(drawn.double().std()) > 0.5, "sizes vary"
    rare = HT(subset="bernoulli", gamma_min=(1e-9,) * 3, gamma_max=(1e-9,) * 3)
    assert all((s.sum(1) == 1).all() for _, _, s in supports(rare, group, 3))


def test_subsets_are_fresh_per_update_and_image_and_reproducible(group):
    drawn = supports(HT(stages=(0, 4, 0), gamma_max=(0.5,) * 3), group, 7)
    assert all(
        torch.equal(a[2], b[2]) for a, b in zip(drawn, supports(HT(stages=(0, 4, 0), gamma_max=(0.5,) * 3), group, 7))
    )
    assert not torch.equal(drawn[0][2], drawn[1][2])
    chosen = {tuple(sorted(rank[support].tolist())) for rank, support in zip(group.rank, drawn[0][2], strict=True)}
    assert len(chosen) > 1, "images draw independently"


def test_every_member_is_equally_likely(group):
    """Inclusion counts of the structure tokens over many draws are those of a uniform subset (chi-square)."""
    counts = torch.zeros(G, N)
    for seed in range(300):
        counts += supports(HT(stages=(0, 1, 0), gamma_max=(0.5,) * 3), group, "uniform", seed)[0][2]
    members = counts[group.rank <= CUT].reshape(G, CUT).double()
    expected = 300 * round(0.5 * CUT) / CUT
    rate = expected / 300
    chi = ((members - expected) ** 2 / (300 * rate * (1 - rate))).sum() * (CUT - 1) / CUT
    freedom = G * (CUT - 1)
    assert abs(float(chi) - freedom) < 4.5 * (2 * freedom) ** 0.5


def test_weights(group):
    """1.5 on structure and 0.5 beyond, in every stage; the options of `credit`."""
    structure = group.rank <= CUT
    for update in HT().updates(group, generator(1)):
        assert (update.weight[structure] == 1.5).all() and (update.weight[~structure] == 0.5).all()
    assert all((u.weight == 1).all() for u in HT(credit="none").updates(group, generator(1)))
    for update in HT(credit="stage_mean").updates(group, generator(1)):
        support = update.share > 0
        assert float(update.weight[support].mean()) == pytest.approx(1.0)
        if bool((support & structure).any()) and bool((support & ~structure).any()):
            assert float(update.weight[structure][0] / update.weight[~structure][0]) == pytest.approx(3.0)


def test_context_is_empty_for_every_token(group):
    for update in HT().updates(group, generator(1)):
        assert update.contexts.shape == (1, N) and (update.contexts == HIDDEN).all()
        assert (update.row == 0).all() and update.unit is None and update.kl_share is None


def test_revealed_structure_is_shown_to_refinement_tokens_only(group):
    structure = group.rank <= CUT
    for update in HT(context="structure_revealed").updates(group, generator(1)):
        shown = update.contexts[update.row]  # [G, N, N]
        assert (shown[structure] == HIDDEN).all()
        wanted = torch.where(structure, group.codes, HIDDEN)[:, None].expand(G, N, N)
        assert torch.equal(shown[~structure], wanted[~structure])


def test_a_skipped_stage_still_leaves_the_others(group):
    assert [stage for stage, *_ in supports(HT(stages=(0, 2, 0)), group, 1)] == ["structure"] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0.0}, "ht.alpha is 0.0"),
        ({"alpha": 1.0}, "ht.alpha is 1.0"),
        ({"stages": (0, 0, 0)}, "ht.stages"),
        ({"stages": (1, -1, 1)}, "ht.stages"),
        ({"order": ("global", "global", "structure")}, "ht.order"),
        ({"gamma_min": (0.5, 0.0, 0.5)}, "ht.gamma_min is 0.0"),
        ({"gamma_max": (0.4, 1.0, 1.0)}, "gamma_min/gamma_max"),
        ({"gamma_max": (1.1, 1.0, 1.0)}, "ht.gamma_max is 1.1"),
        ({"lambda_r": -0.1}, "ht.lambda_r is -0.1"),
        ({"alpha": math.nan}, "ht.alpha"),
        ({"lambda_s": math.nan}, "ht.lambda_s"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        HT(**options)


def test_an_empty_structure_set_is_refused_not_averaged():
    small = make_group(tiny_policy(grid=(1, 3)), "blue square", (1, 3), 2, steps=2)
    with pytest.raises(UserError, match="ht.alpha is 0.3.*no token is structure on 3 slots"):
        HT().updates(small, generator(1))
