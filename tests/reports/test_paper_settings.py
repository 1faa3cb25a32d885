"""The settings of a run beside the paper's, and the full-size presets."""

import json
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from bench import compare, paper
from bench.ask.asked import from_arguments
from bench.ask.paper_settings import APART, of_paper, of_run
from bench.ask.presets import Setting, read
from bench.ask.request import Request
from htgrpo.base.registry import METHODS
from htgrpo.training.train_config import TrainConfig
from reports.paper import tables as paper_tables
from reports.paper.settings import CHOSEN, DIFFERS, SAME, SILENT, UNKNOWN, compared, entry_of, settings_markdown, shown
from reports.run.load import Run
from tests.reports.paper_runs import on_mmada

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def mmada(tmp_path_factory) -> paper_tables.Source:
    return paper_tables.open_source(on_mmada(tmp_path_factory.mktemp("runs") / "mmada"))


def beside(run, backbone="mmada"):
    """Settings of a run beside the paper's, by name."""
    wanted = of_paper(backbone, list(run.config["train"]), compare.parser())
    return {s.name: s for s in compared(of_run(run, backbone), wanted, read(f"paper_{backbone}"))}


def names(found, *verdicts):
    return {s.name for s in found.values() if s.verdict in verdicts}


@pytest.fixture
def exact(tmp_path):
    """Writes a made-up run whose config.json is that of `--preset paper`, with other settings where they are given."""

    def make(*flags: str, prompts: str = "geneval_train") -> Run:
        root = on_mmada(tmp_path / "exact")
        argv = ["--preset", "paper", "--backbone", "mmada", "--methods", "ht,mask,trace", "--dry-run", *flags]
        request = asdict(from_arguments(compare.parser().parse_args(argv)).request)
        more = {"train_prompts": {"source": prompts, "sha256": "0" * 64}, "machine": {"device": "cuda", "processes": 8}}
        (root / "config.json").write_text(json.dumps(json.loads((root / "config.json").read_text()) | request | more))
        judges = read("paper_mmada")["judges"]
        for name, benchmark in (("geneval", "geneval"), ("dpg", "dpg")):
            for path in root.glob(f"verdicts/{benchmark}/*/*.meta.json"):
                title = {"geneval": "GenEval", "dpg": "DPG-Bench"}[name]
                path.write_text(
                    json.dumps(json.loads(path.read_text()) | {"title": title, "scorer": judges[f"scorer.{name}"]})
                )
        for method in ("ht", "mask", "trace"):
            folder = root / "train" / method / "seed0"
            folder.mkdir(parents=True, exist_ok=True)
            said = {name: judges[f"reward.{name}"] for name in ("hpsv3", "clip", "unifiedreward")}
            (folder / "rewards.json").write_text(json.dumps(said))
        return paper_tables.open_source(root).run

    return make


def test_the_papers_experiment_differs_in_nothing_and_another_one_in_exactly_what_was_changed(exact):
    found = beside(exact())
    assert names(found, DIFFERS, CHOSEN, UNKNOWN) == set()
    assert "None differs." in settings_markdown("x", list(found.values()))
    assert {"train.lr", "mask.min_rate", "trace.shrink", "ht.ties", "policy", "reward.unifiedreward"} <= names(
        found, SILENT
    )
    sets = ("mask.lr=3e-4", "mask.min_rate=.1", "mask.mask_agg=all_iterations", "trace.shrink=4")
    flags = [flag for one in sets for flag in ("--set", one)]
    found = beside(exact(*flags, prompts="/home/me/others.txt"))
    assert names(found, DIFFERS, CHOSEN, UNKNOWN) == {
        "mask.lr", "mask.min_rate", "mask.mask_agg", "trace.shrink", "train_prompts",
    }  # fmt: skip
    assert "100" not in found["ht.lr"].paper and found["mask.lr"].here == "0.0003" and "3e-06" in found["mask.lr"].paper
    assert found["train_prompts"].here == "others.txt (000000000000)", "a file's folder is nobody's business"
    text = settings_markdown("x", list(found.values()))
    assert "None" not in text and text.count("\n- mask.") == 3


