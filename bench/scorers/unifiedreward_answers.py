"""UnifiedReward (arXiv 2503.05236; CodeGoat24/UnifiedReward @ ff6f520): how it is asked, and how what it writes is
read."""

import re
from dataclasses import dataclass

from bench.scorers.base import Judged
from bench.scorers.instructions import instruction
from htgrpo.base.errors import suggest

FINAL = re.compile(r"Final Score:\s*([1-5](?:\.\d+)?)")
AXES = ("Alignment", "Coherence", "Style")
AXIS = r"{} Score(?: \(1-5\))?:\s*(\d+(?:\.\d+)?)"


@dataclass(frozen=True)
class Variant:
    """One way of asking. axes: three scores are read, whose mean is ours (upstream combines them in no way), else the
    final score. llava: for the first models, LLaVA's, only: pictures go as flow_grpo sends them, 512 x 512 in PNG, else
    as they are in JPEG."""

    tokens: int
    axes: bool = False
    llava: bool = False


VARIANTS = {
    "v2_ACS": Variant(4096, axes=True),  # the 2.0 models
    "v1_qwen_ACS": Variant(4096, axes=True),
    "v1_qwen_pointwise": Variant(512),
    "v1_sglang_short": Variant(4096, llava=True),  # flow_grpo, with UnifiedReward-7b-v1.5
}
"""By the name of their instruction."""


def variant_named(name: str) -> Variant:
    """The way of asking of that name. Raises UserError."""
    if name not in VARIANTS:
        raise suggest(name, VARIANTS, "way of asking UnifiedReward")
    return VARIANTS[name]


def question(variant: str, prompt: str) -> str:
    """What the model is asked about a picture and its prompt."""
    return instruction(f"unifiedreward.{variant}").replace("{prompt}", prompt)


def read(text: str, asking: Variant, upstream: bool = False) -> Judged:
    """The judgement in an answer. Evidence: "answer", and with axes their scores. An answer without a score fails, or
    counts as 0 with `upstream`, as in flow_grpo."""
    names = AXES if asking.axes else ("Final",)
    patterns = [re.compile(AXIS.format(name)) for name in AXES] if asking.axes else [FINAL]
    found = [pattern.search(text) for pattern in patterns]
    missing = [name for name, match in zip(names, found) if match is None or not 1 <= float(match[1]) <= 5]
    if missing and upstream:
        return Judged.of(0.0, {"answer": text})
    if missing:
        return Judged.failed(
            f"the answer has no {' and '.join(missing)} Score from 1 to 5: {' '.join(text.split())[-200:]!r}"
        )
    values = [float(match[1]) for match in found]
    axes = {name.lower(): value for name, value in zip(AXES, values)} if asking.axes else {}
    return Judged.of(sum(values) / len(values), {"answer": text} | axes)
