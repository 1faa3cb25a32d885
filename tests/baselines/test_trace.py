"""TraceGRPO: trace groups, contexts, norms, and the two ways of visiting them."""

import pytest
import torch

from baselines.trace import Trace
from htgrpo.base.errors import UserError
from htgrpo.base.rng import generator
from htgrpo.interface import HIDDEN
from tests.htgrpo.formulas import trace_map
from tests.htgrpo.tiny import make_group, tiny_policy

G, N = 5, 9


def group(steps=6):
    """Rollouts whose steps have gaps, as an emerge sampler makes them."""
    images = make_group(tiny_policy(grid=(3, 3)), "blue square", (3, 3), G, steps)
    images.reveal_step[0][images.reveal_step[0] == 2] = 3
    return images


def test_shrinking_groups_consecutive_distinct_steps():
    """The sheet's rule, and an example worked by hand."""
    steps = torch.tensor([[0, 2, 2, 3, 7, 9, 9, 0, 3]])
    assert Trace(shrink=2).trace_groups(steps).tolist() == [[0, 0, 0, 1, 1, 2, 2, 0, 1]]
    assert trace_map(steps[0].tolist(), 2) == [2, 2, 2, 7, 7, 9, 9, 2, 7]
    for shrink in (1, 2, 3, 8):
        for found, given in zip(
            Trace(shrink=shrink).trace_groups(group().reveal_step), group().reveal_step, strict=True
        ):
            mapped = trace_map(given.tolist(), shrink)
            assert found.tolist() == [sorted(set(mapped)).index(q) for q in mapped]


@pytest.mark.parametrize("shrink", [1, 2, 3, 6, 50])
def test_a_token_sees_what_was_revealed_before_its_group_and_no_more(shrink):
    images = group()
    update = Trace(shrink=shrink).updates(images, generator(1))[0]
    for g in range(G):
        mapped = trace_map(images.reveal_step[g].tolist(), shrink)
        for i in range(N):
            wanted = [
                c if step < mapped[i] else HIDDEN for c, step in zip(images.codes[g].tolist(), mapped, strict=True)
            ]
            assert update.contexts[update.row[g, i]].tolist() == wanted
    if shrink >= 6:
        assert (update.contexts == HIDDEN).all()


def test_every_token_is_judged_at_every_update():
    updates = Trace(updates_per_rollout=3, shrink=2).updates(group(), generator(1))
    assert len(updates) == 3
    for u in updates:
        assert torch.allclose(u.share, torch.full((G, N), 1 / (G * N), dtype=torch.float64))
        assert (u.weight == 1).all() and u.unit is None and u.kl_share is None


def test_group_norm_gives_every_trace_group_the_same_part():
    """The mean over rows of each row's own mean, whatever number of rows an image has."""
    images = group()
    u = Trace(norm="group").updates(images, generator(1))[0]
    rows = len(u.contexts)
    assert len({len(set(steps)) for steps in images.reveal_step.tolist()}) > 1, (
        "images with different numbers of groups"
    )
    for row in range(rows):
        part = u.share[u.row == row]
        assert torch.allclose(part, torch.full_like(part, 1 / (rows * len(part))))


def test_the_published_kl_is_a_sum_over_tokens_per_row():
    u = Trace(kl_norm="sum").updates(group(), generator(1))[0]
    assert torch.allclose(u.kl_share, torch.full((G, N), 1 / len(u.contexts), dtype=torch.float64))


@pytest.mark.parametrize("norm", ["token", "group"])
def test_once_visits_every_row_exactly_once(norm):
    images = group()
    method = Trace(updates_per_rollout=4, visit="once", norm=norm, kl_norm="sum")
    updates = method.updates(images, generator(1))
    assert len(updates) == 4
    visits = torch.stack([u.share > 0 for u in updates]).sum(0)
    assert (visits == 1).all()
    sizes = []
    for u in updates:
        visited = u.row[u.share > 0].unique()
        sizes.append(len(visited))
        assert torch.equal(torch.isin(u.row, visited), u.share > 0), "a row is visited as a whole"
        assert float(u.share.sum()) == pytest.approx(1.0)
        assert torch.allclose(u.kl_share[u.share > 0], torch.tensor(1 / len(visited), dtype=torch.float64))
        assert (u.kl_share[u.share == 0] == 0).all()
        for row in visited:
            part = u.share[u.row == row]
            wanted = 1 / int((u.share > 0).sum()) if norm == "token" else 1 / (len(visited) * len(part))
            assert torch.allclose(part, torch.full_like(part, wanted))
    assert max(sizes) - min(sizes) <= 1
    other = method.updates(images, generator(2))
    assert not torch.equal(updates[0].share, other[0].share), "which rows come when is drawn"


def test_too_few_rows_to_visit_once_are_refused():
    with pytest.raises(UserError, match="trace.updates_per_rollout is 9.*only 5 trace rows"):
        Trace(updates_per_rollout=9, visit="once", shrink=50).updates(group(), generator(1))


@pytest.mark.parametrize("options", [{"updates_per_rollout": 0}, {"shrink": 0}])
def test_bad_options_are_refused(options):
    with pytest.raises(UserError, match=f"trace.{next(iter(options))}"):
        Trace(**options)
