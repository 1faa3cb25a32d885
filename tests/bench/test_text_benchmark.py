"""The text benchmark: policies asked for text in a run, beside or without pictures."""

import json
import shutil
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
from lm_eval.api.metrics import mean

from bench import check as bench_check
from bench import compare, score
from bench import text as bench_text
from bench.ask.asked import from_arguments
from bench.benchmarks.registry import check, make
from bench.benchmarks.text import scoring
from bench.benchmarks.text.benchmark import Text
from bench.benchmarks.text.settings import OPTIONS, TextSettings, from_options
from bench.record.rundir import RunDir
from bench.record.verdicts import score_identity
from bench.record.work import SCORE
from bench.run.plan import load_context
from htgrpo.base.errors import UserError
from htgrpo.base.files import read_jsonl
from htgrpo.policies.storage import load_policy
from tests.bench.tampering import drop_line, edit, edit_line, reseal
from tests.bench.tiny_runs import arguments, leave, records, run_compare, save_policy, tree
from tests.text.toys import use_one_task_of_the_library

ASK = ["--set", "text.gen_length=8", "--set", "text.samples=15"]
POLICIES = ("base", "pretrain-seed0")


@pytest.fixture(scope="module")
def asked(policy, tmp_path_factory):
    """A run of base and pretrain on text alone, seven documents of either task."""
    out = tmp_path_factory.mktemp("asked") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.ask.machine.cores", lambda: 1)
        run_compare(policy, out, "--methods", "pretrain", "--benchmarks", "text", *ASK, "--limit", "14")
    return out


def context_of(policy, out, *more):
    argv = arguments(policy, out, "--methods", "base", "--benchmarks", "text", *ASK, *more)
    return load_context(RunDir(out), from_arguments(compare.parser().parse_args(argv)).request, (SCORE,), "cpu", 1)


def test_every_policy_is_asked_and_shown(asked, capsys):
    config = json.loads((asked / "config.json").read_text())
    assert config["text"]["decoding"]["gen_length"] == 8 and config["title"] == "embedded world"
    for name in POLICIES:
        verdicts = records(asked / f"verdicts/text/main/{name}.jsonl")
        assert [v["category"] for v in verdicts] == ["embedded_choice"] * 7 + ["embedded_write"] * 7
        assert all(v["status"] == "ok" and v["score"] in (0.0, 1.0) and v["image"] == "" for v in verdicts)
        meta = json.loads((asked / f"verdicts/text/main/{name}.meta.json").read_text())
        assert meta["setting"]["text"]["samples"] == 15 and meta["setting"]["dtype"] == "float32"
        assert "pictures" not in meta
        assert (meta["aggregate"], meta["expected_images"]) == ("category_mean", 14)
    assert not (asked / "images").exists()
    table = (asked / "report" / "table.csv").read_text()
    assert "text" in table and "embedded_write" in table


def test_scores_are_those_of_lm_eval(asked, policy, tmp_path):
    """Against the results beside them, and against python -m bench.text on the same documents."""
    flags = ["--gen-length", "8", "--samples", "15", "--limit", "7", "--device", "cpu"]
    assert bench_text.main(["--policy", str(policy), "--out", str(tmp_path / "own"), *flags]) == 0
    folders = tmp_path / "own", asked / "results/text/main/base"
    own, kept = (json.loads((folder / "results.json").read_text()) for folder in folders)
    assert kept["results"] == own["results"] and kept["n-samples"]["embedded_choice"]["effective"] == 7
    assert kept["config"]["model_sha"] == own["config"]["model_sha"]
    verdicts = records(asked / "verdicts/text/main/base.jsonl")
    for task, metric in (("embedded_choice", "acc"), ("embedded_write", "exact_match")):
        samples = read_jsonl(asked / f"results/text/main/base/samples_{task}.jsonl")
        assert [v["score"] for v in verdicts if v["category"] == task] == [sample[metric] for sample in samples]
        assert [v["prompt_id"] for v in verdicts if v["category"] == task] == [f"{task}-{s['doc_id']}" for s in samples]


def test_an_unchanged_run_does_nothing(asked, policy, capsys):
    before = tree(asked)
    run_compare(policy, asked, "--methods", "pretrain", "--benchmarks", "text", *ASK, "--limit", "14")
    assert "nothing to do" in capsys.readouterr().err and tree(asked) == before
    run_compare(policy, asked, "--methods", "pretrain", "--benchmarks", "text", *ASK, "--limit", "14", "--dry-run")
    assert "nothing to do" in capsys.readouterr().out


def test_what_is_missing_is_asked_again_and_comes_out_alike(asked, tmp_path, no_report):
    run = shutil.copytree(asked, tmp_path / "run")
    before = (run / "verdicts/text/main/pretrain-seed0.jsonl").read_bytes(), tree(run)["verdicts/text/main/base.jsonl"]
    (run / "verdicts/text/main/pretrain-seed0.meta.json").unlink()
    assert score.main([str(run), "--jobs", "0"]) == 0
    assert (
        (run / "verdicts/text/main/pretrain-seed0.jsonl").read_bytes(),
        tree(run)["verdicts/text/main/base.jsonl"],
    ) == before
    assert (run / "verdicts/text/main/pretrain-seed0.meta.json").is_file()


