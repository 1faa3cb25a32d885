"""Starts `accelerate launch` with the shipped configurations, with two processes on CPUs instead of eight on GPUs."""

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "bench" / "run" / "launch"


def launch(
    config: str, module: str, *arguments: str, timeout: float = 3600.0, **environment: str
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


def launch_nodes(config: str, module: str, *arguments: str, timeout: float = 3600.0, **environment: str) -> list[int]:
    """Two launches, as on two machines of one process each, which meet on this machine's loopback; their exit codes. A
    node that is still waiting after `timeout` seconds is killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file, nodes = str(CONFIGS / f"{config}.yaml"), []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment}
    for rank in (0, 1):
        command = [
            sys.executable, "-m", "accelerate.commands.launch", "--config_file", file,
            "--num_machines", "2", "--num_processes", "2", "--machine_rank", str(rank),
            "--main_process_ip", "127.0.0.1", "--main_process_port", str(port), "-m", module, *arguments,
        ]  # fmt: skip
        output = tempfile.TemporaryFile()
        nodes.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output))
    try:
        return [node.wait(timeout) for node in nodes]
    finally:
        for node in nodes:
            node.kill()
