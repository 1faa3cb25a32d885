"""The held-out score along training: scored checkpoints that no table shows."""

import json

from bench import compare
from bench.check import check
from htgrpo.base.files import sha256_file
from reports.figures.order import orders
from reports.findings.quality import saved
from reports.run.blocks import make_blocks
from reports.run.load import load_run
from tests.bench.tiny_runs import leave, records, run_compare, tree

CURVE = ("--methods", "ht", "--curve", "3", "--set", "save_every=1", "--benchmarks", "embedded_geneval")


def test_every_checkpoint_is_scored_on_a_few_prompts(policy, tmp_path, no_report):
    run_compare(policy, tmp_path / "run", *CURVE)
    folder = tmp_path / "run" / "verdicts" / "embedded_geneval" / "curve"
    names = ["base", "ht-seed0.1", "ht-seed0.2"]
    assert sorted(path.stem for path in folder.glob("*.jsonl")) == names
    asked = {tuple((r["prompt_id"], r["sample"]) for r in records(folder / f"{name}.jsonl")) for name in names}
    assert len(asked) == 1 and [sample for _, sample in next(iter(asked))] == [0, 0, 0]
    last = json.loads((folder / "ht-seed0.2.meta.json").read_text())
    assert last["policy"]["milestone"] == "curve" and last["policy"]["iteration"] == 2 and last["expected_images"] == 3
    assert json.loads((tmp_path / "run" / "config.json").read_text())["curve"] == 3
    final = {r["prompt_id"]: r for r in records(folder.parent / "main" / "ht-seed0.jsonl") if r["sample"] == 0}
    # the same noise, so the last point is the final policy's very pictures
    for record in records(folder / "ht-seed0.2.jsonl"):
        assert record["sha256"] == final[record["prompt_id"]]["sha256"]
    assert check(tmp_path / "run").mismatches == []
    edited = folder / "ht-seed0.1.jsonl"
    kept = edited.read_text()
    edited.write_text(kept.replace('"score": 0.0', '"score": 1.0', 1))
    assert any("curve/ht-seed0.1" in line for line in check(tmp_path / "run").mismatches)
    edited.write_text(kept)
    run = load_run(tmp_path / "run")
    assert [block.key for block in make_blocks(run)] == ["embedded_geneval/main/iterations:2"]
    assert [point.iterations for point in saved(run).points] == [1, 2] and saved(run).base is not None


def test_a_curve_may_be_added_and_is_not_made_twice(policy, tmp_path, no_report):
    out = tmp_path / "run"
    run_compare(policy, out, *CURVE[:2], *CURVE[4:])
    main = out / "verdicts" / "embedded_geneval" / "main" / "ht-seed0.jsonl"
    before = sha256_file(main)
    assert not (main.parent.parent / "curve").exists()
    run_compare(policy, out, *CURVE)
    assert len(list((main.parent.parent / "curve").glob("*.jsonl"))) == 3 and sha256_file(main) == before
    whole = tree(out)
    run_compare(policy, out, *CURVE)
    assert tree(out) == whole
    run_compare(policy, out, *CURVE[:2], *CURVE[4:])  # without the flag the run keeps its curve
    assert json.loads((out / "config.json").read_text())["curve"] == 3


def test_a_negative_count_is_refused(policy, tmp_path, capsys):
    assert leave(compare.main, ["--policy", str(policy), "--out", str(tmp_path / "run"), "--curve", "-1"]) == 2
    assert "--curve is '-1'" in capsys.readouterr().err


def test_the_order_of_unmasking_is_in_the_manifest(finished):
    for path in finished.glob("images/*/*/main/manifest.jsonl"):
        for record in records(path):
            assert ("rank" in record) == ("grid" in record) == (record["sample"] == 0)
    run = load_run(finished)
    found = orders(run, "base", make_blocks(run)[0])
    assert found and all(sorted(rank.ravel()) == list(range(1, rank.size + 1)) for rank in found.values())