def checked(run, capsys) -> tuple[int, str]:
    return leave(bench_check.main, [str(run)]), capsys.readouterr().out


def test_a_check_finds_nothing_in_an_honest_run(asked, capsys, monkeypatch):
    monkeypatch.setattr("bench.checking.report.check_report", lambda *_: None)
    code, told = checked(asked, capsys)
    assert code == 0 and "28 verdicts found again in results" in told and "mismatch" not in told
    assert "missing" not in told


VERDICTS, KEPT = "verdicts/text/main/base", "results/text/main/base"


@pytest.mark.parametrize(
    "tamper, told",
    [
        (lambda run: edit_line(run / f"{VERDICTS}.jsonl", 0, lambda r: r.update(score=1.0 - r["score"])), "score is"),
        (lambda run: drop_line(run / f"{VERDICTS}.jsonl", 3), "is missing"),
        (
            lambda run: edit_line(
                run / f"{KEPT}/samples_embedded_choice.jsonl", 1, lambda s: s.update(acc=1.0 - s["acc"])
            ),
            "score is",
        ),
        (lambda run: drop_line(run / f"{KEPT}/samples_embedded_write.jsonl", 0), "does not hold lm-eval's results"),
        (
            lambda run: edit(run / f"{KEPT}/results.json", lambda r: r["config"].update(model_sha="0" * 64)),
            "policy_sha256 is",
        ),
        (
            lambda run: edit(run / f"{VERDICTS}.meta.json", lambda m: m["setting"]["text"].update(samples=16)),
            "setting.text is",
        ),
        (lambda run: edit(run / f"{VERDICTS}.meta.json", lambda m: m["scorer"].update(version="0.0")), "identity is"),
        (lambda run: edit(run / "config.json", lambda c: c.update(benchmarks=[])), "asks for no text"),
    ],
)
def test_a_check_finds_what_was_changed(asked, tmp_path, capsys, monkeypatch, tamper, told):
    monkeypatch.setattr("bench.checking.report.check_report", lambda *_: None)
    run = shutil.copytree(asked, tmp_path / "run")
    tamper(run)
    reseal(run)
    code, found = checked(run, capsys)
    assert code == 1 and any(told in line for line in found.splitlines() if line.startswith("mismatch: ")), found


def test_a_curve_of_text_is_kept_apart(policy, tmp_path, capsys):
    """Every checkpoint on a few documents, beside the main setting; the report and the check know them apart."""
    run, more = (
        tmp_path / "run",
        ["--methods", "pretrain", "--benchmarks", "text", *ASK, "--set", "save_every=1", "--curve", "4"],
    )
    run_compare(policy, run, *more)
    curve = {path.stem: len(records(path)) for path in run.glob("verdicts/text/curve/*.jsonl")}
    assert curve == {"base": 4, "pretrain-seed0.1": 4, "pretrain-seed0.2": 4}
    assert {path.stem for path in run.glob("verdicts/text/main/*.jsonl")} == set(POLICIES)
    capsys.readouterr()
    code, told = checked(run, capsys)
    assert code == 0, told


def test_an_identity_is_of_weights_settings_and_documents(policy, tmp_path):
    def identity(policy, *more) -> str:
        context = context_of(policy, tmp_path / "run", *more)
        (evaluation,) = context.evaluations()
        return score_identity(context.benchmarks["text"], evaluation, context.request.policy_sha256)

    found = [
        identity(policy),
        identity(save_policy(tmp_path / "other", d_model=8)),
        identity(policy, "--set", "text.seed=1"),
        identity(policy, "--limit", "8"),
        identity(policy, "--subset", "text:7"),
    ]
    assert len(set(found)) == 5 and identity(policy) == found[0]


def test_a_subset_may_leave_a_task_out(policy, tmp_path):
    context = context_of(policy, tmp_path / "run", "--limit", "1")
    (evaluation,) = context.evaluations()
    steps = []
    found = make("text").examine(
        load_policy(str(policy)),
        evaluation,
        tmp_path / "left",
        steps.append,
        SimpleNamespace(is_main=True, count=1, share=list, together=list),
    )
    assert len(found) == 1 and steps == sorted(steps) and steps[-1] == 1.0
    assert sorted(path.name for path in (tmp_path / "left").iterdir()) == [
        "results.json",
        "samples_embedded_choice.jsonl",
    ]


def test_the_first_of_several_filters_counts(policy, tmp_path, monkeypatch):
    context = context_of(policy, tmp_path / "run")
    (evaluation,) = context.evaluations()
    evaluate = scoring.evaluate

    def twice(*arguments, **options):
        results = evaluate(*arguments, **options)
        more = {
            task: [{**s, s["metrics"][0]: 1.0 - s[s["metrics"][0]], "filter": "last"} for s in samples]
            for task, samples in results["samples"].items()
        }
        return {**results, "samples": {task: samples + more[task] for task, samples in results["samples"].items()}}

    def ask():
        ranks = SimpleNamespace(is_main=False, count=1, share=list, together=list)
        return make("text").examine(load_policy(str(policy)), evaluation, tmp_path, lambda part: None, ranks)

    once = ask()
    monkeypatch.setattr(scoring, "evaluate", twice)
    assert ask() == once


