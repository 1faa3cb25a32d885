"""Methods that choose steps or weigh tokens by what the rollout recorded, on planted recordings."""

from dataclasses import replace

import pytest
import torch

from baselines.focus import Focus
from baselines.steps import EGSPO, Xing
from baselines.strata import Strata, step_progress, token_progress
from htgrpo import rollout
from htgrpo.base.errors import UserError
from htgrpo.interface import RolloutGroup
from htgrpo.parallel.totals import Totals
from htgrpo.samplers import RandomOrder
from htgrpo.training.engine import Engine
from htgrpo.training.train_config import TrainConfig
from tests.baselines.recorded import recorded_group
from tests.htgrpo.tiny import SHORT, make_group, method_generator, tiny_policy

STEPS = torch.tensor([[0, 0, 1, 1, 2, 3], [3, 2, 1, 1, 0, 0]])


def planted(entropy=None, predicted=None, steps=STEPS):
    """Two images of six slots with the given recordings."""
    group = make_group(tiny_policy(), size=2)
    return replace(group, reveal_step=steps, entropy=entropy, predicted=predicted)


def test_egspo_takes_each_images_own_steps_by_entropy():
    entropy = torch.tensor([[1.0, 1.0, 3.0, 2.0, 2.0, 9.0], [1.0, 4.0, 1.0, 2.0, 9.0, 7.0]])
    group = planted(entropy)
    assert EGSPO().by_entropy(group, 0).tolist() == [3, 1, 2, 0]
    assert EGSPO().by_entropy(group, 1).tolist() == [0, 2, 1, 3]
    update = EGSPO(6).updates(group, method_generator(group))
    assert update[0].share.tolist() == [[0, 0, 0, 0, 0, 0.5], [0, 0, 0, 0, 0.25, 0.25]]
    assert torch.equal(update[4].share, update[0].share), "an image with fewer steps starts again"
    assert EGSPO().measures(group) == {"first_step": 0.5}


def test_equal_entropies_are_taken_in_time():
    group = planted(torch.ones(2, 6))
    assert EGSPO().by_entropy(group, 0).tolist() == EGSPO().by_entropy(group, 1).tolist() == [0, 1, 2, 3]


def test_xings_steps():
    distinct = torch.tensor([0, 2, 3, 5, 7])
    assert Xing(3).chosen(distinct).tolist() == [0, 2, 3]
    assert Xing(3, visit="uniform").chosen(distinct).tolist() == [0, 3, 7]
    assert Xing(5, visit="uniform").chosen(distinct).tolist() == Xing(5).chosen(distinct).tolist() == distinct.tolist()
    assert Xing(7, visit="uniform").chosen(distinct).tolist() == [0, 2, 3, 5, 7, 0, 2]


def test_xings_product_is_what_the_sampler_drew_with(monkeypatch):
    """Unguided, at the weights of the rollout: the sum of the log-probabilities of what each step revealed."""
    policy = tiny_policy(3, grid=(3, 3))
    told, draw = [], rollout._draw

    def watched(*given):
        told.append(draw(*given))
        return told[-1]

    monkeypatch.setattr(rollout, "_draw", watched)
    prompt, keys, sampler = policy.prompt(SHORT), [("xing", i) for i in range(4)], RandomOrder(5)
    made = rollout.generate(policy, [prompt] * 4, keys, sampler, 0.0, (3, 3), 10**6)
    reward = torch.arange(4, dtype=torch.float64)
    group = RolloutGroup(prompt, (3, 3), made.codes, made.reveal_step, made.rank, reward)
    steps = Engine(policy, None, TrainConfig(beta=0.0)).plan([group], Xing(5), [method_generator(group)], Totals())
    used = 0
    for step, (part,) in enumerate(steps):
        drawn, image = told[step][1].double(), (made.reveal_step == step).nonzero()[:, 0]
        expected = torch.zeros(4, dtype=torch.float64).index_add(0, image, drawn)
        found = torch.zeros(4, dtype=torch.float64).index_add(0, part.unit, part.coef * part.old)
        assert torch.allclose(found, expected, atol=1e-5)
        used += len(image)
    assert used == 36


