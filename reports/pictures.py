"""Pictures for the page: small ones as they are, larger ones as thumbnails."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

SMALL, SMALL_BYTES = 128, 16_000
SIDE, QUALITY = 224, 80


@dataclass(frozen=True)
class Thumbnail:
    """A picture inside the page. width, height: of the original in px."""

    kind: str
    data: bytes
    width: int
    height: int

    @property
    def uri(self) -> str:
        """It as a data URI."""
        return f"data:image/{self.kind};base64,{base64.b64encode(self.data).decode()}"


def thumbnail(path: Path) -> Thumbnail | None:
    """The picture at `path`, at most SIDE px wide and high; None where there is none that can be read."""
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            width, height = picture.size
            if max(width, height) <= SMALL and len(data) <= SMALL_BYTES and picture.format == "PNG":
                return Thumbnail("png", data, width, height)
            small = picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, format="WEBP", quality=QUALITY, method=4)
    return Thumbnail("webp", stream.getvalue(), width, height)