@pytest.mark.parametrize(
    "flags, name",
    [
        (["--set", "tuning=full"], "train.tuning"),
        (["--set", "ht.lora_rank=8"], "ht.lora_rank"),
        (["--limit", "24"], "limit"),
        (["--subset", "geneval:60"], "subset"),
        (["--seeds", "3"], "seeds"),
        (["--budget", "iterations:7"], "budget"),
        (["--set", "main.samples=1"], "main.samples"),
        (["--set", "main.cache=ml"], "main.cache"),
        (["--reward", "clip=1"], "train.rewards"),
        (["--set", "uni.spacing=stride", "--methods", "ht,uni"], "uni.spacing"),
        (["--set", "ht.subset=bernoulli"], "ht.subset"),
    ],
)
def test_every_kind_of_setting_is_seen(exact, flags, name):
    assert names(beside(exact(*flags)), DIFFERS, CHOSEN) == {name}


def test_another_judge_is_seen_and_a_missing_record_is_no_agreement(exact):
    run = exact()
    for path in run.root.glob("train/mask/seed0/rewards.json"):
        said = json.loads(path.read_text())
        said["unifiedreward"] |= {"model": "qwen2_5_vl", "width": 3584}
        path.write_text(json.dumps(said))
    found = beside(run)
    assert names(found, DIFFERS, CHOSEN) == {"reward.unifiedreward"} and " or " in found["reward.unifiedreward"].here
    for path in run.root.glob("train/*/seed0/rewards.json"):
        path.unlink()
    del run.config["split"], run.config["train"]["ht"]["beta"]
    found = beside(run)
    assert names(found, UNKNOWN) == {"reward.hpsv3", "reward.clip", "reward.unifiedreward", "split", "ht.beta"}
    text = settings_markdown("x", list(found.values()))
    assert "None of those recorded differs." in text and "split" in text.partition("Not recorded")[2]


def test_settings_of_a_run_on_another_policy_are_shown_as_they_are(mmada):
    found = beside(mmada.run)
    assert found["train.group_size"].verdict == SAME and found["ht.alpha"].verdict == SAME, (
        "left at the method's default"
    )
    assert found["train.lr"].verdict == SILENT and found["train.lr"].here == "3e-06"
    assert found["seeds"].verdict == CHOSEN
    assert found["scorer.geneval"].here == "rule" and found["benchmarks.geneval"].verdict == DIFFERS
    assert found["train.beta"].verdict == UNKNOWN and next(iter(found.values())).verdict == DIFFERS, (
        "what differs comes first"
    )


@pytest.mark.parametrize("backbone", ["mmada", "lumina-dimoo"])
def test_the_full_size_presets_say_where_every_setting_is_from(backbone):
    preset, words = read(f"paper_{backbone}"), paper.command(backbone)
    assert words[:2] == ["accelerate", "launch"] and (ROOT / words[3]).is_file()
    argv = words[words.index("bench.compare") + 1 :]
    assert argv == ["--preset", "paper", "--backbone", backbone]
    request = from_arguments(compare.parser().parse_args([*argv, "--dry-run"])).request
    assert request.methods == preset["methods"] and request.seeds == [0] and request.backbone == backbone
    given, ours, wanted = preset["given"], preset["ours"], of_paper(backbone, request.methods, compare.parser())
    entries = {entry_of(name, preset) for name in wanted}
    assert None not in entries, [name for name in wanted if entry_of(name, preset) is None]
    judged = {f"benchmarks.{name}" for name in ("geneval", "dpg", "imagereward", "deqa", "hpsv3", "unipercept")}
    assert not given.keys() & ours.keys() and given.keys() | ours.keys() == entries | {"gpus", "revision"} | judged
    for name, value in wanted.items():
        if entry := given.get(entry_of(name, preset)):
            assert shown(value) == shown(entry["value"]), name
    assert all(given[name]["where"] for name in given) and all(ours.values())
    assert "Our choice" in paper.command_text(backbone, as_json=False)


def test_no_field_of_a_request_a_training_a_method_or_a_setting_is_left_out():
    assert APART.keys() <= {f.name for f in fields(Request)} and all(APART.values())
    wanted = of_paper("mmada", METHODS.names(), compare.parser())
    assert {f.name for f in fields(Request)} - APART.keys() - {"revision"} <= wanted.keys()
    for method in METHODS.names():
        own = {f.name for f in fields(METHODS.get(method)) if f.init} | {f.name for f in fields(TrainConfig)}
        missing = {f"{method}.{name}" for name in own - {"method", "method_options", "seed"}} - wanted.keys()
        assert not missing
    assert {f"main.{f.name}" for f in fields(Setting)} <= wanted.keys()
