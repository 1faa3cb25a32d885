"""UnifiedReward (arXiv 2503.05236; CodeGoat24/UnifiedReward @ ff6f520): how it is asked, and how what it writes is
read."""

import re

from bench.scorers.base import Judged
from bench.scorers.instructions import instruction

VARIANT = "v2_ACS"
"""The instruction of the 2.0 models; those before want others and are not asked here."""
TOKENS = 4096
"""The longest answer."""
AXES = ("Alignment", "Coherence", "Style")
AXIS = r"{} Score(?: \(1-5\))?:\s*(\d+(?:\.\d+)?)"


def question(prompt: str) -> str:
    """What the model is asked about a picture and its prompt."""
    return instruction(f"unifiedreward.{VARIANT}").replace("{prompt}", prompt)


def read(text: str) -> Judged:
    """The judgement in an answer: the mean of its three scores, which is ours (upstream combines them in no way).
    Evidence: "answer", and the scores. An answer that lacks one fails."""
    found = {name: re.search(AXIS.format(name), text) for name in AXES}
    values = {name.lower(): float(match[1]) for name, match in found.items() if match and 1 <= float(match[1]) <= 5}
    missing = [name for name in AXES if name.lower() not in values]
    if missing:
        return Judged.failed(
            f"the answer has no {' and '.join(missing)} Score from 1 to 5: {' '.join(text.split())[-200:]!r}"
        )
    return Judged.of(sum(values.values()) / len(values), {"answer": text} | values)
