"""What a person at a terminal meets before any work: help, versions, completion, the keys of --set, the environment."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import COMMANDS, main
from bench.ask.flags import example, filled

ROOT = Path(__file__).resolve().parents[2]
HELPS = """
import json, sys
from importlib import import_module
from bench import __main__ as listing
texts = {name: import_module(f"bench.{name}").parser().format_help() for name in listing.COMMANDS}
print(json.dumps([{"": listing.parser().format_help(), **texts}, sorted(sys.modules)]))
"""


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
