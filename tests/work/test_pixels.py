"""Thumbnails have pixels as every viewer shows them, and nothing else of their pictures."""

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from service.work.builtin.thumbnail import Thumbnail, thumbnail
from service.work.step import Body, StepFailed

FORMATS = ("jpeg", "png", "webp")


def written(picture: Image.Image, kind: str, **more: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **more)
    return out.getvalue()


def pixel(picture: Image.Image, x: int, y: int) -> Any:
    return picture.getpixel((x, y))


def made(data: bytes, kind: Any) -> tuple[Image.Image, int]:
    """Return the thumbnail, and its bytes."""
    product = thumbnail(Body(memoryview(data), None, ""), Thumbnail(256, 256, format=kind)).product
    assert product is not None
    return Image.open(io.BytesIO(product.data)), len(product.data)


def profile(red: bytes, green: bytes, blue: bytes) -> bytes:
    """Return an ICC profile of a display whose channels have these colours and a gamma of 2.2."""
    text = b"swapped".ljust(8, b"\0")
    described = b"desc\0\0\0\0" + struct.pack(">I", 8) + text + bytes(79)
    tags = {
        b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue, b"wtpt": xyz(0.9642, 1.0, 0.8249), b"desc": described,
        b"cprt": b"text\0\0\0\0none", **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), b"curv\0\0\0\0\0\0\0\1\2\x33"),
    }  # fmt: skip
    table, data = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(data), len(tag))
        data += tag.ljust(-(-len(tag) // 4) * 4, b"\0")
    body = table + data
    head = struct.pack(">I4xI4s4s4s", 128 + len(body), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    return (head + bytes(12) + b"acsp").ljust(68, b"\0") + xyz(0.9642, 1.0, 0.8249)[8:].ljust(60, b"\0") + body


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


RED, GREEN, BLUE = xyz(0.4361, 0.2225, 0.0139), xyz(0.3851, 0.7169, 0.0971), xyz(0.1431, 0.0606, 0.7141)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("given", ["PNG", "TIFF"])
def test_of_16_bits_the_upper_eight_count(given: str, kind: str) -> None:
    ramp = Image.frombytes("I;16", (256, 64), b"".join(struct.pack("<H", 257 * x) for x in range(256)) * 64)
    shown = made(written(ramp, given), kind)[0].convert("L")
    assert all(abs(pixel(shown, x, 32) - x) <= 3 for x in range(0, 256, 5))


def test_what_has_more_than_16_bits_is_stretched() -> None:
    for mode, values in (("F", (0.25, 0.5, 0.75)), ("I", (-100_000, 0, 100_000))):
        picture = Image.new(mode, (3, 1))
        picture.putdata(values)
        shown = made(written(picture, "TIFF"), "png")[0]
        assert [pixel(shown, x, 0) for x in range(3)] == [0, 127, 255]
    for value in (float("nan"), float("inf"), 7.0):
        picture = Image.new("F", (3, 1), 1.0)
        picture.putpixel((1, 0), value)
        assert made(written(picture, "TIFF"), "png")[0].size == (3, 1)


@pytest.mark.parametrize("kind", FORMATS)
def test_colours_are_those_of_the_profile(kind: str) -> None:
    swapped = profile(GREEN, RED, BLUE)
    shown = made(written(Image.new("RGB", (64, 64), (255, 0, 0)), "JPEG", icc_profile=swapped), kind)[0]
    red, green, blue = pixel(shown.convert("RGB"), 9, 9)
    assert (red < 30, green > 225, blue < 30) == (True, True, True)
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    if kind != "jpeg":
        assert made(written(clear, "PNG", icc_profile=swapped), kind)[0].getchannel("A").getextrema() == (0, 0)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("broken", [b"x" * 500_000, profile(GREEN, RED, BLUE)[:200]])
def test_a_profile_that_does_not_fit_costs_nothing_and_is_not_passed_on(
    mode: str, kind: str, broken: bytes
) -> None:
    picture = Image.new(mode, (64, 64), 80 if mode == "L" else (80,) * len(mode))
    shown, size = made(written(picture, "JPEG", icc_profile=broken), kind)
    assert "icc_profile" not in shown.info
    assert size < 3000
    assert pixel(shown.convert("RGB"), 9, 9) != (0, 0, 0)


@pytest.mark.parametrize("kind", FORMATS)
def test_comments_and_places_are_not_passed_on(kind: str) -> None:
    exif, texts = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x010E] = "a secret"
    texts.add_text("Comment", "a secret")
    for data in (
        written(Image.new("RGB", (64, 64)), "JPEG", comment=b"a secret", exif=exif),
        written(Image.new("RGB", (64, 64)), "PNG", pnginfo=texts, exif=exif),
        written(Image.new("RGB", (64, 64)), "WEBP", exif=exif, xmp=b"a secret"),
    ):
        shown, _ = made(data, kind)
        assert b"secret" not in written(shown, "PNG") + repr(shown.info).encode() + bytes(shown.getexif().tobytes())


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_colour_that_means_transparent_is_put_on_white(mode: str) -> None:
    colour: Any = 9 if mode == "L" else (9, 9, 9)
    data = written(Image.new(mode, (64, 64), colour), "PNG", transparency=colour)
    assert pixel(made(data, "jpeg")[0].convert("L"), 9, 9) == 255
    assert made(data, "png")[0].getchannel("A").getextrema() == (0, 0)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_grey_that_means_transparent_is_given_in_the_depth_of_the_picture(bits: int) -> None:
    for grey in {0, 1, (1 << bits) - 1}:
        row = bytes(1) + int(f"{grey:0{bits}b}" * 64, 2).to_bytes(8 * bits, "big")
        other = (grey + (1 << bits) // 2) % (1 << bits)
        for transparent in (grey, other):
            data = png(bits, 0, row * 64, struct.pack(">H", transparent))
            assert made(data, "png")[0].convert("RGBA").getchannel("A").getextrema() == (
                (0, 0) if transparent == grey else (255, 255)
            )


def test_a_colour_of_16_bits_that_means_transparent() -> None:
    colour = struct.pack(">3H", 0x80FF, 0, 0x1234)
    data = png(16, 2, (bytes(1) + colour * 64) * 64, colour)
    assert made(data, "png")[0].getchannel("A").getextrema() == (0, 0)


def png(bits: int, colours: int, rows: bytes, transparent: bytes) -> bytes:
    """Return a PNG of 64 x 64 with a colour that is transparent."""
    head = struct.pack(">IIBBBBB", 64, 64, bits, colours, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"tRNS", transparent), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_around_the_first_frame_of_a_gif_there_is_nothing() -> None:
    data = bytearray(written(Image.new("P", (16, 16), 1), "GIF"))
    data[6:10] = struct.pack("<HH", 64, 64)
    at = data.index(b"\x2c" + bytes(4) + struct.pack("<HH", 16, 16))
    data[at + 1 : at + 5] = struct.pack("<HH", 48, 32)
    shown = made(bytes(data), "png")[0]
    assert shown.size == (64, 64)
    assert shown.getchannel("A").getbbox() == (48, 32, 64, 48)
    assert pixel(made(bytes(data), "jpeg")[0].convert("L"), 9, 9) == 255


def test_a_drawing_that_says_at_length_how_it_was_made_is_a_picture() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("workflow", "x" * (3 << 20), zip=True)
    assert made(written(Image.new("RGB", (64, 64)), "PNG", pnginfo=texts), "png")[0].size == (64, 64)


def test_a_text_that_is_a_bomb_fails_the_picture() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("workflow", "x" * (17 << 20), zip=True)
    with pytest.raises(StepFailed, match="texts or the colour profile of the picture have more than 16 MiB"):
        made(written(Image.new("RGB", (64, 64)), "PNG", pnginfo=texts), "png")
