"""The parts of the paper that come from the methods themselves: table 4 and figure 1 (what the inner loops hide and
train), table 7 (the schedules)."""

from typing import Any

from bench.cost.specimen import explained, reveal_steps
from htgrpo.base.registry import METHODS
from reports.figures import methods, schedules
from reports.figures.style import rendered

PARADIGMS = ("uni", "mask", "trace", "ht")
"""The methods of the paper, its paradigms in order: random remasking, trajectory recording, its own."""
SCHEDULES: dict[str, tuple[str, dict[str, Any]]] = {
    "down": ("max - (max - min) * p", {}),
    "up": ("min + (max - min) * p", {"schedule": "up"}),
    "constant": ("max", {"gamma_min": (1.0, 1.0, 1.0)}),
    "cosine (ours)": ("min + (max - min) * (1 + cos(pi * p)) / 2", {"schedule": "cosine"}),
    "square (ours)": ("min + (max - min) * (1 - p)^2", {"schedule": "square"}),
}
"""Formula and options of HT-GRPO by schedule. p: 0 at a stage's first update, 1 at its last."""

Part = tuple[dict[str, bytes], str]
"""Files by name, and the text of a part."""


def table_4() -> Part:
    """The paradigms: contexts, what they show, support, weight, level and cost, read off the methods' updates."""
    text = f"## Table 4: the paradigms\n\n{methods.markdown([explained(name) for name in PARADIGMS])}\n\n{_note()}"
    return {"table4.md": text.encode()}, text


def figure_1() -> Part:
    """What each inner loop hides and trains."""
    drawn = methods.explain([explained(name) for name in PARADIGMS], reveal_steps(), "Figure 1: the inner loops")
    text = f"## Figure 1: the inner loops\n\n{_note()}\n"
    return {f"figure1.{kind}": data for kind, data in rendered(drawn).items()}, text


def table_7() -> Part:
    """The schedules of the random subsets over HT-GRPO's 2 + 4 + 2 updates, gamma from 1 to 0.5."""
    rates = {name: METHODS.get("ht")(**options).rates() for name, (_, options) in SCHEDULES.items()}
    body = schedules.markdown(rates, {name: formula for name, (formula, _) in SCHEDULES.items()})
    text = (
        f"## Table 7: schedules of the random subsets\n\n{body}\n\nmax 1, min 0.5 here; p: 0 at a stage's first update, 1 at "
        "its last. The paper's own table did not survive in our copy: down, up and constant are in its text, the others are "
        "marked.\n"
    )
    drawn = rendered(schedules.figure(rates))
    return {"table7.md": text.encode(), **{f"table7.{kind}": data for kind, data in drawn.items()}}, text


def _note() -> str:
    return "From the methods' own updates of a made-up group of nine pictures (python -m bench.explain draws any method).\n"
