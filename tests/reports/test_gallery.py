"""The gallery, the order of unmasking and what the page does in a browser."""

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bench.judge.images import pack_ranks
from htgrpo.base.errors import UserError
from reports.figures.order import heat_map, orders, outline, structure, structure_share
from reports.findings.analysis import analyse
from reports.pages import gallery as gallery_module
from reports.pages import pool
from reports.pages.build import build
from reports.pages.evidence import read_evidence
from reports.pages.gallery import Tile, make_gallery
from reports.run.blocks import make_blocks
from reports.run.load import load_run
from reports.run.pictures import file_of
from tests import drawing
from tests.reports.enriched import GRID, add_benchmark, add_boxes, add_orders, rewrite
from tests.reports.synthetic import write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    root = write_run(tmp_path_factory.mktemp("gallery") / "run", seeds=1, prompts=20, samples=2, dense=20, iterations=4)
    add_boxes(root)
    add_orders(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing.style, "rendered", drawing.plainly)
        build(root)
    return root


def results_of(root: Path):
    run = load_run(root)
    return run, [analyse(block) for block in make_blocks(run)]


def test_rows_hold_the_same_prompt_of_every_method_with_its_verdict(built):
    run, results = results_of(built)
    found = make_gallery(run, results)
    geneval = [case for case in found.cases if case.benchmark.startswith("GenEval")]
    assert len(geneval) == 6 * 12 and len(found.cases) - len(geneval) == 12
    records = run.records[run.records["sample"] == 0].set_index(["policy", "benchmark", "prompt"])
    for case in geneval:
        assert [tile.method for tile in case.tiles] == ["base", "alpha", "beta_2"]
        scores = [
            float(records.loc[(p, "geneval", case.prompt), "score"]) for p in ("base", "alpha-seed0", "beta_2-seed0")
        ]
        assert [tile.mark for tile in case.tiles] == ["✓" if score else "✗" for score in scores]
        assert case.disagree == (len(set(scores)) > 1)


def test_evidence_is_drawn_and_escaped(built):
    text = (built / "report" / "index.html").read_text()
    assert "0 of 1 striped <b>" not in text and "0 of 1 striped &lt;b&gt;circle" in text
    assert '<rect class="over" x="8" y="8" width="16" height="16"/>' in text and "did not count" in text
    assert len(re.findall(r'viewBox="0 0 64 64"', text)) == 6 * 12 * 3


def test_evidence_of_every_benchmark_is_understood():
    boxes = '{"cup": [[1, 2, 3, 4, 0.5], [5, 6, 7, 8, 0.75]]}'
    official = read_evidence(
        {"reason": "r", "metadata": "{}", "details": boxes, "colours": [["cup", [5, 6, 7, 8, 0.75], "red"]]}
    )
    assert [(box.name, box.corners) for box in official.boxes] == [("cup, red", (5, 6, 7, 8)), ("cup", (1, 2, 3, 4))]
    resized = read_evidence(
        {"found": [["a", "b", 0, 0, 16, 16, 1.0]], "resized_from": [512, 256], "resized_to": [48, 40]}
    )
    assert resized.frame == (40, 48) and resized.boxes[0].counted
    asked = read_evidence({"questions": [{"id": 1, "category": "entity", "text": "is it?", "answer": 1, "score": 0.0}]})
    assert asked.questions == [{"text": "is it?", "category": "entity", "answer": 1, "score": 0.0}]
    other = [{"category": "count", "question": "How many?", "score": 1.0}, {"category": "Style", "score": 0.0}]
    assert [q["text"] for q in read_evidence({"questions": other}).questions] == ["How many?", "Style"]
    assert read_evidence({"sigma": 1.23456, "details": "no json", "flag": True}).values == {
        "sigma": "1.235",
        "flag": "True",
    }
    points = [
        {"name": "Attribute - Color", "holds": 1, "analysis": "red"},
        {"name": "Style", "holds": 0, "analysis": ""},
    ]
    kinds = [{"category": c, "score": s} for c, s in (("Attribute", 1.0), ("Attribute - Color", 1.0), ("Style", 0.0))]
    tallied = read_evidence({"share": 0.5, "testpoints": points, "questions": kinds})
    assert [(q["text"], q["score"]) for q in tallied.questions] == [("Attribute - Color: red", 1.0), ("Style", 0.0)]
    assert Tile("a", "", "", seen=tallied).held == 1 and tallied.values == {"share": "0.5"}, "each is asked once"
    assert read_evidence(None) == read_evidence("text") == read_evidence({})


