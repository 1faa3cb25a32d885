"""Which colour, marker and name a method has in all figures and tables, without what draws them."""

from collections.abc import Sequence

from htgrpo.base.records import BASE
from reports.format import many, short
from reports.run.load import Run

# Okabe and Ito (2008): told apart under the common colour deficiencies. Yellow is left out (too pale on white).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5C3E", "#5B4FA2")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY, INK, SOFT, FAINT = "#8A8A8A", "#222222", "#555555", "#E3E3E3"
GOOD, HALF, BAD = "#1A9850", "#E0940B", "#D73027"


def colours(run: Run) -> dict[str, str]:
    """Colour of each method: the one it is registered with; the starting policy is grey; what is not registered, such as
    a checkpoint of the user's, takes the next of COLOURS that is free."""
    return _looks(run, 0, COLOURS, {BASE: GREY})


def markers(run: Run) -> dict[str, str]:
    """Marker of each method, a second cue beside the colour, chosen alike."""
    return _looks(run, 1, MARKERS, {BASE: "o"})


def _looks(run: Run, place: int, free: Sequence[str], fixed: dict[str, str]) -> dict[str, str]:
    known = fixed | {name: look[place] for name, look in (run.config.get("looks") or {}).items()}
    others = [name for name in run.methods if name not in known]
    left = [one for one in free if one not in known.values()] or free
    return known | {name: left[i % len(left)] for i, name in enumerate(others)}


def labels(run: Run, limit: int = 24) -> dict[str, str]:
    """What each method is called in figures, at most `limit` letters: as papers write it; where methods are many, or two
    would read the same, by its own name, as tables on the terminal do."""
    found = {name: short(run.called(name), limit) for name in run.methods}
    if many(found) or len(set(found.values())) < len(found):
        return {name: short(name, limit) for name in found}
    return found
