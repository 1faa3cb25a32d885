"""The change detector's baseline, a small JSON file, and what differs from it."""

import json
import math
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from bench.checking.regression.frozen import SAMPLER, Facts, fingerprint
from htgrpo.base.errors import UserError
from htgrpo.base.files import atomic_write_text, read_object
from htgrpo.base.records import check

KIND, AGAIN = "changes", "restore it, or make a new one with --update"
TOLERANCE = 1e-6
"""Of log-probabilities and rewards between platforms; on an equal one their hashes must be equal, too."""
ROUNDED = 1
"""Pictures whose tokens may differ on another platform: probabilities are summed in fp32, and a draw may lie at a
boundary."""


@dataclass(frozen=True)
class Baseline:
    """Facts that hold everywhere, and for every platform that has been asked ({"fingerprint", "exact"}) those that hold
    there."""

    facts: Facts
    platforms: list[dict[str, dict[str, str]]]

    def exact(self) -> dict[str, str] | None:
        """The exact hashes of a platform equal to this one."""
        here = fingerprint()
        return next((one["exact"] for one in self.platforms if one["fingerprint"] == here), None)


@dataclass
class Changes:
    """found: one line each. notes: what could not be said. exact: whether the platform allowed a comparison bit for
    bit."""

    found: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    exact: bool = True


def read(path: Path) -> Baseline:
    """The baseline in `path`. Raises UserError when there is none or it is damaged."""
    if not path.is_file():
        raise UserError(f"there is no baseline {str(path)!r}: make one with --update")
    value = read_object(path, AGAIN)
    if value.pop("kind", None) != KIND:
        raise UserError(f"{str(path)!r} is no baseline of the change detector: give another --baseline, or none")
    whole = {"platforms": value.pop("platforms", None), "facts": {**value, "exact": {}}}
    check(path, whole, Baseline, AGAIN)
    return msgspec.convert(whole, Baseline)


def write(path: Path, facts: Facts, old: Baseline | None) -> bool:
    """Writes `facts` as the baseline. Other platforms' entries are kept where `old` agrees with it; returns whether it
    did."""
    same = old is not None and old.facts.codes == facts.codes and not compare(old, facts, everywhere=True).found
    agreed = old if same else None
    here = fingerprint()
    others = [one for one in agreed.platforms if one["fingerprint"] != here] if agreed else []
    kept = asdict(agreed.facts if agreed else facts)
    kept.pop("exact")
    value: dict[str, Any] = {"kind": KIND, **kept, "platforms": [*others, {"fingerprint": here, "exact": facts.exact}]}
    lines = [f"{json.dumps(key)}: {json.dumps(entry, ensure_ascii=False)}" for key, entry in value.items()]
    atomic_write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")
    return agreed is not None


def compare(baseline: Baseline, now: Facts, everywhere: bool = False) -> Changes:
    """What differs between `now` and the baseline: to the last bit where this platform is in it, elsewhere (or
    everywhere, when asked) within TOLERANCE."""
    then, exact = baseline.facts, None if everywhere else baseline.exact()
    changes = Changes(exact=exact is not None)
    for key, noun in (("policy_sha256", "weights of the policy"), ("prompt_set_sha256", "prompts")):
        if getattr(now, key) != getattr(then, key):
            hashes = f"{getattr(then, key)[:12]}… then, {getattr(now, key)[:12]}… now"
            changes.found.append(f"the {noun} are others ({hashes}): nothing else was compared")
            return changes
    _compare_codes(then, now, changes)
    for state, rows in then.log_probs.items():
        found, wanted = chain.from_iterable(now.log_probs.get(state, [])), chain.from_iterable(rows)
        _compare_numbers(f"log-probabilities of the frozen codes ({state})", [*wanted], [*found], changes)
    for name, values in then.rewards.items():
        _compare_numbers(f"reward {name}", values, now.rewards.get(name, []), changes)
    if not changes.exact and then.scores["pictures"] != now.scores["pictures"]:
        changes.notes.append(
            "the frozen codes decode to other pictures on this platform, so verdicts were not compared"
        )
    else:
        changes.found += [f"{name}: changed" for name, value in then.scores.items() if now.scores.get(name) != value]
    changes.found += [f"{name}: changed" for name, value in (exact or {}).items() if now.exact.get(name) != value]
    return changes


def _compare_codes(then: Facts, now: Facts, changes: Changes) -> None:
    """Tokens, with the first one that differs."""
    ids = [one for wanted in then.prompts.values() for one in wanted]
    other = [i for i, (a, b) in enumerate(zip(then.codes, now.codes, strict=True)) if a != b]
    if not other:
        return
    old, new = then.codes[other[0]], now.codes[other[0]]
    slot = next(i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)
    line = (
        f"tokens of sampler {SAMPLER}: {len(other)} of {len(ids)} pictures differ, first {ids[other[0]]} at slot {slot} "
        f"({old[slot]} then, {new[slot]} now)"
    )
    if changes.exact or len(other) > ROUNDED:
        changes.found.append(line)
    else:
        changes.notes.append(f"{line}; on another platform this may be rounding")


def _compare_numbers(what: str, then: list[float | None], now: list[float | None], changes: Changes) -> None:
    if len(then) != len(now) or any((a is None) != (b is None) for a, b in zip(then, now, strict=True)):
        changes.found.append(f"{what}: is there for other pictures")
        return
    gaps = [abs(a - b) for a, b in zip(then, now, strict=True) if a is not None and b is not None]
    most = math.inf if any(math.isnan(gap) for gap in gaps) else max(gaps, default=0.0)
    if most > TOLERANCE:
        count = sum(not gap <= TOLERANCE for gap in gaps)
        changes.found.append(
            f"{what}: {count} of {len(gaps)} numbers changed by more than {TOLERANCE:g}, by up to {most:.3g}"
        )
