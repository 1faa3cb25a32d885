"""Views in the report: which checkpoints each shows, and costs up to there against counts by hand."""

import json
from dataclasses import replace

import pytest

from htgrpo.base.errors import UserError
from reports.findings.choices import paragraphs, rows
from reports.findings.costs import by_view, costs
from reports.pages.build import build
from reports.run.blocks import MAIN_CLAIM, SECONDARY, make_blocks
from reports.run.load import load_run
from tests.reports.synthetic import write_run

pytestmark = pytest.mark.usefixtures("plain_figures")
LINE = {
    "forwards_rollout": 30, "forwards_old": 4, "forwards_ref": 4, "forwards_train": 12, "optimiser_steps": 2,
    "rollouts": 6, "reward_queries": 6, "forwards_undeduplicated": 90,
}  # fmt: skip


@pytest.fixture
def root(tmp_path):
    """Methods a and b over 30 iterations of 50 forwards, a view at iteration 20 and one at 800 forwards; b takes twice
    the time."""
    root = write_run(tmp_path / "run", {"a": 0.1, "b": 0.1}, milestones=("final", "milestone"), images=False, prompts=4)
    change(
        root,
        "config.json",
        budget="iterations:30,forwards:1000",
        claim={"benchmark": "geneval", "setting": "main", "milestone": "forwards:1000"},
    )
    for method in ("a", "b"):
        for seed in (0, 1):
            folder = root / "train" / method / f"seed{seed}"
            lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
            each = [{**line, **LINE, "forwards": 50, "forwards_total": 50 * line["iteration"]} for line in lines]
            (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in each))
            pace = {"a": 1.0, "b": 2.0}[method]
            clock = [{"iteration": i, "seconds_total": i * pace, "peak_memory_mb": 100 + i} for i in range(1, 31)]
            (folder / "timing.jsonl").write_text("".join(json.dumps(line) + "\n" for line in clock))
    return root


def change(root, name, **values):
    path = root / name
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.is_file() else {}), **values}))


def test_costs_up_to_each_view_are_counted_by_hand(root):
    found = {(cost.view, cost.method): cost for cost in costs(load_run(root))}
    assert set(found) == {(view, method) for view in ("iterations:30", "forwards:1000") for method in ("a", "b")}
    for view, iterations in (("iterations:30", 30), ("forwards:1000", 20)):
        for method, pace in (("a", 1), ("b", 2)):
            cost = found[view, method]
            assert (cost.iterations, cost.steps, cost.rollouts, cost.queries) == (
                iterations, 2 * iterations, 6 * iterations, 6 * iterations,
            )  # fmt: skip
            phases = (cost.forwards, cost.rollout, cost.old, cost.ref, cost.train)
            assert phases == tuple(count * iterations for count in (50, 30, 4, 4, 12))
            assert cost.undeduplicated == 90 * iterations and cost.seconds == pace * iterations
            assert cost.memory == 100 + iterations
    assert list(by_view(list(found.values()))) == ["at equal iterations (30)", "at equal forwards (1000)"]


def test_blocks_show_the_checkpoints_of_their_view_and_mark_the_claim(root):
    blocks = make_blocks(load_run(root))
    told = [(block.milestone, block.main_view, block.claim) for block in blocks]
    assert told == [("iterations:30", True, SECONDARY), ("forwards:1000", False, MAIN_CLAIM)]
    assert [method.policies[0] for method in blocks[0].methods] == ["base", "a-seed0", "b-seed0"]
    assert [method.policies[0] for method in blocks[1].methods] == ["base", "a-seed0@20", "b-seed0@20"]
    assert {i for method in blocks[1].methods[1:] for i in method.iterations} == {20}
    assert not blocks[0].missing and all(method.complete for block in blocks for method in block.methods)


def test_a_seed_that_lacks_a_view_withholds_its_headline(root):
    for path in (root / "verdicts" / "geneval" / "main").glob("a-seed1@20*"):
        path.unlink()
    method = make_blocks(load_run(root))[1].methods[1]
    assert method.name == "a" and not method.complete


