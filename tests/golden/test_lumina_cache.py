"""The ML-Cache against Lumina-DiMOO's own cached runs, against no cache where the two must agree, and its refusals."""

from dataclasses import replace

import pytest
import torch

from htgrpo.base.errors import UserError
from htgrpo.parallel.ranks import ALONE, InStep
from htgrpo.policies.lumina_cache import CacheConfig, CachedSequence
from htgrpo.rollout import generate, refuse_training
from htgrpo.samplers import Emerge, Lumina, MaskGIT
from tests.golden.upstream import RUNS, decisions_differ, recorded_policy, replay, runs

LONG, SHORT, NOTHING = (3, 141, 59, 26, 53), (58, 97), (420, 511, 421)
CACHED = runs("lumina", cached=True)
ALWAYS_FULL = [
    CacheConfig(refresh_interval=1),
    CacheConfig(cache_ratio=0.0, warmup_ratio=0.1),
    CacheConfig(warmup_ratio=1.0),
]


def config(name):
    return CacheConfig(**RUNS[name]["cache"])


def images(sampler, cache, limit=10**6, texts=(LONG, SHORT, LONG), guidance=2.0, dtype=torch.float64):
    """Images of 3 x 4 slots, with draws of their own."""
    policy, keys = recorded_policy("lumina", (3, 4), NOTHING, dtype), [("cached", i) for i in range(len(texts))]
    return generate(policy, list(texts), keys, sampler, guidance, tokens_per_forward=limit, cache=cache)


def test_two_cached_runs_are_recorded():
    assert len(CACHED) == 2 and config("lumina_cache") == CacheConfig()


@pytest.mark.parametrize("name", CACHED)
def test_same_draws_same_decisions_at_the_same_cost(name, monkeypatch):
    """Codes and reveal steps of upstream's cached run, and as many positions in every forward."""
    run, positions = CachedSequence.run, []

    def counted(self, ids, at):
        positions.append(len(ids) if at is None else len(at))
        return run(self, ids, at)

    monkeypatch.setattr(CachedSequence, "run", counted)
    found = replay(name, monkeypatch, cache=config(name))
    assert decisions_differ(name, found) == 0
    assert positions == RUNS[name]["computed"] and found.heads == sum(positions) and found.forwards == len(positions)
    assert decisions_differ(name, replay(name, monkeypatch, dtype=torch.float64, cache=config(name))) == 0


@pytest.mark.parametrize("name", CACHED)
def test_without_the_cache_other_codes_are_drawn(name, monkeypatch):
    assert decisions_differ(name, replay(name, monkeypatch)) >= 2


@pytest.mark.parametrize("wrong", [{"cache_ratio": 0.7}, {"warmup_ratio": 0.5}, {"refresh_interval": 4}], ids=str)
@pytest.mark.parametrize("name", CACHED)
def test_another_setting_decides_otherwise(name, wrong, monkeypatch):
    assert decisions_differ(name, replay(name, monkeypatch, cache=replace(config(name), **wrong))) >= 1


@pytest.mark.parametrize("cache", ALWAYS_FULL, ids=str)
@pytest.mark.parametrize("name", [*runs("lumina"), *CACHED])
def test_a_cache_that_is_always_refreshed_changes_nothing(name, cache, monkeypatch):
    plain, cached = replay(name, monkeypatch), replay(name, monkeypatch, cache=cache)
    assert torch.equal(plain.codes, cached.codes) and torch.equal(plain.reveal_step, cached.reveal_step)
    assert torch.equal(plain.rank, cached.rank) and torch.allclose(plain.entropy, cached.entropy, atol=1e-5)


@pytest.mark.parametrize("guidance", [0.0, 2.0])
@pytest.mark.parametrize("sampler", [Lumina(10), MaskGIT(10), Emerge(10), Lumina(40, 0.5)], ids=repr)
def test_batches_cannot_change_a_cached_image(sampler, guidance):
    """All at once, one by one, in whatever company; with every sampler and without guidance too."""
    whole = images(sampler, CacheConfig(0.6, 0.2, 3), guidance=guidance)
    single = images(sampler, CacheConfig(0.6, 0.2, 3), limit=1, guidance=guidance)
    alone = images(sampler, CacheConfig(0.6, 0.2, 3), texts=(LONG,), guidance=guidance)
    assert torch.equal(whole.codes, single.codes) and torch.equal(whole.reveal_step, single.reveal_step)
    assert torch.equal(whole.codes[:1], alone.codes)
    assert (whole.forwards, whole.heads) == (single.forwards, single.heads)
    assert int(whole.codes.min()) >= 0


def test_it_runs_in_bf16():
    found = images(Lumina(10), CacheConfig(0.5, 0.0, 4), dtype=torch.bfloat16)
    assert int(found.codes.min()) >= 0 and torch.isfinite(found.entropy).all()


def test_full_steps():
    """Steps 0 to int(T x warmup), and every refresh_interval-th after the latter."""
    full = [step for step in range(20) if CacheConfig(0.9, 0.3, 5).full(step, 20)]
    assert full == [0, 1, 2, 3, 4, 5, 6, 11, 16]
    assert [step for step in range(8) if CacheConfig(warmup_ratio=0.0, refresh_interval=3).full(step, 8)] == [0, 3, 6]


def test_the_least_certain_positions_are_run_again():
    sequence = CachedSequence(None, slice(0, 2))
    sequence.logits = torch.tensor([[5.0, 0.0], [1.0, -9.0], [-7.0, 3.0], [2.0, 2.0], [0.0, 4.0]])
    assert sequence.uncertain(0.5).tolist() == [1, 2, 3]
    assert sequence.uncertain(0.1).tolist() == [1] and sequence.uncertain(1.0).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache_ratio": 1.0}, "cache_ratio is 1.0, but it takes a finite number of at least 0 and less than 1"),
        ({"cache_ratio": -0.1}, "cache_ratio is -0.1, but it takes a finite number of at least 0"),
        ({"warmup_ratio": 1.5}, "warmup_ratio is 1.5, but it takes a finite number from 0 to 1"),
        ({"refresh_interval": 0}, "refresh_interval is 0, but it takes a whole number from 1"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        CacheConfig(**options)


def test_a_network_that_is_not_whole_is_refused():
    policy = recorded_policy("lumina", (3, 4), NOTHING)
    with pytest.raises(UserError, match="needs the whole of it in this process, not InStep: use cache=none"):
        generate(
            policy.with_net(InStep(policy.net, ALONE)), [SHORT], [("cached", 0)], Lumina(4), 0.0, cache=CacheConfig()
        )


@pytest.mark.parametrize("config", [CacheConfig(), CacheConfig(0.5, 0.0, 3)], ids=repr)
def test_the_share_of_positions_that_is_run(config):
    """As counted, but for quantiles that fall between positions."""
    found, full = (images(Lumina(10), cache, guidance=0.0).heads for cache in (config, CacheConfig(refresh_interval=1)))
    assert found / full == pytest.approx(config.computed(10), abs=0.06)


def test_cached_rollouts_are_no_training_material():
    with pytest.raises(UserError, match="sampled with the ML-Cache, but training needs .* cache=None"):
        refuse_training(images(Lumina(4), CacheConfig()))
    refuse_training(images(Lumina(4), None))
