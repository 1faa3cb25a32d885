"""GenEval read continuously: how clearly a picture is right or wrong (bench/scorers/geneval/soft.py), on GenEval's pictures
and by its own detector and colours."""

import json
from typing import TYPE_CHECKING, Any, ClassVar

from bench.benchmarks.geneval import CAUTION, GenEval, evidence
from bench.scorers.geneval import rule, soft
from htgrpo.base.prompts import Prompt

if TYPE_CHECKING:
    import numpy as np

    from bench.scorers.geneval.colours import Colours
    from bench.scorers.geneval.detector import Detection


class GenEvalSoft(GenEval):
    """A picture scores the value of its least clause, above one half exactly when GenEval calls it right, which every
    record is held to; the headline is the unweighted mean of the six task scores (0..1). GenEval's own headline stays
    the claim.
    """

    name, called, version = "geneval_soft", "GenEval, soft", "1"
    pictures = GenEval.name
    diagnostic = True
    axes: ClassVar[dict[str, str]] = soft.AXES
    note = f"{soft.NOTE}; {CAUTION}"
    floor = soft.FLOOR

    def _record(self, picture: "np.ndarray", found: "list[Detection]", prompt: Prompt, colours: "Colours") -> dict:
        """One record. Beside GenEval's evidence "soft", "gm", "clauses", "found" (all objects of the classes that are
        asked for, as "details" has them), and "colours" with a logit for each. Raises RuntimeError where the two
        readings disagree about what is right."""
        seen: dict[int, dict[str, float]] = {}
        asked: list[list[Any]] = []

        def logits(item: "Detection") -> dict[str, float]:
            if id(item) not in seen:
                seen[id(item)] = colours.logits(picture, item)
                asked.append([item.cls, [*item.box, item.score], seen[id(item)]])
            return seen[id(item)]

        def colour_of(item: "Detection") -> str:
            return max(logits(item), key=logits(item).__getitem__)

        verdict = rule.judge(found, prompt.spec, colour_of)
        values = soft.margins(found, prompt.spec, logits)
        values.agree(verdict, f"{self.name}: a picture of {prompt.id}")
        wanted = {clause["class"] for part in ("include", "exclude") for clause in prompt.spec.get(part, [])}
        boxes = {
            cls: [[*one.box, one.score] for one in lot] for cls, lot in soft.by_class(found).items() if cls in wanted
        }
        told = evidence(verdict, prompt.spec) | values.evidence | {"found": json.dumps(boxes), "colours": asked}
        return {"score": values.score, "evidence": told}

    def scorer_identity(self) -> dict:
        return super().scorer_identity() | soft.CONSTANTS
