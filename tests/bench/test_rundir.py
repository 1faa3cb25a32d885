"""Run directories, requests and plans: what defines a run, what may be added, what is left to do."""

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

from bench import compare
from bench.ask import machine
from bench.ask.asked import from_arguments
from bench.ask.kinds import seeds
from bench.ask.options import Options
from bench.ask.overrides import literal, parse_overrides, resolve
from bench.ask.presets import PRESETS, preset, read, tuned
from bench.ask.request import Request
from bench.ask.selection import select
from bench.benchmarks.evaluation import Evaluation
from bench.cost import estimate
from bench.cost.measured import Measured
from bench.cost.outline import outline_of
from bench.judge.images import BATCH, generate
from bench.record.complete import is_complete, mark_complete
from bench.record.pictures import identity_of, manifest, whole_pictures
from bench.record.rundir import RunDir, refuse_difference, write_config
from bench.run import loop
from bench.sources.training_prompts import load
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt, prompt_set_sha256
from htgrpo.base.registry import BENCHMARKS, METHODS
from htgrpo.policies.storage import load_policy
from htgrpo.training.train_config import make_method
from tests.bench.tiny_runs import arguments, records

PROMPTS = [
    Prompt(f"{category}-{i}", f"a photo of {category} {i}", category, {}) for category in ("a", "b") for i in range(5)
]


def parsed(policy: Path, *flags: str):
    return from_arguments(compare.parser().parse_args(["--policy", str(policy), *flags]))


def test_presets_are_valid_and_methods_tuned_by_name(policy):
    with pytest.raises(UserError, match="give --backbone lumina-dimoo or mmada"):
        preset("paper", "embedded")
    for name in set(PRESETS) - {"paper"}:
        request = parsed(policy, "--preset", name).request
        for method in request.methods:
            make_method(request.config(method, 0))
        assert set(preset(name, "embedded")["benchmarks"]) <= set(BENCHMARKS.names()) and "main" in request.settings
    assert all(set(found) <= set(METHODS.names()) for found in read("methods").values())
    assert tuned("somebody elses", "embedded") == tuned("ht", "somebody elses") == {}
    full = parsed(policy, "--preset", "full").request
    assert full.seeds == [0, 1, 2, 3] and set(full.methods) == {"ht", "mask", "uni", "trace", "trace_once", "pretrain"}
    assert full.views[0].startswith("iterations:") and full.views[1].startswith("forwards:")
    assert full.views[2] == "seconds"
    study = parsed(policy, "--preset", "study").request
    assert study.seeds == list(range(8)) and study.views[0] == full.views[0] and len(study.views) == 3
    assert full.settings["main"]["guidance"] == 0 < full.settings["guided"]["guidance"]
    assert full.settings["other_sampler"]["sampler"] != full.settings["main"]["sampler"]


def test_the_folder_name_follows_what_defines_a_run(policy):
    name = parsed(policy).folder.name
    assert name.startswith("quick-") and len(name) == len("quick-") + 8
    for same in (
        ["--methods", "uni"], ["--seeds", "3"], ["--benchmarks", "embedded_dpg"], ["--jobs", "1"],
        ["--methods", "base"],
    ):  # fmt: skip
        assert parsed(policy, *same).folder.name == name
    others = (
        ["--budget", "iterations:3"], ["--set", "lr=1e-3"], ["--set", "trace.lr=1e-3"], ["--set", "ht.alpha=0.5"],
        ["--limit", "9"], ["--subset", "embedded_dpg:9"], ["--split", "validation"], ["--preset", "full"],
        ["--set", "main.seed=1"], ["--reward", "objects=1"], ["--checkpoint", f"x={policy}"],
    )  # fmt: skip
    assert len({name, *(parsed(policy, *flags).folder.name for flags in others)}) == len(others) + 1
    assert parsed(policy, "--set", "ht.alpha=0.5").folder == parsed(policy, "--set", "ht.alpha=0.50").folder


def test_overrides_go_where_they_belong(policy):
    request = parsed(
        policy, "--methods", "ht,mask", "--set", "lr=3e-4", "--set", "mask.lr=1e-5", "--set", "ht.alpha=0.4", "--set",
        "main.samples=2", "--reward", "objects=2", "--budget", "iterations:7",
    ).request  # fmt: skip
    assert (request.train["ht"]["lr"], request.train["mask"]["lr"]) == (3e-4, 1e-5)
    assert request.train["ht"]["method_options"]["alpha"] == 0.4
    assert "alpha" not in request.train["mask"]["method_options"]
    assert request.settings["main"]["samples"] == 2 and request.train["ht"]["rewards"] == "objects=2"
    assert request.config("ht", 5).seed == 5 and request.config("ht", 5).budget == "iterations:7"
    assert [literal(text) for text in ("0.50", "true", "null", "2:4:2", "[1]")] == [0.5, True, None, "2:4:2", "[1]"]
    assert resolve("ht", "iterations:1", [{"lr": 1.0}, {"lr": 2.0}]).lr == 2.0
    with pytest.raises(UserError, match="not understood"):
        parse_overrides([".x=1"], ["ht"], ["main"])


