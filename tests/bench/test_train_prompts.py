"""What a training draws from: files, assets, what is recorded of them, and what is refused in one sentence."""

import json

import pytest

from bench import check, compare, train
from bench.record.rundir import RunDir
from bench.record.work import TRAIN, Job
from bench.run.jobs import run_jobs
from bench.scorers.registry import SCORERS
from bench.scorers.servers import use_servers
from bench.sources import training_prompts
from htgrpo.base.errors import EXIT_USAGE, UserError
from htgrpo.base.prompts import Prompt, prompt_set_sha256
from htgrpo.training.train_config import TrainConfig
from htgrpo.world.prompts import split_prompts
from htgrpo.world.world import find
from tests.bench.tampering import edit
from tests.bench.tiny_runs import SMALL, arguments, leave, records
from tests.htgrpo.test_plugin import install
from tests.scorers.made_assets import entry, sha256, use

GENEVAL = {"tag": "colors", "include": [{"class": "cup", "count": 1, "color": "red"}], "prompt": "a photo of a red cup"}


def written(path, *lines):
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return str(path)


def test_texts_one_a_line(tmp_path):
    found = training_prompts.train_prompts(written(tmp_path / "a.txt", "a cat", "", "  zwei Hunde  ", "a\u2028b"))
    assert found["source"] == str(tmp_path / "a.txt")
    assert training_prompts.load(found) == [
        Prompt("000001", "a cat", "prompts", {}),
        Prompt("000003", "zwei Hunde", "prompts", {}),
        Prompt("000004", "a\u2028b", "prompts", {}),
    ]
    assert found["sha256"] == prompt_set_sha256(training_prompts.load(found))


def test_records(tmp_path):
    lines = [{"prompt": "a cat"}, {"prompt": "b", "id": 7, "category": "x", "spec": {"n": 1}}, GENEVAL]
    found = training_prompts.load(
        training_prompts.train_prompts(written(tmp_path / "a.jsonl", *map(json.dumps, lines)))
    )
    assert found == [
        Prompt("000001", "a cat", "prompts", {}),
        Prompt("7", "b", "x", {"n": 1}),
        Prompt("000003", "a photo of a red cup", "colors", GENEVAL),
    ]


def test_the_default_is_the_embedded_world():
    for text in (None, "embedded"):
        found = training_prompts.train_prompts(text)
        assert found == {"source": "embedded", "sha256": prompt_set_sha256(split_prompts(find(), "train"))}
    assert training_prompts.load(found) == split_prompts(find(), "train")


def test_an_asset(tmp_path, monkeypatch):
    data = (json.dumps(GENEVAL) + "\n").encode()
    (tmp_path / "t.jsonl").write_bytes(data)
    monkeypatch.setenv("HTGRPO_ASSETS", str(tmp_path))
    use(monkeypatch, entry("mine", "t.jsonl", sha256(data), train=True), entry("other", "o.jsonl", sha256(data)))
    found = training_prompts.train_prompts("mine")
    assert found["source"] == "mine" and training_prompts.load(found)[0].spec == GENEVAL
    with pytest.raises(UserError, match="did you mean 'mine'"):
        training_prompts.train_prompts("mime")
    with pytest.raises(UserError, match="unknown prompt set"):
        training_prompts.train_prompts("other")  # a benchmark's: not to be trained on


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.txt", "\n \n", "holds no prompts"),
        ("a.md", "a", r"\.txt, .* files, not from '.*a.md'"),
        ("a.csv", "a", "line 1 of .* does not name the columns"),
        ("a.jsonl", '{"prompt": "a"}\nb', "line 2 of .* is not JSON"),
        ("a.jsonl", '{"text": "a"}', 'line 1 .* has no "prompt"'),
        ("a.jsonl", '{"prompt": " "}', 'has no "prompt"'),
        ("a.jsonl", '["a"]', 'has no "prompt"'),
        ("a.jsonl", '{"prompt": "a", "id": "x"}\n{"prompt": "b", "id": "x"}', "id 'x' twice"),
        ("a.jsonl", '{"prompt": "a", "spec": 3}', '"spec" is an object'),
        ("a.jsonl", '{"prompt": "a", "id": "../x"}', "the id '../x'"),
        ("a.jsonl", '{"prompt": "a", "id": true}', "the id True"),
        ("a.jsonl", '{"prompt": "a", "tag": 1}', '"category"'),
    ],
)
def test_bad_files(tmp_path, name, text, why):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=why) as caught:
        training_prompts.train_prompts(str(tmp_path / name))
    assert "\n" not in caught.value.message


