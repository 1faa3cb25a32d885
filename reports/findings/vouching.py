"""Which judge may vouch for which trained reward, and what is said of a training where the two part.

A judge vouches for a reward where they share neither the network they grew from, nor the preferences they learnt, nor
the prompts. TABLE says so for the rewards of this package; what it does not name, nobody vouches for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from reports.findings.pairs import ALPHA
from reports.statistics.stats import Interval, holm

HELD, GUARD = "held out", "quality guard"
RED, AMBER, GREEN = "red", "amber", "green"
SAME = 0.05
"""Within which a change is none, in standard deviations of the starting policy's prompts."""
RULE = (
    "A verdict is of a reward that rose (its interval is above 0) and one judge that was not trained on. A single reward that "
    "was scored as a benchmark too rose if it did there, from the starting policy to the final one; another, and the weighted "
    "sum of several, if it did from the first to the last quarter of training. A judge's change is in standard deviations of "
    "the starting policy's scores over prompts. Red, reward hacking: the judge fell (its interval is below 0, p below "
    f"{ALPHA:g} after Holm over the judges of its kind). Green: it rose, likewise. Amber: no transfer (within ±{SAME:g}), or "
    "undecided. Judges of what was asked and guards of quality are counted apart; each kind is red if a judge is, amber if one "
    "is, else green. Judges on CLIP or BLIP under-score detailed pictures (arXiv 2507.19002), so those of one such network alone "
    "make no kind red."
)


@dataclass(frozen=True)
class Row:
    """The judges of one reward. held: that may vouch for it, the best first; guards: of how pictures look, whatever was
    asked; shared: that may not, with what they share."""

    held: tuple[str, ...]
    guards: tuple[str, ...] = ()
    shared: dict[str, str] = field(default_factory=dict)


_LOOKS = ("deqa", "unipercept.iqa")
_WORLD = ("embedded_geneval", "embedded_dpg", "embedded_large_geneval", "embedded_large_dpg")
_DETECTOR = "the world's detector, read as a confidence"
_CLIP_H = "the same LAION CLIP ViT-H/14"
_SOFT = {"embedded_geneval_soft": _DETECTOR, "embedded_large_geneval_soft": _DETECTOR}
_GENEVAL = Row(
    ("geneval2", "vqascore_qwen3vl", "dpg", "dpg_fixed"),
    (*_LOOKS, "hpsv3"),
    {
        "geneval": "detector and rule",
        "geneval_soft": "detector and rule",
        "clip": "CLIP ViT-L/14, which names GenEval's colours",
    },
)
_HPSV2 = Row(
    ("imagereward", "geneval2"),
    _LOOKS,
    {
        "pickscore": _CLIP_H,
        "hpsv2": "the model itself",
        "hpsv2_aliased": "the model itself",
        "hpsv3": "HPD v2's prompts",
    },
)
_QWEN3 = Row(
    ("geneval", "dpg", "dpg_fixed", "pickscore"),
    (*_LOOKS, "hpsv3"),
    dict.fromkeys(
        ("geneval2", "geneval2_clean", "vqascore_qwen3vl", "unifiedreward", "unigenbench", "unigenbench_long"),
        "Qwen3-VL",
    ),
)
_EMBEDDED = Row(_WORLD, (), _SOFT)
TABLE: dict[str, Row] = {
    "geneval": _GENEVAL,
    "geneval_strict": _GENEVAL,
    "hpsv3": Row(
        ("pickscore", "geneval2", "imagereward"),
        _LOOKS,
        {"hpsv3": "the model itself", "hpsv3_categories": "the model itself", "hpsv2": "HPD v2's prompts",
         "hpsv2_aliased": "HPD v2's prompts"},
    ),
    "imagereward": Row(("pickscore", "hpsv3", "geneval2"), ("deqa",), {"imagereward": "the model itself"}),
    "unifiedreward": Row(
        ("pickscore", "dpg", "dpg_fixed", "geneval"),
        ("deqa",),
        {
            "unifiedreward": "the model itself",
            "geneval2": "Qwen3-VL",
            "geneval2_clean": "Qwen3-VL",
            "vqascore_qwen3vl": "Qwen3-VL",
            "unigenbench": "Qwen3-VL and the authors",
            "unigenbench_long": "Qwen3-VL and the authors",
            "hpsv2": "HPD's preferences",
            "hpsv2_aliased": "HPD's preferences",
        },
    ),
    "clip": Row(
        ("pickscore", "hpsv2", "hpsv2_aliased", "geneval2"),
        ("hpsv3", "deqa"),
        {"clip": "the model itself", "geneval": "CLIP ViT-L/14, in colours", "geneval_soft": "CLIP ViT-L/14, in colours"},
    ),
    "pickscore": Row(
        ("hpsv3", "imagereward", "geneval2"),
        _LOOKS,
        {"pickscore": "the model itself", "hpsv2": _CLIP_H, "hpsv2_aliased": _CLIP_H},
    ),
    "hpsv2": _HPSV2,
    "hpsv2_aliased": _HPSV2,
    "soft_tifa": _QWEN3,
    "soft_tifa_clean": _QWEN3,
    "vqascore_qwen3vl": _QWEN3,
    "unigenbench": _QWEN3,
    "objects": _EMBEDDED,
    "attributes": _EMBEDDED,
    "relations": _EMBEDDED,
    "tidiness": _EMBEDDED,
    "jpeg": Row((*_WORLD, "geneval2", "geneval", "dpg", "pickscore"), _LOOKS, _SOFT),
}  # fmt: skip
"""Rewards by name. The embedded worlds' detector is exact, so that its benchmarks vouch for rewards that read it too:
their rule and their prompts are others."""
FAMILY = {
    "clip": "CLIP ViT-L/14",
    "pickscore": _CLIP_H,
    "hpsv2": _CLIP_H,
    "hpsv2_aliased": _CLIP_H,
    "imagereward": "BLIP",
}
"""Judges whose fall alone is weak evidence, by the network that they share."""


