"""bench.regress, the change detector: planted changes are found, and repeats are quiet."""

import json
import math

import pytest
import torch

import htgrpo.rollout
from bench import regress
from bench.ask.weights import inspect
from bench.checking.regression import detector, frozen
from htgrpo.base.registry import METHODS
from htgrpo.world import detector as eyes
from htgrpo.world import rewards
from tests.bench.tiny_runs import leave

COUNT = 8


@pytest.fixture(scope="module")
def owned():
    return frozen.chosen(COUNT)


@pytest.fixture(scope="module")
def baseline(policy, owned) -> detector.Baseline:
    """Of a random policy of one layer, with one method."""
    facts = frozen.gather(str(policy), owned, ["ht"])
    return detector.Baseline(facts, [{"fingerprint": frozen.fingerprint(), "exact": facts.exact}])


@pytest.fixture
def changes(policy, owned, baseline):
    """Looks for changes, here or as if on another platform."""

    def look(elsewhere: bool = False, methods=("ht",)) -> detector.Changes:
        facts = frozen.gather(str(policy), owned, list(methods), baseline.facts.codes)
        return detector.compare(baseline, facts, everywhere=elsewhere)

    return look


def test_clean_repeats_never_alarm_whatever_the_threads(changes):
    for threads in (1, 2, 1):
        torch.set_num_threads(threads)
        found = changes()
        assert found.exact and found.found == found.notes == []
        assert torch.get_num_threads() == threads
    torch.set_num_threads(1)


def plant_token(monkeypatch, step: int = frozen.STEPS) -> None:
    """Another code for one slot of one picture, drawn at the last step, where no later draw can follow from it."""
    draw, calls = htgrpo.rollout._draw, []

    def planted(logits, uniforms, temperature=1.0):
        drawn, *rest = draw(logits, uniforms, temperature)
        calls.append(0)
        if len(calls) == step:
            drawn[3] = (drawn[3] + 1) % logits.shape[1]
        return drawn, *rest

    monkeypatch.setattr(htgrpo.rollout, "_draw", planted)


def test_one_token_of_one_picture_is_found(changes, monkeypatch, baseline):
    plant_token(monkeypatch)
    found = changes()
    (line,) = found.found
    assert f"tokens of sampler random: 1 of {COUNT} pictures differ" in line and " at slot " in line and found.exact


def test_another_platform_excuses_one_rounded_picture_and_no_more(changes, monkeypatch):
    assert changes(elsewhere=True).found == []
    with monkeypatch.context() as patch:
        plant_token(patch)
        found = changes(elsewhere=True)
        assert found.found == [] and "on another platform this may be rounding" in found.notes[0] and not found.exact
    monkeypatch.setattr(frozen, "STEPS", frozen.STEPS - 1)  # as a changed sampler, which moves more than a token
    (line,) = changes(elsewhere=True).found
    assert line.startswith("tokens of sampler random: ")