def test_focus_takes_the_steps_that_change_most():
    """Seven steps, the last two never; a jump planted between steps 3 and 4; ties go to the first."""
    steps = torch.arange(7)[None].expand(2, 7).clone()
    group = planted(steps=steps)
    codes = torch.zeros(2, 7, dtype=torch.long)
    agree = torch.tensor([1, 1, 1, 1, 6, 6, 7])
    predicted = (torch.arange(7)[None, :] >= agree[:, None]).long()[None].expand(2, 7, 7)
    group = replace(group, codes=codes, predicted=predicted)
    assert Focus(1).chosen(group) == [3] and Focus(3).chosen(group) == [0, 1, 3]
    settled = replace(group, predicted=torch.zeros(2, 7, 7, dtype=torch.long))
    assert Focus(4).chosen(settled) == [0, 1, 2, 3]
    assert Focus(5, select="uniform").chosen(group) == [0, 1, 2, 3, 4]
    assert Focus(7).chosen(group) == [0, 1, 2, 3, 4, 0, 1], "too few steps are visited again"
    with pytest.raises(UserError, match="sample in more steps"):
        Focus(1).chosen(replace(group, reveal_step=torch.zeros(2, 7, dtype=torch.long)))


def test_focus_hides_as_many_as_are_hidden_then():
    group = recorded_group(tiny_policy(), size=4)
    for mask in ("random", "step"):
        for select in ("agreement", "entropy", "uniform"):
            method = Focus(2, mask=mask, select=select)
            for step, update in zip(method.chosen(group), method.updates(group, method_generator(group)), strict=True):
                hidden = update.contexts == -1
                assert torch.equal(hidden.sum(1), (group.reveal_step > step).sum(1))
                assert torch.equal(hidden, update.share > 0)
                if mask == "step":
                    assert torch.equal(hidden, group.reveal_step > step)
    order = replace(group, reveal_step=group.reveal_step[:1].expand_as(group.codes))
    shared = Focus(2).updates(order, method_generator(group))[0].contexts == -1
    assert (shared == shared[:1]).all()
    apart = Focus(2, shared_mask=False).updates(order, method_generator(group))[0].contexts == -1
    assert not (apart == apart[:1]).all()


def test_progress_on_planted_predictions():
    """A step that settles everything takes all the weight; predictions that never change weigh nothing, which is 1."""
    steps = torch.tensor([[0, 1, 2, 2]])
    codes = torch.tensor([[1, 1, 1, 1]])
    predicted = torch.tensor([[[1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]])
    group = replace(planted(predicted=predicted, steps=steps), codes=codes, rank=steps, reward=torch.zeros(1))
    assert step_progress(group)[0].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert token_progress(group)[0].tolist() == [0.0, 1.0, 0.5, 0.5]
    assert Strata(score="step", strength=1.0).weights(group)[0].tolist() == [4.0, 0.0, 0.0, 0.0]
    settled = replace(group, predicted=codes[:, None].expand(1, 3, 4))
    for score in ("step", "token"):
        assert (Strata(score=score).weights(settled) == 1.0).all()
        assert (Strata(score=score, strength=0.0).weights(group) == 1.0).all()
        some = recorded_group(tiny_policy(), size=4)
        assert torch.allclose(Strata(score=score).weights(some).mean(1), torch.ones(4).double(), atol=1e-12)
    assert (Strata().weights(group) == 1.0).all()


def test_strata_are_equal_parts_that_change():
    group = make_group(tiny_policy(), size=3)
    one, two = Strata(2, strata=3).updates(group, method_generator(group))
    for update in (one, two):
        hidden = (update.contexts == -1).reshape(3, 3, 6)
        assert (hidden.sum(1) == 1).all() and (hidden.sum(2) == 2).all()
        assert hidden[torch.arange(3)[:, None], update.row % 3, torch.arange(6)].all()
    assert not torch.equal(one.contexts, two.contexts)
