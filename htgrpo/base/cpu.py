"""What pays on a CPU, found by measuring (docs/speed.md)."""

import ctypes
import sys

import torch

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def tune(threads: int | None = None) -> None:
    """Sets this process up for tensor work on a CPU: `threads` of compute, and freed memory kept instead of handed
    back.

    glibc returns every large block to the system and faults it in again at the next use, which costs a tenth of a small
    policy's training step. Elsewhere than on Linux with glibc the allocator is left alone.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            for setting, value in (
                (_M_MMAP_THRESHOLD, 1 << 30),
                (_M_TRIM_THRESHOLD, 2**31 - 1),
                (_M_TOP_PAD, 64 << 20),
            ):
                libc.mallopt(setting, value)


def give_back() -> None:
    """Hands memory that is free back to the system: in a long training whose sizes change from step to step, what `tune`
    keeps falls to pieces and piles up."""
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None)
        if hasattr(libc, "malloc_trim"):
            libc.malloc_trim(0)


def sampling_dtype(name: str, device: str | torch.device = "cpu") -> torch.dtype:
    """The dtype images are sampled in: `name`, or for "auto" bfloat16 where `device` multiplies it in hardware, else
    float32."""
    if name != "auto":
        return getattr(torch, name)
    return torch.bfloat16 if torch.device(device).type != "cpu" or fast_bfloat16() else torch.float32


def fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware (AMX or AVX-512 BF16). Elsewhere they are emulated: on
    an AVX2 machine a product ran at 0.9 GFLOP/s against 72 in fp32."""
    abilities = torch.cpu.get_capabilities()
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
