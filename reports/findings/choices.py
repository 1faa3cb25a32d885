"""How the settings were chosen, in words: who was tuned on what, how often, and how the world was made."""

from typing import Any

from htgrpo.base.errors import UserError
from reports.format import NONE, number, table
from reports.run.load import Run

TITLE = "How the settings were chosen"
HEADER = ["method", "taken", "tries", "score", "best rate", "trained here"]


def legend(run: Run) -> str:
    """What the methods' short names stand for; empty where the run does not say."""
    titles = run.config.get("titles") or {}
    return "; ".join(f"{name}: {titles[name]}" for name in run.methods if titles.get(name))


def paragraphs(run: Run) -> list[str]:
    """The sentences; none for a run without trainings."""
    found = run.config.get("choices")
    if not found or not run.config.get("methods"):
        return []
    told, untold = found["tuning"], [name for name in run.config["methods"] if name not in found["methods"]]
    lines = []
    if told and found["methods"]:
        if not told["ladder"]:
            raise UserError(
                f"{str(run.root / 'config.json')!r}: choices.tuning.ladder is empty, but holds the factors of the learning "
                "rate that were to be tried: restore the file, or start again with --overwrite"
            )
        first, seeds = ", ".join(f"{factor:g}" for factor in told["start"]), ", ".join(map(str, told["seeds"]))
        lines.append(
            f"Learning rates and options are the best of each method's tries on the {told['split']} prompts ({told['samples']} "
            f"pictures each), which no table shows: trained to {told['budget'].split(',')[0]} (a method without rollouts to the "
            f"next budget) with the training seeds {seeds}, scored by the mean over these. All methods followed one rule: the "
            f"learning rate {told['lr']:g} x {first}; while the best lay at an end, the next one beyond it, down to x "
            f"{told['ladder'][0]:g} and up to x {told['ladder'][-1]:g}; and one try of the method's own choosing at the best rate. "
            "Differences between tries are mostly within noise."
        )
    if untold:
        lines.append(f"No record of tuning stands behind the settings of {', '.join(untold)}.")
    return lines + ([found["world"]] if found["world"] else [])


def rows(run: Run) -> list[list[str]]:
    """One row per tuned method, as HEADER has it."""
    found = (run.config.get("choices") or {"methods": {}})["methods"]
    return [
        [
            name,
            _settings(one["settings"]),
            str(one["tries"]),
            number(one["score"], 1),
            "interior" if one["interior"] else "at the end of what was tried",
            "as tuned" if one["as_tuned"] else "otherwise",
        ]
        for name, one in found.items()
    ]


def markdown(run: Run) -> list[str]:
    """The section of table.md."""
    told = paragraphs(run)
    return [f"## {TITLE}", *told, *([table(HEADER, rows(run))] if rows(run) else [])] if told else []


def _settings(settings: dict[str, Any]) -> str:
    shown = (f"{value:g}" if isinstance(value, float) else str(value) for value in settings.values())
    return ", ".join(f"{name} {value}" for name, value in zip(settings, shown, strict=True)) or NONE
