"""Options from text, the training settings and budgets: types, nearest names, one sentence per mistake."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Literal

import pytest

from baselines.mask import Mask
from baselines.trace import Trace
from htgrpo.base.errors import UserError, suggest
from htgrpo.base.options import build, convert
from htgrpo.base.registry import METHODS, SAMPLERS, Registry
from htgrpo.ht import HT
from htgrpo.training.train_config import Budget, TrainConfig, parse_budgets


def one_sentence(error):
    """The message is one readable sentence: no line break, not a traceback, not ending in a stop."""
    text = str(error.value)
    assert "\n" not in text and "Traceback" not in text and not text.endswith(".")
    return text


@pytest.mark.parametrize(
    ("value", "kind", "wanted"),
    [
        ("3", int, 3), (3, int, 3), (3.0, int, 3), ("1e-3", float, 1e-3), (2, float, 2.0), ("x", str, "x"),
        ("true", bool, True), ("No", bool, False), (True, bool, True), ("0", bool, False), ("none", int | None, None),
        (None, int | None, None), ("4", int | None, 4), ("2:4:2", tuple[int, int, int], (2, 4, 2)),
        ("2,4,2", tuple[int, int, int], (2, 4, 2)), ([2, 4, 2], tuple[int, int, int], (2, 4, 2)),
        ("0.1:0.2", tuple[float, ...], (0.1, 0.2)), ("k3", Literal["k3", "exact"], "k3"),
    ],
)  # fmt: skip
def test_conversion(value, kind, wanted):
    found = convert(value, kind, "x")
    assert found == wanted and type(found) is type(wanted)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("three", int, "x is 'three', but it takes a whole number"),
        ("2.5", int, "x is '2.5', but it takes a whole number"),
        (2.5, int, "x is 2.5, but it takes a whole number"),
        (math.inf, int, "x is inf"),
        (math.nan, int, "x is nan"),
        ("nan", float, "x is 'nan', but it takes a finite number"),
        ("inf", float, "finite"),
        (None, float, "x is None"),
        ("maybe", bool, "true or false"),
        ("2:4", tuple[int, int, int], "3 values separated by ':'"),
        ("2:x:2", tuple[int, int, int], "whole number"),
        ("exat", Literal["k3", "exact"], "did you mean 'exact'"),
    ],
)
def test_conversion_refuses(value, kind, message):
    with pytest.raises(UserError, match=message) as error:
        convert(value, kind, "x")
    one_sentence(error)


def test_build_makes_typed_options():
    assert build(HT, {"stages": "1:2:3", "alpha": "0.5", "order": "structure,global,refinement"}, "ht") == HT(
        stages=(1, 2, 3), alpha=0.5, order=("structure", "global", "refinement")
    )
    assert build(Trace, {}, "trace") == Trace()


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (Mask, {"min_rat": 0.5}, "unknown option of mask 'min_rat': did you mean 'min_rate'"),
        (Mask, {"mask_agg": "all"}, "unknown value of mask.mask_agg 'all'"),
        (Mask, {"min_rate": "2"}, "mask.min_rate is '2', but it takes a finite number from 0 to 1"),
        (HT, {"stages": "2:4"}, "ht.stages is '2:4', but it takes 3 values"),
    ],
)
def test_build_refuses(cls, options, message):
    with pytest.raises(UserError, match=message) as error:
        build(cls, options, cls.__name__.lower())
    one_sentence(error)


def test_build_leaves_computed_fields_alone():
    @dataclass
    class Odd:
        size: int = 1

    assert build(Odd, {"size": "7"}, "odd").size == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "htt"}, "unknown method 'htt': did you mean 'ht'"),
        ({"sampler": "rand"}, "did you mean 'random'"),
        ({"group_size": 1}, "group_size is 1, but it takes a whole number from 2 to"),
        ({"group_size": 0}, "group_size is 0"), ({"prompts_per_iteration": 0}, "prompts_per_iteration is 0"),
        ({"steps": 0}, "steps is 0"), ({"save_every": 0}, "save_every"),
        ({"tokens_per_forward": 0}, "tokens_per_forward"),
        ({"lr": 0.0}, "lr is 0.0, but it takes a finite number greater than 0"), ({"lr": math.nan}, "lr is nan"),
        ({"lr": math.inf}, "lr is inf"), ({"max_grad_norm": -1.0}, "max_grad_norm"), ({"clip": 0.0}, "clip"),
        ({"delta": 0.0}, "delta"), ({"guidance": -0.1}, "guidance"), ({"guidance": math.nan}, "guidance"),
        ({"warmup": -1}, "warmup"), ({"weight_decay": -0.1}, "weight_decay"), ({"beta": -1.0}, "beta is -1.0"),
        ({"beta": math.inf}, "beta is inf"), ({"ddof": 2}, "ddof is 2"), ({"beta1": 1.0}, "beta1"),
        ({"beta2": -0.1}, "beta2"), ({"budget": "iterations"}, "budget is 'iterations'"), ({"kl": "k1"}, "'k1'"),
        ({"dedup": "some"}, "'some'"), ({"pads": "mask"}, "'mask'"), ({"rollout_dtype": "int8"}, "'int8'"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(change, message):
    with pytest.raises(UserError, match=message) as error:
        replace(TrainConfig(), **change).validate()
    one_sentence(error)


def test_the_defaults_are_valid():
    config = TrainConfig()
    assert config.validate() is config


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("iterations:50", Budget("iterations", 50)),
        ("forwards:100_000", Budget("forwards", 100_000)),
        ("iterations:1", Budget("iterations", 1)),
    ],
)
def test_budgets(text, budget):
    assert parse_budgets(text) == (budget,)


@pytest.mark.parametrize(
    "text",
    [
        "", "50", "iterations", "iterations:", "iterations:0", "iterations:-1", "iterations:1.5", "hours:3",
        "forwards:many", "iterations:²", "iterations:1:2",
    ],
)  # fmt: skip
def test_budgets_that_are_none(text):
    with pytest.raises(UserError, match="budget is .*iterations:N or forwards:N") as error:
        parse_budgets(text)
    one_sentence(error)


def test_an_iterations_budget_counts_iterations():
    budget = Budget("iterations", 3)
    assert [budget.done(i, 10**9, 1) for i in range(5)] == [False, False, False, True, True]
    assert [budget.fraction(i, 0) for i in (0, 1, 3, 4)] == pytest.approx([0, 1 / 3, 1, 1])


@pytest.mark.parametrize("amount", [1, 49, 50, 51, 99, 100, 149, 151, 949, 951, 1000])
def test_a_forwards_budget_ends_at_the_nearest_iteration(amount):
    """With 100 forwards per iteration, the stop is the multiple of 100 nearest to the amount, and at least one."""
    budget, iteration = Budget("forwards", amount), 0
    while not budget.done(iteration, 100 * iteration, 100 if iteration else 0):
        iteration += 1
    assert iteration >= 1
    best = min(abs(100 * i - amount) for i in range(1, 20))
    assert abs(100 * iteration - amount) == best


def test_every_method_and_sampler_is_registered():
    assert {"ht", "mask", "uni", "trace", "pretrain"} <= set(METHODS.names())
    assert {"random", "emerge", "maskgit"} <= set(SAMPLERS.names())
    assert METHODS.get("ht") is HT
    with pytest.raises(UserError, match="unknown method 'traec': did you mean 'trace'.*accepted: "):
        METHODS.get("traec")
    assert Registry("thing", "htgrpo.no_such_group").names() == []


@pytest.mark.parametrize("registry", [METHODS, SAMPLERS], ids=lambda r: r.noun)
def test_everything_registered_works_by_default(registry):
    """Every method and sampler can be made without an option, and takes its own defaults back."""
    for name in registry.names():
        made = registry.get(name)()
        assert build(type(made), asdict(made), name) == made


def test_suggestions_name_the_nearest():
    near = suggest("trase", ["mask", "trace"], "method")
    assert str(near) == "unknown method 'trase': did you mean 'trace'? accepted: mask, trace"
    assert str(suggest("zzz", ["mask"], "method")) == "unknown method 'zzz': accepted: mask"
    assert "none" in str(suggest("x", [], "method"))
