"""Our samplers make upstream's decisions under upstream's draws: which slots are revealed at which step, and as which
codes."""

import math
from dataclasses import replace

import pytest
import torch

from htgrpo.samplers import Lumina, MaskGIT, single_precision_mask
from tests.golden.upstream import RUNS, decisions_differ, numbers, recorded_sampler, replay, runs

EXACT = [*runs("maskgit"), *runs("emerge"), *runs("lumina")]


def test_all_kinds_are_recorded():
    assert [len(runs(kind)) for kind in ("maskgit", "emerge", "lumina")] == [3, 2, 4]


@pytest.mark.parametrize("name", EXACT)
def test_same_draws_same_decisions(name, monkeypatch):
    """Codes and reveal steps of every image, in fp32 as recorded, and in fp64."""
    for dtype in (torch.float32, torch.float64):
        assert decisions_differ(name, replay(name, monkeypatch, dtype=dtype)) == 0


@pytest.mark.parametrize("name", EXACT)
def test_recorded_counts_are_those_of_the_reveal_steps(name):
    """How many slots were masked at the start of every step; Lumina-DiMOO stops once none is."""
    steps, masked = numbers(name)["reveal_step"], RUNS[name]["masked"]
    for step in range(RUNS[name]["steps"]):
        assert (steps >= step).sum(1).tolist() == (masked[step] if step < len(masked) else [0])


@pytest.mark.parametrize("name", [*runs("maskgit"), *runs("lumina")])
def test_one_slot_fewer_stays_masked_at_two_thirds(name):
    """Upstream's fp32 cosine of pi/3 is just below a half; where the schedule meets it with an even number of slots,
    floor takes one more slot away than it would in exact arithmetic."""
    run, slots = RUNS[name], numbers(name)["codes"].shape[1]
    step = 2 * run["steps"] // 3
    if run["steps"] % 3 == 0:
        assert run["masked"][step] == [slots // 2 - 1] * len(run["prompts"])
        assert math.floor(slots * math.cos(math.pi / 3)) == slots // 2
    assert single_precision_mask(slots, 2 / 3) == slots // 2 - 1


def test_the_fp32_schedule_differs_from_the_exact_one_there_only():
    for slots in (16, 64, 256, 1024, 4096, 4608, 9, 15):
        for steps in (8, 12, 15, 18, 50, 64):
            for step in range(1, steps):
                exact = math.floor(slots * math.cos(math.pi * step / steps / 2))
                assert single_precision_mask(slots, step / steps) == exact - (3 * step == 2 * steps and slots % 2 == 0)


WRONG = {
    "intended anneal": (MaskGIT(12, anneal="linear"), "maskgit_guided"),
    "no noise": (MaskGIT(20, temperature=0.0), "maskgit_hot"),
    "MaskGIT for Lumina": (MaskGIT(12), "lumina"),
    "Lumina for MaskGIT": (Lumina(15), "maskgit_larger"),
    "temperature 1": (Lumina(9), "lumina_unguided_hot"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_another_sampler_decides_otherwise(wrong, monkeypatch):
    sampler, name = WRONG[wrong]
    assert decisions_differ(name, replay(name, monkeypatch, sampler)) >= 2


@pytest.mark.parametrize("name", ["maskgit_guided", "maskgit_larger", "lumina", "lumina_wide", "lumina_unguided_hot"])
def test_an_exact_schedule_decides_otherwise(name, monkeypatch):
    monkeypatch.setattr(
        "htgrpo.samplers.single_precision_mask", lambda slots, t: math.floor(slots * math.cos(math.pi * t / 2))
    )
    assert decisions_differ(name, replay(name, monkeypatch)) >= 1


@pytest.mark.parametrize("name", ["maskgit_guided", "emerge_guided", "lumina"])
def test_other_guidance_decides_otherwise(name, monkeypatch):
    """The other convention for the scale: conditional weight g in place of 1 + g."""
    assert decisions_differ(name, replay(name, monkeypatch, guidance=RUNS[name]["guidance"] - 1)) >= 2


def test_the_temperature_of_the_draw_matters_by_itself(monkeypatch):
    """Noise on the confidence at 1.7 but codes drawn at 1: other codes at step 0 already."""

    class Untempered(Lumina):
        code_temperature = 1.0

    name = "lumina_unguided_hot"
    assert decisions_differ(name, replay(name, monkeypatch, Untempered(9, 1.7))) >= 2


@pytest.mark.parametrize("name", ["maskgit_guided", "emerge_guided"])
def test_images_of_a_batch_alone(name, monkeypatch):
    for image in (0, 1):
        assert decisions_differ(name, replay(name, monkeypatch, images=[image]), [image]) == 0


def test_maskgit_draws_the_last_masked_slot_anew_until_the_end():
    """With more steps than slots one slot stays masked, and takes its code at the last step."""
    run, steps = RUNS["maskgit_hot"], numbers("maskgit_hot")["reveal_step"]
    assert run["masked"][-5:] == [[1]] * 5 and int(steps.max()) == run["steps"] - 1


def test_lumina_finishes_early():
    """With more steps than slots every step reveals one, and no step is left over for the end."""
    steps = numbers("lumina_cool_early")["reveal_step"]
    assert sorted(steps[0].tolist()) == list(range(16)) and RUNS["lumina_cool_early"]["steps"] == 40


def test_a_recorded_sampler_has_the_recorded_options():
    assert recorded_sampler("lumina_cool_early") == replace(Lumina(), steps=40, temperature=0.6)
