"""Training adapters: gradients against the plain network's, what moves, references, dropout, resume, recomputed
activations."""

import copy
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from htgrpo.base.errors import UserError
from htgrpo.base.rng import generator
from htgrpo.ht import HT
from htgrpo.policies import lora
from htgrpo.rollout import generate
from htgrpo.samplers import RandomOrder
from htgrpo.training.checkpoints import saved
from htgrpo.training.engine import Engine, Totals
from htgrpo.training.pretraining import TinySize, new_policy
from htgrpo.training.train_config import TrainConfig
from htgrpo.training.tuning import TUNINGS, Full, LoRA
from htgrpo.world.world import find
from tests.htgrpo.test_lora import PACKED, shake
from tests.htgrpo.test_resume import Killed, killer
from tests.htgrpo.tiny import Scripted, method_generator, tiny_policy, two_groups
from tests.htgrpo.training import CONFIG, remains, run

ADAPTERS = {"tuning": "lora", "lora_rank": 2, "lora_alpha": 8.0}
TINY = TrainConfig(**ADAPTERS, beta=0.1)
METHODS = {"ht": CONFIG.method_options, **{name: {"updates_per_rollout": 2} for name in ("mask", "uni", "trace")}}


def tuned(seed=3, **changes):
    """A tiny policy with adapters that have learnt a little, and its tuning."""
    policy = tiny_policy(seed, layers=2)
    tuning = LoRA(policy, replace(TINY, **changes))
    shake(policy.net, 0.05)
    return policy, tuning


def gradients(policy, reference, method, **config):
    """All weights' gradients, per update of two groups, without moving anything; and the totals."""
    found = []

    def keep():
        found.append({name: w.grad.clone() for name, w in policy.net.named_parameters() if w.grad is not None})
        policy.net.zero_grad()
        return 0.0

    groups = two_groups(policy, failed=(1,))
    groups = [group.kept() for group in groups]
    engine = Engine(policy, reference, TrainConfig(beta=0.1, **config))
    totals = engine.run(groups, method, [method_generator(g) for g in groups], keep)
    return found, totals


@pytest.mark.parametrize(
    "method", [HT(stages=(1, 1, 1)), Scripted(), Scripted(units=True)], ids=["ht", "scripted", "units"]
)
@pytest.mark.parametrize("kl", ["k3", "exact"])
def test_gradients_follow_from_the_plain_networks_by_the_chain_rule(method, kl):
    """dA = s Bᵀ dW and dB = s dW Aᵀ, with dW from the merged network, no context shared, and a copy of the base as
    reference."""
    policy, tuning = tuned()
    found, _ = gradients(policy, tuning.reference(), method, kl=kl)
    merged = copy.deepcopy(policy.net)
    lora.merge(merged)
    plain, _ = gradients(policy.with_net(merged), tiny_policy(3, layers=2).net, method, kl=kl, dedup="none")
    assert len(found) == len(plain) == 3
    for mine, theirs in zip(found, plain, strict=True):
        assert len(mine) == 2 * 14, "frozen weights get no gradient"
        for name, layer in lora.adapted(policy.net):
            change = layer.scaling["default"] * theirs[f"{name}.weight"]
            down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            assert (mine[f"{name}.lora_A.default.weight"] - up.T @ change).abs().max() < 1e-12
            assert (mine[f"{name}.lora_B.default.weight"] - change @ down.T).abs().max() < 1e-12
        assert max(float(g.abs().max()) for g in mine.values()) > 1e-3, "an idle comparison"


@pytest.mark.parametrize("dedup", ["rollout", "none"])
def test_sharing_contexts_changes_nothing(dedup):
    policy, tuning = tuned()
    shared, cheap = gradients(policy, tuning.reference(), HT(stages=(1, 1, 1)))
    naive, dear = gradients(policy, tuning.reference(), HT(stages=(1, 1, 1)), dedup=dedup)
    assert cheap.forwards["train"] < dear.forwards["train"]
    for mine, theirs in zip(shared, naive, strict=True):
        assert mine.keys() == theirs.keys() and all((mine[name] - theirs[name]).abs().max() < 1e-12 for name in mine)