@pytest.mark.parametrize("method", METHODS.names())
def test_every_option_of_a_method_can_be_set(method):
    """One that is called as a setting of all is refused, since --set would reach the setting."""
    options = asdict(METHODS.get(method)())
    assert resolve(method, "iterations:1", [options]).method_options == options


def test_a_method_whose_option_is_named_as_a_setting_is_refused(monkeypatch):
    @dataclass(frozen=True)
    class Clashing(METHODS.get("ht")):
        steps: str = "first"

    monkeypatch.setattr(METHODS, "get", lambda name: Clashing)
    with pytest.raises(UserError, match="calls an option 'steps', which is a setting of all"):
        resolve("ht", "iterations:1", [{}])


def test_seeds():
    assert seeds("3", "--seeds") == [0, 1, 2] and seeds("5,", "--seeds") == [5] and seeds("2,0,2", "--seeds") == [0, 2]


def test_methods_and_checkpoints_share_names(policy):
    request = parsed(policy, "--checkpoint", f"ht={policy}", "--checkpoint", f"ht={policy}").request
    assert request.methods == [] and [item["seed"] for item in request.checkpoints["ht"]] == [0, 1]
    assert parsed(policy, "--methods", "base,ht,mask,ht", "--checkpoint", f"ht={policy}").request.methods == ["mask"]
    bare = from_arguments(compare.parser().parse_args(["--checkpoint", str(policy)]))
    assert bare.request.policy == str(policy.resolve()) and "taken as --policy" in bare.remarks[0]
    assert bare.request.methods == ["mask", "trace", "trace_once", "ht"]


def test_selections_spread_over_categories():
    assert select("x", PROMPTS, None, None) == PROMPTS
    assert [p.id for p in select("x", PROMPTS, 5, None)] == ["a-0", "a-1", "a-2", "b-0", "b-1"]
    drawn = select("x", PROMPTS, None, 4)
    assert [p.category for p in drawn] == ["a", "a", "b", "b"]
    assert drawn == select("x", PROMPTS, None, 4) and {p.id for p in drawn} != {"a-0", "a-1", "b-0", "b-1"}
    assert len(select("x", PROMPTS, 99, None)) == 10


def test_a_request_survives_config_json_and_differences_are_named(policy, finished, tmp_path):
    config = RunDir(finished).config()
    request = Request.read(config, "config.json")
    assert asdict(request) == {key: config[key] for key in asdict(request)}
    refuse_difference(finished, config, request, config["prompt_sets"])
    refuse_difference(
        finished, config, replace(request, methods=["uni"], seeds=[9], benchmarks=["embedded_dpg"], train={})
    )
    with pytest.raises(UserError, match="prompt_sets.embedded_dpg = .* says 'other'"):
        refuse_difference(finished, config, request, {"embedded_dpg": "other"})
    with pytest.raises(UserError, match="subset.embedded_dpg = None.* says 3"):
        refuse_difference(finished, config, replace(request, subset={"embedded_dpg": 3}))


def test_temporary_files_of_a_killed_command_are_swept_up(tmp_path):
    run = RunDir(tmp_path)
    (tmp_path / "train/ht/.step_000001.0123abcd.unfinished").mkdir(parents=True)
    (tmp_path / "train/ht/.step_000001.0123abcd.unfinished/.x").write_text("")
    (tmp_path / ".config.json.0123abcd.unfinished").write_text("")
    mine = [".git", ".git/HEAD", ".notes", "train/.config.json.abc"]
    (tmp_path / ".git").mkdir()
    for name in mine[1:]:
        (tmp_path / name).write_text("mine")
    with run.locked():
        left = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*"))
        assert left == sorted([*mine, ".lock", "train", "train/ht"])


def test_completion_notices_what_is_gone(policy, finished, tmp_path):
    stages = ("train", "generate", "score", "report")
    for part in (
        "verdicts/embedded_dpg/main/base.jsonl", "images/base/embedded_dpg/main", "train/ht/seed0/checkpoints", None,
    ):  # fmt: skip
        run = RunDir(Path(shutil.copytree(finished, tmp_path / str(part).replace("/", "_"))))
        request = run.request()
        if part and (run.root / part).is_dir():
            shutil.rmtree(run.root / part)
        elif part:
            (run.root / part).write_text("")
        # Without damage the run is recognised, unless the code changed since it was made.
        assert (
            not is_complete(run, request, stages)
            if part
            else is_complete(run, request, stages) == is_complete(RunDir(finished), request, stages)
        )


def test_another_version_of_a_library_is_other_work_and_both_stay_on_record(policy, tmp_path, monkeypatch):
    run, stages = RunDir(tmp_path / "run"), ("score",)
    request, versions = parsed(policy).request, {"torch": "1", "transformers": "5.23.0"}
    monkeypatch.setattr("htgrpo.base.versions.version", lambda name: versions.get(name, "0"))
    for text in ("5.23.0", "5.24.0"):
        versions["transformers"] = text
        write_config(run, request, {"created": "", "prompt_sets": {}, "versions": machine.versions()})
        assert not is_complete(run, request, stages)
        mark_complete(run, request, stages)
        assert is_complete(run, request, stages)
    config = run.config()
    assert config["versions"]["transformers"] == "5.24.0"
    assert [one["transformers"] for one in config["earlier_versions"]] == ["5.23.0"]


