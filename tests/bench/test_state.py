"""What happens to the files of a run afterwards: any byte that changes is seen, and nothing is built on it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench import check, compare, report
from bench.checking.chain import check_scores
from bench.checking.findings import Findings
from bench.record.complete import FILE, begin, is_complete, sealed, working
from bench.record.rundir import PATIENCE, RunDir
from bench.run.views import _clock, _last_within
from htgrpo.base.errors import UserError
from reports.run.load import load_run
from tests.bench.tampering import edit
from tests.bench.tiny_runs import arguments, leave
from tests.sealing import flip

STAGES = ("train", "generate", "score", "report")
CHECKPOINT = "train/ht/seed0/checkpoints/step_000002"
VERDICTS = "verdicts/embedded_geneval/main/base"
PICTURES = "images/base/embedded_geneval/main"


@pytest.fixture
def run(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def apart(run: Path) -> list[list[str]]:
    """The files of a run one by one, but for the pictures of a folder, which are alike and come together."""
    found: dict[str, list[str]] = {}
    for name in files(run):
        found.setdefault(str(Path(name).parent) if name.endswith(".png") else name, []).append(name)
    return list(found.values())


def files(run: Path) -> list[str]:
    """Every file of a run that holds a byte."""
    return sorted(p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file() and p.stat().st_size)


@pytest.fixture
def seals(monkeypatch):
    """bench.check without what recomputes: what the lists of files find on their own."""
    monkeypatch.setattr("bench.checking.chain.check_scores", lambda *_: None)
    monkeypatch.setattr("bench.checking.chain.load_benchmarks", lambda *_: {})
    monkeypatch.setattr("bench.checking.training.check_trainings", lambda *_: None)
    monkeypatch.setattr("bench.checking.report._remake", lambda run, temporary, allow: run.root / "report")


def test_one_flipped_byte_of_any_file_is_named(run, seals):
    assert check.check(run).status == "ok"
    for names in apart(run):
        data = {name: (run / name).read_bytes() for name in names}
        for name in names:
            flip(run / name)
        found = check.check(run)
        assert found.exit_code == 1
        for name in names:
            assert any(name in line for line in found.mismatches), name
            (run / name).write_bytes(data[name])
    assert check.check(run).status == "ok"


def test_any_file_that_is_gone_or_added_or_renamed_is_named(run, seals):
    for names in apart(run):
        for name in names:
            (run / name).rename(run / f"{name}.away")
        found = check.check(run) if names != ["config.json"] else None
        told = [*found.mismatches, *found.missing] if found else [names[0], f"{names[0]}.away"]
        for name in names:
            assert any(name in line for line in told), name
            # without the report's list only the report that is made again shows what does not belong there
            assert name == "report/files.json" or any(f"{name}.away" in line for line in told), name
            (run / f"{name}.away").rename(run / name)
    (run / "train/ht/seed0/notes.txt").write_text("mine")
    (run / PICTURES / "more_7.png").write_text("not theirs")
    told = "\n".join(check.check(run).mismatches)
    assert "train/ht/seed0/notes.txt: was written by no command" in told
    assert f"{PICTURES}/more_7.png: was not there when the run was complete" in told


@pytest.mark.parametrize(
    "name",
    [
        "train/ht/seed0/metrics.jsonl", "train/ht/seed0/timing.jsonl", "train/ht/seed0/rewards.json", "config.json",
        FILE, f"{CHECKPOINT}/model.safetensors", f"{CHECKPOINT}/tokenizer.json",
        f"{CHECKPOINT}/vq/codebook.safetensors", f"{CHECKPOINT}/trainer_state/optimizer.safetensors",
        f"{CHECKPOINT}/trainer_state/state.json", f"{CHECKPOINT}/files.json", f"{VERDICTS}.jsonl",
        f"{VERDICTS}.meta.json", f"{PICTURES}/manifest.jsonl", f"{PICTURES}/meta.json",
    ],
)  # fmt: skip
def test_nothing_is_built_on_what_was_changed(run, policy, name, capsys):
    """Adding a seed to a run of which one byte was changed: refused in one sentence, nothing is written."""
    flip(run / name, 0 if name == "config.json" else None)
    before = {name: (run / name).read_bytes() for name in files(run)}
    assert leave(compare.main, arguments(policy, run, "--methods", "ht,pretrain", "--seeds", "2")) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("error: ") and Path(name).name in told and "damaged" in told
    assert {name: (run / name).read_bytes() for name in files(run)} == before


def test_a_changed_picture_is_made_again_to_the_last_bit(run, policy, capsys, no_report, monkeypatch):
    picture = sorted((run / PICTURES).glob("*.png"))[0]
    before = {name: (run / name).read_bytes() for name in files(run) if name != FILE and not name.startswith("report/")}
    flip(picture)
    capsys.readouterr()
    assert leave(report.main, [str(run)]) == 2
    assert f"{picture.name}' is damaged" in (told := capsys.readouterr().err) and "bench.generate" in told
    assert not is_complete(RunDir(run), RunDir(run).request(), STAGES)
    assert compare.main(arguments(policy, run, "--methods", "ht,pretrain")) == 0
    assert "nothing to do" not in capsys.readouterr().err
    assert {name: (run / name).read_bytes() for name in before} == before
    assert is_complete(RunDir(run), RunDir(run).request(), STAGES)


def test_what_a_kill_left_beside_a_verdict_file_is_finished(run, policy, no_report):
    (run / f"{VERDICTS}.part0").touch()
    assert not is_complete(RunDir(run), RunDir(run).request(), STAGES)
    assert compare.main(arguments(policy, run, "--methods", "ht,pretrain")) == 0
    assert not list(run.rglob("*.part0")) and is_complete(RunDir(run), RunDir(run).request(), STAGES)


def test_a_command_that_did_not_end_is_told_and_its_files_are_not_held_against_it(run, seals):
    """Open, complete.json vouches for the trainings that nobody goes on with."""
    one = RunDir(run)
    with pytest.raises(RuntimeError), working(one, [("pretrain", 0)]):
        assert sealed(one).about["open"] and all(name.startswith("train/ht/") for name in sealed(one).files)
        shutil.copy(run / FILE, run.parent / "open")
        raise RuntimeError
    assert not sealed(one).about["open"] and not sealed(one).about["whole"]
    shutil.copy(run.parent / "open", run / FILE)  # as after SIGKILL
    edit(run / f"{VERDICTS}.meta.json", lambda meta: meta.update(note="begun"))
    found = check.check(run)
    assert found.mismatches == [] and any("did not end; run it again" in line for line in found.missing)
    begin(one)
    flip(run / "train/ht/seed0/metrics.jsonl")
    with pytest.raises(UserError, match="metrics.jsonl' is damaged"):
        begin(one)


def test_damage_is_not_sealed_over(run, seals):
    """What was changed while a command was at work is held against the list from before, where trainings are
    concerned."""
    one = RunDir(run)
    with working(one):
        flip(run / CHECKPOINT / "model.safetensors")
    assert any("model.safetensors" in line for line in check.check(run).mismatches)


def test_a_damaged_picture_is_sealed_as_it_was_made(run, seals):
    """And one that is gone is missed, whatever command ran since."""
    one = RunDir(run)
    first, second = sorted((run / PICTURES).glob("*.png"))[:2]
    with working(one):
        flip(first)
        second.unlink()
    told = "\n".join(check.check(run).mismatches)
    assert first.name in told and second.name in told


def test_overwrite_removes_what_the_run_wrote_and_refuses_where_more_lies(run):
    one = RunDir(run)
    (run / "report/notes.txt").write_text("mine")
    before = files(run)
    with pytest.raises(UserError, match="holds 'report/notes.txt', which no command of this run has written"):
        one.clear()
    assert files(run) == before
    (run / "report/notes.txt").unlink()
    one.clear()
    assert [path.name for path in run.rglob("*")] in ([], [".lock"]) or not run.exists()


def test_overwriting_a_training_leaves_the_others_and_strangers(run):
    one = RunDir(run)
    (run / "train/ht/seed0/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="notes.txt"):
        one.clear("train/ht/seed0")
    (run / "train/ht/seed0/notes.txt").unlink()
    one.clear("train/ht/seed0")
    assert not (run / "train/ht").exists() and (run / "train/pretrain/seed0/metrics.jsonl").is_file()


LINE = {"iteration": 1, "forwards": 2, "forwards_total": 2}
WRONG = {
    "config.json": [
        ("methods", None),
        ("seeds", "0"),
        ("seeds", ["0"]),
        ("train", []),
        ("settings", {"main": 3}),
        ("limit", "7"),
        ("prompt_sets", []),
        ("checkpoints", {"a": [{"path": 1}]}),
        ("versions", 3),
        ("text", None),
        ("train", {"ht": {"lr": "x"}}),
        ("train", {"ht": {"nonsense": 1}}),
        ("curve", None),
        ("benchmarks", [3]),
        ("titles", 3),
        ("choices", {"methods": [1]}),
        ("choices", {"world": "", "tuning": {}, "methods": {}}),
        ("earlier_versions", [3]),
        ("claim", {"benchmark": 1}),
        ("budget", 3),
    ],
    f"{VERDICTS}.meta.json": [
        ("policy", []), ("categories", None), ("scale", "1"), ("expected_images", "7"), ("scorer", 3),
        ("published", {"prompts": "x"}), ("axes", ["a"]), ("note", 3),
    ],
    FILE: [("about", {"stamps": {}}), ("files", []), ("files", {"a": None})],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "key", "value"), [(name, *change) for name, changes in WRONG.items() for change in changes]
)
def test_json_of_a_wrong_kind_gives_one_sentence(run, policy, name, key, value, capsys):
    """Without complete.json, so that only the kinds are left to find it."""
    edit(run / name, lambda found: found.update({key: value}))
    if name != FILE:
        (run / FILE).unlink()
    for main, argv in ((report.main, [str(run)]), (check.main, [str(run)])):
        if name == f"{VERDICTS}.meta.json" and main is check.main:
            continue  # test_check does that
        assert leave(main, argv) in (1, 2)
        told = capsys.readouterr()
        assert Path(name).name in told.err + told.out


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({**LINE, "reward_mean": "high"}, "reward_mean is 'high'"),
        ({"iteration": "1"}, "iteration is '1'"),
        ({"iteration": 1, "forwards": 2}, "lacks forwards_total"),
        ({**LINE, "forwards": 1.5}, "forwards is 1.5"),
        ({**LINE, "entropy_by_rank": [1.0, "x"]}, "entropy_by_rank[1] is"),
        ({}, "lacks iteration"),
        ([], "no object"),
    ],
)
def test_a_log_of_a_wrong_kind_gives_one_sentence(run, policy, line, told, capsys):
    (run / FILE).unlink()
    path = run / "train/ht/seed0/metrics.jsonl"
    path.write_text(json.dumps(line) + "\n" + path.read_text())
    assert leave(report.main, [str(run)]) == 2
    assert told in capsys.readouterr().err
    assert leave(compare.main, arguments(policy, run, "--methods", "ht,pretrain")) == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"iteration": 2}, "lacks seconds_total"),
        ({"iteration": 2, "seconds_total": "x"}, "seconds_total is 'x'"),
        ({"iteration": 1, "seconds_total": 1.0}, "lacks the time of iteration 2"),
    ],
)
def test_times_of_a_wrong_kind_give_one_sentence(run, line, told):
    training = RunDir(run).train("ht", 0)
    (training / "timing.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(UserError, match=f"timing.jsonl.*{told}"):
        _last_within(_clock(RunDir(run), "ht", 0), training, 9.0)


def test_equal_commands_at_once_all_end_well(run, policy):
    """Nothing to do for any of them; each wants the report."""
    shutil.rmtree(run / "report")
    code = (
        "import sys; from tests import drawing; drawing.style.rendered = drawing.plainly; from bench import compare; "
        "from bench.ask.cli import run_main; run_main(lambda: compare.main(sys.argv[1:]))"
    )
    argv = [sys.executable, "-c", code, *arguments(policy, run, "--methods", "ht,pretrain")]
    started = [subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=600)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], told
    assert (run / "report/index.html").is_file() and PATIENCE > 60


def test_files_of_a_run_can_be_read_by_others(finished):
    """All have the mode that the umask gives, whatever library wrote them."""
    before = os.umask(0)
    os.umask(before)
    for path in finished.rglob("*"):
        if path.name != ".lock":
            wanted = (0o777 if path.is_dir() else 0o666) & ~before
            assert path.stat().st_mode & 0o777 == wanted, path


def test_verdicts_that_were_edited_in_an_unsealed_run_are_judged_again(run, policy, no_report, capsys):
    before = (run / f"{VERDICTS}.jsonl").read_bytes()
    (run / FILE).unlink()
    (run / f"{VERDICTS}.jsonl").write_text(before.decode().replace('"score": 0.0', '"score": 1.0'))
    assert (run / f"{VERDICTS}.jsonl").read_bytes() != before
    with pytest.raises(
        UserError, match=r"base.jsonl' is not as it was written .* delete it, and the same command judges again"
    ):
        load_run(run)
    findings = Findings()
    one = RunDir(run)
    check_scores(one, one.request(), one.config(), {}, findings)
    assert any(line.startswith(f"{VERDICTS}.jsonl: is not as it was written") for line in findings.mismatches)
    assert compare.main(arguments(policy, run, "--methods", "ht,pretrain")) == 0
    assert (run / f"{VERDICTS}.jsonl").read_bytes() == before


def test_no_claim_is_named_after_the_scores_are_known(run, policy, no_report, capsys):
    (run / FILE).unlink()
    edit(run / "config.json", lambda config: config.update(claim=None))
    assert leave(compare.main, arguments(policy, run, "--methods", "ht,pretrain", "--claim", "embedded_dpg")) == 2
    assert "was scored before anybody named a claim: leave --claim out" in capsys.readouterr().err
    assert compare.main(arguments(policy, run, "--methods", "ht,pretrain")) == 0
    assert RunDir(run).request().claim is None