@pytest.mark.parametrize("layout", ["mmada", "lumina"])
def test_the_first_update_compares_equal_policies(layout):
    """Ratio 1 and KL 0, exactly: old, new and reference are one network before anything moved."""
    policy = tiny_policy(3, layout, layers=2)
    tuning = LoRA(policy, TINY)
    groups = two_groups(policy)
    engine, totals = Engine(policy, tuning.reference(), TrainConfig(beta=0.1)), Totals()
    steps = engine.plan(groups, HT(stages=(1, 0, 0)), [method_generator(g) for g in groups], totals)
    engine.accumulate(steps[0], 2, totals)
    assert totals.sums["ratio"] == totals.sums["tokens"] > 0 and totals.sums["kl"] == 0.0
    assert totals.sums["clipped"] == 0.0
    assert totals.forwards == {"old": 2, "ref": 2, "train": 6}


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_method_moves_the_adapters_and_nothing_else(method, tmp_path):
    policy, before = tiny_policy(8, layers=2), tiny_policy(8, layers=2)
    lines = run(tmp_path, policy, **ADAPTERS, method=method, method_options=METHODS[method], budget="iterations:2")
    assert all(line["grad_norm"] > 0 for line in lines) and lines[1]["kl"] > 0
    for key, weight in lora.state(policy.net).items():
        assert weight.any(), f"{key} has not moved"
    lora_free = {name.replace(".base_layer", ""): w for name, w in policy.net.named_parameters() if "lora_" not in name}
    assert lora_free.keys() == before.net.state_dict().keys()
    for name, weight in before.net.named_parameters():
        assert torch.equal(lora_free[name], weight) and not lora_free[name].requires_grad
        assert lora_free[name].grad is None
    with torch.no_grad(), lora.adapters_off(policy.net):
        assert torch.equal(policy.net(PACKED), before.net(PACKED))


def test_adapters_learn(tmp_path):
    lines = run(tmp_path, **ADAPTERS, budget="iterations:16", lr=0.02, beta=0.0, group_size=8, prompts_per_iteration=4)
    rewards = [line["reward_mean"] for line in lines]
    assert sum(rewards[-4:]) / 4 > sum(rewards[:2]) / 2 + 0.5 * lines[0]["reward_std"]


def test_nothing_is_copied_and_only_adapters_have_an_optimiser_state():
    """Rollouts come from the network itself, the reference shares its weights, moments exist for adapters alone."""
    policy, tuning = tuned()
    assert tuning.sampling() is policy.net and not policy.net.training
    learning = tuning.learning()
    assert (
        {id(w) for w in learning}
        == {id(w) for w in policy.net.parameters() if w.requires_grad}
        == {id(w) for w in lora.state(policy.net).values()}
    )
    optimizer = torch.optim.AdamW(learning, lr=0.1)
    policy.net(PACKED).sum().backward()
    optimizer.step()
    assert len(optimizer.state) == 28 and sum(s["exp_avg"].numel() for s in optimizer.state.values()) == sum(
        w.numel() for w in lora.state(policy.net).values()
    )
    reference = tuning.reference()
    before = reference(PACKED)
    with torch.no_grad():
        policy.net.trunk.ff_out.weight.mul_(2.0)
    assert torch.equal(reference(PACKED), 2.0 * before), "one and the same weight"


def test_the_reference_is_the_base_without_gradient():
    policy, tuning = tuned()
    base = tiny_policy(3, layers=2).net
    found = tuning.reference()(PACKED, torch.tensor([2, 5]), slice(3, 9))
    assert torch.equal(found, base(PACKED, torch.tensor([2, 5]), slice(3, 9))) and not found.requires_grad
    assert policy.net(PACKED).requires_grad, "and gradients are on again"


@pytest.mark.parametrize("changes", [{}, {"recompute": True, "lora_dropout": 0.3}], ids=str)
def test_killed_and_resumed_equals_uninterrupted(changes, tmp_path):
    """Bit for bit, with checkpoints before, on and after the kill."""
    settings = {**ADAPTERS, **changes}
    lines = run(tmp_path / "whole", **settings)
    for index, points in enumerate([[(1, "done")], [(3, "update"), (6, "rollout")], [(2, "done"), (5, "reward")]]):
        for point in points:
            with pytest.raises(Killed):
                run(tmp_path / str(index), **settings, on_progress=killer(*point))
            torch.manual_seed(index)
        assert run(tmp_path / str(index), **settings) == lines
        assert remains(tmp_path / str(index)) == remains(tmp_path / "whole")
    last = saved(tmp_path / "whole")[-1]
    names = {p.relative_to(last).as_posix() for p in last.rglob("*") if p.is_file()}
    assert names == {
        "adapter_config.json", "adapter_model.safetensors", "files.json", "htgrpo.json", "trainer_state/files.json",
        "trainer_state/optimizer.safetensors", "trainer_state/state.json",
    }  # fmt: skip


