"""Every flag of every command, and every key of --set: bad values get one sentence that names the flag, before anything
heavy is loaded, and nothing is written."""

import dataclasses
import importlib
import os
import subprocess
import sys
import typing
from functools import partial

import pytest

from bench import score, verify_scorer
from bench.given.layouts import LAYOUTS
from bench.scorers.references import REFERENCES
from tests.bench.bad_values import NOT_TEXT, bad_for_type, bad_values

HEAVY = ("torch", "pandas", "matplotlib", "scipy", "transformers", "lm_eval", "accelerate")
OURS = ("bench", "htgrpo", "baselines", "reports")
FREE = {
    ("score", "--note"): "whatever is known of the pictures",
    ("card", "--license"): "the hub adds licences, and takes any name as `other`",
    ("serve", "--host"): "names of hosts have no list; the address is bound before anything is loaded",
    ("regress", "--setting"): "settings have any name; the run or the baseline says which there are",
    ("compare", "--set"): "walked below",
    ("train", "--set"): "walked below",
    ("ablate", "--set"): "walked below",
    ("campaign", "--only"): "a part of a case's name, and there are thousands",
    ("compare", "--claim"): "one of the benchmarks and views of the same command, see LATE",
    ("ablate", "STUDY"): "see LATE",
    ("doctor", "SCORER"): "scorers or names of --scorer-url, see LATE",
    ("compare", "--methods"): "methods or labels of --checkpoint, see LATE",
    ("regress", "--methods"): "methods or labels of the baseline, see LATE",
    ("text", "--tasks"): "lm-eval's tasks, tags and patterns, which only lm-eval can tell",
}
"""Flags whose kind is any text, and why."""
LATE = {
    "compare": [
        "--claim nope", "--claim embedded_geneval/hours:3", "--methods hht", "--checkpoint nowhere",
        "--checkpoint base=embedded", "--checkpoint ²=embedded", "--policy /nope", "--subset nope:3",
        "--reward nope=1", "--reward nowhere:f", "--train-prompts /nope.txt", "--revision abc", "--gpu h100",
        "--gpu h100 --dry-run", "--set nonsense=1", "--set x.y=1", "--set =1", "--set lr", "--set trace.nope=1",
        "--methods ht --set trace.shrink=0", "--methods base --seeds 3", "--methods base --reward objects=1",
        "--nope", "--metods=ht", "-x", "--out-of-place", "--device cuda",
    ],
    "train": ["--method ht --set ht.nope=1", "--method ht --reward nope", "--method ht --resume --overwrite"],
    "ablate": ["A9", "--set ht.alpha=0.2", "--gpu h100"],
    "generate": ["", "--out x --policy /nope"],
    "score": [
        "", "--layout flat", "--prompts file", "--grid 3", "--note x", "--images empty --out x",
        "--images /nope --benchmarks clip --out x", "--device cuda",
        *(f"--images empty --benchmarks clip --out x --{flag}" for flag in (
            "split validation", "set main.steps=2", "jobs 1", "backbone mmada", "preset full", "curve 1",
            "revision abc", "resolution 64", "policy x", "checkpoint ht=x", "gpu h100",
        )),
    ],
    "paper": ["--command --table 1", "--run /nope", "--allow-incomplete"],
    "regress": [
        "--gate /nope", "--baseline /nope", "--policy /nope --baseline file", "--prompts 3",
        "--update --methods hht", "--subset x:3",
    ],
    "report": ["/nope", "", "a b"],
    "runs": ["/nope"],
    "check": ["/nope"],
    "tune": ["--out x --dry-run --write", "--out x --seeds 1", "--out x --policy /nope"],
    "card": ["/nope", "empty"],
    "speed": ["--out empty"],
    "doctor": ["nope", "--device cuda"],
    "fetch": [
        "--all geneval_metadata", "--list geneval_metadata", "--all nope", "", "--nope", "--metods=ht", "-x",
        "--out-of-place",
    ],
    "serve": [
        "clip --host 0.0.0.0", "clip --host nowhere.invalid --token x", "--nope", "--metods=ht", "-x",
        "--out-of-place",
    ],
    "pretrain": ["--out x --n-heads 3", "--out x --lr inf"],
    "export": ["/nope --out x"],
    "make_checkpoint": ["--backbone mmada --out x --d-model 7"],
    "text": ["--checkpoint x --policy y", "--gen-length 7 --block-length 2", "--policy /nope", "--device cuda"],
}  # fmt: skip
"""Command lines each of whose flags has a good form, and which cannot be all the same."""


