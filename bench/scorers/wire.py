"""Pictures as they travel: BMP or PNG where nothing may be lost, JPEG for servers that ask for it, and read back without trust."""

import base64
import binascii
import io
import warnings

from PIL import Image

from bench.scorers.base import Unscorable

PNG_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")
"""Modes that a PNG keeps; the others go as RGB, which scorers make of every picture anyway."""
FORMATS = ("PNG", "JPEG", "BMP")
BMP_MODES = ("L", "RGB")
MAX_PIXELS = 1 << 25
"""Pixels of one picture that a server takes: 5792 x 5792."""


def lossless(image: Image.Image) -> bytes:
    """The picture without loss, in little time: as BMP, where that keeps it, which is written and read in a fortieth of the time of
    PNG, at half again its size. Raises Unscorable where it cannot be decoded."""
    return _encoded(image, format="BMP") if image.mode in BMP_MODES else png(image)


def png(image: Image.Image) -> bytes:
    """The picture without loss. Raises Unscorable where it cannot be decoded."""
    return _encoded(image if image.mode in PNG_MODES else _rgb(image), format="PNG", compress_level=1)


def jpeg(image: Image.Image, quality: int) -> bytes:
    """The picture as JPEG of that quality (PIL's own default is 75). Raises Unscorable where it cannot be decoded."""
    return _encoded(_rgb(image), format="JPEG", quality=quality)


def base64_text(data: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(data).decode("ascii")


def decoded(text: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The PNG, JPEG or BMP in a base64 text, decoded. Raises Unscorable; one of more pixels is refused by its header, undecoded."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unscorable(f"the picture is not base64 ({error})") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit comes next
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > max_pixels:
            raise Unscorable(f"the picture has {image.width} x {image.height} pixels, accepted are at most {max_pixels}")
        image.load()
    except Unscorable:
        raise
    except Image.DecompressionBombError as error:
        raise Unscorable(f"the picture is too large, accepted are at most {max_pixels} pixels ({error})") from error
    except Exception as error:  # a damaged file raises whatever its decoder meets
        raise Unscorable(f"the picture cannot be decoded as PNG, JPEG or BMP ({error or type(error).__name__})") from error
    return image


def _rgb(image: Image.Image) -> Image.Image:
    try:
        return image.convert("RGB")
    except Exception as error:  # a lazily opened file turns out to be damaged here, in the manner of its decoder
        raise Unscorable(f"the picture cannot be decoded ({error or type(error).__name__})") from error


def _encoded(image: Image.Image, **options) -> bytes:
    stream = io.BytesIO()
    try:
        image.save(stream, **options)
    except Exception as error:
        raise Unscorable(f"the picture cannot be decoded ({error or type(error).__name__})") from error
    return stream.getvalue()