def test_generation_goes_on_and_a_batch_is_made_whole_or_again(policy, tmp_path):
    """Pictures of an interrupted folder equal those of an uninterrupted one, torn manifest or not."""
    prompts = tuple(BENCHMARKS.get("embedded_dpg")().prompts("heldout")[:5])
    values = {
        "sampler": "random", "steps": 2, "guidance": 1.0, "dtype": "float32", "seed": 0, "samples": BATCH // 4,
        "resolution": "",
    }  # fmt: skip
    evaluation = Evaluation("embedded_dpg", "main", values, prompts, prompt_set_sha256(list(prompts)))
    net = load_policy(str(policy))
    seen = []
    generate(net, evaluation, tmp_path / "whole", seen.append)
    assert len(evaluation.items) > BATCH and seen == [BATCH / len(evaluation.items), 1.0]
    cut = Path(shutil.copytree(tmp_path / "whole", tmp_path / "cut"))
    lines = (cut / "manifest.jsonl").read_text().splitlines(keepends=True)
    (cut / "manifest.jsonl").write_text("".join(lines[:3]) + lines[3][:20])
    for line in records(tmp_path / "whole/manifest.jsonl")[3:]:
        (cut / line["file"]).unlink()
    generate(net, evaluation, cut, seen.append)
    assert (cut / "manifest.jsonl").read_bytes() == (tmp_path / "whole/manifest.jsonl").read_bytes()
    assert len(whole_pictures(cut, evaluation)) == len(manifest(cut)) == len(evaluation.items)
    other = replace(evaluation, values={**values, "seed": 1, "samples": 1})
    generate(net, other, cut, seen.append)  # another identity replaces the pictures
    assert identity_of(cut) == other.generation_identity(net.sha256) and len(list(cut.glob("*.png"))) == 5


SECONDS = {
    "embedded": {"ht": 0.39, "mask": 1.73, "trace": 4.9},
    "embedded_large": {"ht": 8.0, "mask": 22.9, "trace": 108.0},
}
"""CPU seconds of an iteration, one core of the machine that the rates are of (28 November 2026)."""


@pytest.mark.parametrize("backbone", SECONDS)
def test_expected_time_is_what_was_measured(backbone):
    request = parsed(backbone, "--methods", ",".join(SECONDS[backbone]), "--budget", "iterations:1").request
    clock = Measured(outline_of(request), load(request.train_prompts))
    for method, seconds in SECONDS[backbone].items():
        config = request.config(method, 0)
        assert clock.train_seconds(config) == pytest.approx(seconds, rel=0.15)
        forwards = sum(clock.forecast.training(config).forwards.values())
        assert clock.train_seconds(replace(config, budget=f"forwards:{3 * forwards}"), spent=forwards) == pytest.approx(
            2 * clock.train_seconds(config)
        )


def test_a_method_that_cannot_be_counted_ends_no_plan():
    """What is wrong with it is its own training's to say."""
    request = parsed("embedded", "--methods", "focus,pretrain", "--set", "steps=1", "--budget", "iterations:2").request
    clock = Measured(outline_of(request), load(request.train_prompts))
    with pytest.raises(UserError, match="steps that focus can choose from"):
        clock.forecast.training(request.config("focus", 0))
    assert "without" not in clock.basis() and clock.train_seconds(request.config("focus", 0)) == 0
    assert "without focus, which cannot be counted: the number of steps that focus can choose from" in clock.basis()
    config = request.config("pretrain", 0)
    twice = replace(config, method_options={**config.method_options, "batch": 128})
    assert 0 < clock.train_seconds(config) == pytest.approx(clock.train_seconds(twice) / 2)


def test_compute_threads_reach_the_jobs(monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    shares = [loop._shares(Options((), jobs=jobs), "cpu", False) for jobs in (None, 0, 2, 8)]
    assert shares == [(8, 1), (1, 2), (2, 2), (8, 1)]


def test_times_of_several_jobs_and_in_words():
    assert estimate.wall_seconds([100, 60, 50], 2) < estimate.wall_seconds([100, 60, 50], 1)
    assert [estimate.in_words(s) for s in (40, 360, 7200)] == ["40 s", "6 min", "2.0 h"]


def test_help_of_a_command_names_the_methods(capsys):
    with pytest.raises(SystemExit):
        compare.main(["--help"])
    text = capsys.readouterr().out
    assert "ht.alpha=0.5" in text and "mask" in text and "--checkpoint METHOD=PATH" in text


def test_arguments_helper_is_a_valid_command(policy, tmp_path):
    assert from_arguments(compare.parser().parse_args(arguments(policy, tmp_path))).request.limit == 7