def test_equal_seconds_show_what_was_chosen(root):
    change(root, "config.json", budget="iterations:30,forwards:1000,seconds")
    places = {
        f"{method} seed {seed}": {"iteration": step, "seconds": 30.0}
        for method, step in (("a", 30), ("b", 20))
        for seed in (0, 1)
    }
    change(root, "equal_seconds.json", limit=30.0, of="a seed 0", checkpoints=places)
    run = load_run(root)
    block = make_blocks(run)[2]
    assert block.when == "at equal training seconds (at most 30)"
    assert [method.policies for method in block.methods[1:]] == [["a-seed0", "a-seed1"], ["b-seed0@20", "b-seed1@20"]]
    assert [cost.iterations for cost in costs(run) if cost.view == "seconds"] == [30, 20]
    places["b seed 1"]["iteration"] = 0  # no checkpoint by then
    change(root, "equal_seconds.json", checkpoints=places)
    block = make_blocks(load_run(root))[2]
    assert [method.seeds for method in block.methods[1:]] == [[0, 1], [0]]
    assert all(method.complete for method in block.methods)
    (root / "equal_seconds.json").write_text('{"limit": 30}')
    with pytest.raises(UserError, match="is damaged"):
        load_run(root)


def test_a_method_without_rollouts_stands_where_its_forwards_compare(root):
    """In the view at equal iterations it is neither shown nor said to be missing."""
    for seed in (0, 1):
        path = root / "train" / "b" / f"seed{seed}" / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text(
            "".join(json.dumps({k: v for k, v in line.items() if k != "reward_mean"}) + "\n" for line in lines)
        )
    for path in (root / "verdicts" / "geneval" / "main").glob("b-seed?.*"):
        path.unlink()
    first, second = make_blocks(load_run(root))
    assert [method.name for method in first.methods] == ["base", "a"] and first.elsewhere == ["b"] and not first.missing
    assert [method.name for method in second.methods] == ["base", "a", "b"] and not second.elsewhere
    text = build(root).terminal
    assert "b samples no rollouts" in text and "b: not scored" not in text
    assert [(cost.view, cost.method) for cost in costs(load_run(root))] == [
        ("iterations:30", "a"),
        ("forwards:1000", "a"),
        ("forwards:1000", "b"),
    ]


def test_the_report_tells_how_settings_were_chosen(root):
    tuning = {
        "seeds": [7, 8], "split": "validation", "samples": 4, "lr": 1e-4, "start": [0.3, 1, 3],
        "ladder": [0.1, 1, 10], "budget": "iterations:16,forwards:900",
    }  # fmt: skip
    one = {"settings": {"lr": 3e-4, "alpha": 0.5}, "score": 0.31, "tries": 5, "interior": False, "as_tuned": False}
    choices = {"world": "It was made so.", "tuning": tuning, "methods": {"a": one}}
    change(root, "config.json", choices=choices, titles={"a": "Alpha"})
    run = load_run(root)
    told = " ".join(paragraphs(run))
    for part in (
        "validation prompts", "iterations:16 ", "7, 8", "0.3, 1, 3", "down to x 0.1 and up to x 10", "No record",
        "made",
    ):  # fmt: skip
        assert part in told
    assert rows(run) == [["a", "lr 0.0003, alpha 0.5", "5", "0.310", "at the end of what was tried", "otherwise"]]
    text = build(root).terminal
    assert "a: Alpha." in text
    assert "## How the settings were chosen" in (root / "report" / "table.md").read_text()
    assert paragraphs(replace(run, config={**run.config, "methods": []})) == []
    change(root, "config.json", choices={**choices, "tuning": {**tuning, "ladder": []}})
    with pytest.raises(UserError, match=r"config.json' is damaged .*choices.tuning.ladder is \[\]"):
        build(root)
