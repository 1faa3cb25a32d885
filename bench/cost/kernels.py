"""Where the time of a phase goes, by the class of what runs (bench.speed)."""

from collections.abc import Callable

CLASSES = {
    "attention": ("flash", "fmha", "attention", "attn"),
    "matrix products": ("gemm", "xmma", "nvjet", "cutlass", "addmm", "aten::mm", "aten::bmm", "aten::linear"),
    "fused": ("triton",),
    "optimiser": ("adam", "multi_tensor", "foreach"),
    "norms": ("norm",),
    "softmax and draw": ("softmax", "searchsorted", "cumsum", "scan", "logsumexp"),
    "sorting and indexing": ("sort", "index", "gather", "scatter", "unique", "embedding"),
    "copies": ("memcpy", "memset", "copy", "aten::cat", "catarray", "aten::_to_copy", "fill", "zero_"),
    "elementwise": ("elementwise", "aten::add", "aten::mul", "aten::sub", "aten::div", "silu", "where", "exp", "clamp"),
}
"""Class -> parts of names that belong to it; the first class that fits counts, "other" the rest."""


def class_of(name: str) -> str:
    """The class of a kernel or an operation."""
    lower = name.lower()
    return next((kind for kind, parts in CLASSES.items() if any(part in lower for part in parts)), "other")


def profiled(work: Callable[[], object], device: str) -> dict[str, float]:
    """Share of the device's time that each class takes while `work` runs, largest first; they add up to 1."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=activities) as found:
        work()
    spent: dict[str, float] = {}
    for event in found.key_averages():
        seconds = event.self_device_time_total if device == "cuda" else event.self_cpu_time_total
        kind = class_of(event.key)
        spent[kind] = spent.get(kind, 0.0) + seconds
    total = sum(spent.values()) or 1.0
    return {kind: round(spent[kind] / total, 4) for kind in sorted(spent, key=lambda kind: -spent[kind]) if spent[kind]}
