"""``thumbnail``: every mode, every fit, and nothing that a hostile picture can cost."""

import io
import struct
import zlib
from typing import Any

import pytest

from service.work.builtin.thumbnail import Thumbnail, thumbnail
from service.work.step import Body, StepFailed


def body(data: bytes, content_type: str | None = "text/html") -> Body:
    return Body(data, content_type, "http://here.example/page?x")


def picture(size: tuple[int, int], kind: str = "JPEG", mode: str = "RGB", **options: Any) -> bytes:
    from PIL import Image

    written = io.BytesIO()
    image = Image.new(mode, size)
    image.save(written, kind, **options)
    return written.getvalue()


def opened(data: bytes | memoryview) -> Any:
    from PIL import Image

    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize(
    ("fit", "size", "expected"),
    [
        ("inside", (400, 200), (100, 50)),
        ("inside", (40, 20), (40, 20)),
        ("cover", (400, 200), (100, 100)),
        ("cover", (40, 20), (100, 100)),
        ("exact", (400, 200), (100, 100)),
        ("exact", (40, 20), (100, 100)),
    ],
)
def test_thumbnails_have_the_size_that_their_fit_says(
    fit: Any, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    made = thumbnail(body(picture(size)), Thumbnail(100, 100, fit=fit))
    assert made.product is not None
    assert opened(made.product.data).size == expected == (made.fields["width"], made.fields["height"])
    assert made.fields["bytes"] == len(made.product.data)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
@pytest.mark.parametrize(
    ("given", "mode"),
    [("JPEG", "CMYK"), ("JPEG", "L"), ("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "P"), ("PNG", "1"), ("PNG", "I;16"),
     ("GIF", "P"), ("WEBP", "RGBA"), ("TIFF", "F"), ("BMP", "RGB")],
)  # fmt: skip
def test_thumbnails_of_every_mode(given: str, mode: str, kind: Any) -> None:
    from PIL import Image

    written = io.BytesIO()
    Image.new(mode, (30, 20)).save(written, given)
    made = thumbnail(body(written.getvalue()), Thumbnail(10, 10, format=kind))
    assert made.product is not None
    assert made.product.type == f"image/{kind}"
    assert opened(made.product.data).format == kind.upper()


def test_a_transparent_picture_is_put_on_white() -> None:
    made = thumbnail(body(picture((8, 8), "PNG", "RGBA")), Thumbnail(8, 8))
    assert made.product is not None
    assert opened(made.product.data).convert("L").getextrema()[0] > 250


def test_a_picture_is_turned_as_its_exif_data_says() -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    made = thumbnail(body(picture((400, 200), exif=exif)), Thumbnail(100, 100))
    assert (made.fields["width"], made.fields["height"]) == (50, 100)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (picture((400, 200), "PNG")[:100], "damaged"),
        (picture((400, 200))[:400], "damaged"),
        (picture((400, 200), "TIFF")[:200], "damaged|not a picture"),
    ],
)
def test_what_is_not_a_whole_picture_fails(data: bytes, says: str) -> None:
    with pytest.raises(StepFailed, match=says):
        thumbnail(body(data), Thumbnail(10, 10))


def test_a_picture_that_is_too_large_fails_before_it_is_read() -> None:
    head = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    with pytest.raises(StepFailed, match="50000 x 50000"):
        thumbnail(body(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT"), Thumbnail(10, 10))


def test_of_an_animation_the_first_frame_is_taken() -> None:
    from PIL import Image

    written = io.BytesIO()
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "green", "blue")]
    frames[0].save(written, "GIF", save_all=True, append_images=frames[1:])
    made = thumbnail(body(written.getvalue()), Thumbnail(10, 10, format="png"))
    assert made.product is not None
    assert opened(made.product.data).convert("RGB").getpixel((3, 3))[0] > 200
