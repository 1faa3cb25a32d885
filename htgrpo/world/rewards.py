"""Dense rewards of the embedded worlds: how nearly a picture shows what was asked for, from 0 to 1.

They grade where the benchmarks decide: no threshold of GenEval's or DPG-Bench's rules occurs here. All four rest on one
matching of the requested objects to windows of the picture. Each is called as TRL calls rewards:

fn(prompts=[text], completions=float [B, 3, H, W] in 0..1, specs=[dict]) -> [float in 0..1 | None]

None means that the reward does not apply to the prompt, NaN that the picture holds values that are not finite.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps

import numpy as np
import torch
from torch import Tensor

from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt
from htgrpo.world.detector import Detection, Fits, measure, pick_objects, place_overlaps
from htgrpo.world.scenes import relations_of
from htgrpo.world.world import World, world_of

_AXES = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}


@dataclass(frozen=True)
class Match:
    """A requested object and the window that shows it best: its place and IoU in 0..1."""

    cls: int
    place: int
    iou: float

    @property
    def presence(self) -> float:
        """IoU squared: 1 for a perfect object; other templates, which share up to 0.7, earn clearly less than half."""
        return self.iou * self.iou


@dataclass(frozen=True)
class Picture:
    """What was found on one picture of `world`. iou: float32 [colours, places, classes]; area: float32 [colours, places]
    (see Fits); foreground px.
    """

    world: World
    iou: np.ndarray
    area: np.ndarray
    foreground: float
    detections: list[Detection]

    def shared(self, match: "Match") -> np.ndarray:
        """float32 [colours]: the pixels each colour shares with the template of a match, from IoU = s / (area +
        template - s); fewer, where some are in the wrong tone.
        """
        iou, template = self.iou[:, match.place, match.cls], self.world.templates[match.cls].sum()
        return np.rint(iou / (1 + iou) * (self.area[:, match.place] + template))


class _LastBatch:
    """Remembers the findings of the last batch, so that several rewards on the same pictures measure and match them
    once."""

    def __init__(self) -> None:
        self._images: Tensor | None = None
        self._world: World | None = None
        self._pictures: list[Picture | None] = []
        self._specs: list[dict] = []
        self._matched: list[tuple[Picture, list[list[Match]]] | None] = []

    def __call__(
        self, world: World, images: Tensor, specs: Sequence[dict]
    ) -> list[tuple[Picture, list[list[Match]]] | None]:
        """One Picture per image with what its specification matches on it, None where the image is not finite. Equal
        content counts as the same batch."""
        known = self._images
        images = images.detach().cpu()
        if world is not self._world or known is None or known.dtype != images.dtype or not torch.equal(known, images):
            self._pictures, self._specs = _look(world, images), []
            self._world, self._images = world, images.clone()
        if self._specs != list(specs):
            self._specs, pairs = list(specs), zip(self._pictures, specs, strict=True)
            self._matched = [None if one is None else (one, match_requests(one, spec)) for one, spec in pairs]
        return self._matched


def _look(world: World, images: Tensor) -> list[Picture | None]:
    sound = torch.isfinite(images).reshape(len(images), -1).all(1).tolist()
    fits = measure(world, torch.nan_to_num(images))
    return [picture if fine else None for picture, fine in zip(_pictures(world, fits), sound, strict=True)]


def _pictures(world: World, fits: Fits) -> list[Picture]:
    columns = (fits.iou.numpy(), fits.area.numpy(), fits.foreground.tolist(), pick_objects(world, fits))
    return [Picture(world, *values) for values in zip(*columns, strict=True)]


_last_batch = _LastBatch()


def match_requests(picture: Picture, spec: dict) -> list[list[Match]]:
    """For each clause of `include` the windows that show it best, greedily and without overlap; fewer than asked where
    the picture has no room or no trace left.
    """
    classes = [picture.world.class_index[picture.world.clause_of(clause["class"])] for clause in spec["include"]]
    missing = [clause["count"] for clause in spec["include"]]
    fit = picture.iou.max(0)[:, classes].T.copy()  # [clauses, places]
    overlaps = place_overlaps(picture.world)
    matches: list[list[Match]] = [[] for _ in classes]
    while any(missing):
        clause, place = divmod(int(fit.argmax()), fit.shape[1])
        iou = float(fit[clause, place])
        if iou <= 0:
            break
        matches[clause].append(Match(classes[clause], place, iou))
        missing[clause] -= 1
        fit[:, overlaps[place]] = 0
        if not missing[clause]:
            fit[clause] = 0
    return matches


def _objects(picture: Picture, spec: dict, matches: list[list[Match]]) -> float:
    """Summed presence of the requested objects, over their number plus the surplus objects of the same classes."""
    wanted = sum(clause["count"] for clause in spec["include"])
    present = sum(match.presence for found in matches for match in found)
    surplus = 0
    for cls in {clause["class"] for clause in spec["include"]}:
        asked = sum(clause["count"] for clause in spec["include"] if clause["class"] == cls)
        surplus += max(0, sum(item.cls == cls for item in picture.detections) - asked)
    return present / (wanted + surplus)


def _attributes(picture: Picture, spec: dict, matches: list[list[Match]]) -> float | None:
    """Over the objects with a requested colour: presence times the part of the object's pixels that have the colour."""
    coloured = [(clause, found) for clause, found in zip(spec["include"], matches, strict=True) if clause.get("color")]
    if not coloured:
        return None
    total = 0.0
    for clause, found in coloured:
        for match in found:
            pixels = picture.shared(match)
            total += match.presence * float(pixels[picture.world.colour_index[clause["color"]]] / pixels.sum())
    return total / sum(clause["count"] for clause, _ in coloured)


