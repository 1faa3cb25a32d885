"""Where networks run, told without torch as far as that goes: most machines without a GPU show it at once."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from htgrpo.base.errors import UserError

if TYPE_CHECKING:
    import torch


def no_cuda() -> str:
    """Why there is surely no CUDA device here, as far as can be told without torch; "" where there may be one."""
    try:
        if version("torch").endswith("+cpu"):
            return "this torch is built for CPUs alone"
    except PackageNotFoundError:
        return "torch is not installed"
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides all"
    if sys.platform == "darwin":
        return "macOS has none"
    if sys.platform == "linux" and not Path("/dev/kfd").exists():
        import ctypes

        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:
            return "the system has no driver for one"
    return ""


def finished(device: "torch.device") -> None:
    """Returns when `device` has done what it was asked to: what a clock says before means nothing on an accelerator."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


@contextmanager
def global_draws(device: "torch.device") -> "Iterator[torch.Generator]":
    """The device's global generator, which dropout alone draws from; it is put back afterwards."""
    import torch

    draws = torch.cuda.default_generators[device.index] if device.type == "cuda" else torch.default_generator
    before = draws.get_state()
    try:
        yield draws
    finally:
        draws.set_state(before)


def find_device(asked: str = "auto") -> str:
    """`asked`, or for "auto" cuda where there is a device, else cpu. Raises UserError for a cuda that is not there."""
    if asked == "cpu":
        return asked
    why = no_cuda()
    if not why:
        import torch

        if torch.cuda.is_available():
            return "cuda"
        why = "torch finds none"
    if asked != "auto":
        raise UserError(f"--device is {asked!r}, but there is no CUDA device here ({why}): use --device cpu")
    return "cpu"