def test_pictures_and_text_share_a_policy(policy, tmp_path, no_report):
    """A job of both loads its policy once."""
    loads = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "bench.run.worker._load", lambda job, source, *rest: loads.append(source) or load_policy(source, "cpu")
        )
        run_compare(policy, tmp_path / "run", "--methods", "base", "--benchmarks", "text,embedded_geneval", *ASK)
    assert len(loads) == 1
    assert {path.parent.parent.name for path in tmp_path.glob("run/verdicts/*/main/base.jsonl")} == {
        "text",
        "embedded_geneval",
    }
    assert not (tmp_path / "run/images/base/text").exists()


@pytest.mark.parametrize(
    "flags, parts",
    [
        (["--benchmarks", "texts"], ["unknown benchmark 'texts'", "'text'"]),
        (["--benchmarks", "text@"], ["write text@TASK"]),
        (["--benchmarks", "clip@text"], ["text has no pictures"]),
        (["--benchmarks", "text", "--set", "text.gen_len=8"], ["unknown setting of text 'gen_len'", "'gen_length'"]),
        (["--benchmarks", "text", "--set", "text.samples=0"], ["samples is '0'", "from 1"]),
        (["--benchmarks", "text", "--set", "text.samples=many"], ["text.samples is 'many'", "whole number"]),
        (["--benchmarks", "text", "--set", "text.chat=true"], ["cannot chat", "mmada"]),
        (["--benchmarks", "text@embedded_writ"], ["unknown task 'embedded_writ'", "'embedded_write'"]),
        (["--benchmarks", "text@gsm8k"], ["the data of gsm8k cannot be loaded"]),
        (["--benchmarks", "text", "--subset", "text:9999"], ["--subset text:9999", "64"]),
    ],
    ids=lambda value: " ".join(value[1:]) if value[0].startswith("--") else "",
)
def test_bad_input_is_one_sentence_before_anything_is_done(policy, tmp_path, capsys, monkeypatch, flags, parts):
    use_one_task_of_the_library(monkeypatch)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert leave(compare.main, arguments(policy, tmp_path / "run", "--methods", "ht", *flags)) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-1].startswith("error: ") and all(part in told[-1] for part in parts), told[-1]
    assert not (tmp_path / "run" / "train").exists()


def test_given_pictures_cannot_be_asked(tmp_path, capsys):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a cat")
    argv = ["--images", f"x={tmp_path}", "--benchmarks", "text", "--out", str(tmp_path / "run")]
    assert leave(score.main, argv) == 2
    assert "asks a policy itself and judges no pictures" in capsys.readouterr().err


def test_names():
    assert check("text@gsm8k") == "text@gsm8k" and make("text").name == "text"
    one = make("text@embedded_write")
    assert (one.name, one.categories, one.world) == ("text@embedded_write", ("embedded_write",), "embedded")
    assert {prompt.category for prompt in Text().prompts("heldout")} == {"embedded_choice", "embedded_write"}


def test_only_accuracies_are_accepted():
    def tasks(metric, better=True, aggregate=mean):
        task = SimpleNamespace(aggregation=lambda: {metric: aggregate}, higher_is_better=lambda: {metric: better})
        return SimpleNamespace(single={"t": task})

    for metric in ("acc", "acc_norm", "exact_match", "prompt_level_strict_acc"):
        assert scoring.metric_of(tasks(metric), "t") == metric
    for refused in (
        tasks("f1"), tasks("word_perplexity", better=False), tasks("acc", better=False), tasks("acc", aggregate=max),
        tasks("accident"),
    ):  # fmt: skip
        with pytest.raises(UserError, match="the task 't' is measured by"):
            scoring.metric_of(refused, "t")


def test_options_of_a_task_are_checked_before_a_run():
    task = SimpleNamespace(OUTPUT_TYPE="generate_until", config=SimpleNamespace(generation_kwargs={"num_beams": 4}))
    with pytest.raises(UserError, match="asks to generate with {'num_beams': 4}"):
        scoring.check_options(SimpleNamespace(single={"t": task}), TextSettings())


def test_settings_by_name():
    assert from_options({}) == TextSettings() and TextSettings.read(asdict(TextSettings())) == TextSettings()
    one = from_options({"gen_length": "16", "temperature": "0.5", "chat": "true", "head": "text"}, "text.")
    assert (one.decoding.gen_length, one.decoding.block_length, one.decoding.steps) == (16, 16, 16)
    assert (one.temperature, one.chat, one.head) == (0.5, True, "text") and "decoding" not in OPTIONS
    assert replace(one, chat=False) == TextSettings.read(asdict(replace(one, chat=False)))
