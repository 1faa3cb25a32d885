"""The benchmark runner: train, generate, score, report, compare."""

import sys
from importlib.util import find_spec
from pathlib import Path

if sys.argv[:1] == ["-m"] and find_spec("safetensors") is None:  # only `python -m bench...` starts with that word
    script = Path(__file__).resolve().parent.parent / ".venv" / "bin" / "activate"
    print(
        f"error: {sys.executable or 'this Python'} has not the packages that HT-GRPO Bench needs: activate the environment "
        f"that it is installed in (source {script if script.is_file() else '.venv/bin/activate'}), or install it "
        "(README.md)",
        file=sys.stderr,
    )
    sys.exit(2)
