"""What a person at a terminal meets before any work: help, versions, completion, the keys of --set, the environment."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import compare, generate
from bench.__main__ import COMMANDS, main
from bench.ask.flags import example
from bench.ask.overrides import everything
from bench.ask.presets import preset
from bench.ask.width import filled

ROOT = Path(__file__).resolve().parents[2]
HELPS = """
import json, sys
from importlib import import_module
from bench import __main__ as listing
texts = {name: import_module(f"bench.{name}").parser().format_help() for name in listing.COMMANDS}
print(json.dumps([{"": listing.parser().format_help(), **texts}, sorted(sys.modules)]))
"""
OUTSIDE = """
import runpy, sys
name, sys.path[:0] = sys.argv[1], ["."]
sys.argv = ["-m"]
runpy.run_module(name, run_name="__main__", alter_sys=True)
"""
"""What `python -m MODULE` does, by a Python without packages."""


def test_every_help_is_80_columns_wide_in_one_style_and_loads_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-c", HELPS], capture_output=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    )
    assert done.returncode == 0, done.stderr.decode()
    helps, loaded = json.loads(done.stdout)
    assert not {"torch", "pandas", "matplotlib", "scipy", "transformers", "rich"} & set(loaded)
    for name, text in helps.items():
        assert text.startswith("usage: python -m bench") and max(map(len, text.splitlines())) <= 80, name
        headings = [line for line in text.splitlines() if line[:1] not in ("", " ") and line.endswith(":")]
        assert headings.count("examples:") == 1 and headings[-1] == "help:", (name, headings)
        assert f"  python -m bench{name and '.'}{name}" in text and "options:" not in headings, name


def test_texts_are_filled_and_their_lists_stay_lists():
    text = "one two\nthree four\n\n  key   what it means\n  other  short\nend"
    told = "one two three\nfour\n\n  key   what it\n        means\n  other  short\nend"
    assert filled(text, 17) == told
    words = "--first value --second HT-GRPO-is-never-cut-in-two --third x"
    assert example("python -m bench.x", words, "why") == (
        "  # why\n  python -m bench.x --first value --second HT-GRPO-is-never-cut-in-two \\\n      --third x"
    )


def test_every_command_tells_its_version(capsys):
    for words in (["--version"], ["check", "--version"], ["campaign", "--version"]):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert not left.value.code and capsys.readouterr().out.startswith("htgrpo-bench 0.")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_commands_flags_and_values(shell, tmp_path, capsys):
    assert main(["--completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS) and "--methods" in script and "trace_once" in script
    if shell == "bash":
        ask = 'COMP_WORDS=(htgrpo-bench train --method ""); COMP_CWORD=3; _shtab_htgrpo_bench; echo "${COMPREPLY[*]}"'
        done = subprocess.run(["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True)
        assert {"ht", "mask", "trace"} <= set(done.stdout.split()), done.stderr


@pytest.mark.parametrize("module", ["bench", "bench.compare", "bench.campaign"])
def test_outside_of_the_environment_one_sentence_says_what_to_do(module):
    done = subprocess.run([sys.executable, "-I", "-S", "-c", OUTSIDE, module], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ") and "activate the environment" in done.stderr


def test_set_help_lists_every_key_with_what_it_accepts_its_value_and_its_source(capsys):
    with pytest.raises(SystemExit) as left:
        compare.main(["--set", "help", "--preset", "full"])
    told = capsys.readouterr().out
    assert not left.value.code and max(map(len, told.splitlines())) <= 100
    keys = [line.split(" = ")[0].strip() for line in told.splitlines() if " = " in line]
    assert set(everything(list(preset("full", "embedded")["settings"]))) <= set(keys)
    lines = " ".join(told.split())
    assert "group_size = 9 a whole number from 2 to 4096" in lines and "ht.lr = 3e-05" in lines and "(tuned)" in lines
    assert "ht.credit = constant one of constant, none, stage_mean (HT)" in lines and "(preset full)" in lines
    with pytest.raises(SystemExit):
        generate.main(["--set", "help", "--out", "x"])
    told = capsys.readouterr().out
    assert told.startswith("main: how pictures") and "ht.lr" not in told
