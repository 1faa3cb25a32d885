"""Pictures of a run: read back, and made small enough for the page."""

import base64
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from htgrpo.base.pictures import Unreadable
from htgrpo.base.pictures import opened as as_judged
from reports.run.blocks import Block
from reports.run.load import Run

SMALL = 128
"""Pictures up to this many px keep every pixel."""
SIDE, QUALITY = 224, 80


def file_of(run: Run, block: Block, record: Mapping[Any, Any] | pd.Series) -> str:
    """The file of a record's picture from the run's folder, followed by "#left,upper,right,lower" where the file holds
    several; "" where there is none."""
    noted = run.manifest(record["policy"], block.picture_set, block.setting).get(
        (record["prompt_id"], record["sample"])
    )
    crop = noted.get("crop") if noted else None
    image = str(record["image"])
    return f"{image}#{','.join(map(str, crop))}" if image and crop else image


def is_small(path: Path) -> bool:
    """Whether a file holds a picture of up to SMALL px, by its header alone."""
    try:
        with Image.open(path) as picture:
            return max(picture.size) <= SMALL
    except OSError:
        return False


def opened(run: Run, block: Block, record: Mapping[str, Any] | pd.Series) -> Image.Image | None:
    """The picture of a record, cut out where its file holds several; None where there is none that can be read."""
    if not record["image"]:
        return None
    noted = run.manifest(record["policy"], block.picture_set, block.setting)
    note = noted.get((record["prompt_id"], record["sample"]))
    crop = note.get("crop") if note else None
    try:
        return as_judged((run.root / str(record["image"])).read_bytes(), crop).convert("RGB")
    except (OSError, Unreadable):
        return None


@dataclass(frozen=True)
class Thumbnail:
    """A picture inside the page. width, height: of the original in px."""

    data: bytes
    width: int
    height: int

    @property
    def uri(self) -> str:
        """It as a data URI."""
        return f"data:image/webp;base64,{base64.b64encode(self.data).decode()}"


def thumbnail(picture: Image.Image) -> Thumbnail:
    """`picture` as a WebP: every pixel of it where it is small (less than half of the PNG's bytes), else at most SIDE px wide
    and high."""
    stream = io.BytesIO()
    if max(picture.size) <= SMALL:
        picture.save(stream, format="WEBP", lossless=True, method=4)
    else:
        reduced = picture.copy()
        reduced.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        reduced.save(stream, format="WEBP", quality=QUALITY, method=4)
    return Thumbnail(stream.getvalue(), *picture.size)


def choose_prompts(block: Block, limit: int = 12) -> list[str]:
    """Prompt ids to show: as many from each category, drawn by the hash of their id, so nobody picked them."""
    by_category: dict[int, list[str]] = {}
    for prompt, category in zip(block.prompts, block.category, strict=True):
        by_category.setdefault(int(category), []).append(prompt)
    for prompts in by_category.values():
        prompts.sort(key=lambda prompt: hashlib.sha256(str(prompt).encode()).digest())
    each = max(1, limit // max(1, len(by_category)))
    return [prompt for category in sorted(by_category) for prompt in by_category[category][:each]][:limit]


def first_images(frame: pd.DataFrame) -> dict[str, pd.Series]:
    """The record of the first sample of every prompt, by prompt id."""
    first = frame.sort_values("sample").drop_duplicates("prompt_id")
    return {str(record["prompt_id"]): record for _, record in first.iterrows()}
