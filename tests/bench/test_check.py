"""bench.check finds what contradicts itself in a run, says so in one line each, and finds nothing in an honest one."""

import json
import shutil
from pathlib import Path

import pytest

from bench import check
from bench.benchmarks.registry import make
from bench.checking import report
from bench.checking.findings import Findings
from bench.checking.seal import check_complete
from bench.record.complete import FILE
from bench.record.rundir import RunDir
from htgrpo.base.files import sha256_json
from tests.bench.tampering import drop_line, edit, edit_line, reseal
from tests.bench.tiny_runs import leave

BASE, HT = "verdicts/embedded_geneval/main/base", "verdicts/embedded_geneval/main/ht-seed0"
LOG = "train/ht/seed0/metrics.jsonl"
PICTURES, DENSE, THEIRS = (
    f"images/{name}/main" for name in ("base/embedded_geneval", "base/embedded_dpg", "ht-seed0/embedded_geneval")
)


@pytest.fixture
def run(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def raw(monkeypatch):
    """Looks at the raw records only: the report, which takes seconds to draw, has tests of its own."""
    monkeypatch.setattr(report, "check_report", lambda *_: None)


def swap(run: Path) -> tuple[Path, Path]:
    one, other = sorted((run / PICTURES).glob("*.png"))[:2]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    return one, other


def swap_records(run: Path) -> None:
    path = run / PICTURES / "manifest.jsonl"
    first, second = (json.loads(line) for line in path.read_text().splitlines()[:2])
    edit_line(path, 0, lambda record: record.update(file=second["file"], sha256=second["sha256"]))
    edit_line(path, 1, lambda record: record.update(file=first["file"], sha256=first["sha256"]))


def test_an_honest_run_matches_to_the_last_byte_and_is_left_alone(run, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert leave(check.main, [str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["status"], found["mismatches"], found["missing"], found["unchecked"]) == ("ok", [], [], [])
    pictures = sum(path.suffix in (".png", ".pdf", ".svg") for path in run.glob("report/*"))
    wanted = {
        "pictures": 42, "verdicts": 42, "verdicts judged again": 42, "trainings": 2, "training iterations": 4,
        "pictures of the report": pictures, "texts and tables of the report": 9,
    }  # fmt: skip
    assert found["counts"].items() >= wanted.items() and pictures > 4
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


TAMPERINGS = {
    "an edited score": (
        lambda run: edit_line(run / f"{BASE}.jsonl", 2, lambda r: r.update(score=1.0 - r["score"])),
        [f"{BASE}.jsonl: (", "score is ", "judged again"],
    ),
    "edited evidence": (
        lambda run: edit_line(run / f"{BASE}.jsonl", 2, lambda r: r["evidence"].update(reason="looks good")),
        [f"{BASE}.jsonl: (", "evidence differs from what the scorer finds"],
    ),
    "a dropped record": (
        lambda run: drop_line(run / f"{BASE}.jsonl", 3),
        [f"{BASE}.jsonl: the record of (", "is missing"],
    ),
    "a record twice": (
        lambda run: (run / f"{BASE}.jsonl").write_text((run / f"{BASE}.jsonl").read_text() * 2),
        [f"{BASE}.jsonl: (", "2 times"],
    ),
    "a truncated file": (
        lambda run: (run / f"{BASE}.jsonl").write_text((run / f"{BASE}.jsonl").read_text()[:-30]),
        [f"{BASE}.jsonl: is cut off"],
    ),
    "swapped pictures": (swap, [f"{PICTURES}: ", "is not the picture that manifest.jsonl records"]),
    "pictures swapped in the manifest": (
        swap_records,
        [f"{PICTURES}: ", "is recorded as the picture of ", "was judged from another picture than the one manifest"],
    ),
    "a removed picture": (lambda run: next(run.glob(f"{DENSE}/*.png")).unlink(), [f"{DENSE}: ", "is gone"]),
    "a picture more": (
        lambda run: shutil.copy(next(run.glob(f"{DENSE}/*.png")), run / DENSE / "extra.png"),
        [f"{DENSE}: extra.png is a picture that manifest.jsonl does not record"],
    ),
    "a dropped picture record": (
        lambda run: drop_line(run / DENSE / "manifest.jsonl", 0),
        [f"{DENSE}/manifest.jsonl: the record of"],
    ),
    "a truncated manifest": (
        lambda run: (run / DENSE / "manifest.jsonl").write_text('{"prompt_id": "'),
        [f"verdicts/embedded_dpg/main/base.jsonl: {DENSE}/manifest.jsonl, which belongs to it, is cut off"],
    ),
    "a changed generation setting": (
        lambda run: edit(run / "config.json", lambda c: c["settings"]["main"].update(steps=3)),
        [f"{BASE}.meta.json: setting.steps is 2, but config.json's settings.main says 3"],
    ),
    "a changed setting of a verdict": (
        lambda run: edit(run / f"{BASE}.meta.json", lambda m: m["setting"].update(seed=5)),
        [f"{BASE}.meta.json: identity is ", f"{BASE}.meta.json: setting.seed is 5"],
    ),
    "a changed learning rate": (
        lambda run: edit(run / "config.json", lambda c: c["train"]["ht"].update(lr=0.5)),
        ["train/ht/seed0/checkpoints/step_000002/trainer_state/state.json: was not trained with the settings"],
    ),
    "another start": (
        lambda run: edit(run / "config.json", lambda c: c.update(policy_sha256="0" * 64)),
        [f"{PICTURES}/meta.json: policy_sha256 is ", "train/ht/seed0/checkpoints"],
    ),
    "other prompts": (
        lambda run: edit(run / "config.json", lambda c: c.update(limit=6)),
        ["config.json: prompt_sets.embedded_geneval is "],
    ),
    "a subset that cannot be": (
        lambda run: edit(run / "config.json", lambda c: c.update(subset={"embedded_dpg": 999})),
        ["config.json: --subset embedded_dpg:999"],
    ),
    "an edited prompt": (
        lambda run: edit_line(run / f"{BASE}.jsonl", 1, lambda r: r.update(prompt="a photo of nothing")),
        ["has another prompt or category than the prompt set"],
    ),
    "a changed rule": (
        lambda run: edit(run / f"{BASE}.meta.json", lambda m: m.update(aggregate="item_mean")),
        [f"{BASE}.meta.json: aggregate is 'item_mean', but the benchmark says 'category_mean'"],
    ),
    "pictures of another policy": (
        lambda run: shutil.copytree(run / PICTURES, run / THEIRS, dirs_exist_ok=True),
        [f"{THEIRS}/meta.json: policy_sha256 is ", "the weights in train/ht/seed0/checkpoints/step_000002 says"],
    ),
    "verdicts of another policy": (
        lambda run: [shutil.copy(run / f"{BASE}{end}", run / f"{HT}{end}") for end in (".jsonl", ".meta.json")],
        [f"{HT}.jsonl: its name is 'ht-seed0', but its meta file says 'base'"],
    ),
    "other weights": (
        lambda run: shutil.copy(
            run / "train/pretrain/seed0/checkpoints/step_000002/model.safetensors",
            run / "train/ht/seed0/checkpoints/step_000002/model.safetensors",
        ),
        [f"{THEIRS}/meta.json: policy_sha256 is "],
    ),
    "a dropped training record": (lambda run: drop_line(run / LOG, 0), [f"{LOG}: line 1 is of iteration 2"]),
    "a truncated training log": (
        lambda run: (run / LOG).write_text((run / LOG).read_text()[:-9]),
        ["metrics.jsonl is cut off"],
    ),
    "forged costs": (
        lambda run: edit_line(run / LOG, 1, lambda r: r.update(forwards_total=1)),
        [f"{LOG}: the forwards of iteration 2 do not add up", "state.json: forwards is "],
    ),
    "a damaged meta file": (
        lambda run: (run / f"{BASE}.meta.json").write_text("{"),
        [f"{BASE}.jsonl: {BASE}.meta.json, which belongs to it, is damaged"],
    ),
    "values of a wrong kind": (
        lambda run: edit(run / f"{BASE}.meta.json", lambda m: m.update(policy=[])),
        [f"{BASE}.jsonl: {BASE}.meta.json, which belongs to it, is damaged or was edited (policy is []"],
    ),
    "no configuration": (lambda run: (run / "config.json").write_text("{}"), ["config.json: config.json lacks "]),
    "a truncated configuration": (
        lambda run: (run / "config.json").write_text((run / "config.json").read_text()[:-20]),
        ["config.json' is not JSON"],
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_each_tampering_is_named_even_when_the_seal_was_forged(run, raw, name, capsys):
    tamper, expected = TAMPERINGS[name]
    tamper(run)
    reseal(run)
    assert leave(check.main, [str(run)]) == 1
    lines = capsys.readouterr().out.splitlines()
    mismatches = [line for line in lines if line.startswith("mismatch: ")]
    for text in expected:
        assert any(text in line for line in mismatches), (text, mismatches)
    assert lines[-1].startswith("mismatch: ") and str(run) in lines[-1]


@pytest.mark.parametrize("name", ["an edited score", "a truncated training log", "a changed rule"])
def test_the_seal_alone_names_a_file_that_was_touched(run, name):
    honest = Findings()
    check_complete(RunDir(run), honest)
    assert honest.status == "ok" and honest.counts["sealed files"] == 88
    TAMPERINGS[name][0](run)
    findings = Findings()
    check_complete(RunDir(run), findings)
    assert len(findings.mismatches) == 1
    assert "is not the file that was there when the run was complete" in findings.mismatches[0]


def test_what_is_not_there_yet_is_incomplete_and_no_mismatch(run, raw, capsys):
    (run / FILE).unlink()
    assert leave(check.main, [str(run)]) == 3
    assert "missing: complete.json: is not there" in capsys.readouterr().out
    for path in run.glob("verdicts/*/*/base.*"):
        path.unlink()
    assert leave(check.main, [str(run)]) == 3
    assert f"missing: {PICTURES}: its pictures have no verdicts" in capsys.readouterr().out
    shutil.rmtree(run / "train/ht/seed0/checkpoints")
    assert leave(check.main, [str(run)]) == 3
    assert "is gone, so that nothing shows whose pictures those of ht-seed0 are" in capsys.readouterr().out


def test_a_verdict_file_that_is_gone_from_a_complete_run_is_a_mismatch(run, raw):
    for end in (".jsonl", ".meta.json"):
        (run / f"{BASE}{end}").unlink()
    found = check.check(run)
    assert f"{BASE}.jsonl: is gone since the run was complete (complete.json)" in found.mismatches


def test_scores_of_another_scorer_are_said_not_to_be_checked(run, raw):
    """A whole chain that was judged by a scorer which is not here: its identity holds, its pictures cannot be judged
    again."""

    def other(meta: dict) -> None:
        pictures = json.loads((run / f"{PICTURES}/meta.json").read_text())
        meta["scorer"] = {**meta["scorer"], "version": "0"}
        meta["identity"] = sha256_json([pictures["identity"], meta["scorer"], meta["version"]])

    edit(run / f"{BASE}.meta.json", other)
    reseal(run)
    found = check.check(run)
    assert found.mismatches == [] and len(found.unchecked) == 1
    assert "another version of the scorer" in found.unchecked[0]


CLIP = "clip@embedded_geneval"


@pytest.fixture
def with_clip(run, monkeypatch) -> Path:
    """The run with verdicts of a scorer whose weights are not here, on pictures that it shares with
    embedded_geneval."""
    benchmark, scorer = make(CLIP), {"name": "clip", "version": "1", "weights_revision": "abc"}
    monkeypatch.setenv("HTGRPO_WEIGHTS", str(run / "nothing"))
    for path in run.glob("verdicts/embedded_geneval/main/*.meta.json"):
        meta = json.loads(path.read_text())
        made = json.loads((run / "images" / meta["policy"]["name"] / "embedded_geneval/main/meta.json").read_text())
        rule = {
            key: getattr(benchmark, key)
            for key in ("version", "title", "aggregate", "scale", "higher_is_better", "note")
        }
        identity = sha256_json([made["identity"], scorer, benchmark.version])
        meta |= {**rule, "categories": [], "benchmark": CLIP, "scorer": scorer, "identity": identity}
        folder = run / "verdicts" / CLIP / "main"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_text(json.dumps(meta))
        name = path.name.replace(".meta.json", ".jsonl")
        shutil.copy(path.with_name(name), folder / name)

    def ask(config: dict) -> None:
        config["benchmarks"].append(CLIP)
        for key in ("prompt_sets", "selections"):
            config[key][CLIP] = config[key]["embedded_geneval"]

    edit(run / "config.json", ask)
    return run


def test_scorers_without_weights_share_pictures_and_are_said_once_not_to_be_checked(with_clip, raw):
    reseal(with_clip)
    found = check.check(with_clip)
    assert found.mismatches == [] and found.counts["pictures"] == 42 and found.counts["verdicts"] == 42 + 21
    (line,) = found.unchecked
    assert line.startswith(f"verdicts/{CLIP}: scores (weights not here: ")
    path = f"verdicts/{CLIP}/main/base.jsonl"
    edit_line(with_clip / path, 2, lambda record: record.update(sha256="0" * 64))
    reseal(with_clip)
    (line,) = check.check(with_clip).mismatches
    assert line.startswith(f"{path}: (") and "was judged from another picture" in line
    (with_clip / path).with_suffix(".part0").write_text("")
    assert (
        f"verdicts/{CLIP}/main/base.part0: a scoring was interrupted; run its command again"
        in check.check(with_clip).missing
    )


def test_a_command_line_without_a_run_is_a_usage_error(tmp_path, capsys):
    assert leave(check.main, [str(tmp_path)]) == 2
    assert "holds no config.json" in capsys.readouterr().err
