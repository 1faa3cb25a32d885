"""The tables of bench.speed that a person reads."""

from typing import Any

FASTER = "(busy)"
"""Stands in place of a share above 100 %."""


def render(result: dict[str, Any]) -> str:
    """The table of a result."""
    least = min(row["peak"] for row in result["rows"])
    lines = [
        f"size {result['size']} on {result['device']}, {result['threads']} threads, matrix-multiply peak "
        f"{result['peak_gflops']} GFLOP/s, best of all; shares are of the peak beside each phase, in its dtype, {least} at "
        "the least",
        "",
        f"{'method':13} {'phase':9} {'dtype':5} {'forwards':>8} {'seconds':>8} {'of peak':>10} {'tokens/s':>8} "
        f"{'pics/s':>6} {'MiB':>6}",
    ]
    for name in dict.fromkeys(row["name"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["name"] == name]
        lines += [_line(row) for row in rows]
        if len(rows) > 1 and rows[0]["phase"] == "old":
            total = sum(row["seconds"] for row in rows)
            lines.append(f"{name:13} {'= cycle':15} {sum(row['forwards'] for row in rows):8} {total:8.3f}")
            clipped, gap = rows[-1]["clipped_first"], rows[-1]["old_gap"]
            if gap is not None:
                lines.append(
                    f"{'':13} clipped at the first update: {clipped}; old and new are {gap:.1e} nats apart there"
                )
    if any(row["share"] is None for row in result["rows"]):
        lines.append(
            f"{FASTER}: faster than the matrix products before and after it, so the machine was busy with something else "
            "while those ran, and no share of the peak can be told. Measure again when it is idle."
        )
    for name, shares in result["kernels"].items():
        lines.append(f"{name}: " + ", ".join(f"{kind} {share:.1%}" for kind, share in shares.items()))
    if result["left_out"]:
        lines.append(f"left out after {result['limit_seconds']} s: {', '.join(result['left_out'])}")
    return "\n".join(lines)


def beside(found: dict[str, Any]) -> str:
    """The table of a published loop beside ours."""
    lines = [
        f"{found['pictures']} pictures, {found['steps']} steps on the same weights, in turn; logits are "
        f"{found['logits_apart']:.1e} apart, of the largest one"
    ]
    for sampler, turns in found["samplers"].items():
        lines.append(f"generation of {found['upstream']} beside our sampler {sampler}")
        lines.append(f"{'round':>5} {'ours':>9} {'theirs':>9}   CPU: {'ours':>9} {'theirs':>9}")
        for number, one in enumerate(turns["rounds"], 1):
            (ours, own), (theirs, other) = (one[side].values() for side in ("ours", "theirs"))
            lines.append(f"{number:5} {ours:9.3f} {theirs:9.3f}        {own:9.3f} {other:9.3f}")
        lines.append(f"theirs takes {turns['ratio']} times ours ({found['clock']})")
    if "emerge" in found["samplers"]:
        compared = found["decisions"] and f"{found['decisions']} decisions under the same draws were the same"
        lines.append(f"emerge: {compared or 'decisions were not compared, as theirs draws in half precision'}")
    if (training := found["training"]) is None:
        return "\n".join([*lines, "their training step is not run"])
    lines.append(
        f"a cycle of {training['updates']} updates on {training['pictures']} pictures, in turn, without trl's loop around "
        f"it; gradients are {training['gradients_apart']:.1e} apart, of the largest one"
    )
    for phase, title in (("before", "old and reference"), ("update", "updates")):
        for number, one in enumerate(training["rounds"], 1):
            ours, theirs = (one[phase][side][found["clock"]] for side in ("ours", "theirs"))
            lines.append(f"{number:5} {ours:9.3f} {theirs:9.3f}   {title}")
        lines.append(f"theirs takes {training[f'ratio_{phase}']} times ours ({found['clock']})")
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    share = FASTER if row["share"] is None else f"{row['share']:.0%}"
    pictures = "" if row["pictures"] is None else f"{row['pictures']:.2f}"
    dtype = {"float32": "fp32", "bfloat16": "bf16", "float64": "fp64"}[row["dtype"]]
    return (
        f"{row['name']:13} {row['phase']:9} {dtype:5} {row['forwards']:8} {row['seconds']:8.3f} "
        f"{row['convention']:>3} {share:>6} {row['tokens']:8.0f} {pictures:>6} {row['memory_mb']:6.0f}"
    )
