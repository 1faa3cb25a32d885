"""GenEval's object detector: MMDetection's pre- and post-processing written out around transformers' Mask2Former.

transformers' own post_process_instance_segmentation is another procedure (masks made binary before they are resized)
and not used.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from bench.scorers.geneval.network import identity_of, load_network, locate_detector
from bench.scorers.geneval.pixels import prepare
from bench.scorers.geneval.rule import THRESHOLD, Box
from bench.sources import assets
from htgrpo.base.errors import UserError

if TYPE_CHECKING:
    from transformers import Mask2FormerForUniversalSegmentation

LIBRARIES = ("torch", "torchvision", "transformers", "open_clip_torch", "pillow")
"""What detector and colours are made of, and what prepares their input."""
MOST = 100
"""(query, class) pairs that are kept of a picture."""


@dataclass(frozen=True)
class Detection:
    """One object. cls: class name; box: (x1, y1, x2, y2) in px of the picture, x2 and y2 one past the last pixel; mask:
    bool [H, W]."""

    cls: str
    score: float
    box: Box
    mask: np.ndarray = field(repr=False, compare=False)


def post_process(
    class_logits: Tensor,
    mask_logits: Tensor,
    padded: tuple[int, int],
    resized: tuple[int, int],
    size: tuple[int, int],
    names: Sequence[str],
    floor: float = THRESHOLD,
) -> list[Detection]:
    """MMDetection's instance_postprocess: the detections of one picture with a score strictly above `floor`, best
    first.

    class_logits [Q, C + 1], the last class being "none"; mask_logits [Q, h, w]; padded, resized, size: (height, width)
    of the network's input, of the picture in it, and of the picture itself. One query may be found under several
    classes.
    """
    probabilities = class_logits.float().softmax(-1)[:, :-1]
    best, index = probabilities.flatten().topk(min(MOST, probabilities.numel()))
    promising = best > floor  # the mask's score is at most 1, so that the others cannot pass
    best, index = best[promising], index[promising]
    queries, which = (index // len(names)).unique(return_inverse=True)
    if not len(queries):
        return []
    masks = _bilinear(mask_logits[queries].float(), padded)[:, : resized[0], : resized[1]]
    masks = _bilinear(masks, size)
    inside = masks > 0
    sums = (masks.sigmoid() * inside).flatten(1).sum(1)
    scores = best * (sums / (inside.flatten(1).sum(1) + 1e-6))[which]
    boxes = [_box(mask) for mask in inside]
    pictures = inside.cpu().numpy()
    found = [
        Detection(names[label], score, boxes[query], pictures[query])
        for label, score, query in zip((index % len(names)).tolist(), scores.tolist(), which.tolist())
        if score > floor
    ]
    return sorted(found, key=lambda item: -item.score)


def _bilinear(masks: Tensor, size: tuple[int, int]) -> Tensor:
    return interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0]


def _box(mask: Tensor) -> Box:
    """The tight box of a mask bool [H, W]; zeros for an empty one."""
    columns, rows = mask.any(0).nonzero().flatten().tolist(), mask.any(1).nonzero().flatten().tolist()
    if not columns:
        return 0.0, 0.0, 0.0, 0.0
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def class_names() -> list[str]:
    """The 80 class names, in the order of the detector's outputs. Raises UserError where the asset is missing."""
    names = assets.asset("geneval_classes").read_text("utf-8").splitlines()
    return [name.strip() for name in names if name.strip()]


class Detector:
    """Finds objects in pictures. `identity` says which weights do."""

    batch_size = 4

    def __init__(
        self,
        net: "Mask2FormerForUniversalSegmentation",
        names: Sequence[str],
        identity: dict[str, Any],
        device: str | torch.device,
    ):
        if net.config.num_labels != len(names):
            raise UserError(
                f"the detector tells {net.config.num_labels} classes apart, but GenEval names {len(names)}: use "
                "GenEval's detector, `python -m bench.fetch geneval_detector`"
            )
        self.net, self.names, self.identity, self.device = net, list(names), identity, torch.device(device)

    @classmethod
    def load(cls, weights: Path | None = None, device: str = "cpu") -> Self:
        """The detector in float32, which is the official dtype; `weights` as for network.locate_detector. Raises
        UserError."""
        place = locate_detector(weights)
        return cls(load_network(place, device), class_names(), identity_of(place), device)

    @torch.inference_mode()
    def detect(self, images: Sequence[np.ndarray], floor: float = THRESHOLD) -> list[list[Detection]]:
        """The objects in every picture uint8 RGB [H, W, 3], best first, with scores above `floor`. Pictures are
        judged together only where their network inputs have one size; batches change no result beyond float32
        rounding."""
        found: list[list[Detection]] = [[] for _ in images]
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images):
            groups.setdefault(tuple(image.shape), []).append(index)
        for group in groups.values():
            for first in range(0, len(group), self.batch_size):
                batch = group[first : first + self.batch_size]
                prepared = [prepare(images[index]) for index in batch]
                inputs = torch.stack([pixels for pixels, _ in prepared]).to(self.device)
                output = self.net(pixel_values=inputs)
                for row, (index, (_, resized)) in enumerate(zip(batch, prepared)):
                    found[index] = post_process(
                        output.class_queries_logits[row],
                        output.masks_queries_logits[row],
                        (inputs.shape[2], inputs.shape[3]),
                        resized,
                        images[index].shape[:2],
                        self.names,
                        floor,
                    )
        return found
