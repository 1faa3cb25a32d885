"""What scorers are shown of a file: 8 bits a channel of one picture, or one sentence why not."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, features

from bench.scorers.geneval.pixels import as_array
from bench.scorers.pixels import as_tensor
from bench.scorers.wire import base64_text, decoded, lossless, png
from htgrpo.base.pictures import KEPT, MAX_PIXELS, Unreadable, eight_bits, opened, size_of

RAMP = np.arange(240, dtype=np.uint8).reshape(12, 20)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1)


def data_of(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def shown(data, **options):
    """uint8 [H, W, 3] as most scorers take it."""
    picture = opened(data, **options)
    assert picture.mode in KEPT
    return np.asarray(picture.convert("RGB"))


def rgb16(values):
    """A PNG of 16 bits a channel, which Pillow cannot write."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("factor", [256, 257])
def test_sixteen_bits_of_grey_are_those_of_eight(kind, factor):
    deep = data_of(Image.fromarray(RAMP.astype(np.uint16) * factor), kind)
    assert np.array_equal(shown(deep), np.stack([RAMP] * 3, axis=-1))
    assert Image.open(io.BytesIO(deep)).convert("RGB").getextrema() != ((0, 239),) * 3, (
        "else nothing would have to be done"
    )


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("factor, reach", [(1, 239), (16, 3824)])
def test_values_of_eight_or_twelve_bits_in_sixteen_are_not_shown_black(kind, factor, reach):
    with pytest.raises(
        Unreadable, match=f"only reach {reach} of 65535, which is black: save it with 8 bits, or stretched to 16"
    ):
        opened(data_of(Image.fromarray(RAMP.astype(np.uint16) * factor), kind))


@pytest.mark.parametrize("factor", [1, 16])
def test_so_for_colour(factor):
    with pytest.raises(Unreadable, match="values only reach [0-9]+ of 65535"):
        opened(rgb16(COLOURS.astype(np.uint16) * factor))


def test_dark_or_black_grey_of_sixteen_bits_is_kept():
    for value, expected in ((0, 0), (4096, 16)):
        assert shown(data_of(Image.new("I;16", (4, 4), value))).max() == expected


def test_sixteen_bits_of_colour_are_those_of_eight():
    assert np.array_equal(shown(rgb16(COLOURS.astype(np.uint16) * 257)), COLOURS)


@pytest.mark.parametrize(
    "kind, options",
    [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})],
)
def test_our_own_pictures_keep_their_pixels(kind, options):
    data = data_of(Image.fromarray(COLOURS), kind, **options)
    assert np.array_equal(shown(data), COLOURS) and opened(data).mode == "RGB" and size_of(data) == (20, 12)
    assert np.array_equal(shown(data, crop=(2, 1, 9, 8)), COLOURS[1:8, 2:9])


def test_transparency_is_kept_for_the_scorers_who_drop_it():
    clear = Image.fromarray(np.dstack([COLOURS, np.zeros_like(RAMP)]))
    assert opened(data_of(clear)).mode == "RGBA" and np.array_equal(shown(data_of(clear)), COLOURS)
    grey = Image.merge("LA", [Image.fromarray(RAMP), Image.new("L", (20, 12), 0)])
    assert opened(data_of(grey)).mode == "LA" and np.array_equal(shown(data_of(grey))[..., 0], RAMP)


@pytest.mark.parametrize("mode", ["P", "1", "P with a clear colour"])
def test_palettes_become_colours_before_anybody_resizes_them(mode):
    picture = Image.fromarray(COLOURS).convert(mode[0])
    data = data_of(picture, **({"transparency": 3} if " " in mode else {}))
    expected = np.asarray(picture.convert("RGB"))
    assert opened(data).mode == ("RGBA" if " " in mode else "RGB") and np.array_equal(shown(data), expected)


