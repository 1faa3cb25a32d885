"""The embedded worlds' GenEval read continuously: how clearly a picture is right or wrong (bench/scorers/geneval/soft.py),
on the pictures of the 0/1 benchmark and by the same detector."""

from collections.abc import Sequence
from typing import ClassVar

from PIL import Image

from bench.benchmarks.embedded_geneval import EmbeddedGenEval, EmbeddedLargeGenEval, resized, told
from bench.scorers.geneval import rule, soft
from bench.scorers.pixels import by_size
from htgrpo.base.prompts import Prompt
from htgrpo.world.detector import FLOOR, Detection, Fits, measure, pick_objects, place_at
from htgrpo.world.world import World, find


def colour_logits(world: World, fits: Fits, image: int, item: Detection) -> dict[str, float]:
    """The log odds of the IoU that an object of this class has at its place in every colour. Of one that the hard rule
    sees, no other colour reaches its own: two colours cannot both have three fifths of its pixels."""
    shares = fits.iou[image, :, place_at(world, item.box), world.class_index[item.cls]].clamp(soft.FLOOR, soft.CAP)
    return dict(zip(world.colour_names, map(soft.logit, shares.tolist()), strict=True))


class EmbeddedGenEvalSoft(EmbeddedGenEval):
    """A picture scores the value of its least clause, above one half exactly when embedded_geneval calls it right, which
    every record is held to; the headline is the unweighted mean of the six task scores (0..1). Objects count from an IoU
    of soft.FLOOR on: the best class and colour of every place that no better object covers.
    """

    name, title, version = "embedded_geneval_soft", "GenEval, soft (embedded world)", "1"
    pictures = EmbeddedGenEval.name
    diagnostic = True
    axes: ClassVar[dict[str, str]] = soft.AXES
    note = soft.NOTE

    def judge(self, pictures: Sequence[Image.Image], prompts: Sequence[Prompt]) -> list[dict]:
        self.check_batch(pictures, prompts)
        world, records = find(self.within), {}
        for places, images in by_size(pictures):
            fits = measure(world, images)
            lots = zip(pick_objects(world, fits), pick_objects(world, fits, soft.FLOOR), strict=True)
            for image, (place, (hard, every)) in enumerate(zip(places, lots, strict=True)):
                records[place] = self.read(fits, image, hard, every, prompts[place])
                records[place]["evidence"] |= resized(world, pictures[place])
        return [records[place] for place in range(len(pictures))]

    def read(
        self, fits: Fits, image: int, hard: Sequence[Detection], every: Sequence[Detection], prompt: Prompt
    ) -> dict:
        """One record. hard, every: the objects that the hard rule sees, and all from soft.FLOOR on. Raises RuntimeError
        where the two readings disagree about what is right."""
        world = find(self.within)
        verdict = rule.judge(hard, prompt.spec, lambda item: item.colour)
        values = soft.margins(every, prompt.spec, lambda item: colour_logits(world, fits, image, item), FLOOR)
        values.agree(verdict, f"{self.name}: a picture of {prompt.id}")
        evidence = {"reason": verdict.reason, **verdict.evidence, **values.evidence, "found": told(every)}
        return {"score": values.score, "evidence": evidence}

    def scorer_identity(self) -> dict:
        return super().scorer_identity() | soft.CONSTANTS


class EmbeddedLargeGenEvalSoft(EmbeddedGenEvalSoft):
    """The same in the large world."""

    name, title = "embedded_large_geneval_soft", "GenEval, soft (large embedded world)"
    pictures, within = EmbeddedLargeGenEval.name, EmbeddedLargeGenEval.within
