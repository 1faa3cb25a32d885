"""The embedded worlds' GenEval read continuously, against the 0/1 benchmark on the same pictures."""

import json

import pytest
import torch

from bench.benchmarks.embedded_geneval import EmbeddedGenEval, EmbeddedLargeGenEval
from bench.benchmarks.embedded_geneval_soft import EmbeddedGenEvalSoft, EmbeddedLargeGenEvalSoft
from bench.scorers.geneval import soft
from bench.scorers.geneval.rule import TASKS
from htgrpo.base.pictures import as_pictures
from htgrpo.base.rng import generator
from htgrpo.world.codec import PatchCodec
from htgrpo.world.prompts import split_prompts
from htgrpo.world.scenes import Object, Scene
from htgrpo.world.world import find
from tests.world.pictures import clean, pictures

BOTH = ((EmbeddedGenEval(), EmbeddedGenEvalSoft()), (EmbeddedLargeGenEval(), EmbeddedLargeGenEvalSoft()))
both = pytest.mark.parametrize("hard, gradual", BOTH, ids=["tiny", "large"])


def spoilt(world, prompts, share):
    """Right pictures of which about this share of the codes is replaced by random ones."""
    codec = PatchCodec.build(world)
    codes = codec.encode((clean(prompts, world=world) * 255).round().byte().permute(0, 2, 3, 1).contiguous())
    draw = generator("spoilt", share)
    random = torch.randint(len(codec), codes.shape, generator=draw)
    return codec.decode(
        torch.where(torch.rand(codes.shape, generator=draw) < share, random, codes), (world.grid, world.grid)
    )


@both
def test_above_one_half_exactly_where_the_picture_is_right(hard, gradual):
    """Right pictures, damaged ones, random codes, and pictures of other prompts of the category."""
    world = find(hard.within)
    prompts = [prompt for task in TASKS for prompt in split_prompts(world, "validation", task)[:20]]
    lots = {share: spoilt(world, prompts, share) for share in (0.0, 0.02, 0.05, 0.1, 0.2, 1.0)}
    right = {}
    for share, images in [*lots.items(), ("others", lots[0.0].roll(1, 0)), ("noise", torch.rand(lots[0.0].shape))]:
        made = as_pictures(images)
        verdicts, scores = ([one["score"] for one in by.judge(made, prompts)] for by in (hard, gradual))
        assert [score > 0.5 for score in scores] == [verdict == 1.0 for verdict in verdicts]
        right[share] = sum(verdicts) / len(verdicts)
    assert right[0.0] == 1.0 > right[0.02] > right[0.1] > right[1.0] == right["noise"] == 0.0 < right[0.2], right


@both
def test_a_picture_scores_less_the_less_of_it_is_left(hard, gradual):
    """Continuous where the verdict is not: more than two values, falling."""
    world = find(hard.within)
    prompts = [prompt for task in TASKS for prompt in split_prompts(world, "validation", task)[:20]]
    records = {share: gradual.judge(as_pictures(spoilt(world, prompts, share)), prompts) for share in (0, 0.05, 1)}
    means = [sum(one["score"] for one in found) / len(found) for found in records.values()]
    assert means == sorted(means, reverse=True) and means[0] > 0.8 > 0.3 > means[2]
    assert len({one["score"] for one in records[0.05]}) > 10
    for one in records[0.05]:
        evidence = one["evidence"]
        assert evidence["soft"] == one["score"] == min(evidence["clauses"]) <= evidence["gm"] + 1e-12
        assert bool(evidence["reason"]) is (one["score"] <= 0.5)
    json.dumps(records, allow_nan=False)


def test_an_object_below_the_floor_counts_for_something():
    (prompt,) = [one for one in split_prompts(find(), "validation", "single_object")][:1]
    (clause,) = prompt.spec["include"]
    whole = pictures([Scene((Object(clause["class"], "red", 2, 2),))])
    ground = whole[0, :, 0, 0][:, None, None]
    scores = []
    for rows in range(0, 17, 2):
        left = whole.clone()
        left[:, :, 16 : 16 + rows, :] = ground
        scores += [one["score"] for one in EmbeddedGenEvalSoft().judge(as_pictures(left), [prompt])]
    absent = soft.logistic(soft.logit(soft.FLOOR) - soft.logit(0.6))
    assert scores == sorted(scores, reverse=True) and len(set(scores)) > 5
    assert scores[0] == soft.logistic(soft.logit(soft.CAP) - soft.logit(0.6)) and scores[-1] == absent
    assert any(absent < score < 0.5 for score in scores)


def test_a_record_on_which_the_two_readings_differ_is_no_record(monkeypatch):
    monkeypatch.setattr("bench.benchmarks.embedded_geneval_soft.FLOOR", 0.99)
    prompts = split_prompts(find(), "validation", "single_object")[:1]
    with pytest.raises(RuntimeError, match="the two must agree"):
        EmbeddedGenEvalSoft().judge(as_pictures(clean(prompts)), prompts)


@both
def test_it_reads_the_pictures_of_the_hard_benchmark_and_is_a_judge_of_its_own(hard, gradual):
    assert gradual.name == f"{hard.name}_soft" and gradual.picture_set == hard.picture_set
    assert gradual.noise == hard.noise and gradual.drawn("heldout") == hard.drawn("heldout")
    assert gradual.scorer_identity() != hard.scorer_identity()
    assert gradual.diagnostic and not hard.diagnostic
