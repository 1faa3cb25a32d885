"""Picture files of any kind as scorers see them: one picture of 8 bits a channel. The one place where pictures are read
back.

What is done is what the official scorers' `Image.open(file).convert("RGB")` does, except where that gives garbage or a
guess:

16 bits a channel   the upper eight count, for grey (which convert("RGB") clips to white) as for colour (which Pillow reads so);
                    refused where only values of 8 or 12 bits are in them, which would be black
32 bits, floats     refused: nothing says which value is white
palette, 1 bit      become RGB before a scorer resizes them (Pillow would take the nearest pixel)
transparency        kept for the scorers, whose convert("RGB") drops it and shows the colours beneath, as the official ones' does
CMYK, YCCK          as Pillow converts them; colour profiles are not applied, as by the official scorers
EXIF orientation    kept; GenEval turns the picture, as upstream does, the others do not, as theirs do not
several pictures    animations and files of several pages are refused (a phone's JPEG with previews is its first picture)
"""

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    from torch import Tensor

CONVERSION = "8 bits, 2"
"""Changes whenever the same file may give other pixels: it is a part of the identity of scores of given pictures. Those
that the harness makes are 8-bit RGB PNGs, whose pixels are as they are."""
FORMATS = {
    "PNG": (".png",), "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "WEBP": (".webp",), "BMP": (".bmp",),
    "GIF": (".gif",), "TIFF": (".tif", ".tiff"), "AVIF": (".avif",),
}  # fmt: skip
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
MAX_PIXELS = 1 << 25
"""Pixels of one picture: 5792 x 5792."""
KEPT = ("L", "LA", "RGB", "RGBA")
"""Modes of 8 bits a channel that every scorer's convert("RGB") takes without loss of colour."""
ORIENTATION = 0x0112
DEEP_GREY = ("I;16", "I;16L", "I;16B", "I;16N")
TWELVE_BITS = 4095
BITS_PER_SAMPLE, PHOTOMETRIC, BLACK_IS_ZERO = 258, 262, 1


class Unreadable(ValueError):
    """This is no picture that can be judged; the message is one sentence."""


def opened(
    data: bytes,
    crop: Sequence[int] | None = None,
    formats: Sequence[str] = tuple(FORMATS),
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """The picture in the bytes of a file, of a mode in KEPT, or the box (left, top, right, bottom) of it. Raises
    Unreadable; a file that claims more pixels is refused undecoded."""
    try:
        image = _begun(data, formats, max_pixels)
        picture = eight_bits(image)
    except Unreadable:
        raise
    except UnidentifiedImageError as error:  # whose own words name an address in memory
        raise Unreadable(f"the picture cannot be decoded as {_listed(formats)}") from error
    except Exception as error:  # a damaged file raises whatever its decoder meets
        raise Unreadable(f"the picture cannot be decoded as {_listed(formats)} ({_said(error)})") from error
    return picture.crop((crop[0], crop[1], crop[2], crop[3])) if crop else picture


def size_of(data: bytes) -> tuple[int, int]:
    """(width, height) in px by the head of a file. Raises Unreadable."""
    try:
        return _begun(data, tuple(FORMATS), MAX_PIXELS).size
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"the picture cannot be decoded as {_listed(tuple(FORMATS))}") from error


def eight_bits(image: Image.Image) -> Image.Image:
    """A picture of any mode as one of a mode in KEPT, with its EXIF data; itself where it is one. Raises Unreadable for
    values without a known range, and what the decoder of a file raises that is read only now."""
    deep = _is_deep(image)
    image.load()
    if image.mode in KEPT:
        if deep:
            # Pillow gives the upper eight bits alone
            _check_reach(256 * max(high for _, high in _extrema(image)) + 255)
        return image
    if image.mode in DEEP_GREY or (image.mode == "I" and image.format == "PNG"):
        _check_deep(image)
        if (reach := int(np.asarray(image).max())) > 0:
            _check_reach(reach)
        grey = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
        grey.info = dict(image.info)
        return grey
    if image.mode in ("I", "F"):
        raise Unreadable(
            f"the picture has {'32-bit' if image.mode == 'I' else 'floating-point'} values, and nothing says which of "
            "them is white: save it with 8 or 16 bits a channel"
        )
    try:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    except ValueError as error:
        raise Unreadable(f"the picture's mode {image.mode} is no colour that can be judged: save it as RGB") from error


def turned(image: Image.Image) -> Image.Image:
    """A picture of any mode as `eight_bits` gives it, the way round that its EXIF data say. Raises Unreadable."""
    return ImageOps.exif_transpose(eight_bits(image))


def is_turned(image: Image.Image) -> bool:
    """Whether EXIF data ask for the picture to be turned before it is shown."""
    return image.getexif().get(ORIENTATION, 1) != 1


def _begun(data: bytes, formats: Sequence[str], max_pixels: int) -> Image.Image:
    """The picture, not yet decoded."""
    with warnings.catch_warnings():
        # our own limit comes next, and a damaged file is told of where it cannot be decoded
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data), formats=[name for name in formats if name in _installed()])
        except Image.DecompressionBombError as error:
            raise Unreadable(f"the picture is too large, accepted are at most {max_pixels} pixels ({error})") from error
        if image.width * image.height > max_pixels:
            raise Unreadable(
                f"the picture has {image.width} x {image.height} pixels, accepted are at most {max_pixels}"
            )
        if (count := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
            raise Unreadable(
                f"the file holds {count} pictures (an animation or pages), but one is judged: save the one that is "
                "meant as a file of its own"
            )
    return image


def _check_deep(image: Image.Image) -> None:
    """Raises Unreadable for a TIFF whose 16-bit values do not range from black to white."""
    tags = getattr(image, "tag_v2", {})
    if tags and (tags.get(BITS_PER_SAMPLE), tags.get(PHOTOMETRIC)) != ((16,), BLACK_IS_ZERO):
        raise Unreadable("the TIFF has grey values of neither 8 nor 16 bits, or white is zero: save it as PNG")


def _is_deep(image: Image.Image) -> bool:
    """Whether a picture that is not yet decoded has 16 bits a channel in its file, whatever its mode."""
    layouts = [tile[3] for tile in getattr(image, "tile", ())]
    return any(";16" in str(layout if isinstance(layout, str) else layout[0]) for layout in layouts if layout)


def _extrema(image: Image.Image) -> list[tuple[int, int]]:
    """(lowest, highest) of each channel but alpha."""
    channels = [image.getchannel(band) for band in image.getbands() if band != "A"]
    return [cast(tuple[int, int], channel.getextrema()) for channel in channels]


def _check_reach(highest: int) -> None:
    """Raises Unreadable for 16-bit values that end where those of 8 to 12 bits do. highest: theirs, or the most it can
    be."""
    if highest <= TWELVE_BITS:
        raise Unreadable(
            f"the picture has 16 bits a channel, but its values only reach {highest} of 65535, which is black: save "
            "it with 8 bits, or stretched to 16"
        )


def _installed() -> set[str]:
    """The formats that this Pillow reads."""
    Image.init()
    return set(Image.OPEN)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" or {names[-1]}"


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def as_bytes(images: "Tensor") -> "Tensor":
    """uint8 of pictures float in 0..1, rounded as our PNG files have them."""
    return (images * 255).round().clamp(0, 255).byte()


def as_pictures(images: "Tensor") -> list[Image.Image]:
    """Pictures float [n, 3, H, W] in 0..1, in 8 bits a channel."""
    return [Image.fromarray(pixels) for pixels in as_bytes(images).permute(0, 2, 3, 1).cpu().numpy()]