def test_pictures_stay_within_their_bytes(built, monkeypatch):
    run, results = results_of(built)
    whole = make_gallery(run, results)
    weight = sum(case.weight for case in whole.cases)
    monkeypatch.setattr(gallery_module, "BYTES", -(-weight // 3))
    fewer = make_gallery(run, results)
    assert fewer.shown == 4 and sum(case.weight for case in fewer.cases) < weight / 2
    assert {case.category for case in fewer.cases} == {case.category for case in whole.cases}


def test_orders_are_read_as_generation_wrote_them(tmp_path):
    import torch

    root = write_run(tmp_path, {"a": 0.1}, seeds=1, prompts=2, samples=2, iterations=2)
    written = add_orders(root)
    run, results = results_of(root)
    read = orders(run, "a-seed0", results[0].block)
    assert len(read) == 12 and all((rank == written["a-seed0", prompt]).all() for prompt, rank in read.items())
    rank = torch.randperm(4096) + 1
    path = root / "images" / "base" / "geneval" / "main" / "manifest.jsonl"
    rewrite(path, lambda r: {**r, "grid": [64, 64], "rank": pack_ranks(rank)} if "rank" in r else r)
    read = orders(load_run(root), "base", results[0].block)
    assert all((one.ravel() == rank.numpy()).all() for one in read.values())
    rewrite(path, lambda r: {**r, "rank": "!"} if "rank" in r else r)
    with pytest.raises(UserError, match="the order of .* cannot be read"):
        orders(load_run(root), "base", results[0].block)


def test_every_figure_links_its_numbers(built):
    folder = built / "report"
    figures = re.findall(r'<figure class="drawing".*?</figure>', (folder / "index.html").read_text(), re.S)
    named = {
        re.search(r'id="(\w+)-shows"', one)[1]: re.search(r'href="([^"]*)" download>CSV', one)[1] for one in figures
    }
    assert {"differences", "quality_seconds", "curves_seconds", "entropy_by_rank"} < set(named)
    assert (named["unmasking"], named["reward_and_rest"]) == ("unmasking.csv", "reward_and_rest.csv")
    lines = list(csv.DictReader(io.StringIO((folder / "unmasking.csv").read_text())))
    run, results = results_of(built)
    for method in ("base", "alpha", "beta_2"):
        own = [line for line in lines if line["method"] == method]
        of_policy = orders(run, "base" if method == "base" else f"{method}-seed0", results[0].block)
        means = [float(line["rank"]) for line in own if not line["prompt"]]
        assert means == pytest.approx(np.mean(list(of_policy.values()), axis=0).ravel())
        (prompt, *_) = dict.fromkeys(line["prompt"] for line in own if line["prompt"])
        assert [int(line["rank"]) for line in own if line["prompt"] == prompt] == of_policy[prompt].ravel().tolist()
    moved = list(csv.DictReader(io.StringIO((folder / "reward_and_rest.csv").read_text())))
    for one in (line for line in moved if line["measure"].startswith("GenEval")):
        pair, scores = results[0].pair(one["method"], "base"), results[0].scores
        told = [float(one[key]) for key in ("start", "end", "change", "low", "high")]
        change = pair.interval()
        ends = (scores["base"].headline.estimate, scores[one["method"]].headline.estimate)
        assert told == pytest.approx([*ends, change.estimate, change.low, change.high])
    assert {line["method"] for line in moved if line["trained_on"] == "1"} == {"alpha", "beta_2"}


def test_structure_is_the_first_part_of_the_order_and_is_outlined():
    rank = np.arange(24).reshape(GRID) + 1
    assert structure(rank, 0.3).sum() == 7 and structure(rank, 0.3)[0].all()
    inside = np.zeros((3, 3), dtype=bool)
    inside[1, 1:] = True
    marked = outline(inside, 4)
    expected = np.zeros((12, 12), dtype=bool)
    expected[4, 4:] = expected[7, 4:] = expected[4:8, 4] = expected[4:8, 11] = True
    assert (marked == expected).all()
    assert heat_map(rank, 0.3) == heat_map(rank, 0.3) and heat_map(rank, 0.3).startswith(b"\x89PNG")


def test_share_of_structure_is_the_runs(tmp_path):
    root = write_run(tmp_path, {"a": 0.1}, seeds=1, prompts=2, images=False)
    run = load_run(root)
    assert structure_share(run) == 0.3
    run.config["train"]["a"]["method_options"] = {"alpha": 0.5}
    assert structure_share(run) == 0.5


def dom(root: Path, place: str) -> str:
    """The page's document after its script has run, in a headless browser."""
    if CHROMIUM is None:
        pytest.skip("no chromium is installed (Debian: apt-get install chromium)")
    page = (root / "report" / "index.html").resolve().as_uri() + place
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000", "--dump-dom", page,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def cases(document: str) -> list[str]:
    """The rows of the gallery that the script shows, without pictures."""
    found = document.partition('<div class="found">')[2].partition('<p class="note empty"')[0]
    return re.sub(r'src="[^"]*"', "", found).split("<article ")[1:]


def marks(case: str) -> list[str]:
    return re.findall(r'<span class="mark"[^>]*>(.)</span>', case)


def test_filters_reach_every_seed_and_sample_in_a_browser(built):
    run, results = results_of(built)
    document = dom(built, "#gallery?verdicts=pair&a=beta_2&b=base&sample=1&category=counting&evidence=1")
    records = run.records[(run.records["benchmark"] == "geneval") & (run.records["sample"] == 1)]
    scores = records.set_index(["policy", "prompt_id"])["score"]
    counting = [prompt for prompt in results[0].block.prompts if prompt.startswith("counting")]
    wanted = [p for p in counting if scores["beta_2-seed0", p] == 1 and scores["base", p] == 0]
    shown = cases(document)
    assert 0 < len(wanted) < 20 and [re.search(r'class="id">([^<]*)', case)[1] for case in shown] == wanted
    assert all(marks(case)[0] == "✗" and marks(case)[2] == "✓" for case in shown)
    assert f"{len(wanted)} of 120 prompts" in document
    assert all("0 of 1 striped &lt;b&gt;circle" in case and "<details open" in case for case in shown)


@pytest.fixture(scope="module")
def judged_twice(tmp_path_factory) -> Path:
    """The pictures of GenEval by PickScore too, with two of the starting policy's failed."""
    root = tmp_path_factory.mktemp("twice") / "run"
    write_run(root, {"a": 0.3}, seeds=1, prompts=4, samples=1, iterations=4, fail=("base", 2))
    add_boxes(root)
    add_benchmark(root, "pickscore", lambda r: {**r, "evidence": {}}, title="PickScore", pictures="geneval")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing.style, "rendered", drawing.plainly)
        build(root)
    return root


def test_a_failed_picture_is_worse_than_nothing_in_a_browser(judged_twice):
    scores = load_run(judged_twice).records.query("benchmark == 'geneval'").set_index(["policy", "prompt_id"])["score"]
    wanted = {p for p in scores["base"].index if scores["a-seed0", p] == 1 and scores["base", p] == 0}
    failed = set(scores["base"].index[scores["base"].isna()])
    assert len(failed) == 2 and any(scores["a-seed0", prompt] == 1 for prompt in failed) and wanted
    shown = cases(dom(judged_twice, "#gallery?verdicts=pair&a=a&b=base"))
    assert {re.search(r'class="id">([^<]*)', case)[1] for case in shown} == wanted


def test_a_verdict_stands_beside_its_own_evidence_in_a_browser(judged_twice):
    first, second = (cases(dom(judged_twice, f"#gallery?benchmark={b}")) for b in ("", "PickScore"))
    assert len(first) == len(second) == 24 and any("0 of 1 striped" in case for case in first)
    assert not any("0 of 1 striped" in case or "<details" in case for case in second)


def test_words_and_a_dense_benchmark_are_found_in_a_browser(built):
    shown = cases(dom(built, "#gallery?search=striped+position-007"))
    assert len(shown) == 1 and "position-007" in shown[0]
    dense = dom(built, "#gallery?benchmark=DPG-Bench+(embedded+world)&sort=spread")
    assert "20 of 20 prompts" in dense and "questions hold" in cases(dense)[0]


def test_pictures_within_one_file_are_told_apart():
    record = pd.Series({"policy": "p", "prompt_id": "q", "sample": 1, "image": "images/grid.png"})
    run = SimpleNamespace(manifest=lambda *_: {("q", 1): {"crop": [4, 0, 8, 4]}})
    block = SimpleNamespace(picture_set="s", setting="main")
    assert file_of(run, block, record) == "images/grid.png#4,0,8,4"
    assert file_of(SimpleNamespace(manifest=lambda *_: {}), block, record) == "images/grid.png"


def test_first_samples_come_first_and_all_pictures_are_inside_while_they_fit(built, monkeypatch):
    text = (built / "report" / "index.html").read_text()
    inside = json.loads(text.partition('id="pool-pictures">')[2].partition("</script>")[0])
    still = set(re.findall(r'data-file="([^"]*)"', text))
    files = {path.relative_to(built).as_posix() for path in built.glob("images/*/*/*/*.png")}
    inside = {f"{folder}/{name}" for folder, own in inside.items() for name in own}
    assert inside | still == files and not inside & still
    run, results = results_of(built)
    groups = [[result] for result in results]
    monkeypatch.setattr(pool, "PICTURES", 3000)
    fewer = pool.small_pictures(run, groups, set())
    names = [name for own in fewer.values() for name in own]
    assert 0 < len(names) < len(files) and all(name.endswith("_0.png") for name in names)


def test_without_a_script_prompts_are_shown(built):
    text = (built / "report" / "index.html").read_text()
    assert len(re.findall(r'<article class="case" data-benchmark', text)) == 84
    assert '<form class="filters" hidden' in text and '<div class="still">' in text