def _relations(picture: Picture, spec: dict, matches: list[list[Match]]) -> float | None:
    """Over the requested relations: presence of the weaker object times (1 + cos) / 2, cos between the offset and the
    requested direction."""
    relations = relations_of(spec)
    if not relations:
        return None
    total = 0.0
    for subject, name, target in relations:
        pairs = [(one, other) for one in matches[subject] for other in matches[target]]
        total += sum(_related(picture.world, one, name, other) for one, other in pairs) / max(len(pairs), 1)
    return total / len(relations)


def _related(world: World, one: Match, name: str, other: Match) -> float:
    (y1, x1), (y2, x2), (along_x, along_y) = (
        divmod(one.place, world.cells),
        divmod(other.place, world.cells),
        _AXES[name],
    )
    cosine = ((x1 - x2) * along_x + (y1 - y2) * along_y) / math.hypot(x1 - x2, y1 - y2)
    return min(one.presence, other.presence) * (1 + cosine) / 2


def _tidiness(picture: Picture, spec: dict, matches: list[list[Match]]) -> float:
    """The part of the foreground pixels that requested objects explain, each object's share weighted by its IoU; 0 for
    an empty picture.
    """
    explained = 0.0
    for match in (match for found in matches for match in found):
        colour = int(picture.iou[:, match.place, match.cls].argmax())
        explained += match.iou * float(picture.shared(match)[colour])
    return explained / picture.foreground if picture.foreground else 0.0


def _reward(grade: Callable[[Picture, dict, list[list[Match]]], float | None]) -> Callable[..., list[float | None]]:
    """A grade of one picture as a reward function of a batch."""

    @wraps(grade)
    def reward(prompts: Sequence[str], completions: Tensor, specs: Sequence[dict], **_) -> list[float | None]:
        if not len(prompts) == len(completions) == len(specs):
            raise UserError(
                f"a reward got {len(prompts)} prompts, {len(completions)} images and {len(specs)} specifications: "
                "pass one of each per image"
            )
        values: list[float | None] = []
        if len(worlds := set(map(world_of, specs))) > 1:
            raise UserError("a reward got prompts of two embedded worlds at once: train on prompts of one of them")
        found = _last_batch(worlds.pop(), completions, specs) if worlds else []
        for one, spec in zip(found, specs, strict=True):
            values.append(math.nan if one is None else grade(one[0], spec, one[1]))
        return values

    reward.__name__ = grade.__name__.removeprefix("_")
    reward.check = _check  # type: ignore[attr-defined]  # rewards are functions that may carry one
    return reward


def _check(prompts: list[Prompt]) -> None:
    """Raises UserError for the first prompt that is none of this world."""
    for prompt in prompts:
        clauses = prompt.spec.get("include")
        if not isinstance(clauses, list) or not all(
            isinstance(one, dict) and one.get("class") in world_of(prompt.spec).class_index for one in clauses
        ):
            raise UserError(
                f"objects, attributes, relations and tidiness judge pictures of the embedded worlds only, but the training prompt "
                f"{prompt.id!r} is {prompt.text[:80]!r}: give another --reward, or leave --train-prompts out"
            )


objects, attributes, relations, tidiness = map(_reward, (_objects, _attributes, _relations, _tidiness))
