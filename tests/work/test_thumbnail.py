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


@pytest.mark.parametrize(
    ("fit", "asked", "orientation", "decoded"),
    [
        ("inside", (800, 600), 1, (800, 600)),
        ("inside", (600, 800), 6, (800, 600)),
        ("inside", (600, 800), 1, (800, 600)),
        ("inside", (801, 601), 1, (1600, 1200)),
        ("cover", (600, 600), 1, (800, 600)),
        ("cover", (100, 301), 1, (800, 600)),
        ("exact", (800, 100), 1, (800, 600)),
        ("exact", (100, 800), 8, (800, 600)),
        ("inside", (200, 200), 3, (200, 150)),
    ],
)
def test_a_jpeg_is_decoded_no_larger_than_it_has_to_be(
    fit: Any, asked: tuple[int, int], orientation: int, decoded: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image, JpegImagePlugin

    sizes = []
    load = JpegImagePlugin.JpegImageFile.load

    def note_size(self: Any) -> Any:
        sizes.append(self.size)
        return load(self)

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", note_size)
    exif = Image.Exif()
    exif[274] = orientation
    thumbnail(body(picture((1600, 1200), exif=exif)), Thumbnail(*asked, fit=fit))
    assert sizes[0] == decoded


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


def test_what_cannot_be_written_fails_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError("encoding error 1")

    data = picture((40, 20))
    monkeypatch.setattr("PIL.Image.Image.save", fails)
    with pytest.raises(StepFailed, match="^the thumbnail cannot be written as webp: encoding error 1$"):
        thumbnail(body(data), Thumbnail(10, 10, format="webp"))


@pytest.mark.parametrize(("side", "optimized"), [(512, True), (513, False)])
def test_only_small_pngs_take_the_time_to_be_as_small_as_they_can(
    monkeypatch: pytest.MonkeyPatch, side: int, optimized: bool
) -> None:
    data, given = picture((40, 20)), list[Any]()
    monkeypatch.setattr("PIL.Image.Image.save", lambda self, out, kind, **options: given.append(options))
    thumbnail(body(data), Thumbnail(side, 512, fit="exact", format="png"))
    assert given == [{"optimize": optimized}]


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


@pytest.mark.parametrize("orientation", range(10))
def test_each_orientation_is_what_pillow_makes_of_it(orientation: int) -> None:
    from PIL import Image, ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    written = io.BytesIO()
    Image.frombytes("L", (3, 2), bytes(range(0, 240, 40))).save(written, "PNG", exif=exif)
    made = thumbnail(body(written.getvalue()), Thumbnail(10, 10, format="png"))
    assert made.product is not None
    expected = ImageOps.exif_transpose(opened(written.getvalue()))
    assert (made.fields["width"], opened(made.product.data).tobytes()) == (expected.width, expected.tobytes())


def exif_of(*entries: tuple[int, int, int, bytes]) -> bytes:
    """Return EXIF data with these entries: tag, type, count and value."""
    packed = b"".join(struct.pack(">HHI4s", *entry) for entry in entries)
    return b"Exif\0\0MM\0\x2a\0\0\0\x08" + struct.pack(">H", len(entries)) + packed + bytes(4)


@pytest.mark.parametrize(
    ("exif", "size"),
    [
        (exif_of((0x0112, 3, 1, b"\0\6\0\0")), (50, 100)),
        (exif_of((0x0112, 3, 1, b"\0\6\0\0"), (0x0103, 2, 4, b"abc\0")), (50, 100)),
        (exif_of((0x0112, 2, 4, b"abc\0")), (100, 50)),
        (b"Exif\0\0http://not.a.tiff/", (100, 50)),
    ],
    ids=["right", "another tag is of a wrong type", "it is of a wrong type", "not EXIF data at all"],
)
def test_damaged_exif_data_costs_nothing_but_the_turn(exif: bytes, size: tuple[int, int]) -> None:
    made = thumbnail(body(picture((400, 200), exif=exif)), Thumbnail(100, 100))
    assert (made.fields["width"], made.fields["height"]) == size


def with_idat(data: bytes, colours: int = 2) -> bytes:
    """Return a PNG of 40 x 20 with these bytes as its pixels."""
    chunk = b"IDAT" + data
    return png(40, 20, colours)[:-8] + struct.pack(">I", len(data)) + chunk + struct.pack(">I", zlib.crc32(chunk))


def png(width: int, height: int, colours: int = 2) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (picture((400, 200), "PNG")[:100], "damaged"),
        (picture((400, 200), "PNG").replace(b"IDAT", b"IDAT" + bytes(8)), "damaged"),
        (with_idat(b"\xff" * 100), "damaged"),
        (with_idat(zlib.compress(bytes(range(256)) * 16)[:60] + b"\xff" * 60), "damaged"),
        (with_idat(zlib.compress(bytes(41 * 20)), 3), "damaged: AssertionError"),  # a palette that is not there
        (picture((400, 200))[:400], "damaged"),
        (picture((400, 200), "TIFF")[:200], "damaged|not a picture"),
    ],
)
def test_what_is_not_a_whole_picture_fails(data: bytes, says: str) -> None:
    with pytest.raises(StepFailed, match=says):
        thumbnail(body(data), Thumbnail(10, 10))