def test_a_terminal_without_the_letters_gets_their_numbers():
    program = r"from bench.ask.cli import run_main; run_main(lambda: print('score \u00b1 \u2192 \ud800') or 0)"
    for encoding in ("ascii", "utf-8", "latin-1"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment)
        assert done.returncode == 0 and done.stderr == b"" and done.stdout.strip().endswith(b"\\ud800")


def test_names_that_commands_say_themselves_are_those_of_the_modules_they_stand_for():
    assert set(verify_scorer.OFFICIAL) == set(REFERENCES)
    assert set(score.LAYOUTS) == set(LAYOUTS)


@pytest.fixture(scope="module")
def light():
    """Our modules, imported anew where heavy packages cannot be: light("bench.compare")."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(sys.modules):
            if name.partition(".")[0] in (*OURS, *HEAVY):
                patch.delitem(sys.modules, name)
        for name in HEAVY:
            patch.setitem(sys.modules, name, None)
        patch.setattr("ctypes.CDLL", _no_library)
        patch.delenv("HTGRPO_SCORER_URLS", raising=False)
        yield importlib.import_module
        for name in list(sys.modules):
            if name.partition(".")[0] in OURS:
                del sys.modules[name]


def _no_library(name, *_, **__):
    raise OSError(name)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A folder with what is of the wrong kind, the current one while tests run."""
    folder, before = tmp_path_factory.mktemp("places"), os.getcwd()
    (folder / "file").write_text("")
    (folder / "empty").mkdir()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def refusal(light, call, *named: str) -> str:
    """The sentence that `call` is refused with, which names one of `named`; raises AssertionError for anything else."""
    try:
        call()
    except light("htgrpo.base.errors").UserError as error:
        text = error.message
        assert error.exit_code == 2 and "\n" not in text and len(text) < 1500 and text.isprintable(), text
        assert not named or (any(name in text for name in named) and "required:" not in text), text
        return text
    except BaseException as error:
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    raise AssertionError("it was accepted")


def wrong(light, call, *named: str) -> str | None:
    """What is wrong with the refusal, None where nothing is."""
    try:
        refusal(light, call, *named)
    except AssertionError as error:
        return str(error)
    return None


def commands(light) -> list[str]:
    return list(light("bench.__main__").COMMANDS)


def module(light, command: str):
    return light(f"bench.{command}")


def tree(folder) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def test_every_flag_refuses_what_does_not_fit(light, places):
    before, walked, found = tree(places), 0, []
    for command in commands(light):
        parser = module(light, command).parser()
        for action in parser._actions:
            if action.nargs == 0:
                continue
            kind, label = action.type.kind, action.type.label
            if type(kind).__name__ == "Text" or getattr(kind, "each", None) == light("htgrpo.base.values").Names.each:
                assert (command, label) in FREE, f"{command} {label} takes any text: give it a kind, or say why not"
            for value in bad_values(kind, places):
                argv = [f"{label}={value}"] if label[0] == "-" else [value]
                if label[0] != "-" and value[:1] == "-":
                    continue
                why = wrong(light, partial(parser.parse_args, argv), label)
                found += [f"{command} {argv[0][:80]!r}: {why}"] if why else []
                walked += 1
    assert not found, "\n".join(found)
    assert tree(places) == before and walked > 3000