def test_dropout_acts_on_updates_only_and_leaves_the_global_generators_alone(tmp_path):
    """Upstream's way: another draw for old and new log-probabilities, so that the first ratios are not 1; rollouts have
    none."""

    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002

    # B is zero at first and hides any dropout on A's inputs: the second iteration shows it.
    settings = {**ADAPTERS, "budget": "iterations:2", "method_options": {"stages": "1:0:0"}}
    before, dropped = states(), run(tmp_path / "dropped", **settings, lora_dropout=0.5)
    assert states() == before
    plain = run(tmp_path / "plain", **settings)
    assert [line["ratio_mean"] for line in plain] == [1.0, 1.0]
    assert dropped[0]["ratio_mean"] == 1.0 != dropped[1]["ratio_mean"]
    assert dropped[0]["reward_mean"] == plain[0]["reward_mean"]
    torch.manual_seed(77)
    assert run(tmp_path / "again", **settings, lora_dropout=0.5) == dropped
    assert run(tmp_path / "recomputed", **settings, lora_dropout=0.5, recompute=True) == dropped, (
        "the same draws, again"
    )


def test_rollouts_and_reference_have_no_dropout():
    policy, tuning = tuned(lora_dropout=0.9)

    def sample():
        return generate(
            policy.with_net(tuning.sampling()), [policy.prompt("red circle")], [(1,)], RandomOrder(steps=2), 1.0
        )

    first, reference = sample(), tuning.reference()(PACKED)
    with tuning.updating(1):
        assert not torch.equal(policy.net(PACKED), policy.net(PACKED))
        assert torch.equal(tuning.reference()(PACKED), reference)
    assert torch.equal(sample().codes, first.codes) and torch.equal(policy.net(PACKED), policy.net(PACKED))
    with pytest.raises(ZeroDivisionError), tuning.updating(2):
        raise ZeroDivisionError
    assert not policy.net.training, "also after an error"


@pytest.mark.parametrize("tuning", TUNINGS)
def test_recomputed_activations_give_the_same_gradient(tuning):
    """Bit for bit, without moving the global generator, and with less kept for the backward pass."""
    found, kept = [], []
    for recompute in (False, True):
        policy = tiny_policy(3, layers=3)
        TUNINGS[tuning](policy, replace(TINY, tuning=tuning, recompute=recompute))
        shake(policy.net)
        before, sizes = torch.get_rng_state(), []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, sizes=sizes: (sizes.append(t.nbytes), t)[1], lambda t: t
        ):
            loss = policy.net(PACKED).square().sum()
            kept.append(sum(sizes))
            loss.backward()
        assert torch.equal(torch.get_rng_state(), before)
        found.append([w.grad for w in policy.net.parameters() if w.requires_grad])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True)) and kept[1] < kept[0] / 5
    with torch.no_grad():
        assert torch.isfinite(policy.net(PACKED)).all(), "and plainly without gradients"


@pytest.mark.parametrize("tuning", TUNINGS)
def test_training_in_bf16(tuning, tmp_path):
    """The policy's own weights in bf16: all of them move, or the adapters on them; metrics are finite."""
    policy = tiny_policy(8, dtype=torch.bfloat16)
    lines = run(tmp_path, policy, tuning=tuning, lora_rank=2, budget="iterations:3", rollout_dtype="bfloat16", lr=0.05)
    assert all(line["grad_norm"] > 0 for line in lines) and lines[-1]["kl"] > 0
    dtypes = {w.dtype for w in policy.net.parameters() if w.requires_grad}
    assert dtypes == {torch.bfloat16}
    assert (
        run(
            tmp_path,
            tiny_policy(8, dtype=torch.bfloat16),
            tuning=tuning,
            lora_rank=2,
            budget="iterations:3",
            rollout_dtype="bfloat16",
            lr=0.05,
        )
        == lines
    ), "a finished run is gone on with from its checkpoint"


def test_the_control_trains_adapters_too(tmp_path):
    policy = new_policy(find(), TinySize(d_model=16, n_layers=1, n_heads=2, mlp_hidden_size=24), generator("world"))
    before = copy.deepcopy(policy.net.state_dict())
    lines = run(
        tmp_path,
        policy,
        **ADAPTERS,
        method="pretrain",
        method_options={"updates_per_iteration": 4, "batch": 8},
        rollout_dtype="auto",
        lr=0.03,
    )
    assert lines[-1]["loss"] < lines[0]["loss"] and all(weight.any() for weight in lora.state(policy.net).values())
    for name, value in policy.net.state_dict().items():
        if "lora_" not in name:
            assert torch.equal(value, before[name.replace(".base_layer", "")])


def test_what_cannot_be_tuned_is_refused(tmp_path):
    with pytest.raises(
        UserError, match="rollout_dtype is 'bfloat16', but with tuning=lora .* itself, which is float64"
    ):
        run(tmp_path, **ADAPTERS, rollout_dtype="bfloat16")
    policy, _ = tuned()
    for tuning in (Full, LoRA):
        with pytest.raises(UserError, match="is an adapter on another one: merge the two"):
            tuning(policy, TINY)