def test_files_that_are_none(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot be read as UTF-8"):
        training_prompts.train_prompts(str(tmp_path / "a.txt"))
    with pytest.raises(
        UserError, match="is not a file: give a .txt, .* file, or one of embedded, embedded_large, geneval_train"
    ):
        training_prompts.train_prompts(str(tmp_path / "b.txt"))


def test_a_run_trains_on_them_and_says_so(policy, tmp_path, capsys):
    """Recorded in config.json; another file is refused, also under the same name; the embedded rewards refuse
    strangers."""
    path = tmp_path / "p.jsonl"
    written(path, *(json.dumps({"prompt": f"{colour} circle", "id": colour}) for colour in ("red", "blue", "green")))
    reward = ["--reward", "tests.htgrpo.reward_functions:brightness=1"]
    cut = [
        value
        for pair in zip(SMALL[::2], SMALL[1::2])
        for value in pair
        if pair[0] == "--set" and not pair[1].startswith("main.")
    ]

    def command(*more):
        return leave(
            train.main,
            [
                "--method", "ht", "--policy", str(policy), "--out", str(tmp_path / "run"), "--budget", "iterations:2",
                *cut, "--train-prompts", str(path), *more,
            ],
        )  # fmt: skip

    assert command() == EXIT_USAGE and "embedded worlds only" in capsys.readouterr().err
    assert not (tmp_path / "run" / "train").exists()
    assert command(*reward) == 0
    recorded = json.loads((tmp_path / "run" / "config.json").read_text())["train_prompts"]
    assert recorded == {"source": str(path), "sha256": prompt_set_sha256(training_prompts.load(recorded))}
    assert len(records(tmp_path / "run" / "train" / "ht" / "seed0" / "metrics.jsonl")) == 2
    written(path, json.dumps({"prompt": "red circle"}))
    capsys.readouterr()
    assert command(*reward) == EXIT_USAGE and "train_prompts.sha256" in capsys.readouterr().err


def test_missing_weights_stop_a_comparison_before_any_training(policy, tmp_path, monkeypatch, capsys):
    """And so does a server that gives no answer: one sentence, and nothing of a run."""
    install(tmp_path / "site", "made", {"htgrpo.scorers": {"made": "tests.scorers.made_scorer:Made"}})
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("HTGRPO_SCORER_URLS", "")
    SCORERS.__dict__.pop("_entries", None)
    try:
        argv = arguments(policy, tmp_path / "run", "--methods", "ht", "--reward", "made=1")
        assert leave(compare.main, argv) == EXIT_USAGE
        assert "run `hf download made/made`" in capsys.readouterr().err and not (tmp_path / "run" / "train").exists()
        monkeypatch.setattr("bench.scorers.web.Connection.retries", 0)
        assert leave(compare.main, [*argv, "--scorer-url", "made=nothing"]) == EXIT_USAGE
        assert "'nothing' is no address" in capsys.readouterr().err
        assert leave(compare.main, [*argv, "--scorer-url", "clip=http://host:1"]) == EXIT_USAGE
        assert "--scorer-url names 'clip', but what is asked here is made: leave it out" in capsys.readouterr().err
    finally:
        SCORERS.__dict__.pop("_entries", None)


def test_the_servers_of_a_command_are_those_of_its_workers(policy, tmp_path, monkeypatch, brightness_server):
    """A worker process trains with a scorer that only --scorer-url knows."""
    monkeypatch.setenv("HTGRPO_SCORER_URLS", "")
    use_servers([f"brightness=http://127.0.0.1:{brightness_server.server_port}"])
    config = TrainConfig(rewards="brightness=1", budget="iterations:2", group_size=2, prompts_per_iteration=2, steps=2)
    job = Job(
        "ht",
        RunDir(tmp_path),
        "embedded",
        str(policy),
        "",
        (TRAIN,),
        "cpu",
        1,
        config=config,
        prompts=tuple(split_prompts(find(), "train")[:4]),
    )
    texts = []
    (ended,) = run_jobs([job], 1, lambda job, event: texts.append(event.get("text", "")))
    assert ended.sentence is None and any("load rewards" in text for text in texts)
    recorded = json.loads((tmp_path / "train" / "ht" / "seed0" / "rewards.json").read_text())
    assert recorded["brightness"]["on_server"] and recorded["brightness"]["scale"] == 0.5
    assert sum(brightness_server.scorer.batches) == 2 * 2 * 2, "two iterations of two prompts with two pictures"


def test_a_check_knows_the_runs_own_prompts_and_says_where_their_file_is_gone(policy, tmp_path, capsys):
    file, out = tmp_path / "mine.txt", tmp_path / "run"
    written(file, "a cat", "two dogs")
    small = [
        "--set", "group_size=2", "--set", "prompts_per_iteration=2", "--set", "steps=2", "--budget", "iterations:1",
    ]  # fmt: skip
    where = ["--policy", str(policy), "--out", str(out), "--train-prompts", str(file)]
    assert train.main(["--method", "ht", *where, "--reward", "jpeg=1", *small]) == 0

    def found():
        capsys.readouterr()
        assert leave(check.main, [str(out), "--json"]) == 3, "nothing is scored yet"
        return json.loads(capsys.readouterr().out)

    said = found()
    assert said["counts"]["trainings"] == 1 and not said["mismatches"] and not said["unchecked"]
    written(file, "a cat", "three dogs")
    said = found()
    assert said["counts"]["trainings"] == 1 and not said["mismatches"]
    assert len(said["unchecked"]) == 1 and f"the training prompts in '{file}' have changed" in said["unchecked"][0]
    file.unlink()
    assert "are not there" in found()["unchecked"][0]
    edit(out / "config.json", lambda config: config["train_prompts"].update(sha256="0" * 64))
    assert leave(check.main, [str(out)]) == 1
    assert "was not trained with the settings" in capsys.readouterr().out
