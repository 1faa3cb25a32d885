"""Several budgets in one training: which iteration reaches each, the checkpoints that are kept, and going on across
them."""

import random

import pytest
from safetensors.torch import load_file

from htgrpo.base.errors import UserError
from htgrpo.base.files import read_jsonl, sha256_file
from htgrpo.training.checkpoints import saved
from htgrpo.training.train_config import Budget, comparable, milestones, parse_budgets
from tests.htgrpo.test_resume import Killed, killer
from tests.htgrpo.training import run

BOTH = {"budget": "iterations:3,forwards:260", "save_every": 4}


def log_of(costs):
    """A metrics log of iterations that cost so many forwards."""
    totals = [sum(costs[: i + 1]) for i in range(len(costs))]
    return [
        {"iteration": i, "forwards": cost, "forwards_total": total}
        for i, (cost, total) in enumerate(zip(costs, totals, strict=True), 1)
    ]


def test_a_list_of_budgets_is_read_in_order():
    assert parse_budgets("iterations:16, forwards:40_000") == (Budget("iterations", 16), Budget("forwards", 40_000))
    assert [budget.text for budget in parse_budgets("forwards:40_000")] == ["forwards:40000"]
    for text in ("iterations:3,", "iterations:3,iterations:3", "iterations:3;forwards:9", "iterations:3,seconds"):
        with pytest.raises(UserError, match="budget is "):
            parse_budgets(text)


def test_each_budget_is_reached_where_a_search_over_the_log_finds_it():
    """An iterations budget at its number, a forwards budget at the iteration nearest to it, be iterations dear or
    cheap."""
    draw = random.Random(5)
    for _ in range(200):
        each = draw.randint(20, 400)
        log = log_of([each] * 60)
        iterations, forwards = draw.randint(1, 60), draw.randint(each, 55 * each)
        found = milestones(parse_budgets(f"forwards:{forwards},iterations:{iterations}"), log)
        nearest = min(log, key=lambda line: (abs(line["forwards_total"] - forwards), -line["iteration"]))
        assert found == {f"forwards:{forwards}": nearest["iteration"], f"iterations:{iterations}": iterations}


def test_a_budget_once_reached_stays_reached():
    """After a cheap iteration the next one may look as if the budget were still to come; the first checkpoint
    counts."""
    log = log_of([100, 100, 2, 2])
    budget = Budget("forwards", 249)
    assert [budget.done(line["iteration"], line["forwards_total"], line["forwards"]) for line in log] == [
        False, True, False, False,
    ]  # fmt: skip
    assert milestones([budget], log) == {"forwards:249": 2}
    assert milestones([budget], log[:1]) == {}


def test_iterations_are_no_budget_of_a_method_without_rollouts():
    budgets = parse_budgets("iterations:16,forwards:40000")
    assert comparable(budgets, True) == budgets and comparable(budgets, False) == budgets[1:]
    assert comparable(budgets[:1], False) == budgets[:1], "where there is no other it is compared all the same"


def test_a_checkpoint_is_kept_at_every_budget(tmp_path):
    lines = run(tmp_path / "both", **BOTH)
    reached = milestones(parse_budgets(BOTH["budget"]), lines)
    assert reached["iterations:3"] == 3 < reached["forwards:260"] == len(lines)
    steps = [int(folder.name.removeprefix("step_")) for folder in saved(tmp_path / "both")]
    assert steps == sorted({3, *range(4, len(lines) + 1, 4), len(lines)})
    alone = run(tmp_path / "alone", budget="iterations:3", save_every=4)
    assert alone == lines[:3]
    one, two = (
        load_file(tmp_path / name / "checkpoints" / "step_000003" / "model.safetensors") for name in ("both", "alone")
    )
    assert one.keys() == two.keys() and all((one[name] == two[name]).all() for name in one)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an uninterrupted run, and its metrics."""
    out = tmp_path_factory.mktemp("whole")
    return out, run(out, **BOTH)


@pytest.mark.parametrize(
    "points", [[(3, "update")], [(3, "done")], [(4, "rollout")], [(2, "done"), (4, "update")]], ids=str
)
def test_going_on_across_a_budget_is_bit_identical(points, whole, tmp_path):
    for point in points:
        with pytest.raises(Killed):
            run(tmp_path, on_progress=killer(*point), **BOTH)
    assert run(tmp_path, **BOTH) == whole[1]
    files = [
        {str(path.relative_to(out)): sha256_file(path) for path in out.rglob("*.safetensors")}
        for out in (whole[0], tmp_path)
    ]
    assert files[0] == files[1] and len(files[0]) > 2


def test_a_log_that_lacks_iterations_stops_the_training(tmp_path):
    """Without it nobody knows which budgets were reached."""
    with pytest.raises(Killed):
        run(tmp_path, on_progress=killer(5, "update"), **BOTH)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "metrics.jsonl").write_text("".join([*lines[:1], *lines[2:], lines[-1]]))
    with pytest.raises(UserError, match="does not hold the iterations 1 to 4"):
        run(tmp_path, **BOTH)
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.raises(UserError, match="does not hold the iterations 1 to 4"):
        run(tmp_path, **BOTH)
    assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("ht", {"stages": "1:1:1", "alpha": 0.5}),
        ("mask", {"updates_per_rollout": 3}),
        ("uni", {"updates_per_rollout": 3}),
        ("trace", {"updates_per_rollout": 3}),
        ("trace", {"updates_per_rollout": 3, "visit": "once"}),
        ("espo", {"updates_per_rollout": 3}),
        ("coupled", {"updates_per_rollout": 3}),
    ],
)
@pytest.mark.parametrize("beta", [0.0, 0.02])
def test_what_sharing_saves_is_what_a_run_without_it_costs(method, options, beta, tmp_path):
    """From the same weights: the count that is logged, whatever is shared, and the forwards of dedup=none. An image's
    units are larger than a batch."""
    settings = {"method": method, "method_options": options, "beta": beta, "budget": "iterations:1"}
    settings |= {"tokens_per_forward": 40}
    [none] = run(tmp_path / "none", dedup="none", **settings)
    assert none["forwards"] == none["forwards_undeduplicated"]
    for dedup in ("all", "rollout"):
        [line] = run(tmp_path / dedup, dedup=dedup, **settings)
        assert line["forwards_undeduplicated"] == none["forwards"] and line["forwards"] <= none["forwards"]
        assert (line["rollouts"], line["reward_queries"], line["optimiser_steps"]) == (8, 8, 3)
    assert len(read_jsonl(tmp_path / "none" / "metrics.jsonl")) == 1