def gif(width: int, height: int, frame: tuple[int, int] = (1, 1), frames: int = 1) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\xff\0\0\0\0\0"
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x01\0"
    return head + image * frames + b"\x3b"


def altered(kind: str, *fields: tuple[str, int], **options: Any) -> bytes:
    """Return a picture of 400 x 200 that claims another size: formats of struct, and where in the file it is."""
    data = bytearray(picture((400, 200), kind, **options))
    for form, at in fields:
        struct.pack_into(form, data, at, 50_000)
    return bytes(data)


def tiff(kind: str = "TIFF") -> bytes:
    """Return a TIFF whose tags of width and height say 50,000."""
    data = bytearray(picture((400, 200), kind))
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry)[0] in (256, 257):
            struct.pack_into("<HII", data, entry + 2, 4, 1, 50_000)
    return bytes(data)


def jpeg(**options: Any) -> bytes:
    """Return a JPEG whose frame header says 50,000."""
    data = bytearray(picture((400, 200), **options))
    at = data.find(b"\xff\xc2" if options else b"\xff\xc0")
    struct.pack_into(">HH", data, at + 5, 50_000, 50_000)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (png(50_000, 50_000), "50000 x 50000"),
        (gif(50_000, 50_000), "50000 x 50000"),
        (gif(1, 1, (50_000, 50_000)), "50000 x 50000"),
        (altered("BMP", ("<i", 18), ("<i", 22)), "50000 x 50000"),
        (tiff(), "50000 x 50000"),
        (jpeg(), "50000 x 50000"),
        (jpeg(progressive=True), "50000 x 50000"),
        (png(1, 2**31 - 1), "1 x 2147483647"),
    ],
    ids=["PNG", "GIF", "GIF by its frame", "BMP", "TIFF", "JPEG", "progressive JPEG", "narrow PNG"],
)  # fmt: skip
def test_a_picture_that_is_too_large_fails_before_it_is_read(data: bytes, size: str) -> None:
    with pytest.raises(StepFailed, match=f"has {size} pixels, more than 100,000,000"):
        thumbnail(body(data), Thumbnail(10, 10))


def test_of_ten_thousand_frames_none_but_the_first_is_read() -> None:
    made = thumbnail(body(gif(20, 10, frames=10_000)), Thumbnail(10, 10))
    assert (made.fields["width"], made.fields["height"]) == (10, 5)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    from PIL import Image

    written = io.BytesIO()
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "green", "blue")]
    frames[0].save(written, "GIF", save_all=True, append_images=frames[1:])
    made = thumbnail(body(written.getvalue()), Thumbnail(10, 10, format="png"))
    assert made.product is not None
    assert opened(made.product.data).convert("RGB").getpixel((3, 3))[0] > 200
