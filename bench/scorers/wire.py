"""Pictures as they travel: BMP or PNG where nothing may be lost, JPEG for servers that ask for it, and read back
without trust."""

import base64
import binascii
import io

from PIL import Image

from bench.scorers.base import Unscorable
from htgrpo.base.pictures import MAX_PIXELS, Unreadable, eight_bits, is_turned, opened, turned

FORMATS = ("PNG", "JPEG", "BMP")
BMP_MODES = ("L", "RGB")


def lossless(image: Image.Image) -> bytes:
    """The picture without loss, in little time: as BMP, where that keeps it, which is written and read in a fortieth of
    the time of PNG, at half again its size. Raises Unscorable where it cannot be decoded."""
    image = plain(image)
    return _encoded(image, format="BMP") if image.mode in BMP_MODES and not is_turned(image) else png(image)


def png(image: Image.Image) -> bytes:
    """The picture without loss, and how EXIF data turn it. Raises Unscorable where it cannot be decoded."""
    image = plain(image)
    how = {"exif": image.getexif()} if is_turned(image) else {}
    return _encoded(image, format="PNG", compress_level=1, **how)


def jpeg(image: Image.Image, quality: int) -> bytes:
    """The picture as JPEG of that quality (PIL's own default is 75). Raises Unscorable where it cannot be decoded."""
    return _encoded(plain(image).convert("RGB"), format="JPEG", quality=quality)


def base64_text(data: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(data).decode("ascii")


def decoded(text: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The PNG, JPEG or BMP in a base64 text, decoded. Raises Unscorable; one of more pixels is refused by its header,
    undecoded."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unscorable(f"the picture is not base64 ({error})") from error
    try:
        return opened(data, formats=FORMATS, max_pixels=max_pixels)
    except Unreadable as error:
        raise Unscorable(str(error)) from error


def plain(image: Image.Image, turn: bool = False) -> Image.Image:
    """The picture in 8 bits a channel, as all scorers are shown it, or turned as its EXIF data say. Raises Unscorable
    where that cannot be had."""
    try:
        return turned(image) if turn else eight_bits(image)
    except Unreadable as error:
        raise Unscorable(str(error)) from error
    except Exception as error:  # a lazily opened file turns out to be damaged here, in the manner of its decoder
        raise Unscorable(f"the picture cannot be decoded ({error or type(error).__name__})") from error


def _encoded(image: Image.Image, **options) -> bytes:
    stream = io.BytesIO()
    try:
        image.save(stream, **options)
    except Exception as error:
        raise Unscorable(f"the picture cannot be decoded ({error or type(error).__name__})") from error
    return stream.getvalue()
