"""Whether what is revealed first is structure: entropy by rank, and who decides the reward."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from reports.figures.looks import COLOURS, INK
from reports.figures.style import style


def figure(measured: list[dict[str, Any]], title: str) -> Figure:
    """Left: mean entropy by eighth of the unmasking rank under every way of sampling. Right: the share of the reward's
    variance within a prompt that early draws, late draws and both together decide, with 95 % intervals."""
    with style():
        drawn, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.2), layout="constrained")
        drawn.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        for index, one in enumerate(measured):
            colour = COLOURS[index % len(COLOURS)]
            eighths = np.arange(1, len(one["entropy"]) + 1)
            left.plot(eighths, one["entropy"], "o-", color=colour, markersize=4, label=name(one))
            for place, part in enumerate(("early", "late", "both")):
                share = one["shares"][part]
                x = place + (index - (len(measured) - 1) / 2) * 0.16
                right.plot([x, x], [share["low"], share["high"]], color=colour, linewidth=1.6)
                right.plot(x, share["estimate"], "o", color=colour, markersize=6)
        left.set_xlabel("eighth of the unmasking rank, first to last")
        left.set_ylabel("mean entropy of the drawn token, nats")
        left.set_ylim(bottom=0)
        left.legend(frameon=False, fontsize=8)
        right.axhline(0, color=INK, linewidth=0.8)
        right.set_xticks(range(3), ["early draws alone", "late draws alone", "both together"])
        right.set_ylabel("share of the reward's variance within a prompt")
        right.set_ylim(top=1.0)
    return drawn


def name(one: dict[str, Any]) -> str:
    """A way of sampling in words."""
    guidance = f", guidance {one['guidance']:g}" if one["guidance"] else ""
    return f"{one['sampler']}, {one['steps']} steps{guidance}"