@pytest.mark.parametrize("mode", ["CMYK", "L", "YCbCr"])
def test_jpegs_of_every_kind_are_as_pillow_converts_them(mode):
    data = data_of(Image.fromarray(COLOURS).convert(mode), "JPEG", quality=95)
    assert np.array_equal(shown(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    if mode == "CMYK":
        assert abs(shown(data).astype(int) - COLOURS).mean() < 12, "inverted"


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif():
    assert (
        abs(shown(data_of(Image.new("RGB", (16, 16), (200, 100, 50)), "AVIF")).astype(int) - (200, 100, 50)).max() < 6
    )


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return data_of(Image.fromarray(COLOURS), "PNG", exif=exif)


def test_geneval_turns_pictures_as_upstream_does_and_nobody_else_does():
    picture = opened(turned())
    assert np.array_equal(shown(turned()), COLOURS) and as_tensor(picture).shape == (3, 12, 20)
    assert np.array_equal(as_array(picture), np.rot90(COLOURS, 3))
    for packed in (lossless(picture), png(picture)):  # and so does one that is asked over the wire
        assert np.array_equal(as_array(decoded(base64_text(packed))), np.rot90(COLOURS, 3))
    deep = Image.new("I;16", (20, 12), 70 * 257)
    deep.info["exif"] = picture.info["exif"]
    assert as_array(deep).shape == (20, 12, 3)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_files_of_several_pictures_are_refused_and_of_one_are_not(kind):
    first, second = Image.new("RGB", (8, 8), (9, 9, 9)), Image.new("RGB", (8, 8), (200, 0, 0))
    with pytest.raises(Unreadable, match="holds 2 pictures .* save the one that is meant"):
        opened(data_of(first, kind, save_all=True, append_images=[second]))
    assert shown(data_of(first, kind)).shape == (8, 8, 3)


def test_a_phones_jpeg_with_a_preview_is_its_first_picture():
    first, second = Image.new("RGB", (8, 8), (9, 9, 9)), Image.new("RGB", (4, 4), (200, 0, 0))
    assert shown(data_of(first, "MPO", save_all=True, append_images=[second])).shape == (8, 8, 3)


@pytest.mark.parametrize(
    "image, why",
    [
        (Image.new("F", (4, 4), 0.5), "floating-point values, and nothing says which of them is white"),
        (Image.new("I", (4, 4), 70000), "32-bit values"),
    ],
)
def test_values_without_a_known_range_are_refused(image, why):
    with pytest.raises(Unreadable, match=why):
        opened(data_of(image, "TIFF"))
    with pytest.raises(Unreadable, match=why):
        eight_bits(image)


def test_deep_tiffs_whose_values_do_not_range_from_black_to_white_are_refused():
    deep = Image.fromarray(RAMP.astype(np.uint16))
    with pytest.raises(Unreadable, match="neither 8 nor 16 bits, or white is zero"):
        opened(data_of(deep, "TIFF", tiffinfo={262: 0}))


@pytest.mark.parametrize(
    "kind, options", [("PNG", {}), ("JPEG", {}), ("WEBP", {}), ("BMP", {}), ("GIF", {}), ("TIFF", {})]
)
def test_damaged_files_are_one_sentence_that_is_the_same_each_time(kind, options):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = data_of(Image.fromarray(noise), kind, **options)
    for damaged in (b"", data[:4], data[: len(data) // 2], b"<html>" + data):
        with pytest.raises(Unreadable) as caught:
            opened(damaged)
        assert "\n" not in str(caught.value) and " at 0x" not in str(caught.value)
        assert "cannot be decoded" in str(caught.value)


def test_bombs_are_refused_by_their_heads(monkeypatch):
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_prepare", lambda self: pytest.fail("decoded"))
    for side in (8000, 40_000):
        body = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        head = (
            b"\x89PNG\r\n\x1a\n"
            + struct.pack(">I", 13)
            + b"IHDR"
            + body
            + struct.pack(">I", zlib.crc32(b"IHDR" + body))
        )
        empty = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
        with pytest.raises(Unreadable, match=f"accepted are at most {MAX_PIXELS}"):
            opened(head + empty)


def test_other_formats_are_not_opened_at_all():
    """Pillow would start Ghostscript for EPS."""
    for kind in ("EPS", "PPM", "ICO"):
        with pytest.raises(Unreadable, match="cannot be decoded as PNG"):
            opened(data_of(Image.new("RGB", (16, 16)), kind))