def last_bit(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor with its largest value one unit in the last place larger."""
    at = tensor.argmax()
    tensor.view(-1)[at] = torch.nextafter(tensor.view(-1)[at], torch.tensor(math.inf, dtype=tensor.dtype))
    return tensor


def test_the_last_bit_of_a_scorer_is_found_everywhere(changes, monkeypatch):
    measure = eyes.measure

    def planted(world, images):
        fits = measure(world, images)
        last_bit(fits.iou)
        return fits

    monkeypatch.setattr(eyes, "measure", planted)
    for elsewhere in (False, True):
        assert "detector: changed" in changes(elsewhere).found


def test_the_last_bit_of_a_reward_is_found(changes, monkeypatch):
    objects = rewards.objects

    def planted(**given):
        values = objects(**given)
        return [math.nextafter(values[0], 9.0), *values[1:]]

    monkeypatch.setattr(rewards, "objects", planted)
    assert "reward objects: changed" in changes().found
    assert not any("reward" in line for line in changes(elsewhere=True).found)  # within the tolerance between platforms


def test_the_last_bit_of_a_loss_is_found_in_the_weights(changes, monkeypatch):
    import htgrpo.ht

    means = dict(htgrpo.ht.NORMS)
    planted = {**means, "rollout_mean": lambda mask: last_bit(means["rollout_mean"](mask))}
    monkeypatch.setattr(htgrpo.ht, "NORMS", planted)
    found = changes().found
    assert "weights after ht: changed" in found and not any("sampler" in line for line in found)


def test_another_learning_rate_is_found_on_every_platform(changes, monkeypatch):
    monkeypatch.setitem(frozen.TINY, "lr", 3.3e-3)
    found = changes(elsewhere=True).found
    assert any(line.startswith("log-probabilities of the frozen codes (ht): ") for line in found)
    assert not any("(base)" in line for line in found)


def test_other_weights_and_lost_parts_are_named(baseline, changes, policy):
    facts = baseline.facts
    other = detector.Facts(**{**facts.__dict__, "policy_sha256": "0" * 64})
    (line,) = detector.compare(detector.Baseline(other, baseline.platforms), facts).found
    assert line.startswith("the weights of the policy are others")
    gone = changes(methods=()).found
    assert "weights after ht: changed" in gone and any("(ht): is there for other pictures" in line for line in gone)


def test_a_baseline_is_a_small_file_that_learns_of_platforms(tmp_path, baseline, monkeypatch):
    path = tmp_path / "small.json"
    facts = baseline.facts
    assert not detector.write(path, facts, None) and path.stat().st_size < 20_000
    first = detector.read(path)
    assert first.exact() == facts.exact and detector.compare(first, facts) == detector.Changes()
    monkeypatch.setattr(detector, "fingerprint", lambda: {"cpu": "another"})
    assert first.exact() is None and not detector.compare(first, facts).exact
    nearly = detector.Facts(
        **{
            **facts.__dict__,
            "log_probs": {state: [[x + 1e-9 for x in row] for row in rows] for state, rows in facts.log_probs.items()},
            "exact": {"x": "y"},
        }
    )
    assert detector.write(path, nearly, first) and len(detector.read(path).platforms) == 2
    # each platform repeats its own last bits
    assert detector.compare(detector.read(path), nearly) == detector.Changes()
    moved = detector.Facts(**{**facts.__dict__, "log_probs": {"base": [[0.0, 0.0]] * COUNT}})
    assert not detector.write(path, moved, detector.read(path)) and len(detector.read(path).platforms) == 1


def test_the_command_detects_and_updates(tmp_path, policy, capsys, monkeypatch):
    path = tmp_path / "baseline.json"
    watched = ["--policy", str(policy), "--baseline", str(path)]
    assert leave(regress.main, watched) == 2 and "make one with --update" in capsys.readouterr().err
    assert leave(regress.main, [*watched, "--update", "--methods", "ht", "--prompts", str(COUNT)]) == 0
    assert leave(regress.main, watched) == 0
    assert f"ok: {COUNT} prompts, methods ht, compared to the last bit" in capsys.readouterr().out
    plant_token(monkeypatch)
    assert leave(regress.main, [*watched, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "changed" and found["exact"] and "1 of 8 pictures differ" in found["changes"][0]


def test_the_shipped_baseline_is_about_the_shipped_policy_and_all_methods():
    shipped = detector.read(regress.SHIPPED)
    assert shipped.facts.policy_sha256 == inspect("embedded").sha256
    names = {"base", "ht", "mask", "pretrain", "trace", "trace_once", "uni"}
    assert set(shipped.facts.log_probs) == names and len(shipped.facts.codes) == 32
    trained = {tuple(map(tuple, rows)) for name, rows in shipped.facts.log_probs.items() if name != "base"}
    assert len(trained) == 6, "two methods trained to the same weights"
    owned = frozen.chosen(32)
    assert [prompt.id for _, prompt in owned] == [one for ids in shipped.facts.prompts.values() for one in ids]
    assert set(shipped.facts.log_probs) - {"base"} <= set(METHODS.names()) and regress.SHIPPED.stat().st_size < 20_000


@pytest.mark.parametrize(
    "argv, sentence",
    [
        (["--subset", "geneval:60"], "--subset has no effect without --gate"),
        (["--gate", "x", "--prompts", "3"], "--prompts has no effect with --gate"),
        (["--gate", "x"], "--gate needs --baseline FILE"),
        (["--methods", "ht"], "--methods has no effect without --gate or --update"),
        (["--prompts", "8"], "--prompts has no effect without --gate or --update"),
        (["--policy", "elsewhere"], "name its file with --baseline"),
        (["--gate", "x", "--baseline", "y", "--update"], "--update needs --subset"),
        (["--gate", "x", "--baseline", "y", "--update", "--subset", "geneval:1"], "--subset is 'geneval:1'"),
        (["--gate", "x", "--baseline", "y"], "there is no baseline 'y'"),
    ],
)
def test_usage_errors(argv, sentence, capsys, tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert leave(regress.main, argv) == 2
    assert sentence in capsys.readouterr().err