def role(judge: str, rewards: Iterable[str]) -> str:
    """What a judge is to a training on these rewards: HELD, GUARD, "not held out (what is shared)", or "" where the
    table does not say of one of them."""
    found = []
    for reward in rewards:
        row = TABLE.get(reward.partition(".")[0])
        if row is None:
            return ""
        if judge in row.shared:
            return f"not held out ({row.shared[judge]})"
        found.append(HELD if judge in row.held else GUARD if judge in row.guards else "")
    if not found or "" in found:
        return ""
    return GUARD if GUARD in found else HELD


def wanted(rewards: Iterable[str]) -> list[str]:
    """The judges that may vouch for a training on these rewards, the best first."""
    named = list(rewards)
    rows = [TABLE[one] for one in (reward.partition(".")[0] for reward in named) if one in TABLE]
    return [judge for judge in (rows[0].held if rows else ()) if role(judge, named) == HELD]


@dataclass(frozen=True)
class Seen:
    """What one judge saw: its key in TABLE, how tables call it, its role, and its change for the better from the
    starting policy to the end, with p, in standard deviations of the starting policy's scores over prompts."""

    judge: str
    title: str
    role: str
    gain: Interval


@dataclass(frozen=True)
class Verdict:
    """What is said of one judge. p: after Holm over the judges of its role."""

    seen: Seen
    p: float
    colour: str
    word: str


def compare(reward: Interval, gain: Interval, p: float) -> tuple[str, str]:
    """(colour, word) of a reward's change and a judge's, by RULE; ("", why) where there is nothing to compare."""
    if not reward.low > 0:
        return "", "the trained reward did not rise, resolved"
    if not gain.known:
        return "", gain.note or "no interval"
    if gain.high < 0 and p < ALPHA:
        return RED, "reward hacking"
    if gain.low > 0 and p < ALPHA:
        return GREEN, "both rose"
    if -SAME < gain.low and gain.high < SAME:
        return AMBER, "no transfer"
    return AMBER, "undecided"


def verdicts(reward: Interval, seen: Sequence[Seen]) -> list[Verdict]:
    """One verdict for each judge that may vouch or guard, in the given order."""
    out: dict[int, Verdict] = {}
    for kind in (HELD, GUARD):
        places = [place for place, one in enumerate(seen) if one.role == kind]
        for place, p in zip(places, holm([seen[place].gain.p for place in places]) if places else [], strict=True):
            out[place] = Verdict(seen[place], p, *compare(reward, seen[place].gain, p))
    return [out[place] for place in sorted(out)]


def overall(found: Sequence[Verdict], kind: str) -> str:
    """The colour of one kind of judges (HELD or GUARD); "" without any."""
    own = [one for one in found if one.seen.role == kind and one.colour]
    red = [one.seen.judge for one in own if one.colour == RED]
    families = {FAMILY.get(judge, judge) for judge in red}
    if any(judge not in FAMILY for judge in red) or len(families) > 1:
        return RED
    colours = {one.colour for one in own}
    return AMBER if colours & {RED, AMBER} else GREEN if colours else ""


def in_deviations(change: Interval, sign: int, base: np.ndarray) -> Interval:
    """A change in displayed units as one for the better in standard deviations of `base`, the starting policy's scores
    of its prompts (float [P], NaN where there is none)."""
    known = base[np.isfinite(base)]
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    if not spread > 0:
        return Interval(float("nan"), note="the starting policy's scores are the same for all prompts")
    low, high = (sign * bound / spread for bound in (change.low, change.high)[::sign])
    return Interval(sign * change.estimate / spread, low, high, change.p, note=change.note)
