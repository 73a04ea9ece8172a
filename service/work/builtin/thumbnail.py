"""``thumbnail``: a picture in another size. Needs the extra ``images``."""

import io
from math import ceil
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from service.work.pixels import eight_bits, plain
from service.work.step import Body, Made, Product, StepFailed, step

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Thumbnail", "thumbnail"]

_PIXELS: Final = 100_000_000
"""The most pixels of a picture that is read: 300 MB as RGB."""
_TEXTS: Final = 16 << 20
"""Bytes of a text or a colour profile in a PNG: programs that draw pictures record there how they were made."""
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""What is read; each other format of Pillow is one more parser for hostile bytes."""
_PNG_DEPTH: Final = 24
"""Where a PNG has its bits per channel (PNG specification, section 11.2.2)."""
_DRAFTED: Final = ("JPEG", "MPO")
"""What is decoded at a half, a quarter or an eighth of its size if that is enough."""
_OPTIMIZED: Final = 1 << 18
"""Pixels of a PNG that is written as small as it can be: a fifth smaller, in six times the time."""
_WHITE: Final = (255, 255, 255, 255)
_TURNS: Final[dict[Any, str]] = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE",
    8: "ROTATE_90",
}  # fmt: skip
"""What makes a picture upright, by the orientation of its EXIF data."""
_ON_ITS_SIDE: Final = frozenset({"TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"})
_Side = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class Thumbnail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Its size in pixels, and how it is written."""

    width: _Side
    height: _Side
    fit: Literal["inside", "cover", "exact"] = "inside"
    """Whole and not enlarged; cropped from the middle to exactly the size; or stretched to exactly the size."""
    format: Literal["jpeg", "png", "webp"] = "jpeg"
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = 85


@step("thumbnail", Thumbnail, runs="process", extra="images", imports="PIL")
def thumbnail(body: Body, parameters: Thumbnail) -> Made:
    """Return the picture in sRGB, turned as its EXIF data says; of an animation, its first frame."""
    picture = plain(_resized(_read(body, parameters), parameters))
    data = _written(_with_mode(picture, parameters.format), parameters)
    width, height = picture.size
    fields = {"width": width, "height": height, "format": parameters.format, "bytes": len(data)}
    return Made(fields, Product(data, f"image/{parameters.format}"))


def _read(body: Body, parameters: Thumbnail) -> "Image":
    from PIL import Image, PngImagePlugin, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # it warns at first; the bound here is checked before a pixel is read
    PngImagePlugin.MAX_TEXT_CHUNK = _TEXTS
    try:
        picture = Image.open(io.BytesIO(body.data), formats=_FORMATS)
        if picture.width * picture.height > _PIXELS:
            raise StepFailed(f"the picture has {picture.width} x {picture.height} pixels, more than {_PIXELS:,}")
        if picture.format in _DRAFTED:
            on_its_side = _turn(picture) in _ON_ITS_SIDE
            picture.draft(None, _enough(picture.size, parameters, on_its_side=on_its_side))
        drawn = picture.tile[0].extents if picture.format == "GIF" and picture.tile else None
        picture.load()
        # Not before: to find the EXIF data of a PNG, Pillow decodes its pixels, and damaged ones raise only once.
        turn = _turn(picture)
        # A palette that is missing is found by those who want its colours.
        upright = picture.transpose(Image.Transpose[turn]) if turn is not None else picture
        read = eight_bits(upright, body.data[_PNG_DEPTH] if picture.format == "PNG" else 8)
        return read if drawn is None else _clear_around(read, drawn)
    except (StepFailed, MemoryError):
        raise
    except UnidentifiedImageError:
        raise StepFailed(f"the body is not a picture of a known format ({', '.join(_FORMATS).lower()})") from None
    except Exception as error:
        # Pillow's decoders raise a dozen kinds for what is damaged, struct.error and SyntaxError among them.
        raise StepFailed(_damage(error)) from None


def _clear_around(picture: "Image", drawn: tuple[int, int, int, int]) -> "Image":
    """Return a GIF with nothing where its first frame draws nothing, as in browsers; Pillow has a colour there."""
    from PIL import Image

    if drawn == (0, 0, *picture.size):
        return picture
    cleared = Image.new("RGBA", picture.size)
    cleared.paste(picture.crop(drawn), drawn)
    return cleared


def _damage(error: Exception) -> str:
    if "MAX_TEXT" in str(error):
        return f"the texts or the colour profile of the picture have more than {_TEXTS >> 20} MiB"
    return f"the picture is damaged: {str(error) or type(error).__name__}"


def _turn(picture: "Image") -> str | None:
    from PIL import ExifTags

    try:
        return _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation))
    except Exception:
        # Its EXIF data is damaged, and the picture is not.
        return None


def _enough(size: tuple[int, int], parameters: Thumbnail, *, on_its_side: bool) -> tuple[int, int]:
    """Return the smallest size, before the picture is turned, from which the thumbnail need not be enlarged."""
    width, height = (parameters.height, parameters.width) if on_its_side else (parameters.width, parameters.height)
    if parameters.fit == "exact":
        return width, height
    ratios = width / size[0], height / size[1]
    ratio = min(ratios) if parameters.fit == "inside" else max(ratios)
    return ceil(size[0] * ratio), ceil(size[1] * ratio)


def _resized(picture: "Image", parameters: Thumbnail) -> "Image":
    from PIL import Image, ImageOps

    size = (parameters.width, parameters.height)
    if parameters.fit == "cover":
        return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    if parameters.fit == "exact":
        return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    picture.thumbnail(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return picture


def _with_mode(picture: "Image", kind: str) -> "Image":
    """Return the picture in a mode that the format has: JPEG has no transparency, it is put on white."""
    from PIL import Image

    if kind != "jpeg":
        return picture if picture.mode in ("RGB", "RGBA", "L", "LA") else picture.convert("RGBA")
    if picture.mode in ("RGB", "L", "CMYK"):
        return picture if picture.mode != "CMYK" else picture.convert("RGB")
    picture = picture.convert("RGBA")
    ground = Image.new("RGBA", picture.size, _WHITE)
    return Image.alpha_composite(ground, picture).convert("RGB")


def _written(picture: "Image", parameters: Thumbnail) -> bytes:
    optimize = picture.width * picture.height <= _OPTIMIZED
    options: dict[str, Any] = (
        {"optimize": optimize} if parameters.format == "png" else {"quality": parameters.quality}
    )
    written = io.BytesIO()
    try:
        picture.save(written, parameters.format.upper(), **options)
    except MemoryError:
        raise
    except Exception as error:
        # libwebp says so where it has too little memory.
        raise StepFailed(f"the thumbnail cannot be written as {parameters.format}: {error}") from None
    return written.getvalue()
