"""Starts `accelerate launch` with the shipped configurations, with two processes on CPUs instead of eight on GPUs."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "bench" / "run" / "launch"


def launch(
    config: str, module: str, *arguments: str, timeout: float = 600.0, **environment: str
) -> subprocess.CompletedProcess:
    """Runs `module` under bench/run/launch/CONFIG.yaml, for `timeout` seconds at most. Everything but the number of
    processes and the port is as shipped."""
    file = str(CONFIGS / f"{config}.yaml")
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file", file,
        "--num_processes", "2", "--main_process_port", "0", "-m", module, *arguments,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout)
