"""What a run records about the machine and the software. Imports no torch."""

import contextlib
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from htgrpo.base.versions import installed

if TYPE_CHECKING:
    from htgrpo.parallel.ranks import Ranks

PACKAGES = (
    "htgrpo-bench", "torch", "torchvision", "transformers", "tokenizers", "open_clip_torch", "timm", "ftfy", "peft",
    "diffusers", "accelerate", "safetensors", "lm_eval", "datasets", "numpy", "scipy", "pandas", "pillow", "matplotlib",
    "statsmodels",
)  # fmt: skip


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads(at_once: int = 1) -> int:
    """Compute threads of each of `at_once` jobs in this process: its machine's cores shared out, and no more than
    OMP_NUM_THREADS where that is set, as torch itself takes it. (In a launch it is set to 1 where the user says nothing.)"""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    most = int(given) if processes() == 1 and given.isdecimal() and int(given) else cores()
    return max(1, min(most, cores() // (at_once * processes(here=True))))


def cpu_name() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text("utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions of what can change a result."""
    return {"python": platform.python_version(), **installed(PACKAGES)}


def git_commit() -> str | None:
    """The commit of the working tree this code lies in, with "-dirty" when files differ from it; None outside one."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit + ("-dirty" if _git(folder, "status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


def is_main_process() -> bool:
    """Whether this is the first process of an `accelerate launch`, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def processes(here: bool = False) -> int:
    """How many processes this `accelerate launch` has, in all or on this machine; 1 outside one."""
    return int(os.environ.get("LOCAL_WORLD_SIZE" if here else "WORLD_SIZE", "1"))


@contextlib.contextmanager
def launch(cpu: bool) -> "Iterator[Ranks]":
    """The processes of this launch, which end the block together, with the same error if there is one. cpu: use no
    GPU."""
    from htgrpo.parallel.ranks import ALONE, Ranks

    if processes() == 1:
        yield ALONE
        return
    from accelerate import Accelerator

    state = Accelerator(cpu=cpu).state
    ranks = Ranks(state)
    with ranks.phase():
        yield ranks
    state.destroy_process_group()
