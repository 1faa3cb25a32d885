"""What a method needs of its rollouts the learner records; what it cannot record it refuses; and another prompt's group
is another's."""

import pytest
import torch

from htgrpo.base.errors import UserError
from htgrpo.base.registry import METHODS
from htgrpo.base.rng import generator
from htgrpo.ht import HT
from htgrpo.interface import HIDDEN, Method
from htgrpo.parallel.ranks import ALONE
from htgrpo.training import learner
from htgrpo.training.others import FIELDS, with_others
from tests.baselines.recorded import recorded
from tests.htgrpo.tiny import make_group, tiny_policy
from tests.htgrpo.training import run


def trained(tmp_path, monkeypatch, method, **changes):
    """The groups that a method is given in two iterations, and the lines of the log."""
    seen = []

    class Watched(type(method)):
        def updates(self, group, generator):
            seen.append(group)
            return super().updates(group, generator)

    monkeypatch.setattr("htgrpo.training.trainer.make_method", lambda config: Watched())
    return seen, run(tmp_path, budget="iterations:2", **changes)


class Predicting(HT):
    """HT-GRPO that wants predictions."""

    @property
    def needs(self):
        return frozenset({"predicted"})

    def measures(self, group):
        return {"images": float(len(group.codes))}


@pytest.mark.parametrize("sampler", ["random", "emerge", "maskgit"])
def test_predictions_are_recorded_where_they_are_asked_for(sampler, tmp_path, monkeypatch):
    plain, _ = trained(tmp_path / "a", monkeypatch, HT(), sampler=sampler, method_options={})
    asked, lines = trained(tmp_path / "b", monkeypatch, Predicting(), sampler=sampler, method_options={})
    assert len(plain) == len(asked) > 0
    for one, two in zip(plain, asked, strict=True):
        assert one.predicted is None and one.entropy is not None and torch.equal(one.codes, two.codes)
        settled = two.predicted.gather(1, two.reveal_step[:, None])[:, 0]
        assert torch.equal(settled, two.codes) and (two.predicted[:, -1] != HIDDEN).all()
    assert all(line["method/images"] > 1 for line in lines)


def test_what_is_not_recorded_is_refused(tmp_path, monkeypatch):
    class Asking(HT):
        @property
        def needs(self):
            return frozenset({"step_reward"})

    with pytest.raises(UserError, match=r"what the method needs of a rollout.*step_reward.*rollouts record"):
        trained(tmp_path, monkeypatch, Asking(), method_options={})
    assert Method.needs.fget(HT()) == frozenset() and "predicted" in learner.RECORDED


def test_every_group_is_given_another(tmp_path, monkeypatch):
    class Envious(HT):
        @property
        def needs(self):
            return frozenset({"other"})

    seen, _ = trained(tmp_path, monkeypatch, Envious(), method_options={}, prompts_per_iteration=3)
    assert len(seen) == 6
    for group in seen:
        assert group.other is not None and group.other.other is None
        assert not torch.equal(group.other.codes, group.codes) and group.other.entropy is not None


def test_others_do_not_depend_on_the_ranks():
    """A cycle through all groups by their places, each with its own seed; a single one stays alone."""
    groups = [recorded(make_group(tiny_policy(), seed=i), i) for i in range(5)]
    whole = with_others(groups, list(range(5)), ALONE, generator("others"))

    class First:
        """The first of two ranks, that hold places 0, 2, 4 and 1, 3."""

        def gather(self, value):
            return [value, [[1, 3], [{name: getattr(groups[p], name).tolist() for name in FIELDS} for p in (1, 3)]]]

    parts = with_others([groups[p] for p in (0, 2, 4)], [0, 2, 4], First(), generator("others"))
    for place, part in zip([0, 2, 4], parts, strict=True):
        assert torch.equal(part.other.codes, whole[place].other.codes)
        assert torch.allclose(part.other.entropy, whole[place].other.entropy.double())
    places = [next(i for i, g in enumerate(groups) if torch.equal(g.codes, one.other.codes)) for one in whole]
    assert sorted(places) == list(range(5)) and all(i != place for i, place in enumerate(places))
    assert with_others(groups[:1], [0], ALONE, generator("others"))[0].other is None


@pytest.mark.parametrize("name", [name for name in METHODS.names() if METHODS.get(name).rewarded])
def test_every_method_trains(name, tmp_path):
    """Two iterations of a policy of six slots: a gradient, and what it measures in the log."""
    lines = run(
        tmp_path, budget="iterations:2", method=name, method_options={"alpha": 0.5} if name[:2] == "ht" else {}, steps=4
    )
    assert all(line["grad_norm"] > 0 for line in lines)
    assert ("clip_fraction" in lines[0]) == ("log_prob" not in lines[0]) == (name not in ("wd1", "spg"))
    measured = {"egspo": "first_step", "focus": "step", "ht_alpha": "alpha", "ht_agreement": "lean"}
    assert name not in measured or f"method/{measured[name]}" in lines[1]