@pytest.mark.parametrize(("command", "line"), [(command, line) for command, lines in LATE.items() for line in lines])
def test_what_does_not_go_together_is_told_before_anything_is_loaded(light, places, command, line):
    before = tree(places)
    refusal(light, lambda: module(light, command).main(line.split()))
    assert tree(places) == before


def keys(light):
    """(key, its type, the method to run with) of everything that --set takes."""
    overrides, methods = light("bench.ask.overrides"), light("htgrpo.base.registry").METHODS
    settings, text = light("bench.ask.presets").Setting, light("bench.benchmarks.text.settings")
    hints = lambda cls: typing.get_type_hints(cls, include_extras=True)  # noqa: E731
    for name in overrides.FIELDS:
        yield name, hints(light("htgrpo.training.train_config").TrainConfig)[name], "ht"
    for field in dataclasses.fields(settings):
        yield f"main.{field.name}", hints(settings)[field.name], "ht"
    for method in methods.names():
        for field in dataclasses.fields(methods.get(method)):
            yield f"{method}.{field.name}", hints(methods.get(method))[field.name], method
    for name in text.OPTIONS:
        yield f"text.{name}", {**hints(text.Decoding), **hints(text.TextSettings)}[name], "ht"


def test_every_key_of_set_refuses_what_does_not_fit(light, places):
    """Fields have kinds of their own; all of their bad values are tried on the field, and three of them through the
    command."""
    compare, options = module(light, "compare"), light("htgrpo.base.options")
    before, walked, found = tree(places), 0, []
    for key, kind, method in keys(light):
        assert kind not in (int, float), f"{key} takes any number: give it a range"
        values = [value for value in bad_for_type(kind, places) if value not in NOT_TEXT]
        if kind is not str:
            for value in values:
                why = wrong(light, partial(options.convert, value, kind, key), key)
                found += [f"{key} {value[:80]!r}: {why}"] if why else []
        for value in [*values[:3], "\udcff"]:
            argv = ["--methods", method, "--set", f"{key}={value}", "--out", "x"]
            why = wrong(light, partial(compare.main, argv), key, "--set", "reward")
            found += [f"{argv}: {why}"] if why else []
            walked += 1
    assert not found, "\n".join(found)
    assert tree(places) == before and walked > 250


def test_a_plugin_without_kinds_is_held_to_finite_numbers_that_fit(light):
    convert = light("htgrpo.base.options").convert
    for kind, value in (
        (int, "²"), (int, 10**30), (float, "1e400"), (float, float("nan")), (str, "a\x00b"), (int, True),
        (int, "1_0"),
    ):  # fmt: skip
        refusal(light, partial(convert, value, kind, "mine.key"), "mine.key")


def test_a_typo_of_a_flag_is_answered_with_the_flag(light):
    told = refusal(light, lambda: module(light, "compare").main(["--metods", "ht"]), "--metods")
    assert "did you mean --methods?" in told and len(told) < 150
    told = refusal(light, lambda: module(light, "compare").main(["--set", "alpha=0.5"]), "alpha")
    assert "did you mean 'ht.alpha'?" in told


def python(*argv: str | bytes, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", *argv], capture_output=True, env={**os.environ, **environment})


@pytest.mark.parametrize(
    "argv",
    [
        ["bench.compare", "--set", b"main.steps=\xff"],
        ["bench.report", b"\xff"],
        ["bench.compare", "--methods", "ht", "--set", "ht.nope=1"],
        ["bench.regress", "--gate", "/nope"],
        ["bench.paper", "--run", "/nope"],
    ],
)
def test_a_refusal_is_quick_and_told_to_any_terminal(argv):
    """CPU seconds of a whole process, start of Python included."""
    before = os.times()
    ended = python(*argv, PYTHONIOENCODING="ascii", OMP_NUM_THREADS="1")
    after = os.times()
    assert ended.returncode == 2 and ended.stdout == b"" and ended.stderr.startswith(b"error: ")
    assert ended.stderr.count(b"\n") == 1 and ended.stderr.isascii()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 1.5
